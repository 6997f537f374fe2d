"""ORTB: the bid that buys the most value for a budget when the chance to win is a known concave function of the bid.

Zhang, Yuan and Wang, "Optimal real-time bidding for display advertising" (KDD 2014), ORTB1: with the winning curve
``w(b) = b / (c + b)``, maximising ``sum of theta w(b(theta))`` subject to ``sum of b(theta) w(b(theta)) <= budget`` gives
``b(theta) = sqrt(c theta / lambda + c^2) - c``. As in the paper, a win is counted as costing the own bid; in an auction
whose price is lower the budget lasts longer than planned.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.control.gauge import carried
from tribid.envs.observation import field_index
from tribid.envs.scenario import OBJECTIVES


def ortb_bid(theta: ArrayLike, c: float, lam: float) -> NDArray[np.float64]:
    """The optimal bid ``sqrt(c theta / lambda + c^2) - c``, shaped as ``theta`` (values from 0); c and lambda above 0.

    Computed as ``x / (1 + sqrt(1 + x / c))`` with ``x = theta / lambda``, which loses no digits where c is large.

    >>> round(float(ortb_bid(0.001, 50.0, 5e-6)), 8)
    61.80339887
    """
    for name, number in (("c", c), ("lam", lam)):
        if not 0 < number < math.inf:
            raise ValueError(f"{name} is {number!r}; allowed is a finite number above 0")
    ratio = np.asarray(theta, np.float64) / lam
    bid: NDArray[np.float64] = ratio / (1.0 + np.sqrt(1.0 + ratio / c))
    return bid


class Usual(NamedTuple):
    """What ``Ortb`` carries from tick to tick, each [n]: the log10 click and conversion rates at the day's start."""

    pctr: NDArray[np.float64]
    pcvr: NDArray[np.float64]


class Ortb:
    """ORTB per tick: the bid for the mean predicted value of the impressions seen last, as a multiplier of the unit bid.

    The formula is per impression, the market's action one multiplier per tick. So theta is the mean value of an impression
    over its usual one, from the mean predicted click and conversion rates of the last tick over those shown at the
    day's start (a click alone is worth something to ``max_clicks``, a click times a conversion to the rest), and c and the
    bid are in units of the usual unit bid per impression. The multiplier is ``b(theta)`` over what the unit bid has become,
    so the bid grows more slowly than the value from tick to tick; within a tick all bids share the multiplier, and the
    formula's non-linearity between impressions is lost. Budget left, pace and targets are ignored, as in the paper.

    ``by_value`` says whether the unit bid is in proportion to each request's predicted conversion rate (bid form ``value``);
    None takes the scenario's default, that it is for the objectives with a target. The defaults of c and lambda bid the
    usual unit bid at the usual value; ``tribid.agents.control.ortb_fit`` fits them.
    """

    C = 1.0
    LAMBDA = 1.0 / 3.0

    def __init__(self, *, space: BidderSpace, c: float = C, lam: float = LAMBDA, by_value: bool | None = None) -> None:
        ortb_bid(0.0, c, lam)  # raises for a c or lambda that is not allowed
        self.space = space
        self.c, self.lam, self.by_value = float(c), float(lam), by_value
        self._rates = [field_index(name, space.segments) for name in ("pctr", "pcvr")]
        self._objectives = [field_index(f"objective_{name}", space.segments) for name in OBJECTIVES]

    def predict(
        self, observation: Any, state: Usual | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Usual]:
        """Actions [n, d], and the rates at the day's start to carry on."""
        seen = self.space.rows(observation)
        shown = 4.0 * (seen[:, self._rates] - 0.5)
        usual = carried(Usual(shown[:, 0], shown[:, 1]), state, episode_start)
        click, conversion = 10.0 ** (shown[:, 0] - usual.pctr), 10.0 ** (shown[:, 1] - usual.pcvr)
        objective = seen[:, self._objectives]
        clicks_alone = objective[:, OBJECTIVES.index("max_clicks")] > 0
        by_value = objective[:, [name.startswith("target") for name in OBJECTIVES]].any(axis=1)
        if self.by_value is not None:
            by_value = np.full(len(seen), self.by_value)
        theta = click * np.where(clicks_alone, 1.0, conversion)
        unit = click * np.where(by_value, conversion, 1.0)
        return self.space.actions(ortb_bid(theta, self.c, self.lam) / unit, len(seen)), usual
