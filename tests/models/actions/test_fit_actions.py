import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tribid.cli.actions import fit_actions as command
from tribid.cli.terminal import console
from tribid.envs.actions import actions_json
from tribid.models.actions.fit import CATALOGUE_FILE, PLOT_FILE, REPORT_FILE, ActionFit, fit_actions
from tribid.models.actions.log import Happened, Listed, write_log
from tribid.models.actions.next_best_action import NextBestAction
from tribid.models.actions.world import ActionWorld


@pytest.fixture
def log(tmp_path: Path, world: ActionWorld, records: list[Listed | Happened]) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    write_log(folder / "actions-1.jsonl", world.names, records)
    (folder / CATALOGUE_FILE).write_text(json.dumps(actions_json(world.rules.actions)))
    return folder


def invoke(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    found = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    return found.exit_code, found.output


def test_a_log_becomes_a_folder_that_can_be_served(log: Path, tmp_path: Path, world: ActionWorld) -> None:
    report = fit_actions(ActionFit(log=log, settings={"model": "logistic"}), tmp_path / "run")
    model = NextBestAction.load(tmp_path / "run")
    assert model.actions_ == world.rules.names and model.features_ == world.names
    assert report.measures["auc"] > 0.6 and 0.7 < report.measures["pcoc"] < 1.4
    for one in report.actions:
        assert one.known and one.taken >= 50 and one.examples > 300 and one.young > 100
    told = json.loads((tmp_path / "run" / REPORT_FILE).read_text())
    assert told["measures"] == report.measures and len(told["actions"]) == len(world.rules)
    assert (tmp_path / "run" / PLOT_FILE).read_text().startswith("<?xml")


def test_an_action_with_too_few_events_is_told_and_gets_no_model(
    log: Path, tmp_path: Path, world: ActionWorld, records: list[Listed | Happened], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 200)
    rare = world.rules.names[1]
    takings = [one for one in records if isinstance(one, Happened) and one.kind == "taken" and one.action == rare]
    gone = {one.id for one in takings[30:]}
    write_log(log / "actions-1.jsonl", world.names, [one for one in records if one.id not in gone])
    status, output = invoke(str(log), "--out", str(tmp_path / "run"), "--model", "logistic")
    assert status == 0 and output.count("too little") == 1
    line = next(line for line in output.splitlines() if "too little" in line)
    assert rare in line
    assert NextBestAction.load(tmp_path / "run").known_.tolist() == [True, False, *[True] * (len(world.rules) - 2)]


def test_the_command_simulates_a_log_and_learns_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 200)
    words = [str(tmp_path / "log"), "--out", str(tmp_path / "run"), "--simulate", "3000", "--set", "epochs=3"]
    status, output = invoke(*words)
    assert status == 0 and "join the club" in output and "on users kept to measure: examples" in output
    status, output = invoke(*words)
    assert status == 2 and "holds a log already" in output


def test_events_of_actions_that_are_no_more_are_passed_over_only_if_asked(
    log: Path, tmp_path: Path, world: ActionWorld
) -> None:
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(actions_json(world.rules.actions[1:])))
    words = [str(log), "--out", str(tmp_path / "run"), "--actions", str(fewer), "--model", "logistic"]
    status, output = invoke(*words)
    assert status == 2 and "is of action 'join the club'" in output
    status, output = invoke(*words, "--skip-unknown")
    assert status == 0 and "events of actions that there are no more" in output


def test_a_present_before_the_first_period_is_over_has_nothing_to_learn(log: Path, tmp_path: Path) -> None:
    status, output = invoke(str(log), "--out", str(tmp_path / "run"), "--until", "2025-12-31")
    assert status == 2 and "holds no episode that is over" in output
    status, output = invoke(str(log), "--until", "tomorrow")
    assert status == 2 and "--until is 'tomorrow'; allowed is a time" in output
