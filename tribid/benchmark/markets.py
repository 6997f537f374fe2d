"""Several markets in one call: what each costs, and two of them on two threads."""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from tribid.benchmark.clock import cpu_seconds, interleaved, ratios
from tribid.benchmark.days import MULTIPLIER, RULES, scenario_of
from tribid.benchmark.figure import Figure, plain, rate
from tribid.benchmark.machine import spins
from tribid.envs import market
from tribid.envs.market import MarketState

TICKS = 4
PER_TICK = 10_000
"""Impressions of a market's tick, as in a day of 48 ticks and 480,000."""


def opened(rules: str, markets: int, per_tick: int = PER_TICK) -> MarketState:
    """``markets`` days in step at their start."""
    return market.reset_many(scenario_of(rules, 48 * per_tick), list(range(markets)), [0] * markets)


def ticks(state: MarketState, threads: int = 1) -> Callable[[], None]:
    """Play a few ticks from this state on, the same ones each time."""
    chosen = np.full(state.multipliers.shape, MULTIPLIER)

    def play() -> None:
        after = state
        for _ in range(TICKS):
            after = market.step_many(after, chosen, threads=threads)

    return play


def impressions_of(state: MarketState) -> float:
    """Impressions served in ``ticks`` of this state, all markets together."""
    after, chosen = state, np.full(state.multipliers.shape, MULTIPLIER)
    for _ in range(TICKS):
        after = market.step_many(after, chosen)
    before = state.total.counts.served.max(axis=-1)
    return float((after.total.counts.served.max(axis=-1) - before).sum())


def market_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``markets_8_RULES``: eight markets on one thread; ``threads_2``: two markets on two threads against on one."""
    per_tick = PER_TICK // (4 if quick else 1)
    for rules, words in RULES.items():
        state = opened(rules, 8, per_tick)
        seconds, count = cpu_seconds(ticks(state), repetitions), impressions_of(state)
        yield rate(
            f"markets_8_{rules}", f"8 markets in one call, one thread, {words}", "impressions/s", seconds, count,
            impressions=count, group="markets", clock="cpu", note="48 advertisers each",
        )  # fmt: skip
    if (os.cpu_count() or 1) < 2:
        return
    names = ("feed_without_ocpc", "auctionnet")
    works = [play for rules in names for play in (ticks(opened(rules, 2), 1), ticks(opened(rules, 2), 2))]
    taken = interleaved([*works, spins(1), spins(2)], repetitions + 4, time.perf_counter)
    note = "wall clock, in pairs"
    for place, rules in enumerate(names):
        yield plain(
            f"threads_2_{rules}", f"2 markets, 2 threads against 1, {RULES[rules]}", "x",
            ratios(*taken[2 * place : 2 * place + 2]), better="higher", group="markets", note=note,
        )  # fmt: skip
    yield plain(
        "threads_2_machine", "  two threads that share nothing, against one", "x", ratios(*taken[-2:]), better="higher",
        group="markets", note=f"{note}; below 2 where other work is on the machine",
    )  # fmt: skip
