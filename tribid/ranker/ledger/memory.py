"""``MemoryLedger``: a book in memory, for simulations, tests and demonstrations; it ends with the process."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.ledger.book import KEEP_MS, Book, Entry
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Refused


class MemoryLedger:
    """A ``Ledger`` that keeps nothing on disk; see ``tribid.ranker.ledger.interface`` for what each method promises.

    `names` are the advertisers by index. An ended hold and its events are forgotten `keep_ms` after the hold's time.
    """

    def __init__(self, names: Sequence[str], *, keep_ms: int = KEEP_MS) -> None:
        self._book = Book(names, keep_ms=keep_ms)
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The advertisers by index."""
        return self._book.names

    @property
    def day(self) -> int:
        """The open day; -1 before the first."""
        return self._book.day

    def free_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] may still promise; a copy."""
        return self._book.free_micros()

    def spent_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] has paid since the open day began; a copy."""
        return self._book.spent_micros()

    async def open_day(self, day: int, budget_micros: Mapping[str, int]) -> None:
        """Close the day before, fund this one; nothing where it is open already."""
        self._check_open()
        await self._keep(self._book.open_day(day, budget_micros))

    async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
        """Set aside a page's holds, all or none, before anything else runs."""
        self._check_open()
        outcome = self._book.reserve(holds)
        if isinstance(outcome, Refused):
            return outcome
        await self._keep(outcome)
        return None

    async def known(self, holds: Sequence[str]) -> list[str]:
        """Those of these holds that it remembers, ended ones too."""
        self._check_open()
        return self._book.known(holds)

    async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
        """Record events, in order, each once."""
        self._check_open()
        outcome, entries = self._book.charge(charges)
        await self._keep(entries)
        return outcome

    async def release(self, holds: Sequence[str]) -> int:
        """Give back what these holds still hold; how many had something."""
        self._check_open()
        entries = self._book.release(holds)
        await self._keep(entries)
        return sum(entry.kind == "release" and entry.amount_micros > 0 for entry in entries)

    async def expire(self, now_ms: int) -> int:
        """Give back what is held beyond its time, about a second's holds at a stretch; how many holds ended."""
        self._check_open()
        ended = 0
        while (entries := self._book.expire(now_ms)) is not None:
            await self._keep(entries)
            ended += sum(entry.kind == "release" for entry in entries)
        return ended

    async def close(self) -> None:
        """Take no more work; the balances stay readable."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LedgerUnavailableError("the ledger is closed")

    async def _keep(self, entries: list[Entry]) -> None:
        """Return when these entries, and all before them, are as durable as the ledger promises."""
