"""``Snapshot``: a book's balances at one entry of its journal, so that opening need not read all of it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tribid.ranker.ledger.book import FUNDING, Book, Entry
from tribid.ranker.ledger.values import KINDS

_KINDS = ("fund", "reserve", "settle", "event", "release", "close")


class Snapshot(NamedTuple):
    """Balances [2 + 2 A] and what was spent [A] after entry ``seq``.

    ``first`` is the entry from which on the journal tells all about the holds that the book still knew then.
    """

    seq: int
    day: int
    first: int
    balance: tuple[int, ...]
    spent: tuple[int, ...]

    @classmethod
    def of(cls, book: Book) -> "Snapshot":
        """The book as it is."""
        oldest = next(iter(book.holds.values()), None)  # holds stand in the order in which they were reserved
        first = book.seq + 1 if oldest is None else oldest[-1]
        return cls(book.seq, book.day, first, tuple(book.balance), tuple(book.spent))


def rebuild(names: Sequence[str], keep_ms: int, snapshot: Snapshot | None, entries: Iterable[Entry]) -> Book:
    """The book that a snapshot and the journal's entries from its ``first`` (without one: from 1) make.

    ``ValueError`` names the entry at which the journal contradicts itself.
    """
    book = Book(names, keep_ms=keep_ms)
    start = 1
    if snapshot is not None:
        start = snapshot.first
        book.day, book.seq = snapshot.day, snapshot.seq
        for account, balance in enumerate(snapshot.balance):
            book.balance[account] = balance
        for ad, spent in enumerate(snapshot.spent):
            book.spent[ad] = spent
    expected = start
    for entry in entries:
        if entry.seq != expected:
            raise ValueError(f"entry {expected} is missing: the next is {entry.seq}")
        check_entry(len(book.balance), entry)
        if snapshot is not None and entry.seq <= snapshot.seq:
            book.remember(entry)
        else:
            _apply(book, entry)
        expected += 1
    if expected <= book.seq:
        raise ValueError(f"entry {expected} is missing, but the snapshot is of entry {book.seq}")
    return book


def check_entry(accounts: int, entry: Entry) -> None:
    """``ValueError`` where an entry by itself makes no sense in a ledger of so many accounts."""
    sound = (
        entry.kind in _KINDS
        and 0 <= entry.debit < accounts
        and 0 <= entry.credit < accounts
        and entry.debit != entry.credit
        and entry.amount_micros >= 0
        and (entry.event_kind in KINDS) == (entry.kind in ("settle", "event")) == (entry.event is not None)
        and (entry.hold is not None or entry.kind in ("fund", "close"))
    )
    if not sound:
        raise ValueError(f"entry {entry.seq} is no entry of a ledger: {tuple(entry)!r:.200}")


def _apply(book: Book, entry: Entry) -> None:
    if entry.kind in ("settle", "event", "release"):
        held = book.holds.get(entry.hold or "")
        if held is None or held[2] < entry.amount_micros:
            raise ValueError(
                f"entry {entry.seq} takes {entry.amount_micros} micros from hold {entry.hold!r}, which lacks them"
            )
    book.apply(entry)
    if entry.debit != FUNDING and book.balance[entry.debit] < 0:
        raise ValueError(f"entry {entry.seq} leaves account {entry.debit} at {book.balance[entry.debit]} micros")
