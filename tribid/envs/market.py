"""The market's rules as pure functions: ``reset`` opens a day, ``step`` plays one tick of it; ``*_many`` do M days at once.

A state is never changed; ``step`` returns the next one and the record of what happened. Budgets are hard: a bid is
capped at what its advertiser has left when its request comes, so a charge always fits.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.advertisers import Advertisers
from tribid.envs.decision import beliefs_of, law_of, slot_effects_of
from tribid.envs.given import check_whole
from tribid.envs.places import NOBODY, multipliers_on, places_of_requests
from tribid.envs.platform import Forecaster, Platform, Rates, Requests
from tribid.envs.scenario import Scenario
from tribid.envs.settlement import Counts, Slots, counts_of, new_counts, new_slots, settle_table, slots_of
from tribid.envs.workspace import workspace
from tribid.envs.world import (
    Arrivals,
    Day,
    DirectWorld,
    PagePart,
    RememberingWorld,
    Settling,
    World,
    build_world,
)

RECENT_TICKS = 3


class Ledger(NamedTuple):
    """Counts and money [A] (of M days: [M, A]) of one tick, of some ticks, or of the day so far."""

    counts: Counts
    spend_micros: NDArray[np.int64]

    def __add__(self, other: "Ledger") -> "Ledger":  # type: ignore[override]
        """The sums; a tuple's own addition would concatenate."""
        return Ledger(
            Counts(*(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))),
            self.spend_micros + other.spend_micros,
        )


@dataclass(frozen=True, kw_only=True)
class MarketState:
    """A day in progress, before tick ``tick``; ``tick == world.n_ticks`` once it has ended.

    ``left_micros`` [A] is what each advertiser may still spend; ``multipliers`` [A, S] those of the last tick;
    ``recent`` the ledgers of the last three ticks, newest first; ``total`` the day's. M days in step (``reset_many``) are
    one state whose arrays have a first axis of M and whose ``days`` lists them all; ``day`` is then the first.
    ``memory`` is what a world that remembers its users knows of them (of M days: a tuple of M; None in other worlds).
    """

    scenario: Scenario
    world: World
    forecaster: Forecaster
    day: Day
    tick: int
    left_micros: NDArray[np.int64]
    multipliers: NDArray[np.float64]
    recent: tuple[Ledger, ...]
    total: Ledger
    days: tuple[Day, ...] = ()
    memory: Any = None

    @property
    def advertisers(self) -> Advertisers:
        """The advertisers as arrays."""
        return self.world.advertisers

    @property
    def done(self) -> bool:
        """Whether the day has ended."""
        return self.tick >= self.world.n_ticks


@dataclass(frozen=True)
class Tick:
    """The record of tick ``number``: the requests, true and predicted rates, what each slot held, and the ledger.

    Of a world's own forecaster requests and rates are made again when they are asked for: they are pure functions of the
    day, and a market that nobody looks into keeps none of them. What another forecaster said is kept.
    """

    before: MarketState
    slots: Slots
    ledger: Ledger
    multipliers: NDArray[np.float64]
    given: "tuple[Arrivals, Rates] | None" = None

    @property
    def number(self) -> int:
        """The tick's index within the day."""
        return self.before.tick

    @cached_property
    def _arrivals(self) -> Arrivals:
        return self.given[0] if self.given else self.before.world.arrivals(self.before.day, self.before.tick)

    @property
    def requests(self) -> Requests:
        """The tick's requests in order of arrival."""
        return self._arrivals.requests

    @property
    def truth(self) -> Rates:
        """True rates [B, N] of each request's candidates."""
        return self._arrivals.truth

    @cached_property
    def predicted(self) -> Rates:
        """Predicted rates [B, N] of each request's candidates."""
        return self.given[1] if self.given else _predicted(self.before, self._arrivals)

    @property
    def revenue_micros(self) -> int:
        """What the platform received."""
        return int(self.slots.charge_micros.sum())


def reset(
    scenario: Scenario,
    seed: int,
    day: int = 0,
    *,
    forecaster: Forecaster | None = None,
    platform: Platform | None = None,
    memory: object = None,
) -> MarketState:
    """A market at the start of day ``day`` of ``seed``: full budgets, no history.

    ``forecaster`` replaces the scenario's own predictions, ``platform`` a shop's retrieval, choice of creatives and
    knowledge of a visit's state (``ValueError`` for another world). The world (users, items, advertisers) is fixed by the
    scenario; seed and day decide who comes and what they do. ``memory``, in a world that remembers, is that of the state
    at the end of the day before (``ValueError`` for another); left out, users have met no ad yet.
    """
    check_whole("seed", seed, 2**63)
    check_whole("day", day, 2**32 - 1)
    world = build_world(scenario)
    if platform is not None:
        if not hasattr(world, "with_platform"):
            raise ValueError(
                f"a platform's parts were given; scenario {scenario.name} is no shop and has no place for them"
            )
        world = cast(World, world.with_platform(platform))
    if memory is not None and not hasattr(world, "overnight"):
        raise ValueError(f"a memory was given; scenario {scenario.name} is of kind {scenario.world.kind} and has none")
    return _opened(scenario, world, forecaster, (world.day(seed, day),), (len(world.advertisers),), memory)


def reset_many(scenario: Scenario, seeds: Sequence[int], days: Sequence[int]) -> MarketState:
    """M markets of one scenario, each at the start of its own day of its own seed, as one state.

    >>> from tribid.envs.scenario import load_scenario
    >>> reset_many(load_scenario("tiny"), seeds=[3, 4], days=[0, 0]).left_micros.shape
    (2, 5)
    """
    if not seeds or len(seeds) != len(days):
        raise ValueError(
            f"seeds are {list(seeds)}, days {list(days)}; allowed is one day for each of one or more seeds"
        )
    for seed, day in zip(seeds, days, strict=True):
        check_whole("seed", seed, 2**63)
        check_whole("day", day, 2**32 - 1)
    world = build_world(scenario)
    plans = tuple(world.day(seed, day) for seed, day in zip(seeds, days, strict=True))
    return _opened(scenario, world, None, plans, (len(plans), len(world.advertisers)), None)


def step(state: MarketState, multipliers: ArrayLike) -> tuple[MarketState, Tick]:
    """Play one tick with these bid multipliers ([A], or [A, S] by user segment; 0 stays out).

    Raises ``ValueError`` for a day that has ended, and for multipliers of another shape, not finite, or outside 0 to the
    scenario's ``rules.max_multiplier``.
    """
    _check_running(state)
    if state.days:
        raise ValueError(f"the state holds {len(state.days)} days; step_many plays them")
    chosen = checked_multipliers(multipliers, state)
    count, slots = int(state.day.counts[state.tick]), len(state.scenario.rules.slot_effects)
    pages = new_slots(count, slots)
    tables: list[tuple[Arrivals, Rates]] = []
    after = _settled(state, chosen, pages, 1, tables)
    return after, Tick(state, pages, after.recent[0], chosen, tables[0] if tables else None)


def step_many(state: MarketState, multipliers: NDArray[np.float64], *, threads: int = 1) -> MarketState:
    """Play one tick of each of M days: multipliers [M, A, S]. Pages are not kept; ``recent[0]`` holds the tick's ledger.

    Each market's numbers are those that ``step`` gives it alone, whatever ``threads`` is: markets share nothing.
    """
    _check_running(state)
    if threads < 1:
        raise ValueError(f"threads is {threads}; allowed is 1 or more")
    return _settled(state, checked_multipliers(multipliers, state), new_slots(0, 1), threads, [])


def _opened(
    scenario: Scenario, world: World, forecaster: Forecaster | None, days: tuple[Day, ...], shape: tuple[int, ...],
    memory: object,
) -> MarketState:  # fmt: skip
    remembers = cast(RememberingWorld, world) if hasattr(world, "overnight") else None
    if remembers is not None and memory is None:
        opened = tuple(remembers.opening(day) for day in days)
        memory = opened if len(shape) > 1 else opened[0]
    elif remembers is not None:
        memory = remembers.overnight(memory, days[0])
    return MarketState(
        scenario=scenario,
        world=world,
        forecaster=world.forecaster if forecaster is None else forecaster,
        day=days[0],
        tick=0,
        left_micros=np.broadcast_to(world.advertisers.budget_micros, shape).copy(),
        multipliers=np.ones((*shape, world.n_segments)),
        recent=(),
        total=Ledger(new_counts(*shape), np.zeros(shape, np.int64)),
        days=days if len(shape) > 1 else (),
        memory=memory,
    )


def _settled(
    state: MarketState, chosen: NDArray[np.float64], pages: Slots, threads: int, tables: "list[tuple[Arrivals, Rates]]"
) -> MarketState:
    """The state after the tick; ``pages`` are written, and ``tables`` gets the rates of a tick that was given some."""
    left, counts = state.left_micros.copy(), new_counts(*state.left_micros.shape)
    own_days = state.days or (state.day,)
    shape = (len(own_days), *state.left_micros.shape[-1:])
    flat_left, flat_counts = left.reshape(shape), Counts(*(count.reshape(shape) for count in counts))
    sides = np.ascontiguousarray(chosen.reshape(*shape, -1).swapaxes(1, 2))
    memories = list(state.memory) if state.days and state.memory is not None else [state.memory] * len(own_days)

    def settle(first: int, last: int) -> None:
        part = slice(first, last)
        counted = Counts(*(count[part] for count in flat_counts))
        memories[part] = _settle(
            state, own_days[part], memories[part], sides[part], flat_left[part], counted, pages, tables
        )

    parts = min(threads, len(own_days))
    edges = [len(own_days) * k // parts for k in range(parts + 1)]
    others = [_pool(parts - 1).submit(settle, *part) for part in pairwise(edges[1:])]
    try:
        settle(*edges[:2])  # this thread's own part: one less to be woken up
    finally:
        wait(others)
    for other in others:
        other.result()
    ledger = Ledger(counts, state.left_micros - left)
    return replace(
        state,
        tick=state.tick + 1,
        left_micros=left,
        multipliers=chosen,
        recent=(ledger, *state.recent[: RECENT_TICKS - 1]),
        total=state.total + ledger,
        memory=None if state.memory is None else tuple(memories) if state.days else memories[0],
    )


def _settle(
    state: MarketState, days: tuple[Day, ...], memories: list[Any], sides: NDArray[np.float64], left: NDArray[np.int64],
    counts: Counts, pages: Slots, tables: list[tuple[Arrivals, Rates]],
) -> list[Any]:  # fmt: skip
    """Play the tick of some days in place: directly where the world can, else from tables of rates, day by day.

    Returns the days' memories after the tick.
    """
    world, rules = state.world, state.scenario.rules
    if hasattr(world, "settle") and state.forecaster is world.forecaster:
        slots = slot_effects_of(rules)
        direct = cast(DirectWorld, world)  # asking isinstance of a protocol costs more than a small tick
        desk, tile, block = workspace(direct.places.click.shape[1], len(slots))
        sides = multipliers_on(direct.places, sides)
        outcomes = world.leaving, rules.outcomes == "expected"
        job = Settling(law_of(rules), slots, direct.places, *outcomes, sides, left, counts, pages, desk, tile, block)
        direct.settle(days, state.tick, job)
        return memories
    after = []
    for m, day in enumerate(days):
        one = replace(state, day=day, memory=memories[m])
        after.append(_settle_day(one, sides[m], left[m], counts_of(counts, m), pages, tables))
    return after


def _settle_day(
    state: MarketState, sides: NDArray[np.float64], left: NDArray[np.int64], counts: Counts, pages: Slots,
    tables: list[tuple[Arrivals, Rates]],
) -> Any:  # fmt: skip
    """Play one day's tick from tables of rates; its memory after the tick."""
    world, day, tick, memory = state.world, state.day, state.tick, state.memory
    if memory is None:
        arrivals = world.arrivals(day, tick)
        parts: Sequence[PagePart] = [
            PagePart(slice(0, len(arrivals.requests.request)), slot_effects_of(state.scenario.rules), world.leaving)
        ]
    else:
        remembers = cast(RememberingWorld, world)
        memory, charge = remembers.before_tick(memory, day, tick, left)
        left -= charge
        arrivals = remembers.arrivals(day, tick, memory)
        parts = remembers.page_parts(arrivals.requests)
    predicted = _predicted(state, arrivals)
    if len(pages.winner):
        tables.append((arrivals, predicted))
    elif memory is not None:
        pages = new_slots(len(arrivals.requests.request), len(state.scenario.rules.slot_effects))
    _settle_parts(state, parts, sides, left, counts, pages, arrivals, predicted)
    return None if memory is None else remembers.after_tick(memory, day, tick, arrivals, pages)


def _settle_parts(
    state: MarketState, parts: Sequence[PagePart], sides: NDArray[np.float64], left: NDArray[np.int64], counts: Counts,
    pages: Slots, arrivals: Arrivals, predicted: Rates,
) -> None:  # fmt: skip
    """Settle parts of a tick's pages in turn; a visit that has left is gone in the later ones, too."""
    rules, law, day = state.scenario.rules, law_of(state.scenario.rules), state.day
    gone = np.zeros(int(arrivals.requests.session.max(initial=-1)) + 1, np.bool_)
    for rows, slots, leaving in parts:
        requests = arrivals.requests.rows(rows)
        places, shelf = places_of_requests(state.world.advertisers, requests)
        desk, tile, block = workspace(predicted.ctr.shape[1], len(slots))
        own = slots_of(pages, rows) if len(pages.winner) else pages
        truth = arrivals.truth
        settle_table(
            law, slots, places, leaving, rules.outcomes == "expected", multipliers_on(places, sides), left, counts, own,
            desk, tile, block, shelf, requests.segment, requests.session, requests.reserve_micros,
            beliefs_of(rules, requests), predicted.ctr[rows], predicted.cvr[rows], truth.ctr[rows], truth.cvr[rows],
            np.uint64(day.seed), day.day, requests.request, gone,
        )  # fmt: skip


def _predicted(state: MarketState, arrivals: Arrivals) -> Rates:
    requests, truth = arrivals
    who = requests.candidates
    empty = None if who is None or not (who == NOBODY).any() else who == NOBODY
    if empty is not None and who is not None:  # a forecaster is asked of somebody everywhere
        requests = requests._replace(candidates=np.where(empty, np.maximum(who.max(axis=1, keepdims=True), 0), who))
    predicted = state.forecaster.predict(state.day.seed, requests, truth)
    if state.forecaster is not state.world.forecaster:
        predicted = checked_rates(predicted, truth)
    if empty is None:
        return predicted
    return Rates(*(np.where(empty, np.float32(0.0), rate) for rate in predicted))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tribid-market")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has the pool, but none of its threads


def _check_running(state: MarketState) -> None:
    if state.done:
        raise ValueError(f"the day has ended after {state.world.n_ticks} ticks; reset the market for another")


def checked_rates(predicted: Rates, like: Rates) -> Rates:
    """A foreign forecaster's answer as float32 [B, N] in [0, 1], or the error that names the rate and what is allowed."""
    checked = []
    for name, rates, wanted in zip(Rates._fields, predicted, like, strict=True):
        given = np.asarray(rates)
        if given.shape != wanted.shape or given.dtype.kind != "f":
            raise ValueError(
                f"predicted {name} is {given.dtype} of shape {given.shape}; allowed is float32 {wanted.shape}"
            )
        wrong = np.argwhere(~((given >= 0) & (given <= 1)))
        if len(wrong):
            row, ad = wrong[0]
            raise ValueError(f"predicted {name} of row {row}, ad {ad} is {given[row, ad]}; allowed is 0 to 1")
        checked.append(np.ascontiguousarray(given, np.float32))
    return Rates(*checked)


def checked_multipliers(multipliers: ArrayLike, state: MarketState) -> NDArray[np.float64]:
    """The multipliers as a float64 copy [A, S] (of M days: [M, A, S]), or the error that names what is wrong with which."""
    shape, most = state.multipliers.shape, state.scenario.rules.max_multiplier
    given = np.asarray(multipliers)
    if given.dtype.kind not in "fiu":
        raise ValueError(f"multipliers are of type {given.dtype}; allowed are real numbers from 0 to {most:g}")
    if given.shape == shape[:-1]:
        given = np.repeat(given[..., None], shape[-1], axis=-1)
    if given.shape != shape:
        raise ValueError(f"multipliers have shape {given.shape}; allowed is {shape[:-1]} or {shape}")
    chosen = given.astype(np.float64)
    if not ((chosen >= 0) & (chosen <= most)).all():
        wrong = tuple(np.argwhere(~((chosen >= 0) & (chosen <= most)))[0])
        raise ValueError(
            f"multiplier of {state.advertisers.names[wrong[-2]]} (segment {wrong[-1]}) is {chosen[wrong]}; "
            f"allowed is a finite number from 0 to {most:g}"
        )
    return chosen
