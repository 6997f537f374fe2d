"""Money survives kills and crowds; and the witnesses that say so would notice if it did not."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

from tribid.benchmark.chaos.audit import audit, read_books
from tribid.benchmark.chaos.crashes import crash_trial
from tribid.benchmark.chaos.crowd import Crowd
from tribid.benchmark.chaos.rush import rush
from tribid.benchmark.chaos.witness import Witness
from tribid.benchmark.served import ServedRanker, Setup
from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.sqlite import SqliteLedger
from tribid.ranker.messages import Decision, Event, Receipt, Slot

NAMES = ("one", "two")
BUDGETS = {"one": 1000, "two": 500}


def event(name, kind="click", page="0.1", slot=0):
    return Event(id=name, kind=kind, decision=page, slot=slot)


def page(name, *slots):
    sold = tuple(
        Slot(slot=k, ad=ad, advertiser=NAMES[ad], bid_micros=price, price_micros=price, pctr=0.1, pcvr=0.1, multiplier=1.0,
             score=1.0, why="") for k, (ad, price) in enumerate(slots)
    )  # fmt: skip
    return Decision(id=name, request=1, day=0, tick=0, scenario="", policy="", slots=sold)


def told(name, status="accepted", charged=0):
    return Receipt(id=name, status=status, charged_micros=charged)


@pytest.fixture
def witness():
    """One page of two slots, of which the first was clicked, and the second seen."""
    one = Witness()
    one.see_page(page("0.1", (0, 300), (1, 200)), b"")
    events = [event("a"), event("b", "impression", slot=1)]
    one.ask(events)
    one.hear(events, [told("a", charged=300), told("b")])
    return one


@pytest.fixture
def journal(tmp_path):
    """The file of a ledger to which the same happened."""
    path = tmp_path / "ledger.sqlite"

    async def play():
        ledger = await SqliteLedger.open(path, NAMES)
        await ledger.open_day(0, BUDGETS)
        await ledger.reserve([Hold("0.1.0", 0, 300, 10**9), Hold("0.1.1", 1, 200, 10**9)])
        await ledger.charge([Charge("a", "click", "0.1.0", 5), Charge("b", "impression", "0.1.1", 5, 0)])
        await ledger.close()

    asyncio.run(play())
    return path


def found(path, witness):
    audit(read_books(path, NAMES, witness), witness, BUDGETS)
    return " / ".join(witness.problems)


def test_what_is_in_order_is_not_objected_to(journal, witness):
    assert found(journal, witness) == "" and not witness.problem_count
    books = read_books(journal, NAMES, witness)
    assert (books.of(0, "free"), books.of(1, "held"), books.spent[0], books.balance["platform"]) == (700, 200, 300, 300)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM journal WHERE event = 'b'", "impression b was acknowledged and is not in the journal"),
        ("DELETE FROM journal WHERE kind = 'settle'", "hold 0.1.0 was clicked and settled 0, not 300"),
        ("UPDATE journal SET amount_micros = 299 WHERE kind = 'settle'", "settled 299, not 300"),
        ("UPDATE journal SET amount_micros = 100 WHERE hold = '0.1.1' AND kind = 'reserve'", "reserved 100, not 200"),
        ("UPDATE journal SET amount_micros = 2000 WHERE hold = '0.1.0' AND kind = 'reserve'", "free goes to -1000 micros"),
        ("UPDATE journal SET amount_micros = 1001 WHERE kind = 'fund' AND credit = 2", "of a budget of 1000"),
        ("UPDATE journal SET event = 'a' WHERE event = 'b'", "event a stands 2 times"),
        ("INSERT INTO journal SELECT 100, kind, time_ms, debit, credit, amount_micros, hold, 'c', event_kind, day "
         "FROM journal WHERE kind = 'settle'", "hold 0.1.0 was settled 2 times"),
        ("INSERT INTO journal SELECT 100, 'release', NULL, debit, 4, amount_micros, hold, NULL, NULL, day "
         "FROM journal WHERE hold = '0.1.1' AND kind = 'reserve'", "0.1.1 of an answered page gave back 200"),
    ],
)  # fmt: skip
def test_a_journal_that_lost_or_doubled_anything_is_objected_to(journal, witness, change, said):
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute(change)
    assert said in found(journal, witness)


def test_a_settled_hold_that_nobody_clicked_is_objected_to(journal, witness):
    witness.clicked.clear()
    assert "hold 0.1.0 was settled, and nobody clicked it" in found(journal, witness)


def test_a_click_whose_answer_was_never_heard_may_have_been_settled_or_not(journal, witness):
    witness.clicked.clear()
    witness.known.pop("a")
    witness.ask([event("a"), event("z", slot=1)])
    assert found(journal, witness) == ""


@pytest.mark.parametrize(
    ("sent", "answer", "said"),
    [
        (event("a"), told("a", charged=300), "acknowledged, and is accepted a second time"),
        (event("c"), told("c", charged=300), "hold 0.1.0 is charged a second time"),
        (event("d", slot=1), told("d", charged=201), "charged 201 micros, not 200"),
        (event("d", slot=1), told("d", "unknown"), "of an answered page is unknown"),
        (event("d", slot=1), told("d", "expired"), "of an answered page is expired"),
        (event("d", "impression", slot=1), told("d", charged=1), "charged 1 micros, not 0"),
        (event("d"), told("e"), "answered by other receipts"),
    ],
)
def test_receipts_that_cannot_be_true_are_objected_to(witness, sent, answer, said):
    witness.ask([sent])
    witness.hear([sent], [answer])
    assert any(said in problem for problem in witness.problems)


def test_a_page_that_is_answered_differently_is_objected_to(witness):
    witness.see_page(page("0.1", (0, 300), (1, 200)), b"")
    assert not witness.problem_count
    witness.see_page(page("0.1", (1, 300)), b"")
    assert "and later" in witness.problems[0]
    assert [slot.price_micros for slot in witness.pages["0.1"]] == [300, 200]  # what was promised first is owed


def test_duplicates_are_no_problem_and_are_known_from_then_on(witness):
    witness.ask([event("a"), event("c")])
    witness.hear([event("a"), event("c")], [told("a", "duplicate"), told("c", "duplicate")])
    assert not witness.problem_count and set(witness.known) == {"a", "b", "c"} and not witness.asked


def test_clients_see_slots_click_some_and_send_old_events_again():
    crowd = Crowd(Witness(known={"old": event("old")}), users=5, seed=0)
    kinds = [one for _ in range(200) for one in crowd._reactions(page("0.7", (0, 10), (1, 5)))]
    names = [one.id for one in kinds if one.id != "old"]
    assert len(set(names)) == len(names) and {one.kind for one in kinds} == {"impression", "click", "conversion"}
    assert any(one.id == "old" for one in kinds)
    slots = [(one.decision, one.slot) for one in kinds if one.kind == "click"]
    assert len(set(slots)) < len(slots)  # some slots are clicked twice


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="no bidder named 'nobody'"):
        ServedRanker(Setup(scenario="tiny", policies={"x": "nobody"}))


@pytest.mark.timeout(900)  # the first server of all may have to compile its kernels
def test_a_killed_server_loses_and_doubles_nothing():
    report = crash_trial(1, clients=8, seed=1)
    assert report.problems == () and report.problem_count == 0
    assert report.pages > 1 and report.events > 0 and report.entries > report.events


@pytest.mark.timeout(900)
def test_64_clients_on_one_nearly_empty_budget_never_overspend_by_a_micro():
    report = rush(clients=64, pages_each=3, budget=9.0)
    assert report.problems == () and report.problem_count == 0
    assert report.pages == 192 and report.prices > 5
    assert report.budget_micros - report.most_micros < report.promised_micros <= report.budget_micros == 9_000_000
    assert report.charged_micros == report.promised_micros  # every slot was clicked


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_killed_100_times_under_load_loses_and_doubles_nothing():
    report = crash_trial(100)
    assert report.problems == () and report.problem_count == 0
    assert report.kills == 100 and report.unheard > 50 and report.clicks > 1000
