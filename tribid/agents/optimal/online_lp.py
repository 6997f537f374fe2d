"""OnlineLP: at each tick the multiplier that would have spent what is left of the budget on what was left of past days.

The baseline of AuctionNet (Su, Huo, Zhang, Dou, Yu, Xu, Lu and Zheng, NeurIPS 2024), there after Hao and others, "Dynamic
knapsack optimization towards efficient multi-channel sequential advertising" (ICML 2020). As published: each impression of
the training period has its price per value, "realCPA"; a table holds, for each tick and category of advertisers, realCPA
in order with the cumulative cost; the bid per value alpha is the first realCPA whose cumulative cost exceeds the budget
left, the target CPA where there is none, and never above 1.5 times the target CPA. That is a greedy knapsack, and where the
cumulative cost is that of the rest of the day, alpha is one over the dual price of the budget left.

Here the table says what each multiplier of the advertiser's own bid would have spent from each tick on, over the slots that
it would have won at the prices to beat of training days, by predicted rates (``tribid.agents.optimal.curves``); it is read
by the shares of traffic and budget left. Where a page has one slot and the bid is the value, that is the published table,
and the multiplier is one over the dual price of the budget that is left.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Actions, Bidder, BidderSpace, Lineup
from tribid.agents.optimal.curves import Clock, Curves, fit_in_rounds
from tribid.envs.scenario import Scenario

Targets = Literal["cap", "price"]
TARGETS: tuple[Targets, ...] = ("cap", "price")

CAP = 1.5
"""The most that a value may be bid at, over its target, as published."""


class OnlineLp:
    """Looks up the multiplier whose spend to go meets the budget left; keeps no state.

    ``targets`` says how an advertiser's CPA or ROAS target is kept. "cap", as published: never above 1.5 times the target,
    and the target itself where the budget does not bind. "price": never above the multiplier at which value to go equals
    spend to go, the dual of both constraints together. Without a target a budget that does not bind leaves the highest
    multiplier, for the score does not subtract payments.
    """

    def __init__(self, curves: Curves, *, space: BidderSpace, targets: Targets = "price") -> None:
        if targets not in TARGETS:
            raise ValueError(f"no way to keep targets named {targets!r}; choose {', '.join(TARGETS)}")
        self.space = space
        self.multipliers = curves.multipliers
        order = np.argsort(curves.traffic_left, kind="stable")
        self.traffic = curves.traffic_left[order]
        self.spend_to_go = curves.spend_to_go[order]
        self.most = _most(curves, space, targets)[order]
        self.unbound = np.minimum(self.most, 1.0) if curves.targeted and targets == "cap" else self.most
        self._clock = Clock(space)

    def multiplier(self, traffic_left: float, budget_left: float) -> float:
        """The multiplier for these shares of the day's traffic and of the budget left."""
        most, unbound = (float(np.interp(traffic_left, self.traffic, part)) for part in (self.most, self.unbound))
        spend = _row_at(traffic_left, self.traffic, self.spend_to_go)
        if budget_left >= spend[-1]:
            return unbound
        first = int(np.searchsorted(spend, budget_left, side="right"))
        low, high = spend[first - 1], spend[first]
        share = (budget_left - low) / (high - low)
        found = self.multipliers[first - 1] + share * (self.multipliers[first] - self.multipliers[first - 1])
        return float(min(found, most))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """Actions [n, d], each row by its own clock and purse."""
        seen = self.space.rows(observation)
        found = [self.multiplier(*left) for left in zip(*self._clock.read(seen), strict=True)]
        return self.space.actions(np.array(found, np.float64), len(seen)), None


def fit_online_lp(
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int] | None = None,
    rivals: Lineup | None = None,
    targets: Targets = "price",
    rounds: int = 2,
) -> list[Bidder]:
    """One ``OnlineLp`` for each listed advertiser (all, if not listed); plays ``rounds`` days for each training seed."""
    space = BidderSpace.of(scenario)

    def make(curves: Curves) -> Bidder:
        return OnlineLp(curves, space=space, targets=targets)

    return fit_in_rounds(make, scenario, seeds, advertisers=advertisers, rivals=rivals, rounds=rounds)


def _most(curves: Curves, space: BidderSpace, targets: Targets) -> NDArray[np.float64]:
    """The highest multiplier that the target allows from each tick on, [ticks]."""
    ticks = len(curves.traffic_left)
    if not curves.targeted:
        return np.full(ticks, space.max_multiplier)
    if targets == "cap":
        return np.full(ticks, min(CAP, space.max_multiplier))
    room = curves.value_to_go - curves.spend_to_go
    most = np.empty(ticks)
    for tick, row in enumerate(room):
        most[tick] = curves.multipliers[np.flatnonzero(row >= 0)[-1]]
    return most


def _row_at(at: float, places: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The row of a table [ticks, M] between those at ``places`` [ticks] (ascending); held beyond both ends."""
    above = int(np.clip(np.searchsorted(places, at), 1, len(places) - 1)) if len(places) > 1 else 0
    below = max(above - 1, 0)
    gap = places[above] - places[below]
    share = float(np.clip((at - places[below]) / gap, 0.0, 1.0)) if gap > 0 else 0.0
    row: NDArray[np.float64] = (1.0 - share) * rows[below] + share * rows[above]
    return row
