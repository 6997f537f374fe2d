"""``tribid replay-decisions`` says what was made again and what differs, and leaves with a code that a script can use."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.ranker.decision_log.pages import SALT, random_pages
from tribid.cli.replay_decisions import replay_decisions
from tribid.cli.terminal import console
from tribid.envs.scenario import load_scenario
from tribid.ranker.decided import Decided
from tribid.ranker.decision_log import DecisionLog

TINY = load_scenario("tiny")


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 200)


def run(*words: object) -> Result:
    app = typer.Typer()
    app.command()(replay_decisions)
    return CliRunner().invoke(app, [str(word) for word in words])


def write(folder: Path, pages: list[Decided]) -> None:
    with DecisionLog(folder, scenario=TINY, salt=SALT, queue_bytes=40_000) as log:
        for page in pages:
            log.append(page)


@pytest.mark.usefixtures("wide")
def test_equal_decisions_are_counted_by_release(tmp_path: Path) -> None:
    write(tmp_path, random_pages(TINY, 9))
    told = run(tmp_path)
    assert told.exit_code == 0
    assert "9 decisions made again" in told.output and "differences" not in told.output
    rows = [line.split() for line in told.output.splitlines() if "pid@" in line]
    assert [row[1::2] for row in rows] == [["pid@0", "5", "5", "0"], ["pid@1", "4", "4", "0"]]


@pytest.mark.usefixtures("wide")
def test_differences_are_shown_and_leave_with_1(tmp_path: Path) -> None:
    pages = random_pages(TINY, 6)
    write(tmp_path, [*pages[:5], pages[5]._replace(runner_up_score=0.125)])
    told = run(tmp_path, "--show", 1)
    assert told.exit_code == 1
    assert "runner_up_score" in told.output and "0.125" in told.output and pages[5].id in told.output
    assert "decided by tribid" in told.output


@pytest.mark.usefixtures("wide")
def test_what_the_log_lacks_is_told(tmp_path: Path) -> None:
    pages = random_pages(TINY, 3)
    write(tmp_path, [pages[0], pages[1]._replace(scenario="0" * 16), pages[2]])
    assert "at least 1 more were decided and are not in the log" in run(tmp_path).output


def test_another_scenario_and_no_log_leave_with_2_and_one_line(tmp_path: Path) -> None:
    write(tmp_path, random_pages(TINY, 3))
    told = run(tmp_path, "--scenario", "feed")
    assert told.exit_code == 2 and f"was decided in scenario {TINY.hash}" in told.output
    told = run(tmp_path / "nothing")
    assert told.exit_code == 2 and "has no decisions" in told.output and "Traceback" not in told.output
