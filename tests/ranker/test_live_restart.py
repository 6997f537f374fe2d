"""What a ranker that was started again makes of pages that were answered before: the same answer, or a conflict."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ranker.house import NAMES, TINY
from tribid.ranker import Conflict, LiveRanker, Outcome, Request
from tribid.ranker.ledger.interface import Charge, Hold, Ledger, Refused
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.ledger.sqlite import SqliteLedger

PAGE = Request(request=0, user=0)
UNTIL = 10**15
NOW_MS = 10**12


async def started(ledger: Ledger) -> LiveRanker:
    return await LiveRanker.open(TINY, {"it": "truthful"}, ledger=ledger, now_ms=lambda: NOW_MS)


async def empty_budgets(ledger: Ledger) -> None:
    """Let other pages take all that anybody has left."""
    free = ledger.free_micros().tolist()
    assert await ledger.reserve([Hold(f"0.999.{ad}", ad, left, UNTIL) for ad, left in enumerate(free)]) is None


async def in_conflict(ledger: Ledger, request: Request, told: str) -> None:
    """A ranker that is started now refuses the page, and no money moves."""
    again = await started(ledger)
    free, spent = ledger.free_micros(), ledger.spent_micros()
    with pytest.raises(Conflict, match=told):
        await again.rank(request)
    np.testing.assert_array_equal(ledger.free_micros(), free)
    np.testing.assert_array_equal(ledger.spent_micros(), spent)
    assert again.state().decided == 0


def test_a_page_whose_budgets_are_empty_now_is_a_conflict_not_an_empty_page() -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        page = await (await started(ledger)).rank(PAGE)
        assert len(page.slots) == 2
        await empty_budgets(ledger)
        await in_conflict(ledger, PAGE, r"page 0\.0 was answered before, and otherwise: it held money as 0\.0\.0")
        other = await (await started(ledger)).rank(Request(request=1, user=0))
        assert other.slots == ()

    asyncio.run(check())


def test_that_is_known_after_the_process_has_ended_too(tmp_path: Path) -> None:
    async def check() -> None:
        first = await started(await SqliteLedger.open(tmp_path / "ledger", NAMES))
        await first.rank(PAGE)
        await first.close()
        ledger = await SqliteLedger.open(tmp_path / "ledger", NAMES)
        await empty_budgets(ledger)
        await in_conflict(ledger, PAGE, r"it held money as 0\.0\.0")
        await ledger.close()

    asyncio.run(check())


@pytest.mark.parametrize("how", ["given back", "paid", "expired"])
def test_that_is_known_after_its_holds_have_ended(how: str) -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        page = await (await started(ledger)).rank(PAGE)
        holds = [f"{page.id}.{slot.slot}" for slot in page.slots]
        if how == "given back":
            await ledger.release(holds)
        elif how == "paid":
            await ledger.charge([Charge(f"e{name}", "click", name, 1) for name in holds])
        else:
            assert await ledger.expire(NOW_MS + 600_001) == 2
        await empty_budgets(ledger)
        await in_conflict(ledger, PAGE, r"page 0\.0 was answered before, and otherwise")

    asyncio.run(check())


def of_clicks(*clicked: bool) -> Request:
    return Request(request=0, user=0, outcome=Outcome((True,) * len(clicked), clicked, ()))


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ((True, True), (True, False), r"it held money as 0\.0\.1, and now would not"),
        ((True, True), (False, False), r"it held money as 0\.0\.0, and now would not"),
        ((True, False), (True, True), r"'0\.0\.0' exists, but not all holds of its page do"),
        ((True, False), (False, True), r"it held money as 0\.0\.0, and now would not"),
    ],
    ids=["fewer", "none", "more", "others"],
)
def test_a_page_that_would_hold_fewer_more_or_other_slots_is_a_conflict(
    first: tuple[bool, ...], then: tuple[bool, ...], told: str
) -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        page = await (await started(ledger)).rank(of_clicks(*first))
        assert len(page.slots) == 2
        await in_conflict(ledger, of_clicks(*then), told)

    asyncio.run(check())


def test_a_page_that_comes_to_the_same_holds_is_answered_alike_and_pays_nothing_more() -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        page = await (await started(ledger)).rank(of_clicks(False, True))
        spent = ledger.spent_micros()
        assert spent.sum() == page.slots[1].price_micros
        assert await (await started(ledger)).rank(of_clicks(False, True)) == page
        np.testing.assert_array_equal(ledger.spent_micros(), spent)

    asyncio.run(check())


def test_a_page_that_held_nothing_is_decided_anew() -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        page = await (await started(ledger)).rank(of_clicks(False, False))
        again = await (await started(ledger)).rank(PAGE)
        assert again.slots == page.slots
        assert await ledger.known(["0.0.0", "0.0.1"]) == ["0.0.0", "0.0.1"]

    asyncio.run(check())


def test_one_process_asks_its_ledger_between_deciding_and_reserving_without_letting_anything_else_run() -> None:
    class Watched(MemoryLedger):
        is_deciding = False
        overlaps = pages = 0

        def free_micros(self) -> NDArray[np.int64]:
            self.overlaps += self.is_deciding
            return super().free_micros()

        async def known(self, holds: Sequence[str]) -> list[str]:
            self.is_deciding = True
            return await super().known(holds)

        async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
            self.is_deciding = False
            self.pages += 1
            return await super().reserve(holds)

    async def check() -> None:
        ledger = Watched(NAMES)
        ranker = await started(ledger)
        asked = [
            Request(request=r, user=r, outcome=Outcome((True, True), (True, False), ())) for r in range(20)
        ]  # of two slots each pays one, so the ledger is asked about the other
        await asyncio.gather(*(ranker.rank(request) for request in asked))
        assert (ledger.pages, ledger.overlaps) == (20, 0)

    asyncio.run(check())
