"""The books as the journal on disk tells them, added up entry by entry, and held against what clients were told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tribid.benchmark.chaos.witness import Witness, hold_of
from tribid.ranker.ledger.book import FUNDING, account_names
from tribid.ranker.ledger.sqlite_file import SqliteFile


@dataclass(kw_only=True)
class Books:
    """A journal in sums: ``balance`` by account, and per hold what was reserved, settled and released.

    ``events`` counts how often each event stands in the journal.
    """

    names: tuple[str, ...]
    balance: dict[str, int]
    debits: int = 0
    credits: int = 0
    reserved: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    settlements: Counter[str] = field(default_factory=Counter)
    released: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    spent: Counter[int] = field(default_factory=Counter)
    entries: int = 0

    def of(self, ad: int, side: str) -> int:
        """What is in an advertiser's account ``free`` or ``held``."""
        return self.balance[f"advertiser/{self.names[ad]}/{side}"]


def read_books(path: str | Path, names: Sequence[str], witness: Witness) -> Books:
    """Add up a journal that nobody writes just now; tells the witness where an account goes below 0 on the way."""
    accounts = account_names(names)
    books = Books(names=tuple(names), balance=dict.fromkeys(accounts, 0))
    file = SqliteFile(path, read_only=True)
    try:
        for entry in file.entries():
            books.entries += 1
            if entry.seq != books.entries:
                witness.object(f"entry {books.entries} of the journal has number {entry.seq}")
            debit, credit, micros = accounts[entry.debit], accounts[entry.credit], entry.amount_micros
            books.balance[debit] -= micros
            books.balance[credit] += micros
            books.debits += micros
            books.credits += micros
            if books.balance[debit] < 0 and entry.debit != FUNDING:
                witness.object(f"{debit} goes to {books.balance[debit]} micros by entry {entry.seq}")
            if entry.hold is not None and entry.kind in ("reserve", "settle", "release"):
                by_kind = {"reserve": books.reserved, "settle": books.settled, "release": books.released}
                by_kind[entry.kind][entry.hold] += micros
                books.settlements[entry.hold] += entry.kind == "settle"
            if entry.kind == "settle":
                books.spent[(entry.debit - 3) // 2] += micros
            if entry.event is not None:
                books.events[entry.event] += 1
    finally:
        file.close()
    return books


def audit(books: Books, witness: Witness, budget_micros: Mapping[str, int]) -> None:
    """Tell the witness of everything in the books that should not be there, or is missing.

    All money comes from the budgets and is somewhere; each acknowledged page's money was set aside, and still is unless
    its click was settled; each acknowledged event stands there once; no hold pays twice or more than it holds.
    """
    _balanced(books, witness, budget_micros)
    for event, count in books.events.items():
        if count != 1:
            witness.object(f"event {event} stands {count} times in the journal")
    for hold, count in books.settlements.items():
        if count > 1:
            witness.object(f"hold {hold} was settled {count} times")
    for hold in books.reserved:
        gone = books.settled[hold] + books.released[hold]
        if gone > books.reserved[hold]:
            witness.object(f"hold {hold} gave {gone} of {books.reserved[hold]} micros")
    _kept(books, witness)


def _balanced(books: Books, witness: Witness, budget_micros: Mapping[str, int]) -> None:
    if books.debits != books.credits or sum(books.balance.values()) != 0:
        witness.object(f"debits are {books.debits}, credits {books.credits}, balances {sum(books.balance.values())}")
    if books.balance["platform"] != sum(books.spent.values()):
        witness.object(f"the platform has {books.balance['platform']} micros of {sum(books.spent.values())} settled")
    for ad, name in enumerate(books.names):
        have = books.of(ad, "free") + books.of(ad, "held") + books.spent[ad]
        if books.entries and have != budget_micros[name]:
            witness.object(f"{name} has {have} micros free, held and spent, of a budget of {budget_micros[name]}")


def _kept(books: Books, witness: Witness) -> None:
    for page, slots in witness.pages.items():
        for place, sold in enumerate(slots):
            hold = f"{page}.{place}"
            if books.reserved[hold] != sold.price_micros:
                witness.object(
                    f"hold {hold} of an answered page reserved {books.reserved[hold]}, not {sold.price_micros}"
                )
            if hold in witness.clicked and books.settled[hold] != sold.price_micros:
                witness.object(f"hold {hold} was clicked and settled {books.settled[hold]}, not {sold.price_micros}")
            if books.released[hold]:
                witness.object(f"hold {hold} of an answered page gave back {books.released[hold]} before its time")
    clicks = {hold_of(event) for event in witness.asked.values() if event.kind == "click"}
    for hold, micros in books.settled.items():
        if micros and hold not in witness.clicked and hold not in clicks:
            witness.object(f"hold {hold} was settled, and nobody clicked it")
    sent = (*witness.known.values(), *witness.asked.values())
    had = {(event.kind, hold_of(event)) for event in sent if books.events[event.id]}
    for event in witness.known.values():
        if (
            event.kind,
            hold_of(event),
        ) not in had:  # a second click is a duplicate of the first, which then stands there
            witness.object(f"{event.kind} {event.id} was acknowledged and is not in the journal")
