"""What the commands' options say of a ledger: where it is, and how long it knows a page after its hold."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tribid.cli.ledger import POSTGRES_VARIABLE, ledger_app
from tribid.cli.serve import _opened_ledger
from tribid.ranker.ledger.interface import Hold

NAMES = ("ann", "bob")


async def _known_after(opened: Any, now_ms: int) -> list[str]:
    await opened.open_day(0, {"ann": 1_000, "bob": 1_000})
    assert await opened.reserve([Hold("0.1.0", 0, 10, 1_000)]) is None
    await opened.expire(now_ms)
    return list(await opened.known(["0.1.0"]))


@pytest.mark.parametrize("where", ["memory", "sqlite", "postgres"])
@pytest.mark.parametrize(("keep_ms", "known"), [(60_000, ["0.1.0"]), (5_000, [])])
def test_a_page_is_known_for_as_long_as_the_server_is_told(
    where: str, keep_ms: int, known: list[str], tmp_path: Path, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if where == "postgres":
        monkeypatch.setenv(POSTGRES_VARIABLE, request.getfixturevalue("new_database")())
    place = str(tmp_path / "ledger.sqlite") if where == "sqlite" else where

    async def run() -> list[str]:
        opened = await _opened_ledger(place, "normal", NAMES, keep_ms)
        try:
            return await _known_after(opened, 1_000 + 30_000)
        finally:
            await opened.close()

    assert asyncio.run(run()) == known


def _check(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.add_typer(ledger_app, name="ledger")
    result = CliRunner().invoke(app, ["ledger", "check", *arguments])
    return result.exit_code, result.output


def test_a_ledger_in_postgres_is_checked_by_the_environments_dsn(
    new_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_VARIABLE, new_database())

    async def run() -> None:
        opened = await _opened_ledger("postgres", "normal", NAMES, 60_000)
        await _known_after(opened, 0)
        await opened.close()

    asyncio.run(run())
    code, shown = _check("postgres")
    assert code == 0 and "ann" in shown and "the books add up" in shown


def test_without_a_dsn_that_can_be_used_the_check_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.delenv(POSTGRES_VARIABLE, raising=False)
    code, shown = _check("postgres")
    assert code == 2 and POSTGRES_VARIABLE in shown and len(shown.splitlines()) == 1
    monkeypatch.setenv(POSTGRES_VARIABLE, "postgresql://me:hunter2hunter2@127.0.0.1:1/ads")
    code, shown = _check("postgres")
    assert code == 2 and "cannot be reached" in shown and len(shown.splitlines()) == 1 and "hunter2" not in shown
