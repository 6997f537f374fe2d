"""Ids of events: one id is one event, and those that the ranker gives are nobody else's."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.ranker.house import NAMES, run
from tribid.ranker import Conflict, LiveRanker, Outcome, Request
from tribid.ranker.ledger.interface import Charge, Charged
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live_events import own_event_id
from tribid.ranker.messages import Event


def spent(ranker: LiveRanker) -> int:
    return sum(one.spent_micros for one in ranker.state().advertisers.values())


def test_an_id_that_was_used_for_another_slot_or_kind_is_refused_and_says_why() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        sent = [
            Event(id="mine", kind="click", decision=page.id, slot=0),
            Event(id="mine", kind="click", decision=page.id, slot=1),
            Event(id="mine", kind="impression", decision=page.id, slot=0),
            Event(id="mine", kind="click", decision=page.id, slot=0),
        ]
        told = await ranker.events(sent)
        assert [one.status for one in told] == ["accepted", "refused", "refused", "duplicate"]
        assert all("allowed is an id of its own" in one.why for one in told if one.status == "refused")
        assert spent(ranker) == page.slots[0].price_micros
        other = Event(id="another", kind="click", decision=page.id, slot=1)
        assert (await ranker.events([other]))[0].charged_micros == page.slots[1].price_micros

    run(check)


@pytest.mark.parametrize("name", ["0.1.0.click", "openrtb.click.0.1.0", "0.1.1.click"])
def test_no_id_of_a_caller_takes_the_click_that_a_request_tells_of(name: str) -> None:
    async def check(ranker: LiveRanker) -> None:
        first = await ranker.rank(Request(request=0, user=0))
        assert (await ranker.events([Event(id=name, kind="click", decision=first.id, slot=0)]))[0].status == "accepted"
        before = spent(ranker)
        told = await ranker.rank(Request(request=1, user=0, outcome=Outcome((True, True), (True, True), ())))
        assert told.id == "0.1" and len(told.slots) == 2
        assert spent(ranker) - before == sum(slot.price_micros for slot in told.slots)

    run(check)


def test_ids_that_begin_as_the_rankers_own_are_refused_but_for_the_very_event_that_they_name() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        for name in ("tribid:", "tribid:x", own_event_id("click", "0.0.1"), own_event_id("impression", "0.0.0")):
            with pytest.raises(ValueError, match=r"\$\.events\[0\]\.id is 'tribid:.*do not begin with tribid:"):
                await ranker.events([Event(id=name, kind="click", decision=page.id, slot=0)])
        assert spent(ranker) == 0
        own = Event(id=own_event_id("click", "0.0.0"), kind="click", decision=page.id, slot=0)
        assert [one.status for one in await ranker.events([own, own])] == ["accepted", "duplicate"]

    run(check)


@pytest.mark.parametrize(
    ("status", "error"), [("expired", Conflict), ("refused", RuntimeError), ("unknown", RuntimeError)]
)
def test_an_outcome_that_the_ledger_did_not_take_is_an_error_and_not_counted(
    status: Any, error: type[Exception]
) -> None:
    class Denying(MemoryLedger):
        async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
            return [Charged(status, 0, 0) for _ in charges]

    async def check(ranker: LiveRanker) -> None:
        with pytest.raises(error, match=r"0\.0\.0"):
            await ranker.rank(Request(request=0, user=0, outcome=Outcome((True, True), (True, False), ())))
        counts = ranker._day._books._counts
        assert ranker.state().decided == 0 and counts.clicks.sum() == counts.exposures.sum() == 0

    run(check, ledger=Denying(NAMES))


def test_a_fault_of_the_ledger_is_no_conflict() -> None:
    class Shut(MemoryLedger):
        is_shut = False

        async def reserve(self, holds: Any) -> Any:
            if self.is_shut:
                raise ValueError("no day is open; call open_day before reserve")
            return await super().reserve(holds)

    ledger = Shut(NAMES)

    async def check(ranker: LiveRanker) -> None:
        await ranker.rank(Request(request=0, user=0))
        ledger.is_shut = True
        with pytest.raises(ValueError, match="no day is open") as caught:
            await ranker.rank(Request(request=1, user=0))
        assert not isinstance(caught.value, Conflict)
        ledger.is_shut = False
        await ledger.release(["0.0.0"])
        ranker._answered._kept.clear()
        with pytest.raises(Conflict, match="was given back"):
            await ranker.rank(Request(request=0, user=0))

    run(check, ledger=ledger)


def test_how_long_stages_took_is_told_once_and_changes_no_later_answer() -> None:
    async def check(ranker: LiveRanker) -> None:
        told = await ranker.rank(Request(request=0, user=0), explain=True)
        again = await ranker.rank(Request(request=0, user=0))
        once_more = await ranker.rank(Request(request=0, user=0), explain=True)
        assert "auction" in told.stage_ms and again.stage_ms == once_more.stage_ms == {}
        assert (again.id, again.slots) == (told.id, told.slots)

    run(check)
