"""``check_journal``: whether a ledger's books add up, by reading all of its journal."""

from os import PathLike, fspath
from typing import Any, Final, NamedTuple

from tribid.ranker.ledger.book import FUNDING, PLATFORM, Entry, free_account, held_account
from tribid.ranker.ledger.journal_store import JournalStore, PostgresJournal, SqliteJournal
from tribid.ranker.ledger.postgres_tables import check_schema
from tribid.ranker.ledger.snapshot import check_entry

_TOLD: Final = 20  # problems that a report tells of


class AdvertiserAccounts(NamedTuple):
    """One advertiser's money over the journal: ``funded`` is what is ``free``, ``held`` and ``paid``."""

    name: str
    funded_micros: int
    free_micros: int
    held_micros: int
    paid_micros: int


class JournalReport(NamedTuple):
    """What a journal adds up to; ``problems`` is empty where all is well, and tells at most of the first 20."""

    entries: int
    days: int
    events: int
    holds: int
    holds_open: int
    debits_micros: int
    credits_micros: int
    revenue_micros: int
    advertisers: tuple[AdvertiserAccounts, ...]
    problems: tuple[str, ...]


def check_journal(source: str | PathLike[str], *, schema: str = "tribid_ledger") -> JournalReport:
    """Read all of a ledger's journal and check what must hold; a server may be using the ledger meanwhile.

    `source` is SQLite's file or a DSN of PostgreSQL (``postgresql://...`` or ``host=... dbname=...``), whose ledger lies in
    `schema`. Checked: debits equal credits; no account but ``funding`` was ever below zero; the journal from its start
    gives every balance that the ledger goes by; no event stands twice; every settle and release has a hold that was
    reserved before, still open, of enough money, and takes each kind of event once; advertisers' funds are what they
    have free, held and paid. ``ValueError`` where there is no ledger, or none that can be read.
    """
    text = fspath(source)
    dsn = text.startswith(("postgresql://", "postgres://")) or ("=" in text and "dbname" in text)
    store: JournalStore = PostgresJournal(text, check_schema(schema)) if dsn else SqliteJournal(text)
    try:
        return _report(store)
    finally:
        store.close()


def _report(store: JournalStore) -> JournalReport:
    problems = store.faults()
    names = store.names()
    sums = _Sums(2 + 2 * len(names))
    for row in store.select("SELECT * FROM {journal} ORDER BY seq"):
        sums.add(Entry(*row), store.gaps, problems)
    lives = _Lives(len(names))
    for row in store.select(
        "SELECT hold, kind, debit, amount_micros, event_kind FROM {journal} "
        "WHERE hold IS NOT NULL AND kind <> 'close' ORDER BY hold, seq"
    ):
        lives.add(row, problems)
    problems += [
        f"event {event!r} stands {times} times"
        for event, times in store.select(
            "SELECT event, count(*) FROM {journal} WHERE event IS NOT NULL GROUP BY event HAVING count(*) > 1 ORDER BY event"
        )
    ]
    _compare(names, sums, lives, store, problems)
    accounts = tuple(
        AdvertiserAccounts(
            name, sums.funded[ad], sums.balance[free_account(ad)], sums.balance[held_account(ad)], sums.paid[ad]
        )
        for ad, name in enumerate(names)
    )
    more = [f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
    return JournalReport(
        sums.entries, sums.days, sums.events, lives.count, lives.open, sum(sums.debits), sum(sums.credits),
        sums.balance[PLATFORM], accounts, (*problems[:_TOLD], *more),
    )  # fmt: skip


class _Sums:
    """The journal from its start to its end, added up in Python's whole numbers, which have no largest."""

    def __init__(self, accounts: int) -> None:
        self.entries = self.events = self.days = 0
        self.debits, self.credits, self.balance = ([0] * accounts for _ in range(3))
        self.funded, self.paid = ([0] * (accounts // 2 - 1) for _ in range(2))
        self._last, self._day = 0, -1

    def add(self, entry: Entry, gaps: bool, problems: list[str]) -> None:
        self.entries += 1
        if entry.seq <= self._last or (entry.seq > self._last + 1 and not gaps):
            problems.append(f"entry {entry.seq} follows entry {self._last}")
        self._last = entry.seq
        try:
            check_entry(len(self.balance), entry)
        except ValueError as error:
            problems.append(str(error))
            return
        amount = entry.amount_micros
        self.debits[entry.debit] += amount
        self.credits[entry.credit] += amount
        self.balance[entry.debit] -= amount
        self.balance[entry.credit] += amount
        if self.balance[entry.debit] < 0 and entry.debit != FUNDING:
            problems.append(f"entry {entry.seq} leaves account {entry.debit} at {self.balance[entry.debit]} micros")
        self.events += entry.event is not None
        if entry.kind == "fund":
            self.funded[(entry.credit - 2) // 2] += amount
            self.days += entry.day != self._day
            self._day = entry.day
        elif entry.kind == "close":
            self.funded[(entry.debit - 2) // 2] -= amount
        elif entry.kind == "settle":
            self.paid[(entry.debit - 3) // 2] += amount


class _Lives:
    """Every hold from its reserve to its end, one after the other; an id may live again once it has ended."""

    def __init__(self, advertisers: int) -> None:
        self.count = self.open = 0
        self.left = [0] * advertisers
        self._hold, self._account, self._left = "", -1, 0
        self._seen: set[str] = set()

    def add(self, row: tuple[Any, ...], problems: list[str]) -> None:
        hold, kind, debit, amount, event_kind = row
        same = hold == self._hold
        if kind == "reserve":
            if same and not self._ended:
                problems.append(f"hold {hold!r} was reserved again while it was open")
            self._hold, self._account, self._left, self._seen = hold, debit + 1, amount, set()
            self.count += 1
            self.open += 1
            self.left[(debit - 2) // 2] += amount
            return
        if not same or debit != self._account:
            problems.append(f"a {kind} of hold {hold!r} has no reserve of that advertiser before it")
            return
        if amount > self._left:
            problems.append(f"a {kind} takes {amount} micros from hold {hold!r}, which has {self._left}")
        if event_kind is not None and (event_kind in self._seen or self._seen & {"settle", "release"} == {"release"}):
            problems.append(f"a {event_kind} of hold {hold!r} came after another, or after it was given back")
        self.open -= kind != "event" and not self._ended
        self._left -= amount
        self.left[(debit - 3) // 2] -= amount
        self._seen |= {kind, event_kind or kind}

    @property
    def _ended(self) -> bool:
        return bool(self._seen & {"settle", "release"})


def _compare(names: tuple[str, ...], sums: _Sums, lives: _Lives, store: JournalStore, problems: list[str]) -> None:
    if sum(sums.debits) != sum(sums.credits):
        problems.append(f"debits add up to {sum(sums.debits)} micros, credits to {sum(sums.credits)}")
    try:
        standing = store.standing()
    except ValueError as error:
        problems.append(str(error))
    else:
        problems += [
            f"account {account} stands at {stands} micros; the journal gives {replayed}"
            for account, (stands, replayed) in enumerate(zip(standing, sums.balance, strict=True))
            if stands != replayed
        ]
    for ad, name in enumerate(names):
        held = sums.balance[held_account(ad)]
        if held != lives.left[ad]:
            problems.append(f"{name!r} has {held} micros held, its holds hold {lives.left[ad]}")
        if sums.funded[ad] != sums.balance[free_account(ad)] + held + sums.paid[ad]:
            problems.append(f"{name!r} was funded {sums.funded[ad]} micros, which are not its free, held and paid ones")
