"""``Book``: the rules of every ledger, as entries of a journal; no clock, no store, nothing that waits.

A call checks everything first, then posts its entries; an entry is all that changes a book, so a book that is given the
same entries again is the same book. ``MemoryLedger`` is a book; SQLite's is a book whose entries are written down before
they are acknowledged; PostgreSQL's is a book of the rows that a transaction has locked.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.ledger.errors import HoldExistsError
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Refused
from tribid.ranker.ledger.timetable import Timetable
from tribid.ranker.ledger.values import (
    MAX_MICROS,
    MAX_TIME_MS,
    check_budgets,
    check_charge,
    check_hold,
    check_id,
    check_names,
    whole,
)

# An ended hold and its events are forgotten this long after the hold's time; until then a second try is known as one.
KEEP_MS: Final = 3_600_000

FUNDING: Final = 0
PLATFORM: Final = 1

IMPRESSION, CLICK, CONVERSION, SETTLED, RELEASED = (1 << bit for bit in range(5))
FLAG_OF: Final = {"impression": IMPRESSION, "click": CLICK, "conversion": CONVERSION}

# A hold as the book keeps it: ad, amount_micros, left_micros, expires_ms, day, flags (the events it had, how it ended),
# its events, and the seq of its reserve. A plain tuple of plain values, for the garbage collector passes over those.
Held = tuple[int, int, int, int, int, int, tuple[str, ...], int]

EntryKind = Literal["fund", "reserve", "settle", "event", "release", "close"]


class Entry(NamedTuple):
    """One line of the journal: ``amount_micros`` leaves the account ``debit`` and reaches the account ``credit``.

    ``seq`` counts from 1 without gaps. ``time_ms`` is when an event happened, until when a reserve holds, when a hold was
    expired; None where nobody said. ``kind`` ``event`` records an event that costs nothing. ``day`` is the day whose
    budget it is.
    """

    seq: int
    kind: EntryKind
    time_ms: int | None
    debit: int
    credit: int
    amount_micros: int
    hold: str | None
    event: str | None
    event_kind: str | None
    day: int


def free_account(ad: int) -> int:
    """The number of ``advertiser/NAME/free``."""
    return 2 + 2 * ad


def held_account(ad: int) -> int:
    """The number of ``advertiser/NAME/held``."""
    return 3 + 2 * ad


def account_names(names: Sequence[str]) -> list[str]:
    """All accounts by number.

    >>> account_names(["shop"])
    ['funding', 'platform', 'advertiser/shop/free', 'advertiser/shop/held']
    """
    return ["funding", "platform", *(f"advertiser/{name}/{side}" for name in names for side in ("free", "held"))]


class Book:
    """Balances, holds and events of A advertisers; ``day`` is -1 until one is opened."""

    def __init__(self, names: Sequence[str], *, keep_ms: int = KEEP_MS) -> None:
        self.names = check_names(names)
        self.keep_ms = whole("keep_ms", keep_ms, most=MAX_TIME_MS)
        self.day = -1
        self.seq = 0
        self.balance = array("q", bytes(8 * (2 + 2 * len(self.names))))  # refuses by itself what 64 bits do not hold
        self.spent = array("q", bytes(8 * len(self.names)))
        self.holds: dict[str, Held] = {}
        self.events: dict[str, tuple[str, str]] = {}  # event id -> its hold's id, its kind
        self._due = Timetable()
        self._old = Timetable()
        self._free = np.frombuffer(self.balance, dtype=np.int64)[2::2]
        self._spent = np.frombuffer(self.spent, dtype=np.int64)

    def free_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] may still promise; a copy."""
        return self._free.copy()

    def spent_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] has paid out of the open day's budget; a copy."""
        return self._spent.copy()

    def open_day(self, day: int, budget_micros: Mapping[str, int]) -> list[Entry]:
        """Close the open day's free money and fund this day; nothing where it is open already."""
        day = whole("day", day, most=MAX_TIME_MS)
        budgets = check_budgets(self.names, budget_micros)
        if day < self.day:
            raise ValueError(f"day is {day}, but day {self.day} is open; allowed is {self.day} and later")
        if day == self.day:
            return []
        unspent = [self.balance[free_account(ad)] for ad in range(len(budgets))]
        if sum(budgets) - sum(unspent) - self.balance[FUNDING] > MAX_MICROS:
            raise ValueError(f"budget_micros adds up to {sum(budgets)}; all money may be at most {MAX_MICROS} micros")
        closed = [
            self._post("close", None, free_account(ad), FUNDING, left, day=self.day)
            for ad, left in enumerate(unspent) if left
        ]  # fmt: skip
        return closed + [
            self._post("fund", None, FUNDING, free_account(ad), budget, day=day) for ad, budget in enumerate(budgets)
        ]

    def reserve(self, holds: Sequence[Hold]) -> Refused | list[Entry]:
        """Hold a page's money, all or none; nothing where all of its holds exist alike."""
        if holds and self.day < 0:
            raise ValueError("no day is open; call open_day before reserve")
        new: dict[str, Hold] = {}
        asked: dict[int, int] = {}
        for number, hold in enumerate(holds):
            checked = check_hold(number, hold, len(self.names))
            known = new.get(checked.id) or self.holds.get(checked.id)
            if known is None:
                new[checked.id] = checked
                asked[checked.ad] = asked.get(checked.ad, 0) + checked.amount_micros
                continue
            if not isinstance(known, Hold) and known[5] & RELEASED:
                raise HoldExistsError(f"holds[{number}] {checked.id!r} was given back; it cannot hold anything again")
            ad, amount = (known.ad, known.amount_micros) if isinstance(known, Hold) else known[:2]
            if (ad, amount) != (checked.ad, checked.amount_micros):
                raise HoldExistsError(
                    f"holds[{number}] {checked.id!r} holds {amount} micros of {self.names[ad]!r} already; "
                    f"it cannot hold {checked.amount_micros} of {self.names[checked.ad]!r}"
                )
        if new and len(new) < len(holds):
            self._check_all_new(holds)
        for ad, amount in asked.items():
            if amount > self.balance[free_account(ad)]:
                return Refused(ad, self.balance[free_account(ad)])
        return [
            self._post("reserve", until, free_account(ad), held_account(ad), amount, hold=name)
            for name, ad, amount, until in new.values()
        ]

    def known(self, holds: Sequence[str]) -> list[str]:
        """Those of these holds that it remembers, ended ones too."""
        return [name for name in holds if name in self.holds]

    def charge(self, charges: Sequence[Charge]) -> tuple[list[Charged], list[Entry]]:
        """Record events in order, each once; takes at most what a hold still holds and gives back the rest of it."""
        checked = [check_charge(number, charge) for number, charge in enumerate(charges)]
        for number, charge in enumerate(checked):
            held = self.holds.get(charge.hold)
            if charge.amount_micros is not None and held is not None:
                whole(f"charges[{number}].amount_micros", charge.amount_micros, most=held[1])
        entries: list[Entry] = []
        return [self._charge(charge, entries) for charge in checked], entries

    def release(self, holds: Sequence[str], *, time_ms: int | None = None) -> list[Entry]:
        """Give back what these open holds hold; unknown and ended ones are passed over."""
        for number, name in enumerate(holds):
            check_id(f"holds[{number}]", name)
        entries: list[Entry] = []
        for name in holds:
            held = self.holds.get(name)
            if held is not None and not held[5] & (SETTLED | RELEASED):
                self._give_back(name, held[2], time_ms, entries)
        return entries

    def expire(self, now_ms: int) -> list[Entry] | None:
        """Release about a second's worth of the holds whose time lies before `now_ms`; None where no more are due.

        Ended holds whose time lies more than ``keep_ms`` back are forgotten: an event for them is then unknown.
        """
        now_ms = whole("now_ms", now_ms, most=MAX_TIME_MS)
        due = self._due.pop_due(now_ms)
        # An id may stand here for a life before its present one, which has a later time of its own.
        due = [name for name in due if name in self.holds and self.holds[name][3] < now_ms]
        entries = self.release(due, time_ms=now_ms)
        for name in due:
            self._old.add(self.holds[name][3] + self.keep_ms, name)
        while old := self._old.pop_due(now_ms):
            for name in old:
                if name in self.holds and self.holds[name][3] + self.keep_ms < now_ms:
                    self._forget(name)
        return entries if due else None

    def apply(self, entry: Entry) -> None:
        """Post an entry that stands in a journal: money, then what is known of its hold."""
        self.balance[entry.debit] -= entry.amount_micros
        self.balance[entry.credit] += entry.amount_micros
        if entry.kind == "fund" and entry.day != self.day:
            self.day = entry.day
            self.spent[:] = array("q", bytes(8 * len(self.names)))
        elif entry.kind == "settle":
            self.spent[(entry.debit - 3) // 2] += entry.amount_micros if entry.day == self.day else 0
        self.seq = entry.seq
        self.remember(entry)

    def remember(self, entry: Entry) -> None:
        """What an entry says of its hold, without its money; entries of holds that are unknown are passed over."""
        name = entry.hold
        if name is None or entry.kind == "close":
            return
        if entry.kind == "reserve":
            if name in self.holds:
                self._forget(name)
            until = entry.time_ms or 0
            ad, amount = (entry.debit - 2) // 2, entry.amount_micros
            self.holds[name] = (ad, amount, amount, until, entry.day, 0, (), entry.seq)
            self._due.add(until, name)
            return
        held = self.holds.get(name)
        if held is None:
            return
        ad, amount, left, until, day, flags, events, since = held
        if entry.kind == "release":
            flags |= 0 if flags & SETTLED else RELEASED
        else:
            event, kind = entry.event or "", entry.event_kind or ""
            flags |= FLAG_OF[kind] | (SETTLED if entry.kind == "settle" else 0)
            events = (*events, event)
            self.events[event] = (name, kind)
        self.holds[name] = (ad, amount, left - entry.amount_micros, until, day, flags, events, since)

    def _check_all_new(self, holds: Sequence[Hold]) -> None:
        """``HoldExistsError`` where some holds of a page exist and others do not: it was reserved before, and otherwise."""
        for number, hold in enumerate(holds):
            if hold.id in self.holds:
                raise HoldExistsError(
                    f"holds[{number}] {hold.id!r} exists, but not all holds of its page do; nothing is added to it"
                )

    def _charge(self, charge: Charge, entries: list[Entry]) -> Charged:
        held = self.holds.get(charge.hold)
        known = self.events.get(charge.event)
        if known is not None:
            is_same = known == (charge.hold, charge.kind)
            return Charged("duplicate" if is_same else "refused", 0, -1 if held is None else held[0])
        if held is None:
            return Charged("unknown", 0, -1)
        ad, _, left, until, day, flags, _, _ = held
        if flags & FLAG_OF[charge.kind]:
            return Charged("duplicate", 0, ad)
        if flags & RELEASED or charge.time_ms > until:
            return Charged("expired", 0, ad)
        about = {"hold": charge.hold, "event": charge.event, "event_kind": charge.kind}
        kind: EntryKind = "event" if charge.amount_micros == 0 else "settle"
        taken = left if charge.amount_micros is None else min(charge.amount_micros, left)
        entries.append(self._post(kind, charge.time_ms, held_account(ad), PLATFORM, taken, day=day, **about))
        if kind == "settle" and taken < left:
            self._give_back(charge.hold, left - taken, charge.time_ms, entries)
        return Charged("accepted", taken, ad)

    def _give_back(self, name: str, amount: int, time_ms: int | None, entries: list[Entry]) -> None:
        # Money of a day that is over goes on to where it came from: it is no budget of the day that is open.
        ad, day = self.holds[name][0], self.holds[name][4]
        entries.append(self._post("release", time_ms, held_account(ad), free_account(ad), amount, hold=name, day=day))
        if day != self.day and amount:
            entries.append(self._post("close", time_ms, free_account(ad), FUNDING, amount, hold=name, day=day))

    def _forget(self, name: str) -> None:
        for event in self.holds.pop(name)[6]:
            if self.events.get(event, ("",))[0] == name:
                del self.events[event]

    def _post(
        self, kind: EntryKind, time_ms: int | None, debit: int, credit: int, amount: int, *, hold: str | None = None,
        event: str | None = None, event_kind: str | None = None, day: int | None = None,
    ) -> Entry:  # fmt: skip
        of_day = self.day if day is None else day
        entry = Entry(self.seq + 1, kind, time_ms, debit, credit, amount, hold, event, event_kind, of_day)
        self.apply(entry)
        return entry
