"""A database that stands still: calls end in time, and nothing is booked that nobody holds."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tribid.ranker.ledger import postgres, postgres_link
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.interface import Hold
from tribid.ranker.ledger.journal import check_journal
from tribid.ranker.ledger.postgres import PostgresLedger

NAMES = ("ann", "bob")
UNTIL = 10**12


def _page(number: int, micros: int = 40) -> list[Hold]:
    return [Hold(f"0.{number}.0", 0, micros, UNTIL)]


def _run(dsn: str, story: Callable[[PostgresLedger], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES)
        await ledger.open_day(0, dict.fromkeys(NAMES, 100))
        await story(ledger)
        await ledger.close()
        assert check_journal(dsn).problems == ()

    asyncio.run(opened())


@contextmanager
def _locked(dsn: str) -> Iterator[None]:
    """Another session that keeps ann's row."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1 FROM tribid_ledger.advertiser WHERE ad = 0 FOR UPDATE")
        yield


def _patience(patch: pytest.MonkeyPatch, seconds: float, of_transactions: bool = True) -> None:
    patch.setattr(postgres, "PATIENCE_S", seconds)
    if of_transactions:
        patch.setattr(postgres_link, "PATIENCE_S", seconds)


def test_a_row_that_stays_locked_fails_the_page_and_books_nothing_afterwards(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_link.SETTINGS, "lock_timeout", "200ms")
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        with _locked(dsn):
            with pytest.raises(LedgerUnavailableError, match="lock timeout"):
                await ledger.reserve(_page(1))
            assert ledger.free_micros().tolist() == [100, 100]
        await ledger.expire(1)
        assert await ledger.known(["0.1.0"]) == [] and ledger.free_micros().tolist() == [100, 100]
        assert await ledger.reserve(_page(1)) is None
        assert ledger.free_micros().tolist() == [60, 100]

    _run(dsn, story)


@pytest.mark.parametrize("of_transactions", [False, True])
def test_pages_that_were_given_up_are_not_booked_once_the_row_is_free(
    of_transactions: bool, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        _patience(monkeypatch, 0.3, of_transactions)
        with _locked(dsn):
            first = asyncio.create_task(ledger.reserve(_page(1)))
            await asyncio.sleep(0.05)  # it is in its transaction; the next wait for it
            told = await asyncio.gather(first, *(ledger.reserve(_page(n, 10)) for n in (2, 3)), return_exceptions=True)
            assert {str(error) for error in told} == {"the ledger's database did not answer within 0.3 s"}
            assert [type(error) for error in told] == [LedgerUnavailableError] * 3
        _patience(monkeypatch, 5.0)
        assert await ledger.reserve(_page(4, 1)) is None
        assert await ledger.known([f"0.{n}.0" for n in range(1, 5)]) == ["0.4.0"]
        assert ledger.free_micros().tolist() == [99, 100]

    _run(dsn, story)


def test_a_page_that_was_given_up_after_its_commit_expires_like_any_other(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        transact = ledger._transact

        async def slow(batch: Any, connection: Any) -> Any:
            outcomes = await transact(batch, connection)
            await asyncio.sleep(1.0)
            return outcomes

        with monkeypatch.context() as patch:
            patch.setattr(ledger, "_transact", slow)
            _patience(patch, 0.5)
            with pytest.raises(LedgerUnavailableError, match="did not answer within"):
                await ledger.reserve(_page(1))
        assert await ledger.known(["0.1.0"]) == ["0.1.0"] and ledger.free_micros().tolist() == [60, 100]
        assert await ledger.expire(UNTIL + 1) == 1
        assert ledger.free_micros().tolist() == [100, 100]

    _run(dsn, story)


def test_of_too_many_waiting_calls_the_last_fails_at_once_and_promises_nothing(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_MOST_WAITING", 3)
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        with _locked(dsn):
            first = asyncio.create_task(ledger.reserve(_page(0, 1)))
            await asyncio.sleep(0.05)
            waiting = [asyncio.create_task(ledger.reserve(_page(n, 1))) for n in range(1, 4)]
            await asyncio.sleep(0)
            with pytest.raises(LedgerUnavailableError, match="3 calls wait"):
                await ledger.reserve(_page(9, 50))
            await asyncio.sleep(0)
            assert ledger.free_micros().tolist() == [96, 100]
        assert await asyncio.gather(first, *waiting) == [None] * 4
        assert await ledger.known(["0.9.0"]) == []

    _run(dsn, story)


def test_every_connection_has_its_limits_and_a_dsn_may_set_those_of_the_network(
    new_database: Callable[[], str],
) -> None:
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        connection = await ledger._link._connected()
        for name, value in postgres_link.SETTINGS.items():
            cursor = await connection.execute("SELECT current_setting(%s)", (name,))
            assert await cursor.fetchone() == (value,)
        given = connection.info.get_parameters()
        assert (given["keepalives_idle"], given["tcp_user_timeout"], given["connect_timeout"]) == ("7", "10000", "4")

    _run(dsn + " keepalives_idle=7", story)


@pytest.mark.slow
def test_a_server_process_that_stands_still_is_left_and_another_one_asked(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = new_database()

    async def story(ledger: PostgresLedger) -> None:
        assert ledger._link._connection is not None
        pid = ledger._link._connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(LedgerUnavailableError, match="did not answer within"):
                await ledger.reserve(_page(1))
            while ledger._worker is not None and not ledger._worker.done():
                await asyncio.sleep(0.1)
            assert await ledger.reserve(_page(2)) is None
        finally:
            os.kill(pid, signal.SIGCONT)
        await ledger.expire(1)
        assert await ledger.known(["0.1.0", "0.2.0"]) == ["0.2.0"]

    _run(dsn, story)
