import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.journal import check_journal
from tribid.ranker.ledger.sqlite import SqliteLedger

NAMES = ("ann", "bob")
BUDGETS = {"ann": 1_000_000, "bob": 1_000_000}
UNTIL = 10**12


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def _page(number: int, slots: int = 4, amount: int = 10) -> list[Hold]:
    return [Hold(f"0.{number}.{slot}", slot % 2, amount, UNTIL) for slot in range(slots)]


async def _written(path: Path, pages: int = 3) -> None:
    ledger = await SqliteLedger.open(path, NAMES, durability="normal")
    await ledger.open_day(0, BUDGETS)
    for number in range(pages):
        await ledger.reserve(_page(number))
        await ledger.charge([Charge(f"e{number}", "click", f"0.{number}.0", 1)])
    await ledger.close()


def test_a_second_opening_is_refused_while_the_first_lasts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def story() -> None:
        first = await SqliteLedger.open(path, NAMES)
        with pytest.raises(ValueError, match="open in another process"):
            await SqliteLedger.open(path, NAMES)
        other = (
            "import asyncio, sys; from tribid.ranker.ledger.sqlite import SqliteLedger\n"
            "asyncio.run(SqliteLedger.open(sys.argv[1], ('ann', 'bob')))"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", other, path, stderr=subprocess.PIPE)
        _, told = await process.communicate()
        assert process.returncode == 1
        assert b"open in another process" in told
        await first.close()
        await (await SqliteLedger.open(path, NAMES)).close()

    _run(story())


def test_a_ledger_of_other_advertisers_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _run(_written(path))
    before = path.read_bytes()
    for names in (("bob", "ann"), ("ann",), ("ann", "bob", "cy")):
        with pytest.raises(ValueError, match="advertisers here are"):
            _run(SqliteLedger.open(path, names))
    assert path.read_bytes() == before


def test_whoever_is_answered_can_be_read_from_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def story() -> None:
        ledger = await SqliteLedger.open(path, NAMES)
        await ledger.open_day(0, BUDGETS)
        for number in range(20):
            await ledger.reserve(_page(number))
            report = check_journal(path)
            assert report.problems == ()
            assert report.holds == report.holds_open == 4 * (number + 1)
        await ledger.close()

    _run(story())


def test_the_same_page_again_waits_until_the_first_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        ledger = await SqliteLedger.open(tmp_path / "ledger.db", NAMES)
        await ledger.open_day(0, BUDGETS)
        order: list[str] = []

        async def ask(name: str) -> None:
            await ledger.reserve(_page(1))
            order.append(name)

        first = asyncio.create_task(ask("first"))
        await asyncio.sleep(0)
        assert ledger.free_micros().tolist() == [999_980, 999_980]  # set aside before anything else ran
        await ask("again")
        await first
        assert order == ["first", "again"]
        await ledger.close()

    _run(story())


def test_many_pages_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tribid.ranker.ledger.sqlite_file import SqliteFile

    batches: list[int] = []
    write = SqliteFile.write

    def counted(self: SqliteFile, entries: Any, snapshot: Any) -> None:
        batches.append(len(entries))
        write(self, entries, snapshot)

    monkeypatch.setattr(SqliteFile, "write", counted)

    async def story() -> None:
        ledger = await SqliteLedger.open(tmp_path / "ledger.db", NAMES)
        await ledger.open_day(0, BUDGETS)
        await asyncio.gather(*(ledger.reserve(_page(number)) for number in range(500)))
        await ledger.close()

    _run(story())
    assert sum(batches) == 2 + 500 * 4
    assert len(batches) < 100


def test_a_disk_that_is_full_stops_the_ledger_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def story() -> int:
        ledger = await SqliteLedger.open(path, NAMES)
        await ledger.open_day(0, BUDGETS)
        pages = ledger._file._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._file._connection.execute(f"PRAGMA max_page_count = {pages + 20}")  # SQLite's own SQLITE_FULL
        told = 0

        async def client(number: int) -> None:
            nonlocal told
            await ledger.reserve(_page(number))
            told += 1

        outcomes = [
            outcome
            for start in range(0, 2_000, 20)
            for outcome in await asyncio.gather(*(client(start + n) for n in range(20)), return_exceptions=True)
        ]
        errors = [outcome for outcome in outcomes if outcome is not None]
        assert 0 < told < 2_000
        assert len(errors) == 2_000 - told
        assert all(isinstance(error, LedgerUnavailableError) and "full" in str(error) for error in errors)
        for call in (ledger.charge([]), ledger.release([]), ledger.expire(1), ledger.open_day(1, BUDGETS)):
            with pytest.raises(LedgerUnavailableError):
                await call
        await ledger.close()
        return told

    told = _run(story())
    report = check_journal(path)
    assert report.problems == ()
    assert report.holds == 4 * told


def test_an_io_error_reaches_everyone_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tribid.ranker.ledger.sqlite_file import SqliteFile

    write, broken = SqliteFile.write, False

    def failing(self: SqliteFile, entries: Any, snapshot: Any) -> None:
        if broken:
            raise sqlite3.OperationalError("disk I/O error")
        write(self, entries, snapshot)

    monkeypatch.setattr(SqliteFile, "write", failing)

    async def story() -> None:
        nonlocal broken
        ledger = await SqliteLedger.open(tmp_path / "ledger.db", NAMES)
        await ledger.open_day(0, BUDGETS)
        broken = True
        calls = [ledger.reserve(_page(number)) for number in range(50)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LedgerUnavailableError] * 50
        broken = False
        with pytest.raises(LedgerUnavailableError, match="disk I/O error"):
            await ledger.reserve(_page(1))
        await ledger.close()

    _run(story())


def test_a_caller_that_is_cancelled_leaves_its_hold_and_the_ledger_in_order(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def story() -> None:
        ledger = await SqliteLedger.open(path, NAMES)
        await ledger.open_day(0, BUDGETS)
        task = asyncio.create_task(ledger.reserve(_page(1)))
        await asyncio.sleep(0)
        task.cancel()
        await ledger.reserve(_page(2))
        await ledger.close()

    _run(story())
    assert check_journal(path).holds == 8


def test_a_ledger_that_was_closed_is_opened_from_its_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _run(_written(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT seq, day, first FROM snapshot").fetchall() == [(17, 0, 3)]
        connection.execute("DELETE FROM journal WHERE seq < 3")
        connection.commit()
    _run(_written(path, pages=0))


def test_opening_reads_a_bounded_part_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tribid.ranker.ledger.sqlite_file import SqliteFile

    path = tmp_path / "ledger.db"
    firsts: list[int] = []
    read = SqliteFile.entries

    def noted(self: SqliteFile, first: int = 1) -> Any:
        firsts.append(first)
        return read(self, first)

    async def story() -> None:
        ledger = await SqliteLedger.open(path, NAMES, durability="normal", keep_ms=1_000, snapshot_every=100)
        await ledger.open_day(0, BUDGETS)
        for number in range(300):
            now = number * 100
            await ledger.reserve([Hold(f"0.{number}.{slot}", slot, 1, now + 500) for slot in range(2)])
            await ledger.expire(now)
        free = ledger.free_micros().tolist()
        await ledger._commit.close()  # as if it were killed: no last snapshot
        ledger._file.close()
        monkeypatch.setattr(SqliteFile, "entries", noted)
        again = await SqliteLedger.open(path, NAMES, keep_ms=1_000)
        assert again.free_micros().tolist() == free
        assert again._book.seq - firsts[0] < 250 < again._book.seq
        await again.close()

    _run(story())


def _other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY)")
        connection.commit()


def _with_trigger(path: Path) -> None:
    _run(_written(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER evil AFTER INSERT ON journal BEGIN DELETE FROM journal; END")
        connection.commit()


def _with_index(path: Path) -> None:
    _run(_written(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE INDEX more ON journal (hold)")
        connection.commit()


def _newer(path: Path) -> None:
    _run(_written(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.commit()


def _cut_off(path: Path) -> None:
    _run(_written(path, pages=200))
    path.write_bytes(path.read_bytes()[:-8192])


def _scribbled(path: Path) -> None:
    _run(_written(path, pages=200))
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(7 * n % 256 for n in range(len(data) - 4096))
    path.write_bytes(data)


def _edited(sql: str) -> Any:
    def make(path: Path) -> None:
        _run(_written(path))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM snapshot")
            connection.execute(sql)
            connection.commit()

    return make


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_text("a letter, not a ledger\n" * 100), "no SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "no SQLite database"),
        (_other_program, "another program's database"),
        (_with_trigger, "other tables"),
        (_with_index, "other tables"),
        (_newer, "version 2"),
        (_cut_off, "damaged"),
        (_scribbled, "damaged"),
        (_edited("DELETE FROM journal WHERE seq = 4"), "entry 4 is missing"),
        (_edited("UPDATE journal SET amount_micros = 11 WHERE kind = 'settle'"), "lacks them"),
        (_edited("UPDATE journal SET amount_micros = 5000000 WHERE kind = 'reserve'"), "leaves account"),
        (_edited("UPDATE journal SET debit = 99 WHERE seq = 3"), "no entry of a ledger"),
        (_edited("UPDATE journal SET kind = 'gift' WHERE seq = 3"), "no entry of a ledger"),
        (_edited("UPDATE journal SET credit = debit WHERE seq = 3"), "no entry of a ledger"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_one_error_and_left_alone(
    make: Any, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=told) as refused:
        _run(SqliteLedger.open(path, NAMES))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_journal_of_a_file_that_is_gone_is_never_taken_into_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    (tmp_path / "ledger.db-wal").write_bytes(b"left over")
    with pytest.raises(ValueError, match="put the file back"):
        _run(SqliteLedger.open(path, NAMES))


def test_a_wrong_durability_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose full or normal"):
        _run(SqliteLedger.open(tmp_path / "ledger.db", NAMES, durability="off"))  # type: ignore[arg-type]
