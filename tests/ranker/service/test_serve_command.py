"""The real ``tribid serve`` process: started, asked, told to end."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from tribid.cli.serve import COMPILING, chosen_releases, serve
from tribid.ranker.client import Client
from tribid.ranker.messages import Event, Request

TOKEN = "a-very-secret-token"
COMMAND = (sys.executable, "-c", "import typer; from tribid.cli.serve import serve; typer.run(serve)")
OPTIONS = (
    "--scenario",
    "tiny",
    "--port",
    "0",
    "--clock",
    "request",
    "--policies",
    "pid",
    "--policies",
    "plain=truthful",
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, killed when the test ends."""
    places = ("--ledger", str(tmp_path / "ledger.sqlite"), "--decision-log", str(tmp_path / "log"))
    found = subprocess.Popen(
        [*COMMAND, *OPTIONS, *places], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"TRIBID_TOKEN": TOKEN},
    )  # fmt: skip
    yield found
    found.kill()
    found.communicate()


def test_a_served_policy_answers_books_logs_and_ends_on_sigterm(process: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    serving, example = process.stdout.readline(), process.stdout.readline()
    found = re.fullmatch(
        r"serving tiny at (http://127\.0\.0\.1:\d+) with pid; ready to be activated: plain; docs at \S+/docs\n", serving
    )
    assert found, serving + process.communicate()[1]
    assert example.startswith(f"try: curl {found[1]}/v1/rank -H") and "$TRIBID_TOKEN" in example
    assert httpx.get(f"{found[1]}/v1/policies").status_code == 401
    with Client(found[1], token=TOKEN, timeout=60) as client:
        assert client.health() == "ready"
        assert client.activate("plain", mode="shadow").shadow == ("plain",)
        decision = client.rank(Request(request=1, user=3))
        receipt = client.events([Event(id="e", kind="click", decision=decision.id, slot=0)])[0]
        assert receipt.charged_micros == decision.slots[0].price_micros > 0
        metrics = httpx.get(f"{found[1]}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
        assert 'tribid_ledger_seconds_count{operation="charge"} 1.0' in metrics
        assert 'tribid_shadow_pages_total{release="plain"} 1.0' in metrics
        assert client.activate("plain").active == "plain"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.removeprefix(f"{COMPILING}\n")) == (0, "")
    assert TOKEN not in serving + example + out
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.execute("pragma integrity_check").fetchone() == ("ok",)
    ledger.close()
    assert list((tmp_path / "log").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "0.0.0.0"), "host is 0.0.0.0, which others can reach, and there is no token"),
        (("--policies", "runs/none/policies"), "there is no folder runs/none/policies"),
        (("--policies", "nobody"), "nobody"),
        (("--clock", "sundial"), "'sundial' is not known; choose wall or request"),
        (("--ledger", "postgres"), "TRIBID_POSTGRES"),
        (("--salt-file", "x"), "without --decision-log"),
        (("--port", "70000"), "port is 70000"),
        (("--token-file", "none"), "none"),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(
    options: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIBID_TOKEN", "")
    monkeypatch.setenv("TRIBID_POSTGRES", "")
    app = typer.Typer()
    app.command()(serve)
    found = CliRunner().invoke(app, ["--scenario", "tiny", "--port", "0", *options])
    assert found.exit_code == 2 and told in found.stderr and "Traceback" not in found.output
    assert len(found.stderr.splitlines()) == 1


def test_releases_are_named_by_their_runs(tmp_path: Path) -> None:
    for run in ("ppo/seed-0/policies", "old"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "lineup.json").write_text("{}")
    folder = tmp_path / "ppo/seed-0/policies"
    assert chosen_releases([], None) == {"pid": "pid"}
    assert chosen_releases([str(folder), "a=pid"], None) == {"ppo": str(folder), "a": "pid"}
    home: Any = chosen_releases(["pid"], tmp_path)
    assert list(home) == ["pid", "old", "ppo"]
    with pytest.raises(ValueError, match="names 'pid' twice"):
        chosen_releases(["pid", "pid"], None)
    with pytest.raises(ValueError, match="has no folders of policy files"):
        chosen_releases([], tmp_path / "ppo/seed-0/policies")
