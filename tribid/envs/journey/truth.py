"""What a journey's platform predicts by itself: the truth with an error, but for what the scenario lets it not know."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tribid.envs.journey.effects import CTR, CVR, Known
from tribid.envs.platform import NoisyTruth, Rates, Requests

if TYPE_CHECKING:
    from tribid.envs.journey.world import Journey


class JourneyTruth:
    """A feed's noisy truth of a journey, with or without a visit's state, stages, fatigue and recent orders.

    Who does not know stages takes every pair for the usual one of a day's start, and of a content what it usually does;
    who does not know of fatigue every exposure for the day's first; who does not know of orders everybody for a user who
    bought nothing lately.
    """

    def __init__(self, journey: "Journey", noisy: NoisyTruth) -> None:
        self._journey, self._noisy = journey, noisy
        config = journey.journey
        self._knows_state = config.prediction.knows_state
        self._known = Known(config.stages.known, config.fatigue.known, config.complements.known)

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates [B, N]."""
        journey = self._journey
        if not self._knows_state:
            share = np.full(len(requests.request), journey.config.users.buying_share, np.float32)
            truth = journey.rates(seed, requests, share)
        if not all(self._known):
            truth = Rates(self._believed(requests, truth.ctr, CTR), self._believed(requests, truth.cvr, CVR))
        return self._noisy.predict(seed, requests, truth)

    def _believed(self, requests: Requests, rate: NDArray[np.float32], kind: int) -> NDArray[np.float32]:
        """The rate without the effects that are not known: its odds times ``exp(known - all)``."""
        who, effects = self._journey.candidates_of(requests), self._journey.effects
        less = effects.of(requests, who, kind, self._known) - effects.of(requests, who, kind)
        factor = np.exp(less)
        believed: NDArray[np.float32] = rate * factor / (np.float32(1.0) - rate + rate * factor)
        return believed
