"""Where ``check_journal`` reads a ledger from: SQLite's file or PostgreSQL's schema, all of it as of one moment."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tribid.ranker.ledger.book import KEEP_MS
from tribid.ranker.ledger.sqlite_file import SqliteFile


class JournalStore(Protocol):
    """What is read of a ledger's store; ``gaps`` says whether numbers of entries may be missing."""

    gaps: bool

    def names(self) -> tuple[str, ...]:
        """The advertisers by index."""
        ...

    def select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """What a SELECT gives; ``{journal}`` stands for the journal's table."""
        ...

    def standing(self) -> list[int]:
        """The balances that the ledger goes by, account by account; ``ValueError`` where it cannot be opened."""
        ...

    def faults(self) -> list[str]:
        """What is wrong with the store itself."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


class SqliteJournal:
    """The journal in a file, which a server may be writing."""

    gaps = False

    def __init__(self, path: str) -> None:
        self._file = SqliteFile(path, read_only=True)

    def names(self) -> tuple[str, ...]:
        """The advertisers by index."""
        return self._file.names()

    def select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """What a SELECT gives."""
        return self._file.select(sql.format(journal="journal"))

    def standing(self) -> list[int]:
        """The balances that a server would have that opened the file now."""
        return list(self._file.read(KEEP_MS).balance)

    def faults(self) -> list[str]:
        """What SQLite finds wrong with its pages."""
        found = [str(row[0]) for row in self._file.select("PRAGMA integrity_check(5)")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class PostgresJournal:
    """The journal in a schema; transactions that failed leave gaps in its numbers."""

    gaps = True

    def __init__(self, dsn: str, schema: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise ImportError("a ledger in PostgreSQL needs psycopg: pip install 'tribid[postgres]'") from None
        self._schema = schema
        try:
            self._connection = psycopg.connect(dsn, connect_timeout=10)
        except psycopg.Error as error:
            raise ValueError(f"the ledger's database cannot be reached: {error}") from None
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        there = self._connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.journal",)).fetchone()
        if there != (True,):
            self.close()
            raise ValueError(f"the database has no ledger in schema {schema}")

    def names(self) -> tuple[str, ...]:
        """The advertisers by index."""
        return tuple(name for (name,) in self.select("SELECT name FROM {schema}.advertiser ORDER BY ad"))

    def select(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """What a SELECT gives; ``{schema}`` stands for the schema."""
        # A cursor on the server: a journal may be larger than memory.
        with self._connection.cursor(name="tribid_check") as cursor:
            cursor.itersize = 10_000
            cursor.execute(sql.format(journal=f"{self._schema}.journal", schema=self._schema).encode())
            yield from cursor

    def standing(self) -> list[int]:
        """The balances in the advertisers' rows."""
        rows = list(
            self.select(
                "SELECT free_micros, held_micros, paid_micros, funded_micros FROM {schema}.advertiser ORDER BY ad"
            )
        )
        sides: Iterable[int] = (micros for free, held, _, _ in rows for micros in (free, held))
        return [-sum(funded for _, _, _, funded in rows), sum(paid for _, _, paid, _ in rows), *sides]

    def faults(self) -> list[str]:
        """Where the remembered holds are not what advertisers have held."""
        remembered = self.select("SELECT ad, sum(left_micros)::bigint FROM {schema}.hold GROUP BY ad")
        held = dict(self.select("SELECT ad, held_micros FROM {schema}.advertiser"))
        left = dict.fromkeys(held, 0) | dict(remembered)
        return [
            f"advertiser {ad} has {held[ad]} micros held, its holds hold {left[ad]}"
            for ad in held
            if held[ad] != left[ad]
        ]

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
