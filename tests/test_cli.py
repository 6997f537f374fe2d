"""The command line: it does what its help says, and a mistake gets one clear line and exit status 2."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tribid.agents.policy_file import load_lineup
from tribid.cli import app

RUNNER = CliRunner()


def _run(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    result = RUNNER.invoke(app, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_version_and_help_teach() -> None:
    assert _run("--version")[1].startswith("tribid 0.")
    code, text = _run("train", "--help")
    assert code == 0
    assert "Example" in text


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "tribid", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (answer.returncode, answer.stdout) == (0, _run("--version")[1])


def test_help_loads_no_learning_library() -> None:
    code = (
        "import sys, tribid.cli\n"
        "print([m for m in ('torch', 'polars', 'sklearn', 'stable_baselines3', 'matplotlib') if m in sys.modules])\n"
        "sys.argv = ['tribid', '--help']\n"
        "import runpy; runpy.run_module('tribid.cli', run_name='__main__')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    loaded, help_text = answer.stdout.split("\n", 1)
    assert loaded == "[]"
    assert "bench-bidders" in help_text


def test_scenarios_are_listed_shown_and_checked(tmp_path: Path) -> None:
    assert "auctionnet" in _run("scenario", "list")[1]
    code, text = _run("scenario", "show", "tiny")
    assert code == 0
    copy = tmp_path / "mine.yaml"
    copy.write_text(text, encoding="utf-8")
    assert "valid scenario: tiny" in _run("scenario", "check", str(copy))[1].replace("\n", " ")
    copy.write_text(text.replace("auction: gsp", "auction: gps"), encoding="utf-8")
    code, text = _run("scenario", "check", str(copy))
    assert code == 2
    assert "rules.auction: 'gps' is not allowed" in text


def test_train_evaluate_report_and_rank_follow_each_other(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    run, out = tmp_path / "ppo", tmp_path / "first"
    code, text = _run(
        "train", "-s", "tiny", "--steps", "100", "--markets", "2", "--out", str(run), "--rivals", "pid,truthful"
    )
    assert code == 0, text
    code, text = _run(
        "evaluate", "-s", "tiny", "--bidders", f"pid,{run}", "--days", "3", "--workers", "1", "--out", str(out)
    )
    assert code == 0, text
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert set(results["contestants"]) == {"pid", "ppo"}
    assert results["learning"]["ppo"]["0"]
    (out / "report.html").unlink()
    assert _run("report", str(out))[0] == 0
    assert "</html>" in (out / "report.html").read_text(encoding="utf-8")
    code, text = _run(
        "rank", "-s", "tiny", "--policies", str(run / "seed-0" / "policies"), "--request", "-",
        stdin='{"request": 1, "user": 3}\n{"request": 2, "user": 3, "tick": 4}\n',
    )  # fmt: skip
    assert code == 0, text
    answers = [json.loads(line) for line in text.splitlines()]
    assert [answer["request"] for answer in answers] == [1, 2]
    assert all(slot["price_micros"] <= slot["bid_micros"] for answer in answers for slot in answer["slots"])


def test_the_device_engine_trains_what_evaluate_takes(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    run, out = tmp_path / "device", tmp_path / "first"
    code, text = _run("train", "-s", "tiny", "--engine", "device", "--steps", "48", "--markets", "2", "--out", str(run))
    assert code == 0, text
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["engine"] == "device"
    code, text = _run(
        "evaluate", "-s", "tiny", "--bidders", f"pid,{run}", "--days", "2", "--workers", "1", "--out", str(out)
    )
    assert code == 0, text
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert set(results["contestants"]) == {"pid", "device"}
    assert results["learning"]["device"]["0"]


def test_a_log_is_replayed(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"{int(i % 10 == 0)} {5 + i % 9} 0.00{i % 9 + 1}\n" for i in range(200)), encoding="utf-8")
    code, text = _run("evaluate", "--replay", str(log), "--bidders", "linear,pid", "--out", str(tmp_path))
    assert code == 0, text
    assert json.loads((tmp_path / "replay.json").read_text(encoding="utf-8"))["auctions"] == 200
    with log.open("a", encoding="utf-8") as file:
        file.write("1 x 0.1\n")
    code, text = _run("evaluate", "--replay", str(log), "--out", str(tmp_path))
    assert code == 2
    assert "line 201" in text.replace("\n", " ")
    code, text = _run("evaluate", "--replay", str(log), "--on-bad-row", "skip", "--out", str(tmp_path))
    assert code == 0
    assert "1 bad rows were left out" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "-s", "fed"], "no scenario named 'fed'; choose auctionnet, feed, journey, shop, tiny"),
        (["evaluate", "-s", "tiny", "--bidders", "pidd"], "no bidder named 'pidd'; choose off"),
        (["evaluate", "-s", "tiny", "--first-seed", "0"], "allowed are two or more different ones from 1000000"),
        (["evaluate", "-s", "tiny", "--focal", "adv_99"], "no advertiser named 'adv_99'"),
        (["evaluate", "--replay", "missing.txt"], "missing.txt"),
        (["train", "-s", "tiny", "--algorithm", "dqn"], "no algorithm named 'dqn'; choose ppo, sac,"),
        (["train", "-s", "tiny", "--seeds", "a"], "seeds holds 'a'"),
        (["train", "-s", "tiny", "--device", "cuda:99"], "device is 'cuda:99', but torch"),
        (["train", "-s", "tiny", "--engine", "device", "--rivals", "random"], "'random' does not play on a device"),
        (["report", "missing"], "cannot be read"),
        (["train", "-s", "tiny", "--mapping", "[b]all[/b]"], "[b]all[/b]"),
        (["rank", "-s", "tiny", "--request", "{"], "request: Input data was truncated"),
        (["rank", "-s", "tiny", "--policies", "nobody"], "no bidder named 'nobody'"),
        (["scenario", "check", "missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_a_mistake_gets_one_line_that_names_it_and_status_2(arguments: list[str], told: str, tmp_path: Path) -> None:
    if arguments[0] in ("evaluate", "train"):
        arguments = [*arguments, "--out", str(tmp_path / "out")]
    code, text = _run(*arguments)
    assert code == 2
    assert "error:" in text
    assert told in text.replace("\n", " ")
    assert "Traceback" not in text


@pytest.mark.parametrize("script", ["train", "evaluate", "report", "rank", "benchmark", "demo"])
def test_every_script_says_how_it_is_used(script: str) -> None:
    path = Path(__file__).parent.parent / "scripts" / f"{script}.py"
    answer = subprocess.run(
        [sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "--" in answer.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seeds", ["0", "0,1"])
def test_ctrl_c_stops_training_and_leaves_policies_that_can_be_used(seeds: str, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    code = "from tribid.cli import app; app()"
    options = ["train", "-s", "tiny", "--steps", "100000000", "--seeds", seeds, "--out", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(25)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 130, text
    assert "stopped early" in text
    for seed in seeds.split(","):
        assert load_lineup(tmp_path / f"seed-{seed}" / "policies")[0]


@pytest.mark.slow
def test_the_demo_runs_whole(tmp_path: Path) -> None:
    path = Path(__file__).parent.parent / "scripts" / "demo.py"
    options = ["--scenario", "tiny", "--steps", "200", "--days", "3", "--out", str(tmp_path)]
    answer = subprocess.run(
        [sys.executable, str(path), *options], capture_output=True, text=True, timeout=280, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for name in ("results.json", "report.html", "ppo/run.json"):
        assert (tmp_path / name).is_file()
    assert "priced by" in answer.stdout
