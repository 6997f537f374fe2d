"""Opening a live ranker loads everything that its first pages need, and leaves no trace of having done so."""

import asyncio
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.ranker.test_ranker_shop import PARTS
from tribid.envs.scenario import load_scenario
from tribid.ranker import LiveRanker, Offer, Request
from tribid.ranker.decided import Decided
from tribid.ranker.page import Page
from tribid.ranker.stages import Stages

TINY = load_scenario("tiny")

FIRST_PAGES = """
import asyncio, gc
from numba.core.registry import CPUDispatcher
from tribid.envs.scenario import load_scenario
from tribid.ranker import LiveRanker, Offer, Outcome, Request

def loaded():
    return {one.py_func: len(one.signatures) for one in gc.get_objects() if isinstance(one, CPUDispatcher)}

async def main(changes):
    ranker = await LiveRanker.open(load_scenario("tiny").with_changes(**changes), {"it": "pid"}, log=print)
    before = loaded()
    assert sum(before.values()) > 0
    few = ranker.names[:3]
    brought = [None, tuple(Offer(name) for name in few), tuple(Offer(name, 0.25, 0.5) for name in few)]
    for tick in (0, 3):
        for place, candidates in enumerate(brought):
            outcome = Outcome((True, True), (True, False), ())
            asked = Request(request=10 * tick + place, user=1, tick=tick, candidates=candidates, outcome=outcome)
            assert (await ranker.rank(asked)).slots
            after = loaded()
            assert after == before, (tick, place, [kernel for kernel in after if after[kernel] != before.get(kernel)])

asyncio.run(main(CHANGES))
"""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rules__ocpc__index": "dynamic", "world__prediction__knows_state": False},
        {"generated__count": 24, "world__retrieval": {"candidates": 7, "cells": 5}},
    ],
    ids=["everybody", "dynamic", "shelves"],
)
@pytest.mark.timeout(600)  # where nothing is compiled yet, everything is
def test_the_first_pages_load_no_kernel(changes: dict[str, Any]) -> None:
    script = FIRST_PAGES.replace("CHANGES", repr(changes))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_way_through_the_pipeline_is_rehearsed() -> None:
    seen: dict[str, list[Page]] = {name: [] for name in Stages._fields}

    def watched(name: str, stage: Any) -> Any:
        def run(page: Page, *more: Any) -> Any:
            seen[name].append(page)
            return stage(page, *more)

        return run

    def stages(own: Stages) -> Stages:
        return Stages(*(watched(name, stage) for name, stage in zip(Stages._fields, own, strict=True)))

    scenario = load_scenario("shop")
    asyncio.run(LiveRanker.open(scenario, {"it": "truthful"}, platform=PARTS, stages=stages))
    assert {name: len(pages) for name, pages in seen.items()} == {
        "retrieve": 1, "state": 2, "creative": 2, "predict": 2, "bid": 3
    }  # fmt: skip


def test_a_rehearsal_leaves_nothing_behind() -> None:
    log: list[Decided] = []

    async def check() -> None:
        ranker = await LiveRanker.open(TINY, {"it": "pid"}, log=log.append)
        state = ranker.state()
        assert (state.decided, state.slots_sold, state.refused_reserves, state.fallbacks) == (0, 0, 0, {})
        assert all(one.held_micros == one.spent_micros == 0 for one in state.advertisers.values())
        assert log == [] and len(ranker._answered) == 0
        pipeline, books = ranker._pipeline, ranker._day._books
        assert {times.high_ms for times in pipeline.times.values()} == {0.0}
        assert not books._seen.any() and not books._of_page.any()
        assert not any(count.any() for count in books._counts)
        means = books.advertisers.mean_pctr.astype(np.float32)
        np.testing.assert_array_equal(pipeline.fallback._last[0], [means, means])

    asyncio.run(check())


def test_a_stage_that_fails_is_told_and_counted_when_a_page_needs_it() -> None:
    def broken(page: Page) -> Any:
        raise RuntimeError("not today")

    async def check() -> None:
        ranker = await LiveRanker.open(TINY, {"it": "pid"}, stages=lambda own: own._replace(predict=broken))
        assert ranker.state().fallbacks == {} and not ranker._pipeline._told
        page = await ranker.rank(Request(request=0, user=0))
        assert page.fallbacks == ("predict:last_known",)
        assert ranker.state().fallbacks == {"predict:last_known": 1}

    asyncio.run(check())


def test_what_opening_took_is_not_what_stages_take() -> None:
    class Watch:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    watch, first = Watch(), [True]

    def waking(own: Stages) -> Stages:
        def predict(page: Page) -> Any:
            watch.now += 60.0 if first else 0.0001
            first.clear()
            return own.predict(page)

        return own._replace(predict=predict)

    async def check() -> None:
        ranker = await LiveRanker.open(TINY, {"it": "pid"}, stages=waking, monotonic=watch)
        for request in range(3):
            page = await ranker.rank(Request(request=request, user=0, timeout_ms=5.0))
            assert page.fallbacks == ()
        offers = (Offer("adv_00"), Offer("adv_01"))
        assert (await ranker.rank(Request(request=9, user=0, timeout_ms=5.0, candidates=offers))).fallbacks == ()

    asyncio.run(check())
