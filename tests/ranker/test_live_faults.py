"""A live ranker whose log, ledger or clock is slow or fails: what was promised is kept, and nothing is counted twice."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.ranker.house import NAMES, run
from tribid.ranker import LiveRanker, Outcome, Request
from tribid.ranker.decided import Decided
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Refused
from tribid.ranker.ledger.memory import MemoryLedger


def held(ranker: LiveRanker) -> int:
    return sum(one.held_micros for one in ranker.state().advertisers.values())


# The log


def test_a_log_that_fails_costs_no_answer_and_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def full(decided: Decided) -> None:
        raise OSError("no space left")

    async def check(ranker: LiveRanker) -> None:
        for request in range(3):
            page = await ranker.rank(Request(request=request, user=request))
            assert page.slots
        state = ranker.state()
        assert (state.decided, state.unlogged) == (3, 3) and held(ranker) > 0
        assert [record.getMessage()[:23] for record in caplog.records] == ["the decision log failed"]
        assert await ranker.rank(Request(request=0, user=0)) and ranker.state().unlogged == 3

    run(check, log=full)


def test_a_page_that_cannot_be_recorded_holds_no_money() -> None:
    log: list[Decided] = []

    async def check(ranker: LiveRanker) -> None:
        decided = ranker._pages._answers.decided

        def broken(*given: Any, **more: Any) -> Any:
            raise MemoryError

        ranker._pages._answers.decided = broken  # type: ignore[method-assign]
        with pytest.raises(MemoryError):
            await ranker.rank(Request(request=0, user=0))
        assert held(ranker) == 0 and ranker.state().decided == 0
        ranker._pages._answers.decided = decided  # type: ignore[method-assign]
        page = await ranker.rank(Request(request=0, user=0))
        assert held(ranker) == sum(slot.price_micros for slot in page.slots) and [one.id for one in log] == ["0.0"]

    run(check, log=log.append)


# The ledger


def test_an_outcome_that_cannot_be_charged_is_not_counted_until_it_is() -> None:
    class Broken(MemoryLedger):
        failures = 1

        async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
            if self.failures:
                self.failures -= 1
                raise OSError("gone")
            return await super().charge(charges)

    log: list[Decided] = []

    async def check(ranker: LiveRanker) -> None:
        asked = Request(request=0, user=0, outcome=Outcome((True, True), (True, False), ()))
        with pytest.raises(OSError, match="gone"):
            await ranker.rank(asked)
        counts = ranker._day._books._counts
        assert ranker.state().decided == 0 and log == []
        assert counts.wins.sum() == counts.exposures.sum() == counts.clicks.sum() == 0
        page = await ranker.rank(asked)
        assert ranker.state().decided == 1 and [one.id for one in log] == [page.id]
        assert (counts.wins.sum(), counts.exposures.sum(), counts.clicks.sum()) == (2, 2, 1)
        assert sum(one.spent_micros for one in ranker.state().advertisers.values()) == page.slots[0].price_micros
        assert held(ranker) == 0

    run(check, ledger=Broken(NAMES), log=log.append)


def test_trouble_of_the_background_work_is_told_until_it_is_over() -> None:
    class Failing(MemoryLedger):
        is_failing = True

        async def expire(self, now_ms: int) -> int:
            if self.is_failing:
                raise OSError("disk is gone")
            return await super().expire(now_ms)

    ledger = Failing(NAMES)

    async def check(ranker: LiveRanker) -> None:
        assert ranker.trouble == ""
        tending = asyncio.create_task(ranker.tend(0.001))
        while not ranker.trouble:
            await asyncio.sleep(0.001)
        assert ranker.trouble == "OSError: disk is gone"
        ledger.is_failing = False
        while ranker.trouble:
            await asyncio.sleep(0.001)
        assert not tending.done()
        tending.cancel()

    run(check, ledger=ledger)


def test_a_long_batch_is_reserved_32_pages_at_a_time_and_others_come_in_between() -> None:
    class Busy(MemoryLedger):
        now = most = 0

        async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
            refused = await super().reserve(holds)
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1
            order.append(holds[0].id)
            return refused

    ledger, order = Busy(NAMES), list[str]()

    async def check(ranker: LiveRanker) -> None:
        batch = asyncio.create_task(ranker.rank_many([Request(request=r, user=r % 50) for r in range(100)]))
        await asyncio.sleep(0)
        other = asyncio.create_task(ranker.rank(Request(request=500, user=0)))
        pages = await batch
        assert [page.request for page in pages] == list(range(100))
        assert (await other).slots
        assert 32 <= ledger.most <= 33
        assert order.index("0.500.0") < 64

    run(check, ledger=ledger)


# The clock


def test_a_request_without_a_day_belongs_to_the_day_that_opened_while_it_waited() -> None:
    class Slow(MemoryLedger):
        opening, opened = asyncio.Event(), asyncio.Event()

        async def open_day(self, day: int, budget_micros: Mapping[str, int]) -> None:
            await super().open_day(day, budget_micros)
            if day:
                self.opening.set()
                await self.opened.wait()

    ledger = Slow(NAMES)

    async def check(ranker: LiveRanker) -> None:
        first = asyncio.create_task(ranker.rank(Request(request=0, user=0, day=1)))
        await ledger.opening.wait()
        assert ranker.state().day == 0
        undated = asyncio.create_task(ranker.rank(Request(request=1, user=0)))
        dated = asyncio.create_task(ranker.rank(Request(request=2, user=0, day=0)))
        await asyncio.sleep(0)
        ledger.opened.set()
        assert (await first).id == "1.0" and (await undated).id == "1.1"
        with pytest.raises(ValueError, match=r"\$\.day is 0; allowed is the clock's, 1: it has moved on"):
            await dated
        assert ranker.state().decided == 2

    run(check, ledger=ledger)
