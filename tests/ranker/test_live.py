"""A live ranker: hard budgets, answers that repeat, events that count once, and a clock that only goes forward."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.ranker.house import NAMES, TINY, run
from tribid.ranker import Closed, Conflict, Decision, Event, LiveRanker, Offer, Outcome, Request
from tribid.ranker.decided import Decided
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Refused
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live_day import DAY_MS


class Clock:
    def __init__(self, now: int = 20_000 * DAY_MS) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def event(page: Decision, kind: Any = "click", slot: int = 0, name: str = "", **given: Any) -> Event:
    return Event(id=name or f"{page.id}.{slot}.{kind}", kind=kind, decision=page.id, slot=slot, **given)


def money(ranker: LiveRanker, field: str) -> list[int]:
    return [getattr(one, field) for one in ranker.state().advertisers.values()]


# Money


def test_a_page_holds_its_prices_a_click_pays_one_and_expiry_gives_back_the_rest() -> None:
    clock = Clock()

    async def check(ranker: LiveRanker) -> None:
        budget = money(ranker, "free_micros")
        page = await ranker.rank(Request(request=0, user=0))
        first, second = page.slots
        held = [0] * 5
        held[first.ad], held[second.ad] = first.price_micros, second.price_micros
        assert money(ranker, "held_micros") == held
        assert money(ranker, "free_micros") == [b - h for b, h in zip(budget, held, strict=True)]
        (receipt,) = await ranker.events([event(page)])
        assert (receipt.status, receipt.charged_micros) == ("accepted", first.price_micros)
        clock.now += 600_001
        tending = asyncio.create_task(ranker.tend(0.001))
        while money(ranker, "held_micros") != [0] * 5:
            await asyncio.sleep(0.001)
        tending.cancel()
        assert sum(money(ranker, "spent_micros")) == first.price_micros
        assert sum(money(ranker, "free_micros")) == sum(budget) - first.price_micros

    run(check, now_ms=clock)


def test_many_clients_on_a_nearly_empty_budget_never_overspend() -> None:
    scenario = TINY.with_changes(generated__budget_share=0.004)

    async def check(ranker: LiveRanker) -> None:
        budget = money(ranker, "free_micros")

        async def client(number: int) -> None:
            for r in range(8):
                page = await ranker.rank(Request(request=100 * number + r, user=r))
                receipts = await ranker.events([event(page, slot=slot.slot) for slot in page.slots])
                assert [one.charged_micros for one in receipts] == [slot.price_micros for slot in page.slots]

        await asyncio.gather(*(client(number) for number in range(64)))
        spent = money(ranker, "spent_micros")
        assert all(0 <= s <= b for s, b in zip(spent, budget, strict=True))
        assert sum(spent) > 0.9 * sum(budget)
        assert money(ranker, "held_micros") == [0] * 5

    run(check, scenario)


def test_where_impressions_are_charged_the_impression_pays() -> None:
    scenario = TINY.with_changes(rules__charge="impression", rules__ocpc__strategy="off")

    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        receipts = await ranker.events([event(page, "click"), event(page, "impression"), event(page, "conversion")])
        assert [one.status for one in receipts] == ["accepted"] * 3
        assert [one.charged_micros for one in receipts] == [0, page.slots[0].price_micros, 0]

    run(check, scenario)


def test_a_told_outcome_is_paid_and_the_rest_is_free_before_the_next_page() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(
            Request(request=0, user=0, outcome=Outcome((True, True), (False, True), (False, True)))
        )
        assert sum(money(ranker, "spent_micros")) == page.slots[1].price_micros
        assert money(ranker, "held_micros") == [0] * 5
        (receipt,) = await ranker.events([event(page)])
        assert receipt.status == "refused" and "outcome" in receipt.why
        counts = ranker._day._books._counts
        ad = page.slots[1].ad
        assert (counts.exposures.sum(), counts.clicks[ad], counts.conversions[ad], counts.wins.sum()) == (2, 1, 1, 2)

    run(check)


class SharedLedger(MemoryLedger):
    """A ledger that another process empties: it refuses what this process believes to be free."""

    def __init__(self, names: Sequence[str], refusals: int, ad: int) -> None:
        super().__init__(names)
        self.refusals, self.ad, self.asked = refusals, ad, 0
        self.taken = 0

    def free_micros(self) -> Any:
        free = super().free_micros()
        if self.asked and self.refusals == 0:
            free[self.ad] = 0
        return free

    async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
        self.asked += 1
        await asyncio.sleep(0)
        if any(hold.ad == self.ad for hold in holds):
            self.refusals = max(0, self.refusals - 1)
            return Refused(self.ad, 0)
        return await super().reserve(holds)


@pytest.mark.parametrize("refusals", [1, 3, 50])
def test_a_page_that_the_ledger_refuses_is_decided_again_without_the_one_that_has_no_money(refusals: int) -> None:
    log: list[Decided] = []

    async def check() -> None:
        plain = await LiveRanker.open(TINY, {"it": "truthful"})
        favourite = (await plain.rank(Request(request=0, user=0))).slots[0].ad
        ledger = SharedLedger(NAMES, refusals, favourite)
        ranker = await LiveRanker.open(TINY, {"it": "truthful"}, ledger=ledger, log=log.append)
        page = await ranker.rank(Request(request=0, user=0))
        assert page.slots and favourite not in [slot.ad for slot in page.slots]
        assert ranker.state().refused_reserves == min(refusals, 3)
        assert sum(money(ranker, "held_micros")) >= sum(slot.price_micros for slot in page.slots)
        assert [one.id for one in log] == ["0.0"]  # what was answered, once
        assert log[0].winner[log[0].winner >= 0].tolist() == [slot.ad for slot in page.slots]
        assert ranker._day._books._counts.served[0] == 0  # told when the tick ends
        assert ranker._day._books._seen[0, 0, 0] == 1

    asyncio.run(check())


# The same request again


def test_the_same_request_gets_the_same_decision_and_reserves_nothing_more() -> None:
    async def check(ranker: LiveRanker) -> None:
        request = Request(request=0, user=0, tick=2)
        page = await ranker.rank(request)
        held = money(ranker, "held_micros")
        await ranker.rank(Request(request=1, user=1, tick=5))
        held_by_both = money(ranker, "held_micros")
        assert await ranker.rank(request) == page  # though its tick is over
        assert await ranker.rank_many([request, request]) == [page, page]
        assert money(ranker, "held_micros") == held_by_both != held
        assert ranker.state().decided == 2

    run(check)


def test_a_second_try_with_less_time_is_the_same_request() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0, timeout_ms=500.0))
        held = money(ranker, "held_micros")
        for timeout_ms in (None, 1.5, 0.001):
            assert await ranker.rank(Request(request=0, user=0, timeout_ms=timeout_ms)) == page
        with pytest.raises(Conflict):
            await ranker.rank(Request(request=0, user=0, buying=0.5))
        assert money(ranker, "held_micros") == held and ranker.state().decided == 1

    run(check)


def test_the_same_request_sent_at_once_is_decided_once() -> None:
    class Slow(MemoryLedger):
        async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
            refused = await super().reserve(holds)
            await asyncio.sleep(0.01)
            return refused

    async def check(ranker: LiveRanker) -> None:
        request = Request(request=0, user=0)
        pages = await asyncio.gather(*(ranker.rank(request) for _ in range(20)))
        assert len({page.id for page in pages}) == 1 and all(page == pages[0] for page in pages)
        assert ranker.state().decided == 1
        assert sum(money(ranker, "held_micros")) == sum(slot.price_micros for slot in pages[0].slots)

    run(check, ledger=Slow(NAMES))


def test_a_request_given_up_while_the_ledger_writes_keeps_its_answer() -> None:
    class Gate(MemoryLedger):
        opened = False

        async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
            refused = await super().reserve(holds)
            while not self.opened:
                await asyncio.sleep(0.001)
            return refused

    log: list[Decided] = []
    ledger = Gate(NAMES)

    async def check(ranker: LiveRanker) -> None:
        request = Request(request=0, user=0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ranker.rank(request), 0.01)
        held = money(ranker, "held_micros")
        assert sum(held) > 0 and ranker.state().decided == 0
        ledger.opened = True
        page = await ranker.rank(request)
        assert [slot.price_micros for slot in page.slots] == [held[slot.ad] for slot in page.slots]
        assert money(ranker, "held_micros") == held
        assert ranker.state().decided == 1 and [one.id for one in log] == [page.id]

    run(check, ledger=ledger, log=log.append)


def test_the_same_number_for_another_page_is_a_conflict_before_anything_is_decided() -> None:
    async def check(ranker: LiveRanker) -> None:
        await ranker.rank(Request(request=0, user=0))
        with pytest.raises(Conflict, match=r"\$\.request is 0; page 0\.0 was answered for other content"):
            await ranker.rank(Request(request=0, user=1))
        with pytest.raises(Conflict, match=r"\$\.requests\[1\]\.request is 0"):
            await ranker.rank_many([Request(request=5, user=0), Request(request=0, user=1)])
        with pytest.raises(Conflict, match=r"\$\.requests\[1\]\.request is 5"):
            await ranker.rank_many([Request(request=5, user=0), Request(request=5, user=1)])
        assert ranker.state().decided == 1
        await ranker.rank(Request(request=0, user=1, day=1))  # another day's request 0

    run(check)


def test_after_a_restart_a_page_comes_out_alike_or_is_a_conflict() -> None:
    async def check() -> None:
        ledger = MemoryLedger(NAMES)
        first = await LiveRanker.open(TINY, {"it": "truthful"}, ledger=ledger)
        page = await first.rank(Request(request=0, user=0))
        again = await LiveRanker.open(TINY, {"it": "truthful"}, ledger=ledger)
        held = ledger.free_micros()
        assert await again.rank(Request(request=0, user=0)) == page
        np.testing.assert_array_equal(ledger.free_micros(), held)
        other = await LiveRanker.open(TINY, {"it": "fixed:0.4"}, ledger=ledger)
        with pytest.raises(Conflict, match="was answered before, and otherwise"):
            await other.rank(Request(request=0, user=0))
        (receipt,) = await again.events([event(page)])
        assert receipt.status == "accepted"

    asyncio.run(check())


def test_memory_is_bounded_by_count_and_by_time() -> None:
    clock = Clock()

    async def check(ranker: LiveRanker) -> None:
        for r in range(30):
            page = await ranker.rank(Request(request=r, user=r % 50))
        assert len(ranker._answered) == 10
        assert (await ranker.events([event(page)]))[0].status == "accepted"
        forgotten = Event(id="late", kind="click", decision="0.3", slot=0)
        assert [one.status for one in await ranker.events([forgotten, forgotten])] == ["accepted", "duplicate"]
        clock.now += 600_001
        ranker._answered.expire(clock.now)
        assert len(ranker._answered) == 0

    run(check, now_ms=clock, max_pages=10)


# Events


def test_an_event_counts_once_whatever_its_order_or_name() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        sent = [
            event(page, "conversion"), event(page, "click"), event(page, "click"), event(page, "click", name="again"),
            event(page, "impression"), event(page, "impression", slot=1, name=f"{page.id}.0.click"),
            event(page, "impression", slot=1), event(page, "conversion", name="once more"),
        ]  # fmt: skip
        statuses = [one.status for one in await ranker.events(sent)]
        assert statuses == [
            "accepted", "accepted", "duplicate", "duplicate", "accepted", "refused", "accepted", "duplicate"
        ]  # fmt: skip
        assert sum(money(ranker, "spent_micros")) == page.slots[0].price_micros
        counts = ranker._day._books._counts
        assert (counts.clicks.sum(), counts.conversions.sum(), counts.exposures.sum()) == (1, 1, 2)

    run(check)


def test_the_same_event_sent_at_once_is_charged_once() -> None:
    class Slow(MemoryLedger):
        async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
            await asyncio.sleep(0.005)
            return await super().charge(charges)

    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        told = await asyncio.gather(*(ranker.events([event(page, name=f"e{k % 3}")]) for k in range(12)))
        statuses = [receipts[0].status for receipts in told]
        assert statuses.count("accepted") == 1 and statuses.count("duplicate") == 11
        assert ranker._day._books._counts.clicks.sum() == 1

    run(check, ledger=Slow(NAMES))


def test_an_event_after_the_hold_is_expired_and_costs_nothing() -> None:
    clock = Clock()

    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        clock.now += 600_001
        late = await ranker.events([event(page), event(page, "impression", slot=1, time_ms=clock.now + 10**9)])
        assert [one.status for one in late] == ["expired", "expired"]
        assert sum(money(ranker, "spent_micros")) == 0
        in_time = await ranker.events([event(page, name="told late", time_ms=clock.now - 500)])
        assert in_time[0].status == "accepted"

    run(check, now_ms=clock)


def test_events_of_no_page_or_slot_are_unknown() -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        sent = [
            event(page, slot=2),
            *(Event(id=d, kind="click", decision=d, slot=0) for d in ("0.7", "x", "0.0.0", "٣.٣")),
        ]
        assert [one.status for one in await ranker.events(sent)] == ["unknown"] * 5

    run(check)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": ""}, r"\$\.events\[1\]\.id is ''"),
        ({"id": "\ud800"}, r"\$\.events\[1\]\.id"),
        ({"kind": "view"}, r"\$\.events\[1\]\.kind is 'view'; allowed is impression, click, conversion"),
        ({"slot": -1}, r"\$\.events\[1\]\.slot is -1; allowed is 0 to 99"),
        ({"slot": 1.0}, r"\$\.events\[1\]\.slot is 1.0"),
        ({"time_ms": float("nan")}, r"\$\.events\[1\]\.time_ms is nan"),
        ({"decision": "a\0"}, r"\$\.events\[1\]\.decision"),
    ],
)
def test_an_event_that_cannot_be_is_refused_with_its_whole_batch(change: dict[str, Any], told: str) -> None:
    async def check(ranker: LiveRanker) -> None:
        page = await ranker.rank(Request(request=0, user=0))
        with pytest.raises(ValueError, match=told):
            await ranker.events([event(page), msgspec.structs.replace(event(page, "impression"), **change)])
        assert sum(money(ranker, "spent_micros")) == 0

    run(check)


# Time


def test_a_new_day_brings_new_budgets_books_and_lineup_states() -> None:
    async def check(ranker: LiveRanker) -> None:
        budget = money(ranker, "free_micros")
        pages = await ranker.rank_many([Request(request=r, user=r, tick=6) for r in range(20)])
        await ranker.events([event(page) for page in pages])
        spent = sum(money(ranker, "spent_micros"))
        assert spent > 0
        page = await ranker.rank(Request(request=0, user=0, day=1))
        assert (page.id, page.tick, ranker.state().day) == ("1.0", 0, 1)
        assert sum(money(ranker, "spent_micros")) == 0
        assert sum(money(ranker, "free_micros")) == sum(budget) - sum(slot.price_micros for slot in page.slots)
        fresh = await LiveRanker.open(TINY, {"it": "pid"})
        await fresh.rank(Request(request=0, user=0, day=1))
        for release in (ranker._releases.all["it"], fresh._releases.all["it"]):
            assert release.multipliers is not None
        np.testing.assert_array_equal(
            ranker._releases.all["it"].multipliers, fresh._releases.all["it"].multipliers  # type: ignore[arg-type]
        )  # fmt: skip
        (late,) = await ranker.events([event(pages[0], "click", slot=1)])
        assert late.status == "accepted"

    run(check, policies={"it": "pid"})


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            Request(request=9, user=0, tick=3, day=2),
            r"\$\.tick is 3; allowed is the clock's, 4, or a later one of the day",
        ),
        (Request(request=9, user=0, tick=7, day=1), r"\$\.day is 1; allowed is the clock's, 2, or a later one"),
    ],
)
def test_time_that_runs_backwards_is_refused(request_: Request, told: str) -> None:
    async def check(ranker: LiveRanker) -> None:
        await ranker.rank(Request(request=0, user=0, tick=4, day=2))
        with pytest.raises(ValueError, match=told):
            await ranker.rank(request_)
        with pytest.raises(ValueError, match=r"\$\.requests\[1\]\.tick is 5; allowed is the clock's, 6"):
            await ranker.rank_many([Request(request=7 + r, user=0, tick=6 - r, day=2) for r in range(2)])
        assert ranker.state().tick == 4

    run(check)


def test_all_requests_of_a_batch_are_checked_before_the_first_is_decided() -> None:
    async def check(ranker: LiveRanker) -> None:
        with pytest.raises(ValueError, match=r"\$\.requests\[2\]\.candidates\[0\]\.advertiser is 'x'"):
            await ranker.rank_many(
                [
                    Request(request=0, user=0),
                    Request(request=1, user=0),
                    Request(request=2, user=0, candidates=(Offer("x"),)),
                ]
            )
        with pytest.raises(ValueError, match=r"\$\.requests\[0\]\.buying is nan"):
            await ranker.rank_many([Request(request=0, user=0, buying=float("nan"))])
        with pytest.raises(ValueError, match=r"\$\.requests has 1001 entries; allowed is at most 1000"):
            await ranker.rank_many([Request(request=0, user=0)] * 1001)
        assert ranker.state().decided == 0

    run(check)


def test_the_wall_clock_moves_on_by_itself_and_bids_anew() -> None:
    clock = Clock()

    async def check(ranker: LiveRanker) -> None:
        assert (ranker.state().day, ranker.state().tick) == (20_000, 0)
        page = await ranker.rank(Request(request=0, user=0))
        assert page.id == "20000.0"
        before = ranker._releases.all["it"].multipliers
        tending = asyncio.create_task(ranker.tend(0.001))
        clock.now += DAY_MS // 8 * 3
        while ranker.state().tick != 3 or ranker._day._moving.locked():
            await asyncio.sleep(0.001)
        assert ranker._releases.all["it"].multipliers is not before
        assert (await ranker.rank(Request(request=1, user=0))).tick == 3
        with pytest.raises(ValueError, match=r"\$\.day is 19999; allowed is the clock's, 20000, or none"):
            await ranker.rank(Request(request=2, user=0, day=19_999))
        clock.now += DAY_MS
        while ranker.state().day != 20_001:
            await asyncio.sleep(0.001)
        assert sum(money(ranker, "spent_micros")) == 0
        tending.cancel()

    run(check, clock="wall", now_ms=clock, policies={"it": "pid"})


def test_under_the_wall_clock_pages_are_answered_while_multipliers_are_worked_out() -> None:
    clock = Clock()

    async def check(ranker: LiveRanker) -> None:
        import threading

        release, working = ranker._releases.all["it"], threading.Event()
        act = release._lineup.act

        def slow(*given: Any) -> Any:
            working.wait(10.0)
            return act(*given)

        release._lineup.act = slow  # type: ignore[method-assign]
        before = release.multipliers
        clock.now += DAY_MS // 8
        moving = asyncio.create_task(ranker._day.move_to(20_000, 1))
        await asyncio.sleep(0.01)
        for r in range(5):
            assert (await ranker.rank(Request(request=r, user=0))).slots
        assert release.multipliers is before
        working.set()
        await moving
        assert release.multipliers is not before

    run(check, clock="wall", now_ms=clock)


def test_a_closed_ranker_answers_nothing_more() -> None:
    async def check(ranker: LiveRanker) -> None:
        await ranker.close()
        await ranker.close()
        for call in (
            ranker.rank(Request(request=0, user=0)),
            ranker.events([]),
            ranker.activate("it"),
            ranker.rollback(),
        ):
            with pytest.raises(Closed):
                await call

    run(check)


def test_a_ledger_of_other_advertisers_is_refused() -> None:
    with pytest.raises(ValueError, match="ledger has the advertisers"):
        asyncio.run(LiveRanker.open(TINY, {"it": "pid"}, ledger=MemoryLedger(["a", "b"])))


def test_only_a_feed_can_be_served() -> None:
    with pytest.raises(ValueError, match="scenario auctionnet is no feed"):
        asyncio.run(LiveRanker.open("auctionnet", {"it": "pid"}))


def test_the_log_holds_what_the_decision_was_made_of() -> None:
    log: list[Decided] = []

    async def check(ranker: LiveRanker) -> None:
        free = money(ranker, "free_micros")
        page = await ranker.rank(Request(request=4, user=7, tick=1))
        (one,) = log
        assert (one.id, one.user, one.tick, one.arm, one.release) == ("0.4", 7, 1, "active", page.policy)
        assert one.left_micros.tolist() == free
        assert one.ads.tolist() == [0, 1, 2, 3, 4]
        for k, slot in enumerate(page.slots):
            assert (one.winner[k], one.price_micros[k], one.score[k]) == (slot.ad, slot.price_micros, slot.score)
            assert one.bid_micros[slot.ad] == slot.bid_micros
            assert (one.pctr[slot.ad], one.pcvr[slot.ad]) == (np.float32(slot.pctr), np.float32(slot.pcvr))
        brought = await ranker.rank(
            Request(request=5, tick=1, candidates=(Offer("adv_03", 0.5, 0.5), Offer("adv_01", 0.25, 0.5)))
        )
        assert log[1].user == -1 and log[1].ads.tolist() == [3, 1]
        assert {slot.ad for slot in brought.slots} <= {3, 1}

    run(check, log=log.append)
