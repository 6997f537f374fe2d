"""AuctionNet's 16 numbers for an agent before a tick, computed from the records of a market's ticks.

Su et al., "AuctionNet: a novel benchmark for decision-making in large-scale games" (NeurIPS 2024), as the released
trajectory generator and strategies compute them: a mean over ticks is the plain mean of the ticks' own means, however
many requests each had, and it is 0 before the first. AuctionNet pays per exposure, so bids, costs and values are per
exposure here too: where a market charges clicks, a bid per click counts times the predicted click rate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.score import quality_weights
from tribid.envs.market import Tick
from tribid.envs.scenario import MICROS, Rules

STATE16_FIELDS: tuple[tuple[str, str], ...] = (
    ("time_left", "share of the day's ticks still to come, this one included"),
    ("budget_left", "share of the budget not spent"),
    ("bid_day", "mean bid per exposure, in currency units, over the day's ticks so far"),
    ("bid_last_three", "the same over the last three ticks"),
    ("least_winning_cost_day", "mean over the day of the least bid per exposure that wins a slot, in currency units"),
    ("pvalue_day", "mean predicted conversions per exposure, over the day"),
    ("conversion_day", "mean conversions per request, over the day"),
    ("xi_day", "mean share of requests won, over the day"),
    ("least_winning_cost_last_three", "as over the day, over the last three ticks"),
    ("pvalue_last_three", "as over the day, over the last three ticks"),
    ("conversion_last_three", "as over the day, over the last three ticks"),
    ("xi_last_three", "as over the day, over the last three ticks"),
    ("pvalue_now", "mean predicted conversions per exposure of this tick's requests"),
    ("requests_now", "this tick's requests"),
    ("requests_last_three", "requests of the last three ticks"),
    ("requests_day", "requests of the day so far"),
)
"""Name and meaning of each number, in AuctionNet's order."""

_HISTORY = ("bid", "least_winning_cost", "pvalue", "conversion", "xi")
_WINDOW = 3


class TickMeans(NamedTuple):
    """What a tick adds to the state, each [A]: means over an advertiser's requests, and how many there were.

    ``bid`` and ``least_winning_cost`` are in currency units per exposure. ``requests`` counts the requests that came and
    found the advertiser a candidate; ``expected`` and ``pvalue_now`` are told before the tick, when nobody knows yet
    which visits will end early.
    """

    bid: NDArray[np.float64]
    least_winning_cost: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    conversion: NDArray[np.float64]
    xi: NDArray[np.float64]
    requests: NDArray[np.float64]
    pvalue_now: NDArray[np.float64]
    expected: NDArray[np.float64]


def tick_means(tick: Tick) -> TickMeans:
    """A tick's means for every advertiser.

    The bid is the multiplier times the unit bid, cut to the cap and to what was left before the tick, before OCPC adjusts
    it. The least winning cost is AuctionNet's: what beats the best score that won no slot (which may be the own one), at
    least the reserve.
    """
    slots, count = tick.slots, len(tick.before.advertisers)
    who = tick.requests.candidates
    shape = tick.predicted.ctr.shape
    owner = np.broadcast_to(np.arange(count), shape) if who is None else who.astype(np.int64)
    came = ~slots.skipped
    value = tick.predicted.ctr.astype(np.float64) * tick.predicted.cvr

    def total(numbers: NDArray[np.float64], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(owner[rows].ravel(), numbers[rows].ravel(), minlength=count).astype(np.float64)

    everywhere, one = np.ones(shape[0], np.bool_), np.ones(shape)
    requests, expected = total(one, came), total(one, everywhere)
    won = slots.winner >= 0
    conversions = np.bincount(slots.winner[won], slots.converted[won], minlength=count)
    wins = np.bincount(slots.winner[won], minlength=count)
    bid, cost = _per_exposure(tick, owner)
    served = np.maximum(requests, 1.0)
    return TickMeans(
        bid=total(bid, came) / served,
        least_winning_cost=total(cost, came) / served,
        pvalue=total(value, came) / served,
        conversion=conversions / served,
        xi=wins / served,
        requests=requests,
        pvalue_now=total(value, everywhere) / np.maximum(expected, 1.0),
        expected=expected,
    )


def state16(means: Sequence[TickMeans], budget_left: NDArray[np.float64]) -> NDArray[np.float32]:
    """The states before each of a day's T ticks, float32 [T, A, 16]; ``budget_left`` [T, A] is a share.

    Ticks in which an advertiser had no request are left out of its means.
    """
    ticks, count = budget_left.shape
    if len(means) != ticks:
        raise ValueError(f"{len(means)} ticks for budgets of {ticks}; allowed is one each")
    states = np.zeros((ticks, count, len(STATE16_FIELDS)))
    states[..., 0] = ((ticks - np.arange(ticks)) / ticks)[:, None]
    states[..., 1] = budget_left
    served = np.stack([tick.requests for tick in means])
    day = {name: _mean_before([getattr(tick, name) for tick in means], served, ticks) for name in _HISTORY}
    three = {name: _mean_before([getattr(tick, name) for tick in means], served, _WINDOW) for name in _HISTORY}
    order = [day["bid"], three["bid"], *(day[name] for name in _HISTORY[1:]), *(three[name] for name in _HISTORY[1:])]
    states[..., 2:12] = np.stack(order, axis=-1)
    states[..., 12] = [tick.pvalue_now for tick in means]
    states[..., 13] = [tick.expected for tick in means]
    states[..., 14] = _sum_before(served, _WINDOW)
    states[..., 15] = _sum_before(served, ticks)
    return states.astype(np.float32)


def _per_exposure(tick: Tick, owner: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each candidate's bid and its least winning cost, [B, N] in currency units per exposure."""
    rules, a, before = tick.before.scenario.rules, tick.before.advertisers, tick.before
    per_impression = rules.charge == "impression"
    pctr = tick.predicted.ctr.astype(np.float64)
    multiplier = tick.multipliers[owner, tick.requests.segment[:, None]]
    asked = multiplier * (a.bid_per_click[owner] + a.bid_per_pcvr[owner] * tick.predicted.cvr)
    limit = np.minimum(a.cap_micros, before.left_micros)[owner]
    bid = np.minimum(asked * pctr if per_impression else asked, limit)
    weight = _weights(rules, pctr, tick.predicted.cvr)
    to_beat = np.maximum(tick.slots.runner_up_score, 0.0)[:, None]
    least = np.divide(to_beat, weight, out=np.zeros_like(weight), where=weight > 0)
    least = np.maximum(least, tick.requests.reserve_micros[:, None])
    if not per_impression:
        bid, least = bid * pctr, least * pctr
    return bid / MICROS, least / MICROS


def _weights(rules: Rules, pctr: NDArray[np.float64], pcvr: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a bid is multiplied by in the ranking, [B, N]; see ``tribid.envs.decision``."""
    weight = np.ones_like(pctr) if rules.charge == "impression" else quality_weights(pctr, rules.squash)
    return weight * pcvr if rules.ocpc.strategy == "conversion_rank" else weight


def _mean_before(means: Sequence[NDArray[np.float64]], served: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over the ``window`` ticks before each tick in which an advertiser was served, [T, A]; 0 where there is none."""
    seen = (served > 0).astype(np.float64)
    total = _sum_before(np.stack(means) * seen, window)
    return total / np.maximum(_sum_before(seen, window), 1.0)


def _sum_before(numbers: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sum over the ``window`` ticks before each tick, [T, A]."""
    summed = np.vstack([np.zeros((1, numbers.shape[1])), np.cumsum(numbers, axis=0)])
    last = np.arange(len(numbers))
    before: NDArray[np.float64] = summed[last] - summed[np.maximum(last - window, 0)]
    return before
