"""The market's rules as two pure functions: ``reset`` opens a day, ``step`` plays one tick of it.

A state is never changed; ``step`` returns the next one and the record of what happened. Budgets are hard: a bid is
capped at what its advertiser has left when its request comes, so a charge always fits.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.advertisers import Advertisers
from tribid.envs.decision import EVERYBODY, law_of, new_desk, new_tile, slot_effects_of, terms_of
from tribid.envs.platform import Forecaster, Rates, Requests
from tribid.envs.scenario import Scenario
from tribid.envs.settlement import Counts, Slots, new_block, new_counts, new_slots, settle_table
from tribid.envs.world import Day, World, build_world

RECENT_TICKS = 3


class Ledger(NamedTuple):
    """Counts [A] and money [A] of one tick, of some ticks, or of the day so far."""

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
    ``recent`` the ledgers of the last three ticks, newest first; ``total`` the day's.
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

    @property
    def advertisers(self) -> Advertisers:
        """The advertisers as arrays."""
        return self.world.advertisers

    @property
    def done(self) -> bool:
        """Whether the day has ended."""
        return self.tick >= self.world.n_ticks


class Tick(NamedTuple):
    """The record of tick ``number``: the requests, true and predicted rates, what each slot held, and the ledger."""

    number: int
    requests: Requests
    truth: Rates
    predicted: Rates
    slots: Slots
    ledger: Ledger
    multipliers: NDArray[np.float64]

    @property
    def revenue_micros(self) -> int:
        """What the platform received."""
        return int(self.slots.charge_micros.sum())


def reset(scenario: Scenario, seed: int, day: int = 0, *, forecaster: Forecaster | None = None) -> MarketState:
    """A market at the start of day ``day`` of ``seed``: full budgets, no history.

    ``forecaster`` replaces the scenario's own predictions. The world (users, items, advertisers) is fixed by the
    scenario; seed and day decide who comes and what they do.
    """
    _check_seed("seed", seed, 2**63)
    _check_seed("day", day, 2**32 - 1)
    world = build_world(scenario)
    n = len(world.advertisers)
    return MarketState(
        scenario=scenario,
        world=world,
        forecaster=forecaster or world.forecaster,
        day=world.day(seed, day),
        tick=0,
        left_micros=world.advertisers.budget_micros.copy(),
        multipliers=np.ones((n, world.n_segments)),
        recent=(),
        total=Ledger(new_counts(n), np.zeros(n, np.int64)),
    )


def step(state: MarketState, multipliers: ArrayLike) -> tuple[MarketState, Tick]:
    """Play one tick with these bid multipliers ([A], or [A, S] by user segment; 0 stays out).

    Raises ``ValueError`` for a day that has ended, and for multipliers of another shape, not finite, or outside 0 to the
    scenario's ``rules.max_multiplier``.
    """
    if state.done:
        raise ValueError(f"the day has ended after {state.world.n_ticks} ticks; reset the market for another")
    chosen = checked_multipliers(multipliers, state)
    world, rules, day = state.world, state.scenario.rules, state.day
    requests, truth = world.arrivals(day, state.tick)
    predicted = state.forecaster.predict(day.seed, requests, truth)
    if state.forecaster is not world.forecaster:
        predicted = checked_rates(predicted, truth)
    n, count, slots = len(world.advertisers), len(requests.request), len(rules.slot_effects)
    left, counts, pages = state.left_micros.copy(), new_counts(n), new_slots(count, slots)
    gone = np.zeros(int(requests.session.max(initial=-1)) + 1, np.bool_)
    settle_table(
        law_of(rules), slot_effects_of(rules), terms_of(world.advertisers), world.leaving, rules.outcomes == "expected",
        np.ascontiguousarray(chosen.T), left, EVERYBODY, requests.segment, requests.session, requests.reserve_micros,
        predicted.ctr, predicted.cvr, truth.ctr, truth.cvr, np.uint64(day.seed), day.day, requests.request, gone,
        counts, pages, new_desk(n, slots, n), new_tile(n), new_block(slots),
    )  # fmt: skip
    ledger = Ledger(counts, state.left_micros - left)
    after = replace(
        state,
        tick=state.tick + 1,
        left_micros=left,
        multipliers=chosen,
        recent=(ledger, *state.recent[: RECENT_TICKS - 1]),
        total=state.total + ledger,
    )
    return after, Tick(state.tick, requests, truth, predicted, pages, ledger, chosen)


def checked_rates(predicted: Rates, like: Rates) -> Rates:
    """A foreign forecaster's answer as float32 [B, A] in [0, 1], or the error that names the rate and what is allowed."""
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
    """The multipliers as a float64 copy [A, S], or the error that names what is wrong with which one."""
    n, segments, most = len(state.advertisers), state.world.n_segments, state.scenario.rules.max_multiplier
    given = np.asarray(multipliers)
    if given.dtype.kind not in "fiu":
        raise ValueError(f"multipliers are of type {given.dtype}; allowed are real numbers from 0 to {most:g}")
    if given.shape == (n,):
        given = np.repeat(given[:, None], segments, axis=1)
    if given.shape != (n, segments):
        raise ValueError(f"multipliers have shape {given.shape}; allowed is ({n},) or ({n}, {segments})")
    chosen = given.astype(np.float64)
    wrong = np.argwhere(~((chosen >= 0) & (chosen <= most)))
    if len(wrong):
        who, segment = wrong[0]
        raise ValueError(
            f"multiplier of {state.advertisers.names[who]} (segment {segment}) is {chosen[who, segment]}; "
            f"allowed is a finite number from 0 to {most:g}"
        )
    return chosen


def _check_seed(name: str, value: int, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < limit:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number from 0 to {limit - 1}")
