import random

import pytest

from tribid.ranker.ledger.book import Book, Entry
from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.snapshot import Snapshot, rebuild
from tribid.ranker.ledger.timetable import Timetable

NAMES = ("ann", "bob")
FUNDING, PLATFORM, ANN_FREE, ANN_HELD, BOB_FREE, BOB_HELD = range(6)


def test_a_click_for_less_than_was_held_moves_money_three_times() -> None:
    book = Book(NAMES)
    entries = book.open_day(0, {"ann": 100, "bob": 0})
    page = book.reserve([Hold("0.1.0", 0, 40, 5_000)])
    assert isinstance(page, list)
    entries += page
    entries += book.charge([Charge("e", "click", "0.1.0", 4_000, 30)])[1]
    assert entries == [
        Entry(1, "fund", None, FUNDING, ANN_FREE, 100, None, None, None, 0),
        Entry(2, "fund", None, FUNDING, BOB_FREE, 0, None, None, None, 0),
        Entry(3, "reserve", 5_000, ANN_FREE, ANN_HELD, 40, "0.1.0", None, None, 0),
        Entry(4, "settle", 4_000, ANN_HELD, PLATFORM, 30, "0.1.0", "e", "click", 0),
        Entry(5, "release", 4_000, ANN_HELD, ANN_FREE, 10, "0.1.0", None, None, 0),
    ]
    assert list(book.balance) == [-100, 30, 70, 0, 0, 0]


def test_yesterdays_money_goes_back_to_funding_when_it_is_released_today() -> None:
    book = Book(NAMES)
    book.open_day(0, {"ann": 100, "bob": 0})
    book.reserve([Hold("0.1.0", 0, 40, 5_000)])
    closing = book.open_day(1, {"ann": 7, "bob": 0})
    assert closing[0] == Entry(4, "close", None, ANN_FREE, FUNDING, 60, None, None, None, 0)
    assert [entry[1:6] for entry in book.release(["0.1.0"], time_ms=9)] == [
        ("release", 9, ANN_HELD, ANN_FREE, 40), ("close", 9, ANN_FREE, FUNDING, 40)
    ]  # fmt: skip
    assert list(book.balance) == [-7, 0, 7, 0, 0, 0]


def test_what_is_spent_is_of_the_open_days_budget_in_a_book_that_is_read_again_too() -> None:
    book = Book(NAMES)
    entries = book.open_day(0, {"ann": 100, "bob": 100})
    for page in ([Hold("0.1.0", 0, 40, 5_000)], [Hold("0.2.0", 1, 50, 5_000)]):
        reserved = book.reserve(page)
        assert isinstance(reserved, list)
        entries += reserved
    entries += book.charge([Charge("a", "click", "0.1.0", 1)])[1]
    assert book.spent_micros().tolist() == [40, 0]
    entries += book.open_day(1, {"ann": 7, "bob": 7})
    entries += book.charge([Charge("b", "click", "0.2.0", 1)])[1]
    assert book.spent_micros().tolist() == [0, 0] and book.free_micros().tolist() == [7, 7]
    assert list(rebuild(NAMES, 10_000, None, iter(entries)).spent) == [0, 0]


def test_a_hold_that_was_given_back_holds_nothing_again() -> None:
    book = Book(NAMES)
    book.open_day(0, {"ann": 100, "bob": 100})
    page = [Hold("0.1.0", 0, 40, 5_000), Hold("0.1.1", 1, 50, 5_000)]
    book.reserve(page)
    while book.expire(5_001) is not None:
        pass
    before = book.seq
    with pytest.raises(ValueError, match=r"holds\[0\] '0\.1\.0' was given back; it cannot hold anything again"):
        book.reserve(page)
    assert (book.seq, book.free_micros().tolist()) == (before, [100, 100])
    assert book.known(["0.1.0", "0.1.2", "0.1.1"]) == ["0.1.0", "0.1.1"]


def test_an_id_of_one_event_never_stands_for_another_in_a_book_that_is_read_again_too() -> None:
    book = Book(NAMES)
    entries = book.open_day(0, {"ann": 100, "bob": 100})
    page = book.reserve([Hold("0.1.0", 0, 40, 5_000), Hold("0.1.1", 1, 50, 5_000)])
    assert isinstance(page, list)
    entries += page
    entries += book.charge([Charge("e", "click", "0.1.0", 1)])[1]
    for read in (book, rebuild(NAMES, 10_000, None, iter(entries))):
        told, posted = read.charge(
            [
                Charge("e", "click", "0.1.0", 1),
                Charge("e", "click", "0.1.1", 1),
                Charge("e", "conversion", "0.1.0", 1, 0),
            ]
        )
        assert told == [("duplicate", 0, 0), ("refused", 0, 1), ("refused", 0, 0)] and posted == []
        assert read.charge([Charge("f", "click", "0.1.1", 1)])[0] == [("accepted", 50, 1)]


def test_nothing_is_added_to_a_page_that_was_reserved() -> None:
    book = Book(NAMES)
    book.open_day(0, {"ann": 100, "bob": 100})
    first, second = Hold("0.1.0", 0, 40, 5_000), Hold("0.1.1", 1, 50, 5_000)
    book.reserve([second])
    before = book.seq
    with pytest.raises(ValueError, match=r"holds\[1\] '0\.1\.1' exists, but not all holds of its page do"):
        book.reserve([first, second])
    assert (book.seq, book.free_micros().tolist(), list(book.holds)) == (before, [100, 50], ["0.1.1"])
    assert book.reserve([second, second]) == []


def test_what_ended_is_forgotten_in_time_so_that_memory_stays_bounded() -> None:
    book = Book(NAMES, keep_ms=10_000)
    book.open_day(0, {"ann": 1_000_000, "bob": 0})
    most = 0
    for now in range(0, 600_000, 100):
        book.reserve([Hold(f"0.{now}.0", 0, 3, now + 5_000)])
        book.charge([Charge(f"e{now}", "click", f"0.{now}.0", now, 1)] if now % 300 == 0 else [])
        while book.expire(now) is not None:
            pass
        most = max(most, len(book.holds))
    assert 150 <= most <= 175  # 15 s of holds, ten a second, and the bucket that is not due as a whole
    assert len(book.events) <= most / 3 + 1
    assert book.charge([Charge("e0", "click", "0.0.0", 0)])[0] == [("unknown", 0, -1)]
    assert book.charge([Charge("late", "click", "0.590000.0", 600_000)])[0] == [("expired", 0, 0)]


def test_an_open_hold_is_never_forgotten() -> None:
    book = Book(NAMES, keep_ms=0)
    book.open_day(0, {"ann": 10, "bob": 0})
    book.reserve([Hold("0.1.0", 0, 3, 10**9), Hold("0.1.1", 0, 3, 5)])
    while book.expire(10**6) is not None:
        pass
    assert list(book.holds) == ["0.1.0"]


def _life(seed: int) -> tuple[Book, list[Entry], list[Snapshot]]:
    chance = random.Random(seed)
    book, entries, snapshots = Book(NAMES, keep_ms=2_000), [], []
    for now in range(0, 60_000, 50):
        if now % 20_000 == 0:
            entries += book.open_day(now // 20_000, {"ann": 5_000, "bob": 5_000})
        page = book.reserve([Hold(f"0.{now}.{slot}", slot % 2, chance.randrange(9), now + 3_000) for slot in range(3)])
        entries += page if isinstance(page, list) else []
        hold = f"0.{now - 50 * chance.randrange(40)}.{chance.randrange(3)}"
        entries += book.charge([Charge(f"e{chance.randrange(500)}", "click", hold, now)])[1]
        entries += book.release([f"0.{now - 500}.1"])
        while (ended := book.expire(now)) is not None:
            entries += ended
        if now % 7_000 == 0:
            snapshots.append(Snapshot.of(book))
    return book, entries, snapshots


def test_a_snapshot_and_the_entries_from_its_first_make_the_same_book_as_all_entries() -> None:
    book, entries, snapshots = _life(1)
    assert [entry.seq for entry in entries] == list(range(1, book.seq + 1))
    for snapshot in [None, *snapshots]:
        start = 1 if snapshot is None else snapshot.first
        again = rebuild(NAMES, 2_000, snapshot, iter(entries[start - 1 :]))
        assert (again.balance, again.spent, again.day, again.seq) == (book.balance, book.spent, book.day, book.seq)
        assert book.holds.items() <= again.holds.items()  # it may remember more: forgetting is in no journal
        while again.expire(59_950) is not None:
            pass
        assert again.holds == book.holds
        assert again.events == book.events


def test_snapshots_begin_ever_later_so_that_opening_does_not_grow() -> None:
    _, entries, snapshots = _life(2)
    lengths = [snapshot.seq - snapshot.first for snapshot in snapshots[1:]]
    assert max(lengths) < len(entries) / 5


def test_a_timetable_gives_out_everything_that_is_due_once() -> None:
    chance = random.Random(3)
    table, waiting = Timetable(), dict[str, int]()
    for now in range(0, 100_000, 700):
        for number in range(5):
            waiting[f"{now}.{number}"] = now + chance.randrange(5_000)
            table.add(waiting[f"{now}.{number}"], f"{now}.{number}")
        due: list[str] = []
        while names := table.pop_due(now):
            due += names
        assert sorted(due) == sorted(name for name, time_ms in waiting.items() if time_ms < now)
        for name in due:
            del waiting[name]
