"""10,000 advertisers of whom a request has 200 candidates, against 200 advertisers: the same traffic, the same auction."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tribid.benchmark.clock import interleaved, ratios
from tribid.benchmark.days import MULTIPLIER, SERVED
from tribid.benchmark.figure import Figure, plain, rate
from tribid.envs import market
from tribid.envs.market import MarketState
from tribid.envs.scenario import Scenario, load_scenario

CANDIDATES = 200
TICKS, PER_TICK = 2, 10_000


def crowd(
    advertisers: int, *, ocpc: bool, retrieval: bool = True, per_tick: float = PER_TICK, ticks: int = 48
) -> Scenario:
    """The feed with so many advertisers, 200 candidates a request."""
    traffic = {"ticks": ticks, "requests": round(ticks * per_tick / SERVED), "session_length": 4}
    changes: dict[str, Any] = {"generated__count": advertisers, "world__traffic": traffic}
    if retrieval:
        changes["world__retrieval"] = {"candidates": CANDIDATES, "cells": 64}
    if not ocpc:
        changes["rules__ocpc__strategy"] = "off"
    return load_scenario("feed").with_changes(**changes)


def two_ticks(state: MarketState) -> Callable[[], MarketState]:
    """Play the same ticks from this state on, each time."""
    chosen = np.full(state.multipliers.shape, MULTIPLIER)

    def play() -> MarketState:
        after = state
        for _ in range(TICKS):
            after = market.step(after, chosen)[0]
        return after

    return play


def retrieval_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """Impressions a second of the three crowds, and the time of 10,000 over that of 200, per impression."""
    for ocpc in (False, True):
        end, words = ("_ocpc", " with OCPC") if ocpc else ("", "")
        crowds = {
            "retrieval_10000": (f"10,000 advertisers, 200 candidates{words}", crowd(10_000, ocpc=ocpc)),
            "retrieval_200": (f"  200 advertisers, 200 candidates{words}", crowd(200, ocpc=ocpc)),
            "everybody_200": (f"  200 advertisers, no retrieval{words}", crowd(200, ocpc=ocpc, retrieval=False)),
        }
        plays = [two_ticks(market.reset(scenario, 0)) for _, scenario in crowds.values()]
        counts = [float(play().total.counts.served.sum()) / CANDIDATES for play in plays]
        taken = interleaved(plays, repetitions)
        for (name, (title, _)), seconds, count in zip(crowds.items(), taken, counts, strict=True):
            yield rate(
                name + end, title, "impressions/s", seconds, count, impressions=count, candidates=CANDIDATES,
                group="retrieval", clock="cpu", note="feed, market.step alone",
            )  # fmt: skip
        each = [[t / n for t in seconds] for seconds, n in zip(taken, counts, strict=True)]
        for place, name in ((1, "retrieval_ratio"), (2, "retrieval_ratio_everybody")):
            against = "200 with retrieval" if place == 1 else "200 without retrieval"
            yield plain(
                name + end, f"  time of 10,000 over {against}{words}", "x", ratios(each[0], each[place]),
                better="lower", group="retrieval", note="per impression, in turn",
            )  # fmt: skip
