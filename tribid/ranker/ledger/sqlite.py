"""``SqliteLedger``: the embedded ledger: a book in memory, a journal on disk, many acknowledgements by one commit.

Every entry is in the file before whoever asked for it is answered. Everything that arrives while one commit runs goes into
the next, so that a disk of 200 commits a second serves thousands of pages.

The journal is only ever added to and is kept for ever: it is the books. Opening reads a snapshot of the balances and the
entries of what the book still remembers, which is about an hour of holds (``keep_ms``), however long the journal is.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from tribid.ranker.ledger.book import KEEP_MS, Book, Entry
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.group_commit import GroupCommit
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.ledger.snapshot import Snapshot
from tribid.ranker.ledger.sqlite_file import Durability, SqliteFile
from tribid.ranker.ledger.values import check_names

SNAPSHOT_EVERY: Final = 100_000


class SqliteLedger(MemoryLedger):
    """A ``Ledger`` in one file, written by one process at a time; made by ``SqliteLedger.open``."""

    def __init__(self, book: Book, file: SqliteFile, snapshot_every: int) -> None:
        super().__init__(book.names, keep_ms=book.keep_ms)
        self._book = book
        self._file = file
        self._commit = GroupCommit(file.write)
        self._snapshot_every = snapshot_every
        self._snapshot_seq = book.seq

    @classmethod
    async def open(
        cls, path: str | os.PathLike[str], names: Sequence[str], *, durability: Durability = "full",
        keep_ms: int = KEEP_MS, snapshot_every: int = SNAPSHOT_EVERY,
    ) -> "SqliteLedger":  # fmt: skip
        """Open the ledger at `path`, or make one there.

        ``durability`` ``full``: what was acknowledged survives a power cut; ``normal``: it survives the end of the process,
        however sudden, but a power cut may take the last moments. ``ValueError`` where another process has the file open,
        where it is of other advertisers, and where it is damaged or no ledger at all.
        """
        book, file = await asyncio.to_thread(_opened, path, check_names(names), durability, keep_ms)
        return cls(book, file, snapshot_every)

    async def close(self) -> None:
        """Write what is left to be written, and let the next process have the file."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._commit.written([], Snapshot.of(self._book))
        except LedgerUnavailableError:
            pass  # whoever was to be told has been told
        finally:
            await self._commit.close()
            await asyncio.to_thread(self._file.close)

    def _check_open(self) -> None:
        super()._check_open()
        self._commit.check()

    async def _keep(self, entries: list[Entry]) -> None:
        snapshot = None
        if self._book.seq - self._snapshot_seq >= self._snapshot_every:
            snapshot = Snapshot.of(self._book)
            self._snapshot_seq = self._book.seq
        await self._commit.written(entries, snapshot)


def _opened(
    path: str | os.PathLike[str], names: tuple[str, ...], durability: Durability, keep_ms: int
) -> tuple[Book, SqliteFile]:
    file = SqliteFile(path, durability=durability)
    try:
        found = file.names()
        if not found:
            file.create(names)
        elif found != names:
            raise ValueError(f"{path} is a ledger of {list(found)}; the advertisers here are {list(names)}")
        return file.read(keep_ms), file
    except BaseException:
        file.close()
        raise
