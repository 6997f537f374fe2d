import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tribid.ranker.ledger.interface import Charged, Ledger
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.ledger.postgres import PostgresLedger
from tribid.ranker.ledger.sqlite import SqliteLedger
from tribid.ranker.ledger.testing import check_ledger


async def in_memory(names: Sequence[str]) -> Ledger:
    return MemoryLedger(names)


def test_memory_keeps_the_contract() -> None:
    asyncio.run(check_ledger(in_memory))


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_sqlite_keeps_the_contract(durability: Any, tmp_path: Path) -> None:
    number = itertools.count()

    async def make(names: Sequence[str]) -> Ledger:
        return await SqliteLedger.open(tmp_path / f"{next(number)}.db", names, durability=durability, snapshot_every=3)

    asyncio.run(check_ledger(make))


def test_postgres_keeps_the_contract(new_database: Callable[[], str]) -> None:
    dsn = new_database()
    number = itertools.count()

    async def make(names: Sequence[str]) -> Ledger:
        return await PostgresLedger.open(dsn, names, schema=f"ledger_{next(number)}")

    asyncio.run(check_ledger(make))


def test_a_timed_ledger_keeps_the_contract_of_the_one_that_it_times() -> None:
    from tribid.ranker.service.observed import TimedLedger, ledger_seconds

    async def make(names: Sequence[str]) -> Ledger:
        return TimedLedger(MemoryLedger(names), ledger_seconds())

    asyncio.run(check_ledger(make))


class Forgetful(MemoryLedger):
    """Counts an event as often as it comes."""

    async def charge(self, charges: Any) -> list[Charged]:
        self._book.events.clear()
        for name, held in list(self._book.holds.items()):
            self._book.holds[name] = (*held[:5], 0, (), held[7])
        return await super().charge(charges)


class Generous(MemoryLedger):
    """Says that there is more than there is."""

    def free_micros(self) -> Any:
        return super().free_micros() + 1


class Rounding(MemoryLedger):
    """Counts money in floats."""

    def spent_micros(self) -> Any:
        return super().spent_micros().astype("float64")


class Swallowing(MemoryLedger):
    """Takes an id that was used for another event for that event."""

    async def charge(self, charges: Any) -> list[Charged]:
        told = await super().charge(charges)
        return [one._replace(status="duplicate") if one.status == "refused" else one for one in told]


class Timeless(MemoryLedger):
    """Does not know its day."""

    @property
    def day(self) -> int:
        return 0


class Plain(MemoryLedger):
    """Does not say which errors are of pages that were reserved before."""

    async def reserve(self, holds: Any) -> Any:
        try:
            return await super().reserve(holds)
        except ValueError as error:
            raise ValueError(str(error)) from None


@pytest.mark.parametrize("broken", [Forgetful, Generous, Rounding, Swallowing, Timeless, Plain])
def test_the_checker_finds_a_broken_ledger(broken: type[MemoryLedger]) -> None:
    async def make(names: Sequence[str]) -> Ledger:
        return broken(names)

    with pytest.raises(AssertionError):
        asyncio.run(check_ledger(make))
