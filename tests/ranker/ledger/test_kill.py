"""What was acknowledged is there after a process was killed, at any moment."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tribid.ranker.ledger.interface import Charge, Hold
from tribid.ranker.ledger.journal import check_journal
from tribid.ranker.ledger.sqlite import SqliteLedger

Nursery: TypeAlias = "subprocess.Popen[str]"
NAMES = ("ann", "bob", "cy")
UNTIL = 10**12


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """A process with everything imported, which forks writers."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL, which this system does not have")
    child = Path(__file__).with_name("writing_child.py")
    with subprocess.Popen([sys.executable, child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def _kill_one(nursery: Nursery, ledger: Path, notes: Path, first: int, durability: str, after: float) -> None:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    known = notes.stat().st_size if notes.exists() else 0
    nursery.stdin.write(f"{ledger} {notes} {first} {durability}\n")
    nursery.stdin.flush()
    child = int(nursery.stdout.readline())
    try:
        begun = time.monotonic()
        while (not notes.exists() or notes.stat().st_size == known) and time.monotonic() < begun + 60:
            time.sleep(0.001)
        time.sleep(after)
    finally:
        os.kill(child, signal.SIGKILL)


async def _opened(path: Path) -> SqliteLedger:
    for _ in range(600):
        try:
            return await SqliteLedger.open(path, NAMES)
        except ValueError as error:
            if "open in another process" not in str(error):
                raise
        await asyncio.sleep(0.01)  # the killed process is still being taken away
    raise AssertionError("the lock outlived the process that was killed")


async def _is_given_back(ledger: SqliteLedger, hold: Hold) -> bool:
    """Whether its money was given back; that may be stored although the process was killed before it said so."""
    try:
        refused = await ledger.reserve([hold])
    except ValueError as error:
        if "given back" not in str(error):
            raise
        return True
    assert refused is None
    return False


async def _acknowledged_is_there(path: Path, notes: Path) -> int:
    """Open what was left, and ask for everything again that was acknowledged; how much that was."""
    ledger = await _opened(path)
    told = [line.split() for line in notes.read_text().splitlines() if line.count(" ") == 3]
    before = ledger.free_micros().tolist(), ledger.spent_micros().tolist()
    holds = {name: Hold(name, int(ad), int(amount), UNTIL) for what, name, ad, amount in told if what == "hold"}
    events = [(event, hold) for what, event, hold, _ in told if what == "event"]
    released = {name for what, name, _, _ in told if what == "released"}
    kept = [hold for hold in holds.values() if not hold.id.endswith(".1")]
    assert await ledger.reserve(kept) is None
    for hold in holds.values():
        if hold.id.endswith(".1"):
            assert await _is_given_back(ledger, hold) or hold.id not in released
    again = await ledger.charge([Charge(event, "click", hold, 1, 3) for event, hold in events])
    assert {status for status, _, _ in again} <= {"duplicate"}
    given_back = await ledger.charge([Charge(f"x{name}", "impression", name, 1, 0) for name in released])
    assert {status for status, _, _ in given_back} <= {"expired"}
    assert (ledger.free_micros().tolist(), ledger.spent_micros().tolist()) == before
    await ledger.close()
    report = check_journal(path)
    assert report.problems == ()
    assert report.debits_micros == report.credits_micros
    assert report.revenue_micros == 3 * report.events >= 3 * len(events)
    return len(told)


def _kill_often(nursery: Nursery, folder: Path, times: int, durability: str, seed: int) -> None:
    chance = random.Random(seed)
    ledger, notes = folder / "ledger.db", folder / "notes.txt"
    before = 0
    for number in range(times):
        _kill_one(nursery, ledger, notes, number * 1_000_000, durability, chance.random() * 0.06)
        told = asyncio.run(_acknowledged_is_there(ledger, notes))
        assert told > before
        before = told


@pytest.mark.parametrize(("durability", "times"), [("normal", 3), ("full", 2)])
def test_a_killed_process_loses_nothing_that_it_acknowledged(
    durability: str, times: int, nursery: Nursery, tmp_path: Path
) -> None:
    _kill_often(nursery, tmp_path, times, durability, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_hundred_kills_lose_nothing_that_was_acknowledged(durability: str, nursery: Nursery, tmp_path: Path) -> None:
    for part in range(20):  # files of their own, so that the whole journal is checked after each kill in little time
        folder = tmp_path / str(part)
        folder.mkdir()
        _kill_often(nursery, folder, 5, durability, seed=100 + part)
