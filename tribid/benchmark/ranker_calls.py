"""Pages ranked one at a time in a process of its own: by the ranker alone, and by the live one with its ledgers."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tribid.agents.bidder import BidderSpace
from tribid.agents.testing import random_policy
from tribid.benchmark.clock import Calls, call_seconds, cpu_seconds
from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.pages import pages_of
from tribid.benchmark.ranker_parts import HIDDEN, made_policies
from tribid.benchmark.served import Setup, open_ranker
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import Scenario
from tribid.ranker import Ranker
from tribid.ranker.messages import Request, decode_request

PLENTY = 1000.0
"""Of ``budget_share``: budgets that last through every measurement, so that no page is empty."""

_ROWS = 256
_WARM = 200


def market(advertisers: int) -> dict[str, Any]:
    """Changes that make the feed one of so many advertisers with plenty of money; it has GSP and OCPC."""
    return {"generated__count": advertisers, "generated__budget_share": PLENTY}


def measured_calls(calls: int, repetitions: int, candidates: int, live_candidates: int) -> dict[str, Any]:
    """Seconds of each call: ``rank`` of pages that bring ``candidates``, ``retrieved`` where the ranker finds and predicts

    them, ``memory`` and ``sqlite`` of the live ranker with ``live_candidates``; ``decide`` is the compiled auction alone,
    seconds a page of a batch, by repetition. ``slots`` are those sold a page, in all of them.
    """
    setup = Setup(changes=market(candidates))
    scenario = setup.load()
    ranker = Ranker(scenario, random_policy(BidderSpace.of(scenario), HIDDEN))
    found: dict[str, Any] = {}
    for name, brought in (("rank", candidates), ("retrieved", 0)):
        asked = iter(made_requests(scenario, calls + 2 + _WARM, brought))
        for _ in range(_WARM):
            ranker.rank(next(asked))
        found[name] = call_seconds(lambda asked=asked: ranker.rank(next(asked)), calls)._asdict()  # type: ignore[misc]
    found["slots"] = len(ranker.rank(made_requests(scenario, 1, candidates)[0]).slots)
    found["decide"] = bare_seconds(ranker, scenario, candidates, repetitions)
    with tempfile.TemporaryDirectory() as folder:
        for name, ledger in (("memory", ""), ("sqlite", str(Path(folder) / "ledger.sqlite"))):
            policies = {
                "learnt": made_policies(str(Path(folder) / name), Setup(changes=market(live_candidates)).load())
            }
            live = Setup(changes=market(live_candidates), policies=policies, ledger=ledger)
            found[name] = asyncio.run(live_seconds(live, calls, live_candidates))._asdict()
    return found


def made_requests(scenario: Scenario, count: int, candidates: int) -> list[Request]:
    """Different pages of the scenario, each bringing so many candidates."""
    pages = pages_of(scenario, Load(url="http://127.0.0.1"), candidates=candidates, first=0)
    return [decode_request(pages.body(number)) for number in range(count)]


def bare_seconds(ranker: Ranker, scenario: Scenario, candidates: int, repetitions: int) -> list[float]:
    """Seconds a page that the auction of a whole batch takes, with as many candidates each."""
    rng, rows = np.random.default_rng(0), np.arange(_ROWS)
    zeros = np.zeros(_ROWS, np.int64)
    requests = Requests(
        0, 0, rows, rows, zeros, zeros, np.full(_ROWS, round(scenario.rules.reserve * 1e6)),
        np.tile(np.arange(candidates, dtype=np.int32), (_ROWS, 1)),
    )  # fmt: skip
    drawn = rng.lognormal(np.log(0.03), 0.5, (2, _ROWS, candidates)).astype(np.float32)
    predicted = Rates(*np.minimum(drawn, 1))
    return [taken / _ROWS for taken in cpu_seconds(lambda: ranker.decide_rows(requests, predicted), repetitions)]


async def live_seconds(setup: Setup, calls: int, candidates: int) -> Calls:
    """Each page of the live ranker, one after another, its money set aside and written down before the next is asked for.

    CPU seconds are those of all threads, the ledger's too.
    """
    live, taken = await open_ranker(setup), Calls([], [])
    requests = made_requests(live.scenario, calls + _WARM, candidates)
    try:
        for number, request in enumerate(requests):
            wall, cpu = time.perf_counter(), time.process_time()
            await live.rank(request)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number >= _WARM:
                taken.cpu.append(cpu)
                taken.wall.append(wall)
    finally:
        await live.close()
    return taken
