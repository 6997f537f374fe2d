"""``Link``: one connection to PostgreSQL that is made anew where it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tribid.ranker.ledger.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    Connection = AsyncConnection[tuple[Any, ...]]

_T = TypeVar("_T")
_TRIES: Final = 8


class BeginAnewError(Exception):
    """Raised by a job whose transaction has to be begun anew, for another server was quicker."""


class Link:
    """One connection, used by one job at a time; `dsn` is libpq's and is shown nowhere."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._busy = asyncio.Lock()

    async def repeat(self, job: "Callable[[Connection], Awaitable[_T]]") -> _T:
        """Do a job that may be done twice: again where another server was quicker, and once where the connection is lost."""
        psycopg = _psycopg()
        quicker = (
            psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure,
            BeginAnewError,
        )  # fmt: skip
        lost = False
        async with self._busy:
            for _ in range(_TRIES):
                connection = await self._connected()
                try:
                    return await job(connection)
                except quicker:
                    continue
                except psycopg.OperationalError:
                    if lost or not connection.broken:
                        raise
                    lost = True
        raise LedgerUnavailableError(f"other servers changed the same holds {_TRIES} times in a row")

    async def close(self) -> None:
        """Let go of the connection; the next job makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> "Connection":
        if self._connection is None or self._connection.broken or self._connection.closed:
            await self.close()
            self._connection = await _connect(self._dsn)
        return self._connection


def unavailable(error: Exception) -> Exception:
    """``LedgerUnavailableError`` for what the database says; any other error as it is."""
    if not isinstance(error, _psycopg().Error):
        return error
    told = LedgerUnavailableError(f"the ledger's database failed: {error}")
    told.__cause__ = error
    return told


async def _connect(dsn: str) -> "Connection":
    psycopg = _psycopg()
    connection: Connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10)
    await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    # What is acknowledged is durable, also where the database's default is not.
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    return connection


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise ImportError("a ledger in PostgreSQL needs psycopg: pip install 'tribid[postgres]'") from None
    return psycopg
