"""``SqliteFile``: the file of an embedded ledger: its tables, its lock, what is read on opening and written in between.

    account              number and name of every account
    journal              every entry, in order; only ever added to
    snapshot, snapshot_advertiser    the balances after one late entry; see ``tribid.ranker.ledger.snapshot``

The tables are STRICT and hold integers and text only. A file is looked at before SQLite opens it, and its tables must be
these to the letter, so that nothing in it (a trigger, a view) is ever run.
"""

import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from tribid.files import replacing
from tribid.ranker.exclusive import exclusive
from tribid.ranker.ledger.book import Book, Entry, account_names
from tribid.ranker.ledger.snapshot import Snapshot, rebuild

Durability = Literal["full", "normal"]

# A checkpoint holds commits up for some 8 ms. At SQLite's 1,000 pages and 1,000 requests a second there is one every second,
# which decides their 99th percentile; the price is a WAL of 32 MiB, and as much to read again after a kill.
_CHECKPOINT_PAGES = 8_000
_APPLICATION = 0x54424C47  # "TBLG"
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE journal (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, time_ms INTEGER, debit INTEGER NOT NULL, "
    "credit INTEGER NOT NULL, amount_micros INTEGER NOT NULL CHECK (amount_micros >= 0), hold TEXT, event TEXT, "
    "event_kind TEXT, day INTEGER NOT NULL) STRICT",
    "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, day INTEGER NOT NULL, first INTEGER NOT NULL, "
    "funding_micros INTEGER NOT NULL, platform_micros INTEGER NOT NULL) STRICT",
    "CREATE TABLE snapshot_advertiser (ad INTEGER PRIMARY KEY, free_micros INTEGER NOT NULL, "
    "held_micros INTEGER NOT NULL, spent_micros INTEGER NOT NULL) STRICT",
)
# A whole batch in one statement: the interpreter's lock is let go once, not once for each row.
_INSERT = "INSERT INTO journal SELECT " + ", ".join(f"value ->> {n}" for n in range(10)) + " FROM json_each(?)"


class SqliteFile:
    """A ledger's file, open and, unless `read_only`, locked against every other process that would write it."""

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "full", read_only: bool = False
    ) -> None:
        if durability not in ("full", "normal"):
            raise ValueError(f"durability is {durability!r}; choose full or normal")
        self.path = os.path.realpath(path)
        self._lock = (
            None if read_only else exclusive(Path(self.path + "-lock"), self.path, "one may write it at a time")
        )
        try:
            self._connection = _connect(self.path, durability, read_only=read_only)
        except BaseException:
            self._unlock()
            raise

    def names(self) -> tuple[str, ...]:
        """The advertisers by index; none in a file that was made just now."""
        with self._readable():
            rows = self._connection.execute("SELECT name FROM account ORDER BY id").fetchall()
        return tuple(name.removeprefix("advertiser/").removesuffix("/free") for (name,) in rows[2::2])

    def create(self, names: Sequence[str]) -> None:
        """Name the accounts of a file that was made just now."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO account VALUES (?, ?)", enumerate(account_names(names)))
        self._connection.execute("COMMIT")

    def read(self, keep_ms: int) -> Book:
        """The book that the file tells of; ``ValueError`` where it contradicts itself."""
        with self._readable():
            return rebuild(self.names(), keep_ms, *self._told())

    def entries(self, first: int = 1) -> Iterator[Entry]:
        """The journal from entry `first`, in order."""
        with self._readable():
            for row in self._connection.execute("SELECT * FROM journal WHERE seq >= ? ORDER BY seq", (first,)):
                yield Entry(*row)

    def write(self, entries: list[Entry], snapshot: Snapshot | None) -> None:
        """Write a batch down, all or none; returns when it is as durable as was asked for."""
        told = msgspec.json.encode(entries).decode()
        if snapshot is None:
            self._connection.execute(_INSERT, (told,))
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute(_INSERT, (told,))
            self._replace_snapshot(snapshot)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """What a SELECT gives, row by row; for whoever checks the file."""
        with self._readable():
            yield from self._connection.execute(sql)

    def close(self) -> None:
        """Let go of the file; what was written is in it."""
        self._connection.close()
        self._unlock()

    def _told(self) -> tuple[Snapshot | None, Iterator[Entry]]:
        row = self._connection.execute("SELECT * FROM snapshot").fetchone()
        if row is None:
            return None, self.entries()
        seq, day, first, funding, platform = row
        sides = self._connection.execute("SELECT * FROM snapshot_advertiser ORDER BY ad").fetchall()
        balance = (funding, platform, *(micros for _, free, held, _ in sides for micros in (free, held)))
        snapshot = Snapshot(seq, day, first, balance, tuple(spent for _, _, _, spent in sides))
        if len(balance) != 2 + 2 * len(self.names()):
            raise ValueError(f"the snapshot has {len(sides)} advertisers instead of {len(self.names())}")
        return snapshot, self.entries(first)

    def _replace_snapshot(self, snapshot: Snapshot) -> None:
        self._connection.execute("DELETE FROM snapshot")
        self._connection.execute("DELETE FROM snapshot_advertiser")
        self._connection.execute("INSERT INTO snapshot VALUES (?, ?, ?, ?, ?)", (*snapshot[:3], *snapshot.balance[:2]))
        free, held = snapshot.balance[2::2], snapshot.balance[3::2]
        rows = zip(range(len(free)), free, held, snapshot.spent, strict=True)
        self._connection.executemany("INSERT INTO snapshot_advertiser VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from None

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()


def _connect(path: str, durability: Durability, *, read_only: bool) -> sqlite3.Connection:
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        if read_only:
            raise ValueError(f"{path} is absent or empty; a ledger was expected")
        _make(path)
    _check_header(path)
    where = f"{Path(path).as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute(f"PRAGMA synchronous = {durability}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if not read_only and connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise ValueError(
                f"{path} lies on a file system without the locks that SQLite's WAL needs; use a local disk"
            )
        if read_only:
            connection.execute("BEGIN")  # all that is read is of one moment
        if _schema(connection) != set(_SCHEMA):
            raise ValueError(f"{path} has other tables than a ledger has")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise ValueError(f"{path} is damaged or no ledger: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: str) -> None:
    if os.path.exists(path + "-wal"):
        raise ValueError(
            f"{path} is gone, but {path}-wal is there and holds entries of it; put the file back or move both"
        )
    with replacing(path) as temporary, closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


def _check_header(path: str) -> None:
    # Read by hand: SQLite would change the journal mode of somebody else's database on opening it.
    with open(path, "rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise ValueError(f"{path} is no ledger: it is no SQLite database")
    (version,), (application,) = struct.unpack(">I", header[60:64]), struct.unpack(">I", header[68:72])
    if application != _APPLICATION:
        raise ValueError(f"{path} is no ledger: it is another program's database")
    if version != _VERSION:
        raise ValueError(f"{path} is a ledger of version {version}; this program reads version {_VERSION}")


def _schema(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'").fetchall()
    return {str(sql) for (sql,) in found}
