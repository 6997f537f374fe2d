"""Bidders that need no feedback: a fixed multiplier, the own value, chance, and staying out."""

import math
from typing import Any

import numpy as np

from tribid.agents.bidder import Actions, BidderSpace, fresh_rows
from tribid.envs.chance import Stream, uniforms


class FixedMultiplier:
    """Bids the unit value times a fixed multiplier, whatever happens.

    ``multiplier`` is from 0 to the scenario's ``rules.max_multiplier``.

    >>> space = BidderSpace.of("tiny")
    >>> actions, _ = FixedMultiplier(8.0, space=space).predict(np.zeros((2, 36), np.float32))
    >>> actions.tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, multiplier: float = 1.0, *, space: BidderSpace) -> None:
        if not 0 <= multiplier <= space.max_multiplier:
            raise ValueError(f"multiplier is {multiplier!r}; allowed is a number from 0 to {space.max_multiplier:g}")
        self.multiplier = float(multiplier)
        self.space = space

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The same action [n, d] for every row."""
        return self.space.actions(self.multiplier, len(self.space.rows(observation))), None


class Truthful(FixedMultiplier):
    """Bids its unit value: multiplier 1. Truthful in the sense of an auction where that is optimal, VCG.

    An advertiser of bid form ``value`` bids in proportion to each request's predicted conversion rate, one of form
    ``flat`` its base bid.
    """

    def __init__(self, *, space: BidderSpace) -> None:
        super().__init__(1.0, space=space)


class Off(FixedMultiplier):
    """Stays out: multiplier 0, so it bids, wins and spends nothing."""

    def __init__(self, *, space: BidderSpace) -> None:
        super().__init__(0.0, space=space)


class RandomBidder:
    """Uniform actions in [-1, 1], a pure function of seed, tick of the day, row and segment.

    The state is the number of ticks played, int64 [n]. It knows no day: give each day another seed where days should
    differ.
    """

    def __init__(self, *, space: BidderSpace, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
            raise ValueError(f"seed is {seed!r}; allowed is a whole number from 0 to {2**63 - 1}")
        self.space = space
        self.seed = int(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Any]:
        """Actions [n, d]; ``deterministic`` changes nothing, for there is no mean action to prefer."""
        n, segments = len(self.space.rows(observation)), self.space.segments
        tick = np.zeros(n, np.int64) if state is None else np.where(fresh_rows(episode_start, n), 0, state)
        words = math.ceil(segments / 4)
        request = np.repeat(tick[:, None], words, axis=1)
        ad = np.arange(n)[:, None] * words + np.arange(words)
        draws = uniforms(self.seed, Stream.POLICY, request=request, ad=ad).reshape(n, words * 4)[:, :segments]
        return (2.0 * draws - 1.0).astype(np.float32), tick + 1
