"""What an advertiser sees before a tick: its own money, goals and results, the clock, and the traffic to come.

Nobody's current bid is in it. How much of the auctions' outcomes it holds is the scenario's ``rules.feedback``: ``none``
(own events and spend alone), ``win_lose`` (and the win rate), ``price`` (and the mean price paid), ``min_to_win`` (and
the mean gap between the own score and the score to beat).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.action import to_action
from tribid.envs.market import Ledger, MarketState
from tribid.envs.scenario import MICROS, OBJECTIVES

_FEEDBACK = {"none": 0, "win_lose": 1, "price": 2, "min_to_win": 3}
_WINDOWS = ("last_tick", "last_three", "day")


class Field(NamedTuple):
    """One number of an observation: its name, its bounds, and what it says."""

    name: str
    low: float
    high: float
    meaning: str


def _window_fields(window: str) -> list[Field]:
    return [
        Field(f"win_rate_{window}", 0, 1, "slots won per request served"),
        Field(f"price_{window}", -1, 1, "log10 of mean price per click of slots won over the unit bid; 0 without wins"),
        Field(f"gap_{window}", -1, 1, "mean of own score / score to beat - 1, cut to [-1, 1]"),
        Field(f"clicks_{window}", 0, 1, "log10(1 + clicks) / 5"),
        Field(f"conversions_{window}", 0, 1, "log10(1 + conversions) / 5"),
        Field(f"value_{window}", 0, 1, "money value won over the budget, v / (1 + v)"),
    ]


@cache
def fields(segments: int = 1) -> tuple[Field, ...]:
    """The observation index by index; with S user segments the last action takes S places.

    >>> fields()[0].name, len(fields())
    ('time_left', 36)
    """
    return (
        Field("time_left", 0, 1, "share of the day's ticks still to come"),
        Field("budget_left", 0, 1, "share of the budget not spent"),
        Field("budget_size", 0, 1, "log10(1 + budget in currency units) / 9"),
        *(Field(f"objective_{name}", 0, 1, f"1 if the objective is {name}") for name in OBJECTIVES),
        Field(
            "target_size", -1, 1, "log10 of the CPA target over the unit bid / 4, or of the ROAS target / 4; 0 without"
        ),
        Field(
            "cpa_slack", -1, 1, "1 - CPA / target, cut; CPA counts one conversion at target on top; 0 without target"
        ),
        Field("roas_slack", -1, 1, "ROAS / target - 1, cut; counts one conversion at target on top; 0 without target"),
        Field("spend_over_plan", -1, 1, "share of budget spent minus share of traffic expected so far"),
        Field("spend_pace", -1, 1, "x / (1 + |x|) of last tick's spend over its planned spend - 1; 0 at the start"),
        *(field for window in _WINDOWS for field in _window_fields(window)),
        *(Field(f"last_action_{s}", -1, 1, "the action of the last tick (0 at the start)") for s in range(segments)),
        Field("traffic_now", 0, 1, "expected share of this tick times ticks, over 4"),
        Field("traffic_after", 0, 1, "expected share of the ticks after this one"),
        Field("pctr", -1, 1, "log10 of the mean predicted click rate / 4 + 0.5: last tick's, or the ad's usual one"),
        Field("pcvr", -1, 1, "log10 of the mean predicted conversion rate / 4 + 0.5: last tick's, or the usual one"),
    )


def field_index(name: str, segments: int = 1) -> int:
    """The place of a named number.

    >>> field_index("budget_left")
    1
    """
    names = [field.name for field in fields(segments)]
    if name not in names:
        raise ValueError(f"no observation field named {name!r}; choose {', '.join(names)}")
    return names.index(name)


@cache
def bounds(segments: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and largest value of each number, float32 [D], read-only."""
    described = fields(segments)
    low, high = (np.array([getattr(f, side) for f in described], np.float32) for side in ("low", "high"))
    low.flags.writeable = high.flags.writeable = False
    return low, high


def observe(state: MarketState) -> NDArray[np.float32]:
    """What every advertiser sees before tick ``state.tick``, float32 [A, D] (of M days: [M, A, D]).

    After the last tick, the day's close.
    """
    parts = [
        *_money_and_goals(state),
        *_pace(state),
        *(column for window in _windows(state) for column in _results(state, window)),
        *_clock(state),
    ]
    low, high = bounds(state.world.n_segments)
    seen = np.empty((*state.left_micros.shape, len(low)))
    for place, part in enumerate(parts):
        seen[..., place] = part
    return np.minimum(np.maximum(seen, low), high).astype(np.float32)


def market_view(state: MarketState) -> NDArray[np.float32]:
    """The whole market for a centralised critic, float32 [A * D + A + 1]: all observations, spends, platform revenue.

    Spends are shares of the budgets; the platform's revenue is a share of all budgets.
    """
    if state.days:
        raise ValueError(
            f"the state holds {len(state.days)} days; allowed is one, for which the whole market is one view"
        )
    budget = state.advertisers.budget_micros
    spent = budget - state.left_micros
    return np.concatenate([observe(state).ravel(), spent / budget, [spent.sum() / budget.sum()]]).astype(np.float32)


def _money_and_goals(state: MarketState) -> list[NDArray[np.float64]]:
    a, total, ticks = state.advertisers, state.total, state.world.n_ticks
    n, spend = len(a), state.total.spend_micros
    cpa, roas = a.target_cpa_micros, a.target_roas
    cost_per = (spend + cpa) / (total.counts.conversions + 1.0)
    gmv = total.counts.conversions * a.price_micros
    at_target = np.divide(a.price_micros, roas, out=np.ones(n), where=roas > 0)
    returned = (gmv + a.price_micros) / (spend + at_target)
    size = np.where(cpa > 0, np.log10(np.maximum(cpa, 1) / np.maximum(a.unit_bid_micros, 1.0)), 0.0)
    size = np.where(roas > 0, np.log10(np.maximum(roas, 1e-9)), size) / 4.0
    return [
        np.full(n, 1.0 - state.tick / ticks),
        state.left_micros / a.budget_micros,
        np.log10(1.0 + a.budget_micros / MICROS) / 9.0,
        *(np.asarray(a.objective == k, np.float64) for k in range(len(OBJECTIVES))),
        size,
        np.where(cpa > 0, 1.0 - cost_per / np.maximum(cpa, 1), 0.0),
        np.where(roas > 0, returned / np.maximum(roas, 1e-9) - 1.0, 0.0),
    ]


def _pace(state: MarketState) -> list[NDArray[np.float64]]:
    budget, share = state.advertisers.budget_micros, state.day.expected_share
    so_far = share[: state.tick].sum()
    over = state.total.spend_micros / budget - so_far
    if not state.recent:
        return [over, np.zeros(len(budget))]
    planned = np.maximum(budget * share[state.tick - 1], 1.0)
    return [over, _squash(state.recent[0].spend_micros / planned - 1.0)]


def _windows(state: MarketState) -> list[Ledger | None]:
    if not state.recent:
        return [None, None, None]
    three = state.recent[0]
    for ledger in state.recent[1:]:
        three = three + ledger
    return [state.recent[0], three, state.total]


def _results(state: MarketState, window: Ledger | None) -> list[NDArray[np.float64]]:
    a, told = state.advertisers, _FEEDBACK[state.scenario.rules.feedback]
    nothing = np.zeros(len(a))
    if window is None:
        return [nothing] * 6
    counts = window.counts
    unit = a.unit_bid_micros * (a.mean_pctr if state.scenario.rules.charge == "impression" else 1.0)
    paid = np.log10(np.maximum(counts.price, 1.0) / np.maximum(counts.wins, 1.0) / np.maximum(unit, 1e-9))
    value = a.money_value(counts.clicks, counts.conversions) / a.budget_micros
    return [
        counts.wins / np.maximum(counts.served, 1.0) if told >= 1 else nothing,
        np.where(counts.wins > 0, paid, 0.0) if told >= 2 else nothing,
        counts.gap / np.maximum(counts.took_part, 1.0) if told >= 3 else nothing,
        np.log10(1.0 + counts.clicks) / 5.0,
        np.log10(1.0 + counts.conversions) / 5.0,
        value / (1.0 + value),
    ]


def _clock(state: MarketState) -> list[NDArray[np.float64]]:
    a, share, tick = state.advertisers, state.day.expected_share, state.tick
    most = state.scenario.rules.max_multiplier
    action = to_action(state.multipliers, most)
    now = share[tick] * state.world.n_ticks / 4.0 if not state.done else 0.0
    pctr, pcvr = a.mean_pctr, a.mean_pcvr
    if state.recent:
        served = np.maximum(state.recent[0].counts.served, 1.0)
        any_served = state.recent[0].counts.served > 0
        pctr = np.where(any_served, state.recent[0].counts.pctr / served, pctr)
        pcvr = np.where(any_served, state.recent[0].counts.pcvr / served, pcvr)
    return [
        *np.moveaxis(action, -1, 0),
        np.asarray(now),
        np.asarray(share[tick + 1 :].sum()),
        np.log10(np.maximum(pctr, 1e-9)) / 4.0 + 0.5,
        np.log10(np.maximum(pcvr, 1e-9)) / 4.0 + 0.5,
    ]


def _squash(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / (1.0 + np.abs(x))
