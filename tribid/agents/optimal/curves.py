"""What each multiplier would have won and cost, tick by tick, on training days: the data of programmes over the budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.hindsight import slot_options
from tribid.agents.rules import FixedMultiplier
from tribid.envs.action import to_multiplier
from tribid.envs.market import Tick, reset, step
from tribid.envs.observation import field_index, observe
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world

_STEPS = 72
_RANGE = 256.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """One advertiser's training days.

    ``value`` and ``spend`` [days, ticks, M], in shares of the budget, are what the ``multipliers`` [M] (ascending, the
    first 0) of the advertiser's bid would have won and cost in each tick, by predicted rates, at the prices that the
    others' bids set, with money to spare. ``traffic_left`` [ticks] is the expected share of the day's traffic from each
    tick on. ``targeted``: whether the advertiser has a CPA or ROAS target; values count at the target, so it is met where
    value is at least spend.
    """

    multipliers: NDArray[np.float64]
    value: NDArray[np.float64]
    spend: NDArray[np.float64]
    traffic_left: NDArray[np.float64]
    targeted: bool

    @property
    def spend_to_go(self) -> NDArray[np.float64]:
        """Mean spend from each tick to the end of the day, [ticks, M]."""
        return _to_go(self.spend)

    @property
    def value_to_go(self) -> NDArray[np.float64]:
        """Mean value from each tick to the end of the day, [ticks, M]."""
        return _to_go(self.value)


def training_curves(
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int] | None = None,
    rivals: Lineup | None = None,
) -> list[Curves]:
    """The curves of each listed advertiser (all, if not listed) from one day per training seed.

    ``rivals`` drive everybody (left out, at multiplier 1); an advertiser's own bids do not enter its own curves, and its
    rivals' are taken as they were.
    """
    loaded = load_scenario(scenario)
    space, world = BidderSpace.of(loaded), build_world(loaded)
    count = len(world.advertisers)
    who = list(range(count)) if advertisers is None else list(advertisers)
    if not seeds or not all(0 <= index < count for index in who):
        raise ValueError(
            f"seeds {list(seeds)}, advertisers {who}: allowed are at least one seed, and advertisers from 0 to {count - 1}"
        )
    lineup = rivals or Lineup.of(FixedMultiplier(1.0, space=space), count)
    grid = np.append(0.0, np.geomspace(space.max_multiplier / _RANGE, space.max_multiplier, _STEPS))
    won = np.zeros((2, len(who), len(seeds), space.n_ticks, len(grid)))
    shares = np.zeros((len(seeds), space.n_ticks))
    for day, seed in enumerate(seeds):
        _play(loaded, seed, lineup, who, grid, won[:, :, day])
        shares[day] = reset(loaded, seed).day.expected_share
    left = np.cumsum(shares.mean(axis=0)[::-1])[::-1]
    a = world.advertisers
    won /= a.budget_micros[who][:, None, None, None]
    targeted = (a.target_cpa_micros > 0) | (a.target_roas > 0)
    return [
        Curves(
            multipliers=grid,
            value=won[0, place],
            spend=won[1, place],
            traffic_left=left,
            targeted=bool(targeted[index]),
        )
        for place, index in enumerate(who)
    ]


def bid_over_value(tick: Tick, advertiser: int) -> NDArray[np.float64]:
    """The bid at multiplier 1 over what a click is worth by the predicted rates, for each request of ``slot_options``.

    1 for those who bid their value. Where OCPC moves a flat bid, by its strategy "simple" (``sigma`` of
    ``tribid.auctions`` with exponent 2), which stands in for "greedy" too, whose moves depend on the others.
    """
    a, ocpc = tick.before.advertisers, tick.before.scenario.rules.ocpc
    candidate, column = tick.requests.place_of(advertiser)
    came = ~tick.slots.skipped & candidate
    pcvr = tick.predicted.cvr[came, column[came]].astype(np.float64)
    bid = a.bid_per_click[advertiser] + a.bid_per_pcvr[advertiser] * pcvr
    if ocpc.strategy in ("simple", "greedy") and a.opted_in[advertiser]:
        ratio = pcvr / max(float(a.mean_pcvr[advertiser]), 1e-12)
        bid = bid * (1.0 + ocpc.bid_range * (1.0 - 2.0 / (ratio**2 + 1.0)))
    worth = a.click_worth[advertiser] + a.conversion_worth[advertiser] * pcvr
    over: NDArray[np.float64] = bid / np.maximum(worth, 1e-12)
    return over


def fit_in_rounds(
    make: Callable[[Curves], Bidder],
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int] | None,
    rivals: Lineup | None,
    rounds: int,
) -> list[Bidder]:
    """Bidders made from the curves of days that ``rivals`` played, and made again from days that the bidders so made played.

    For the listed advertisers move each other's prices when they all bid anew.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; allowed is 1 or more")
    space, count = BidderSpace.of(scenario), len(build_world(load_scenario(scenario)).advertisers)
    who = list(range(count)) if advertisers is None else list(advertisers)
    lineup = rivals or Lineup.of(FixedMultiplier(1.0, space=space), count)
    fitted: list[Bidder] = []
    for _ in range(rounds):
        fitted = [make(curves) for curves in training_curves(scenario, seeds, advertisers=who, rivals=lineup)]
        own = {f"fitted {index}": bidder for index, bidder in zip(who, fitted, strict=True)}
        mapping = [f"fitted {i}" if i in who else name for i, name in enumerate(lineup.mapping)]
        lineup = Lineup({**lineup.bidders, **own}, mapping)
    return fitted


def purchases(
    value: NDArray[np.float64], cost: NDArray[np.float64], bid: NDArray[np.float64], multipliers: NDArray[np.float64],
    auction: str = "gsp",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Total value and cost [M] of what each multiplier m of a bid wins, requests [n] with K slots at the prices to beat.

    ``value`` and ``cost`` are [n, K] (``tribid.agents.hindsight.slot_options``), ``bid`` [n] is the bid at multiplier 1
    over the value. A slot is won where ``m * bid * value >= cost``, the best such slot; under VCG it is the one with the
    most ``m * bid * value - cost``, and under first price what is won costs the bid.

    >>> value, cost = np.array([[10.0], [9], [8], [3], [2]]), np.array([[2.0], [3], [4], [1], [4]])
    >>> [total.tolist() for total in purchases(value, cost, np.ones(5), np.array([0.4, 0.51]))]
    [[22.0, 30.0], [6.0, 10.0]]
    """
    v, c, b, m = (np.ascontiguousarray(part, np.float64) for part in (value, cost, bid, multipliers))
    won = np.zeros((3, len(multipliers) + 1))
    if auction == "vcg":
        _by_surplus(v, c, b, m, won)
        return won[0, :-1], won[1, :-1]
    _by_price(v, c, b, m, won)
    total = np.cumsum(won, axis=1)[:, :-1]
    return total[0], multipliers * total[2] if auction == "first_price" else total[1]


class Clock:
    """Reads from observations how much traffic and budget are left."""

    def __init__(self, space: BidderSpace) -> None:
        self._ticks = space.n_ticks
        names = ("traffic_now", "traffic_after", "budget_left")
        self._now, self._after, self._budget = (field_index(name, space.segments) for name in names)

    def read(self, seen: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the day's traffic (this tick's included) and of the budget that are left, each [n]."""
        traffic = seen[:, self._after] + 4.0 * seen[:, self._now] / self._ticks
        return traffic, seen[:, self._budget]


def _play(
    scenario: Scenario, seed: int, lineup: Lineup, who: list[int], grid: NDArray[np.float64], won: NDArray[np.float64]
) -> None:
    """One day; ``won`` [2, len(who), ticks, M] gets value and cost in micros."""
    state, states = reset(scenario, seed), dict[str, Any]()
    while not state.done:
        actions, states = lineup.act(observe(state), states)
        state, tick = step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        for place, index in enumerate(who):
            value, cost = slot_options(state, tick, index, predicted=True)
            bid = bid_over_value(tick, index)
            won[:, place, tick.number] = purchases(value, cost, bid, grid, scenario.rules.auction)


def _to_go(per_tick: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = per_tick.mean(axis=0)
    total: NDArray[np.float64] = np.cumsum(mean[::-1], axis=0)[::-1]
    return total


@njit(cache=True, error_model="numpy")
def _by_price(value: Any, cost: Any, bid: Any, multipliers: Any, change: Any) -> None:
    """What changes [3, M + 1] from one multiplier to the next: value, cost, and the value times the bid of what is won.

    Slot k is won from ``cost / (bid * value)`` on, up to where a better slot is.
    """
    for i in range(value.shape[0]):
        above = multipliers.shape[0]
        for k in range(value.shape[1]):
            worth = bid[i] * value[i, k]
            if worth <= 0.0:
                continue
            least = np.searchsorted(multipliers, cost[i, k] / worth)
            if multipliers[min(least, multipliers.shape[0] - 1)] <= 0.0:
                least += 1  # the multiplier 0 takes no part
            if least < above:
                change[0, least] += value[i, k]
                change[1, least] += cost[i, k]
                change[2, least] += worth
                change[0, above] -= value[i, k]
                change[1, above] -= cost[i, k]
                change[2, above] -= worth
                above = least


@njit(cache=True, error_model="numpy")
def _by_surplus(value: Any, cost: Any, bid: Any, multipliers: Any, won: Any) -> None:
    for i in range(value.shape[0]):
        for m in range(multipliers.shape[0]):
            offered = multipliers[m] * bid[i]
            best, slot = 0.0, -1
            for k in range(value.shape[1]):
                surplus = offered * value[i, k] - cost[i, k]
                if surplus > best:
                    best, slot = surplus, k
            if slot >= 0:
                won[0, m] += value[i, slot]
                won[1, m] += cost[i, slot]
