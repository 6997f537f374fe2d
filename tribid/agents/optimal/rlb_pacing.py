"""RLB by the tick: the dynamic programme over traffic left and budget left, on what multipliers won on training days.

RLB (Cai and others, WSDM 2017; ``tribid.agents.optimal.rlb``) decides every auction: it bids the largest d with ``theta +
V(n-1, b-d) - V(n-1, b) >= 0``. A price is small against the budget, so that is ``d <= theta / V'(b)``, the value over what
a unit of budget is worth: one ratio for all auctions of a tick. Hence the tick's programme chooses a multiplier,

    V_t(b) = max over m of the mean over training days of  f v_t(m) + V_{t+1}(b - f s_t(m)),  f = min(1, b / s_t(m)),

where v_t(m) and s_t(m) are what m would have won and cost in tick t of that day; with less money than that, the share f of
it is bought. Where the best m lies inside, the last auction won has ``v / c = 1 / m``, so ``m = 1 / V'_{t+1}(b - s)``: the
ratio again. The days stand for the chance in a tick, and ticks are taken as independent of each other.

A target enters by its price p, as in a Lagrangian: v becomes ``(1 + p) v - p s``, with the least p for which the programme
expects to meet the target over the whole day. What a day has shown of its target so far is not looked at.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Actions, Bidder, BidderSpace, Lineup
from tribid.agents.optimal.curves import Clock, Curves, fit_in_rounds
from tribid.envs.scenario import Scenario

_BUDGETS = 257
_HIGHEST_PRICE = 64.0
_HALVINGS = 16


class Programme(NamedTuple):
    """``multiplier`` [ticks, G] is the best one, ``value`` and ``spend`` [ticks + 1, G] what is expected from a tick on."""

    budgets: NDArray[np.float64]
    multiplier: NDArray[np.float64]
    objective: NDArray[np.float64]
    value: NDArray[np.float64]
    spend: NDArray[np.float64]

    @property
    def room(self) -> float:
        """What a day with the whole budget is expected to leave under the target."""
        return float(self.value[0, -1] - self.spend[0, -1])


def budget_programme(curves: Curves, *, target_price: float = 0.0, budgets: int = _BUDGETS) -> Programme:
    """Solve the programme backwards on ``budgets`` equal shares of the budget from 0 to 1, linear in between.

    ``objective`` is V; without a target price it is ``value``.
    """
    days, ticks, _ = curves.value.shape
    grid = np.linspace(0.0, 1.0, budgets)
    best = np.zeros((ticks, budgets))
    ahead = np.zeros((3, ticks + 1, budgets))
    row = np.arange(budgets)
    for tick in reversed(range(ticks)):
        total = np.zeros((3, budgets, len(curves.multipliers)))
        for day in range(days):
            value, spend = curves.value[day, tick], curves.spend[day, tick]
            share = np.minimum(1.0, grid[:, None] / np.maximum(spend, 1e-300))
            left = grid[:, None] - share * spend
            parts = ((1.0 + target_price) * value - target_price * spend, value, spend)
            for k, part in enumerate(parts):
                total[k] += share * part + np.interp(left, grid, ahead[k, tick + 1])
        total /= days
        choice = total[0].argmax(axis=1)
        best[tick] = curves.multipliers[choice]
        ahead[:, tick] = total[:, row, choice]
    return Programme(grid, best, *ahead)


def target_price(curves: Curves, *, budgets: int = _BUDGETS) -> float:
    """The least price of the target for which the programme expects to meet it; 0 where it does anyway."""
    if not curves.targeted or budget_programme(curves, budgets=budgets).room >= 0:
        return 0.0
    low, high = 0.0, _HIGHEST_PRICE
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        met = budget_programme(curves, target_price=middle, budgets=budgets).room >= 0
        low, high = (low, middle) if met else (middle, high)
    return high


class RlbPacing:
    """Looks up the programme's multiplier by the shares of traffic and budget left; keeps no state."""

    def __init__(self, curves: Curves, *, space: BidderSpace, budgets: int = _BUDGETS) -> None:
        self.space = space
        price = target_price(curves, budgets=min(budgets, 65))
        programme = budget_programme(curves, target_price=price, budgets=budgets)
        order = np.argsort(curves.traffic_left, kind="stable")
        self.traffic = curves.traffic_left[order]
        self.budgets = programme.budgets
        self.table = programme.multiplier[order]
        self.target_price = price
        self._clock = Clock(space)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """Actions [n, d], each row by its own clock and purse."""
        seen = self.space.rows(observation)
        traffic, budget = self._clock.read(seen)
        tick = np.interp(traffic, self.traffic, np.arange(len(self.traffic)))
        below = np.floor(tick).astype(np.int64)
        above = np.minimum(below + 1, len(self.traffic) - 1)
        found = [
            (1.0 - part) * np.interp(left, self.budgets, self.table[b])
            + part * np.interp(left, self.budgets, self.table[a])
            for left, part, b, a in zip(budget, tick - below, below, above, strict=True)
        ]
        return self.space.actions(np.array(found, np.float64), len(seen)), None


def fit_rlb(
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int] | None = None,
    rivals: Lineup | None = None,
    rounds: int = 2,
) -> list[Bidder]:
    """One ``RlbPacing`` for each listed advertiser (all, if not listed); plays ``rounds`` days for each training seed."""
    space = BidderSpace.of(scenario)

    def make(curves: Curves) -> Bidder:
        return RlbPacing(curves, space=space)

    return fit_in_rounds(make, scenario, seeds, advertisers=advertisers, rivals=rivals, rounds=rounds)
