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

PATIENCE_S: Final = 5.0
"""Whoever asks the ledger gives up after this long, and so does a transaction: an answer that is later is of no use."""

SETTINGS: Final = {
    "lock_timeout": "2s",  # rows are locked for milliseconds; whoever holds one for longer stands still
    "statement_timeout": "4s",  # within the patience, so that it is the server that ends what takes too long
    "idle_in_transaction_session_timeout": "10s",  # a process that stands still lets its rows go
}
"""What the server does about sessions that wait or stand still."""

_NETWORK: Final = {
    "connect_timeout": 4,  # within the patience
    "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,  # a dead host: 11 s
    "tcp_user_timeout": 10_000,  # ms; the same for what was sent and never received
}  # fmt: skip
"""What libpq does about a server that is gone; a DSN may say otherwise."""


class BeginAnewError(Exception):
    """Raised by a job whose transaction has to be begun anew, for another server was quicker."""


class Link:
    """One connection, used by one job at a time; `dsn` is libpq's and is shown nowhere."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._busy = asyncio.Lock()

    async def repeat(self, job: "Callable[[Connection], Awaitable[_T]]", patience_s: float | None = None) -> _T:
        """Do a job that may be done twice: again where another server was quicker, and once where the connection is lost.

        ``LedgerUnavailableError`` after ``patience_s`` (``PATIENCE_S``): what is not committed by then is rolled back.
        """
        patience_s = PATIENCE_S if patience_s is None else patience_s
        try:
            async with asyncio.timeout(patience_s):
                return await self._repeat(job)
        except TimeoutError:
            raise LedgerUnavailableError(f"the ledger's database did not answer within {patience_s:g} s") from None

    async def _repeat(self, job: "Callable[[Connection], Awaitable[_T]]") -> _T:
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
    given = _NETWORK | psycopg.conninfo.conninfo_to_dict(dsn)
    connection: Connection = await psycopg.AsyncConnection.connect(autocommit=True, **given)
    await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
    # What is acknowledged is durable, also where the database's default is not.
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    for name, value in SETTINGS.items():
        await connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    return connection


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise ImportError("a ledger in PostgreSQL needs psycopg: pip install 'tribid[postgres]'") from None
    return psycopg
