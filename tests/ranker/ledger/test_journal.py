import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from tribid.cli.ledger import ledger_app
from tribid.ranker.ledger.interface import Charge, Hold, Ledger
from tribid.ranker.ledger.journal import AdvertiserAccounts, JournalReport, check_journal
from tribid.ranker.ledger.postgres import PostgresLedger
from tribid.ranker.ledger.sqlite import SqliteLedger

NAMES = ("ann", "bob")
UNTIL = 10**12


async def _day(ledger: Ledger) -> None:
    await ledger.open_day(0, {"ann": 5_000_000, "bob": 3_000_000})
    await ledger.reserve([Hold("0.1.0", 0, 1_000_000, UNTIL), Hold("0.1.1", 1, 500_000, UNTIL)])
    await ledger.reserve([Hold("0.2.0", 0, 250_000, UNTIL)])
    await ledger.charge([Charge("v", "impression", "0.1.0", 1, 0), Charge("c", "click", "0.1.0", 2, 750_000)])
    await ledger.release(["0.1.1"])
    await ledger.close()


@pytest.fixture
def books(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"

    async def story() -> None:
        await _day(await SqliteLedger.open(path, NAMES))

    asyncio.run(story())
    return path


SOUND = JournalReport(
    entries=9, days=1, events=2, holds=3, holds_open=1, debits_micros=11_250_000, credits_micros=11_250_000,
    revenue_micros=750_000, problems=(),
    advertisers=(
        AdvertiserAccounts("ann", 5_000_000, 4_000_000, 250_000, 750_000),
        AdvertiserAccounts("bob", 3_000_000, 3_000_000, 0, 0),
    ),
)  # fmt: skip


def test_a_days_books_in_numbers_that_one_can_add_up(books: Path) -> None:
    assert check_journal(books) == SOUND


def test_the_same_day_in_postgres_has_the_same_books(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        await _day(await PostgresLedger.open(dsn, NAMES))

    asyncio.run(story())
    assert check_journal(dsn) == SOUND
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE tribid_ledger.advertiser SET paid_micros = paid_micros + 1, free_micros = free_micros - 1"
        )
    problems = " ".join(check_journal(dsn).problems)
    assert "account 1 stands at 750002 micros; the journal gives 750000" in problems
    assert "account 2 stands at 3999999 micros; the journal gives 4000000" in problems


TAMPERED = {
    "DELETE FROM journal WHERE kind = 'settle'": "entry 8 follows entry 6",
    "UPDATE journal SET amount_micros = 750001 WHERE kind = 'settle'": "hold '0.1.0', which has 249999",
    "UPDATE journal SET amount_micros = 9000000 WHERE seq = 5": "leaves account 2 at -",
    "UPDATE journal SET debit = 5 WHERE kind = 'settle'": "no reserve of that advertiser",
    "UPDATE journal SET hold = '0.9.0' WHERE kind = 'settle'": "no reserve of that advertiser",
    "UPDATE journal SET event = 'v' WHERE event = 'c'": "event 'v' stands 2 times",
    "UPDATE journal SET event_kind = 'click' WHERE event = 'v'": "came after another",
    "UPDATE journal SET hold = '0.1.0', debit = 2, credit = 3 WHERE seq = 5": "reserved again while it was open",
    "UPDATE journal SET credit = 99 WHERE seq = 3": "no entry of a ledger",
    "UPDATE journal SET credit = 4 WHERE kind = 'settle'": "was funded",
    "UPDATE snapshot_advertiser SET free_micros = free_micros + 1 WHERE ad = 0": "stands at 4000001 micros",
    "UPDATE snapshot SET platform_micros = 0": "account 1 stands at 0 micros; the journal gives 750000",
}


@pytest.mark.parametrize(("change", "told"), TAMPERED.items())
def test_the_check_finds_what_was_changed_by_hand(change: str, told: str, books: Path) -> None:
    with closing(sqlite3.connect(books)) as connection:
        connection.execute(change)
        connection.commit()
    problems = check_journal(books).problems
    assert told in " ".join(problems)


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent or empty"):
        check_journal(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no ledger" * 100)
    with pytest.raises(ValueError, match="no SQLite database"):
        check_journal(tmp_path / "text.db")
    assert not (tmp_path / "none.db").exists()


def _command(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.add_typer(ledger_app, name="ledger")
    result = CliRunner().invoke(app, ["ledger", *arguments])
    return result.exit_code, result.output


def test_the_command_shows_balances_and_says_that_they_add_up(books: Path) -> None:
    code, shown = _command("check", str(books))
    assert code == 0
    for text in ("ann", "5.000000", "0.250000", "revenue 0.750000", "3 holds, 1 open", "the books add up"):
        assert text in shown


def test_the_command_leaves_with_1_where_something_is_wrong_and_2_where_there_is_no_ledger(books: Path) -> None:
    with closing(sqlite3.connect(books)) as connection:
        connection.execute("UPDATE journal SET event = 'v' WHERE event = 'c'")
        connection.commit()
    code, shown = _command("check", str(books))
    assert code == 1
    assert "event 'v' stands 2 times" in shown
    assert _command("check", str(books) + ".none")[0] == 2
