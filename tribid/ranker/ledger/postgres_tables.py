"""The tables of a shared ledger in PostgreSQL: how they are made, looked at and kept small.

    advertiser   what each has now; hold, event: what is remembered; ``tribid.ranker.ledger.postgres_rows`` writes them
    account      number and name of every account
    journal      every entry; only ever added to
    server       the last transaction of each process, so that one that lost its connection can tell what was committed

All numbers are bigint; the database itself refuses a balance below zero and an advertiser whose funds are not its free,
held and paid money. Every function here takes an open transaction.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tribid.ranker.ledger.book import RELEASED, SETTLED, account_names

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    Connection = AsyncConnection[tuple[Any, ...]]

_VERSION: Final = 2  # 1 had no kinds of events
_ENDED: Final = SETTLED | RELEASED
_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.ledger (version bigint NOT NULL);
CREATE TABLE {schema}.account (id bigint PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE {schema}.advertiser (
    ad bigint PRIMARY KEY, name text NOT NULL UNIQUE, day bigint NOT NULL DEFAULT -1,
    free_micros bigint NOT NULL DEFAULT 0 CHECK (free_micros >= 0),
    held_micros bigint NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
    spent_micros bigint NOT NULL DEFAULT 0 CHECK (spent_micros >= 0),
    paid_micros bigint NOT NULL DEFAULT 0 CHECK (paid_micros >= 0),
    funded_micros bigint NOT NULL DEFAULT 0,
    CHECK (funded_micros = free_micros + held_micros + paid_micros)
);
CREATE TABLE {schema}.journal (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, time_ms bigint,
    debit bigint NOT NULL REFERENCES {schema}.account, credit bigint NOT NULL REFERENCES {schema}.account,
    amount_micros bigint NOT NULL CHECK (amount_micros >= 0), hold text, event text, event_kind text, day bigint NOT NULL
);
CREATE TABLE {schema}.hold (
    id text PRIMARY KEY, ad bigint NOT NULL REFERENCES {schema}.advertiser, amount_micros bigint NOT NULL,
    left_micros bigint NOT NULL CHECK (left_micros BETWEEN 0 AND amount_micros), expires_ms bigint NOT NULL,
    day bigint NOT NULL, flags bigint NOT NULL
);
CREATE INDEX hold_open ON {schema}.hold (expires_ms) WHERE flags & {ended} = 0;
CREATE INDEX hold_ended ON {schema}.hold (expires_ms) WHERE flags & {ended} <> 0;
CREATE TABLE {schema}.event (
    id text PRIMARY KEY, hold text NOT NULL, kind text NOT NULL, expires_ms bigint NOT NULL
);
CREATE INDEX event_hold ON {schema}.event (expires_ms);
CREATE TABLE {schema}.server (token text PRIMARY KEY, batch bigint NOT NULL, at timestamptz NOT NULL);
"""


def check_schema(name: str) -> str:
    """A schema's name that needs no quotes."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"schema is {name!r:.80}; allowed are small letters, digits and _, 63 at most, no digit first")
    return name


async def make_tables(connection: "Connection", schema: str, names: Sequence[str]) -> None:
    """Make the tables unless they are there; ``ValueError`` where those are of another version or other advertisers."""
    # Of several servers that start at once, one makes them and the others wait here, for longer than for a row.
    await connection.execute(
        "SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '30s', true)"
    )
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"tribid ledger {schema}",))
    there = await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.ledger",))).fetchone()
    if there != (True,):
        await connection.execute(_TABLES.format(schema=schema, ended=_ENDED))
        await connection.execute(f"INSERT INTO {schema}.ledger VALUES (%s)", (_VERSION,))
        await insert(connection, f"{schema}.account", "bigint, text", list(enumerate(account_names(names))))
        await insert(connection, f"{schema}.advertiser (ad, name)", "bigint, text", list(enumerate(names)))
    versions = await (await connection.execute(f"SELECT version FROM {schema}.ledger")).fetchall()
    if versions != [(_VERSION,)]:
        raise ValueError(f"schema {schema} holds a ledger of version {versions}; this program reads version {_VERSION}")
    found = await (await connection.execute(f"SELECT name FROM {schema}.advertiser ORDER BY ad")).fetchall()
    if [name for (name,) in found] != list(names):
        raise ValueError(
            f"schema {schema} is a ledger of {[name for (name,) in found]}; the advertisers here are {list(names)}"
        )


async def committed(connection: "Connection", schema: str, token: str, batch: int) -> bool:
    """Whether the server `token` committed its transaction `batch`; waits for it to end where it is still running."""
    cursor = await connection.execute(f"SELECT batch FROM {schema}.server WHERE token = %s FOR UPDATE", (token,))
    return await cursor.fetchone() == (batch,)


class Known(NamedTuple):
    """What a server knows of an advertiser: ``free_micros`` and ``spent_micros`` when it last looked, on ``day``."""

    ad: int
    day: int
    free_micros: int
    spent_micros: int


async def look(connection: "Connection", schema: str) -> list[Known]:
    """All advertisers as they are committed, locking nothing."""
    cursor = await connection.execute(f"SELECT ad, day, free_micros, spent_micros FROM {schema}.advertiser ORDER BY ad")
    return [Known(*row) for row in await cursor.fetchall()]


async def due_holds(connection: "Connection", schema: str, now_ms: int, most: int) -> list[str]:
    """Up to `most` open holds whose time lies before `now_ms`, earliest first."""
    cursor = await connection.execute(
        f"SELECT id FROM {schema}.hold WHERE flags & {_ENDED} = 0 AND expires_ms < %s ORDER BY expires_ms LIMIT %s",
        (now_ms, most),
    )
    return [name for (name,) in await cursor.fetchall()]


async def known_holds(connection: "Connection", schema: str, names: Sequence[str]) -> set[str]:
    """Those of these holds that there are."""
    cursor = await connection.execute(f"SELECT id FROM {schema}.hold WHERE id = ANY(%s::text[])", (list(names),))
    return {name for (name,) in await cursor.fetchall()}


async def forget(connection: "Connection", schema: str, before_ms: int, most: int) -> int:
    """Delete up to `most` ended holds of before a time, and events of such; how many rows went."""
    gone = 0
    for table, where in (("hold", f"flags & {_ENDED} <> 0 AND"), ("event", "")):
        cursor = await connection.execute(
            f"DELETE FROM {schema}.{table} WHERE id IN (SELECT id FROM {schema}.{table} WHERE {where} expires_ms < %s "
            "ORDER BY expires_ms LIMIT %s FOR UPDATE SKIP LOCKED)",
            (before_ms, most),
        )
        gone += cursor.rowcount
    await connection.execute(f"DELETE FROM {schema}.server WHERE at < now() - interval '1 day'")
    return gone


def columns_of(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Rows turned into `count` columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


async def insert(connection: "Connection", table: str, types: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows in order by one statement; `types` are their columns' types, comma-separated."""
    if not rows:
        return
    columns = types.split(", ")
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns)
    number = ", ".join(f"c{n}" for n in range(len(columns)))
    await connection.execute(
        f"INSERT INTO {table} SELECT {number} FROM unnest({arrays}) WITH ORDINALITY AS n ({number}, place) ORDER BY place",
        columns_of(rows, len(columns)),
    )
