"""Whole days of 48 advertisers and about 500,000 impressions, each in a process of its own."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tribid.benchmark import fresh
from tribid.benchmark.clock import interleaved, ratios
from tribid.benchmark.figure import Figure, duration, plain
from tribid.envs import market
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario

RULES = {
    "feed_without_ocpc": "feed without OCPC", "feed": "feed with OCPC", "auctionnet": "AuctionNet's rules"
}  # fmt: skip
IMPRESSIONS = 500_000
SERVED = 500 / 532
"""Share of the feed's requests that are served where a visit has four: some users leave before."""

MULTIPLIER = 0.7


def scenario_of(rules: str, impressions: float, *, ticks: int = 48, **changes: Any) -> Scenario:
    """48 advertisers under one of ``RULES``, with traffic for about so many impressions."""
    if rules == "auctionnet":
        return load_scenario("auctionnet").with_changes(
            world__traffic__requests=round(impressions), world__traffic__ticks=ticks, **changes
        )
    traffic = {"ticks": ticks, "requests": round(impressions / SERVED), "session_length": 4}
    changed: dict[str, Any] = {"generated__count": 48, "world__traffic": traffic} | changes
    if rules == "feed_without_ocpc":
        changed["rules__ocpc__strategy"] = "off"
    return load_scenario("feed").with_changes(**changed)


def play_day(scenario: Scenario, day: int) -> float:
    """Open a day, observe and step to its end; the impressions served."""
    state = market.reset(scenario, 0, day)
    chosen = np.full(len(state.advertisers), MULTIPLIER)
    while not state.done:
        observe(state)
        state, _ = market.step(state, chosen)
    return float(state.total.counts.served.max())


def measured_days(rules: str, impressions: float, repetitions: int) -> dict[str, Any]:
    """CPU seconds and impressions of each day, after one that warms up, and this process's peak memory in MB."""
    scenario, seconds, served = scenario_of(rules, impressions), [], []
    for day in range(repetitions + 1):
        began = time.process_time()
        count = play_day(scenario, day)
        seconds.append(time.process_time() - began)
        served.append(count)
    return {"seconds": seconds[1:], "served": served[1:], "peak_mb": fresh.peak_mb()}


def day_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``day_RULES`` in CPU seconds for 500,000 impressions served, and ``day_RULES_memory``."""
    size = IMPRESSIONS // (10 if quick else 1)
    for rules, words in RULES.items():
        fresh.call(measured_days, rules, 1000, 1)  # compiles what the cache lacks, which takes memory too
        found = fresh.call(measured_days, rules, size, repetitions)
        seconds = [IMPRESSIONS / n * taken for n, taken in zip(found["served"], found["seconds"], strict=True)]
        yield duration(
            f"day_{rules}", f"a day of 500,000 impressions, {words}", seconds, impressions=IMPRESSIONS, group="days",
            clock="cpu", note="48 advertisers, 48 ticks, every day other traffic, with observations"
            + (f"; scaled up from days of {size:,}" if quick else ""),
        )  # fmt: skip
        yield plain(
            f"day_{rules}_memory", "  peak memory of its process", "MB", [found["peak_mb"]], better="lower",
            group="days",
        )  # fmt: skip
    for rules in ("feed_without_ocpc", "feed"):
        idle, busy = (_ticks_of(scenario_of(rules, size), bidding) for bidding in (8, 48))
        few = _ticks_of(scenario_of(rules, size).with_changes(generated__count=8), 8)
        taken = interleaved([idle, busy, few], repetitions)
        more: dict[str, Any] = {"better": "lower", "group": "days", "note": "in turn"}
        words = f"40 of 48 advertisers without a bid, {RULES[rules]}"
        yield plain(f"idle_over_busy_{rules}", f"{words}, over all bidding", "x", ratios(*taken[:2]), **more)
        yield plain(f"idle_over_few_{rules}", f"{words}, over 8 advertisers", "x", ratios(taken[0], taken[2]), **more)


def _ticks_of(scenario: Scenario, bidding: int) -> Callable[[], None]:
    """Four ticks in which only so many advertisers bid."""
    start = market.reset_many(scenario, [0], [0])
    chosen = np.where(np.arange(start.multipliers.shape[1]) < bidding, MULTIPLIER, 0.0)[None, :, None]
    chosen = np.broadcast_to(chosen, start.multipliers.shape)

    def play() -> None:
        state = start
        for _ in range(4):
            state = market.step_many(state, chosen)

    return play
