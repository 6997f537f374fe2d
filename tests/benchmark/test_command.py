"""``tribid benchmark`` as a user calls it; runs are read from files, so that nothing here waits for a clock."""

import json

import pytest
from typer.testing import CliRunner

from tribid.benchmark import suite
from tribid.benchmark.results import load_results, save_results
from tribid.cli import app, console


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Tables of one line a row, whatever terminal the console was made for."""
    monkeypatch.setattr(console, "_width", 200)


def _run(*arguments):
    answer = CliRunner().invoke(app, ["benchmark", *map(str, arguments)])
    return answer.exit_code, answer.output


@pytest.fixture
def stored(made_up, tmp_path):
    save_results(made_up(), tmp_path / "then.json")
    save_results(made_up(bare=2.0), tmp_path / "now.json")
    return tmp_path


def test_a_stored_run_is_shown_with_its_ratios_and_what_must_hold(stored):
    code, text = _run("--read", stored / "then.json")
    assert code == 0, text
    assert "A Processor, 2 cores" in text and "bare auction, 48 candidates" in text and "must hold" in text
    assert "a note" in text


def test_compare_marks_what_is_slower(stored):
    code, text = _run("--read", stored / "now.json", "--compare", stored / "then.json")
    assert code == 0, text
    assert "1 of 7 figures are slower by more than 15%" in text
    assert sum("slower" in line and "bare auction" in line for line in text.splitlines()) == 1


def test_out_is_a_folder_with_the_json_and_the_pictures(stored):
    code, text = _run("--read", stored / "now.json", "--out", stored / "speed")
    assert code == 0, text
    assert sorted(path.name for path in (stored / "speed").iterdir()) == [
        "benchmark-growth.svg", "benchmark-roofline.svg", "benchmark.json",
    ]  # fmt: skip
    assert load_results(stored / "speed" / "benchmark.json") == load_results(stored / "now.json")


def test_only_the_named_groups_are_measured(monkeypatch, tmp_path):
    figure = suite.plain("gpu_copy", "GPU copies", "GB/s", [1.0], better="higher", group="gpu")
    monkeypatch.setattr(suite, "GROUPS", {"bare": None, "gpu": lambda **given: iter([figure])})
    code, text = _run("--quick", "--only", "gpu", "--out", tmp_path / "speed")
    assert code == 0, text
    written = json.loads((tmp_path / "speed" / "benchmark.json").read_text(encoding="utf-8"))
    assert written["command"] == "tribid benchmark --quick --only gpu" and written["quick"] is True
    assert [one["name"] for one in written["figures"]][-1] == "gpu_copy"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "bear"], "no figures named bear; choose bare"),
        (["--read", "missing.json"], "missing.json cannot be read"),
        (["--compare", "missing.json"], "missing.json cannot be read"),
        (["--only", "bare", "--page", "p.md"], "--page shows a whole run"),
        (["--quick", "--page", "p.md"], "--page shows a whole run"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(arguments, said):
    code, text = _run(*arguments)
    assert code == 2
    assert said in text and "Traceback" not in text


def test_out_must_not_be_a_file(stored):
    code, text = _run("--read", stored / "now.json", "--out", stored / "now.json")
    assert code == 2
    assert "allowed is a folder" in text
