"""Several markets in one call: what each costs, and two of them on two threads."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def days(rules: str, threads: int, per_tick: int = PER_TICK) -> Callable[[], None]:
    """Play two whole days, one after the other or each on a thread of its own: no tick of one waits for the other's."""
    starts = [market.reset_many(scenario_of(rules, 48 * per_tick), [seed], [0]) for seed in (0, 1)]

    def play_one(state: MarketState) -> None:
        chosen = np.full(state.multipliers.shape, MULTIPLIER)
        while not state.done:
            state = market.step_many(state, chosen)

    def play() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(play_one, starts))

    return play


def balance(state: MarketState) -> float:
    """What two threads could gain at most in ``ticks`` of two markets: a tick lasts as long as its larger market."""
    counts = np.array([day.counts[:TICKS] for day in state.days])
    return float(counts.sum() / counts.max(axis=0).sum())


def impressions_of(state: MarketState) -> float:
    """Impressions served in ``ticks`` of this state, all markets together."""
    after, chosen = state, np.full(state.multipliers.shape, MULTIPLIER)
    for _ in range(TICKS):
        after = market.step_many(after, chosen)
    before = state.total.counts.served.max(axis=-1)
    return float((after.total.counts.served.max(axis=-1) - before).sum())


def market_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``markets_8_RULES``: eight markets on one thread; ``threads_2_...``: two markets on two threads against on one."""
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
    steps = [opened(rules, 2, per_tick) for rules in names]
    works = [ticks(state, threads) for state in steps for threads in (1, 2)]
    works += [days(rules, threads, per_tick) for rules in names for threads in (1, 2)]
    pairs = interleaved([*works, spins(1), spins(2)], repetitions + 4, time.perf_counter)
    gains = [ratios(*pairs[at : at + 2]) for at in range(0, len(pairs), 2)]
    more: dict[str, Any] = {"better": "higher", "group": "markets"}
    note = "wall clock, in pairs"
    for rules, in_step, whole, state in zip(names, gains[:2], gains[2:4], steps, strict=True):
        yield plain(
            f"threads_2_days_{rules}", f"2 days, each on its own thread, against 1 thread, {RULES[rules]}", "x", whole,
            note=note, **more,
        )  # fmt: skip
        yield plain(
            f"threads_2_{rules}", f"2 markets in lock step, 2 threads against 1, {RULES[rules]}", "x", in_step,
            note=f"{note}; their ticks differ in size: {balance(state):.2f} at most", **more,
        )  # fmt: skip
    yield plain(
        "threads_2_machine", "  two threads that share nothing, against one", "x", gains[4],
        note=f"{note}; below 2 where other work is on the machine", **more,
    )  # fmt: skip
