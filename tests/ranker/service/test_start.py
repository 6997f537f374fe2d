"""What keeps ``tribid serve`` from starting is one line, from the real process; and where a started one is reached."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.policy_file import save_lineup
from tribid.agents.testing import random_policy
from tribid.cli.serve import _exchanges, chosen_releases
from tribid.envs.scenario import load_scenario
from tribid.ranker.service.app import make_app
from tribid.ranker.service.serving import Serving
from tribid.ranker.service.settings import Settings

COMMAND = (sys.executable, "-m", "tribid.cli", "serve", "--scenario", "tiny", "--port", "0")
SECRET = "hunter2hunter2"
TRAINING = {"algorithm": "ppo", "seed": 3, "steps": 1000, "rivals": ["pid"]}
FAULTS = {
    "nope": (("--policies", "nope"), "nope"),
    "seed": (("--seed", "-1"), "seed is -1"),
    "no DSN": (("--ledger", "postgres"), "TRIBID_POSTGRES"),
    "no folder": (("--ledger", "/nonexistent/x.sqlite"), "/nonexistent/x.sqlite"),
    "a DSN": (("--ledger", f"postgresql://me:{SECRET}@db/ads"), "TRIBID_POSTGRES"),
    "hold nan": (("--hold-s", "nan"), "hold_s is nan; allowed is 1 to 2592000"),
    "hold huge": (("--hold-s", "1e300"), "hold_s is 1e+300; allowed is 1 to 2592000"),
    "hold none": (("--hold-s", "0"), "hold_s is 0; allowed is 1 to 2592000"),
    "keep": (("--keep-s", "-1"), "keep_s is -1; allowed is 0 to 2592000"),
}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIBID_")}


def test_a_fault_at_the_start_is_one_line_on_the_real_terminal(tmp_path: Path) -> None:
    started = {
        name: subprocess.Popen(
            [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=_environment()
        )
        for name, (options, _) in FAULTS.items()
    }  # fmt: skip
    try:
        for name, process in started.items():
            out, errors = process.communicate(timeout=200)
            assert (process.returncode, out, len(errors.splitlines())) == (2, "", 1), (name, out, errors)
            assert errors.startswith("error: ") and FAULTS[name][1] in errors and SECRET not in errors, (name, errors)
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


def test_a_database_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    for dsn, told in (
        (f"postgresql://me:{SECRET}@127.0.0.1:1/ads", "the ledger's database failed"),
        (SECRET, "TRIBID_POSTGRES holds no DSN"),
    ):
        found = subprocess.run(
            [*COMMAND, "--ledger", "postgres"], capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path,
            env=_environment() | {"TRIBID_POSTGRES": dsn},
        )  # fmt: skip
        assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (2, "", 1), found.stderr
        assert told in found.stderr and SECRET not in found.stderr


@contextmanager
def started(*options: str, cwd: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server's process that is ready, and its address; killed in the end."""
    process = subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=_environment()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " at http://" in line, line + process.communicate()[1]
        yield line.partition(" at ")[2].split()[0].rstrip(";"), process
    finally:
        process.kill()
        process.communicate()


def test_notices_lead_to_the_port_that_was_bound_and_another_loopback_address_answers(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux answers at all of 127.0.0.0/8 unasked")
    bid = {"id": "a", "imp": [{"id": "1", "banner": {}}], "user": {"id": "7"}}
    with started("--policies", "truthful", "--host", "127.0.0.2", cwd=tmp_path) as (address, _):
        assert address.startswith("http://127.0.0.2:") and not address.endswith(":8080")
        assert httpx.get(f"{address}/readyz").status_code == 200
        assert httpx.get(f"{address}/readyz", headers={"host": "evil.example"}).status_code == 400
        told = httpx.post(f"{address}/openrtb2/auction", json=bid).json()["seatbid"][0]["bid"][0]
        for kind in ("nurl", "burl", "lurl"):
            assert told[kind].startswith(f"{address}/openrtb2/")
        assert f"{address}/openrtb2/click" in told["adm"]
        assert httpx.get(told["burl"]).status_code == 204


def test_of_a_home_what_can_be_served_is_and_each_of_the_rest_is_one_warning(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for name, scenario in (("ppo/seed-0", "tiny"), ("ppo/seed-1", "tiny"), ("other", "feed")):
        loaded = load_scenario(scenario)
        policies = {"shared": random_policy(BidderSpace.of(loaded), seed=len(name))}
        save_lineup(policies, {"adv_00": "shared"}, home / name / "policies", scenario=loaded, training=TRAINING)
    (home / "broken").mkdir()
    (home / "broken" / "lineup.json").write_text("{}")
    with started("--policies", "pid", "--policies-home", str(home), cwd=tmp_path) as (address, process):
        told = httpx.get(f"{address}/v1/policies").json()
        assert (told["active"], [one["name"] for one in told["releases"]]) == ("pid", ["pid", "ppo", "ppo-seed-1"])
        process.terminate()
        errors = process.communicate(timeout=60)[1].splitlines()
        assert len(errors) == 2 and all("is left out" in line for line in errors)
        assert "broken" in errors[0] and "other" in errors[1]


def test_names_that_clash_are_told_apart_and_none_is_dropped(tmp_path: Path) -> None:
    for run in ("ppo/seed-0/policies", "ppo/seed-1/policies", "ppo", "old/policies", "old"):
        (tmp_path / run).mkdir(parents=True, exist_ok=True)
        (tmp_path / run / "lineup.json").write_text("{}")
    found = chosen_releases([], tmp_path)
    places = {name: str(Path(place).relative_to(tmp_path)) for name, place in found.items()}
    assert places == {
        "old": "old", "old-2": "old/policies",
        "ppo": "ppo", "ppo-seed-0": "ppo/seed-0/policies", "ppo-seed-1": "ppo/seed-1/policies",
    }  # fmt: skip
    given = str(tmp_path / "ppo/seed-1/policies")
    assert list(chosen_releases([f"mine={given}"], tmp_path).values()).count(Path(given)) == 0
    with pytest.raises(ValueError, match="no folder of policy files that can be served"):
        chosen_releases([], tmp_path, lambda name, folder: False)


def test_a_server_for_others_has_to_say_where_exchanges_reach_it(tmp_path: Path) -> None:
    config, secret = tmp_path / "openrtb.yaml", tmp_path / "secret"
    config.write_text("seat: mine\n")
    assert _exchanges(config, None, 60.0, ("a",), "127.0.0.1").config.url == ""
    with pytest.raises(ValueError, match=r"openrtb.yaml: public_url is missing; with host 0\.0\.0\.0"):
        _exchanges(config, None, 60.0, ("a",), "0.0.0.0")
    config.write_text("public_url: https://bidder.example\n")
    assert _exchanges(config, None, 60.0, ("a",), "0.0.0.0").config.url == "https://bidder.example"
    secret.write_bytes(b"short")
    with pytest.raises(ValueError, match="secret: the secret has 5 bytes; allowed are 16 or more"):
        _exchanges(None, secret, 60.0, ("a",), "127.0.0.1")


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_failed_opening_is_logged_only_where_nobody_ends_the_service_for_it(
    is_ended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> Any:
        raise ValueError("no such policies")

    async def run() -> None:
        serving: Serving = make_app(fail, settings=Settings(shutdown_s=0.001)).serving  # type: ignore[attr-defined]
        await serving.start()
        while serving.failure is None:
            await asyncio.sleep(0)
        for _ in range(0 if is_ended else 2_000):
            if caplog.messages:
                break
            await asyncio.sleep(0.01)
        await serving.stop()
        assert serving.why_not_ready() == "shutting down"

    asyncio.run(run())
    assert caplog.messages == ([] if is_ended else ["opening failed: no such policies"])
