"""Killed at any moment: no answered event is lost, no trigger fires twice or never, what was erased stays gone."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranker.profile.house import contents, in_store
from tests.ranker.profile.telling_child import ROUND_MS, USERS, told
from tribid.ranker.profile.testing_triggers import NOON, Clock

ROOT = Path(__file__).parents[3]
KILLS, MOST_ROUNDS = 45, 400


def _run(folder, first, kill_after):
    """The lines of one child, killed after so many of them (None: never)."""
    command = [
        sys.executable,
        "-m",
        "tests.ranker.profile.telling_child",
        str(folder),
        str(first),
        str(first + MOST_ROUNDS),
    ]
    if kill_after is None:
        command[-1] = str(first + 2)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        lines = []
        for line in child.stdout:
            lines.append(line.split())
            if kill_after is not None and len(lines) > kill_after:
                break
        if kill_after is not None:
            child.kill()
            rest = child.stdout.read()  # said before the kill came
            lines += [line.split() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        assert child.wait() in (0, -9)
    return lines


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_no_event_is_lost_and_each_trigger_fires_once(tmp_path):
    chance = random.Random(20)
    folder = tmp_path / "store"
    lines, first = [], 0
    for kill in range(KILLS + 1):
        lines += _run(folder, first, chance.randrange(1, 90) if kill < KILLS else None)
        first = max([int(line[1]) + 1 for line in lines if line[0] == "round"], default=0)
    assert lines[-1] == ["done"] and first >= 10

    took = {(user, name) for word, *rest in lines if word == "took" for user, name in [rest]}
    events = [one for number in range(first) for one in told(number)]
    assert took >= {(one.user, one.id) for one in events}

    async def look(store):
        receipts = await store.take(events)
        assert {receipt.status for receipt in receipts} == {"duplicate"}, "an answered event was lost"
        assert await store.messages() == [], "a message that was sent is handed out again"
        return {user: (await store.profile(user)).version for user in USERS}

    clock = Clock(NOON + first * ROUND_MS)
    assert in_store(folder, look, clock, keep_days=365) == dict.fromkeys(USERS, 2 * first)

    wanted = {(user, "price_drop", number) for user in USERS for number in range(first)}
    wanted |= {(user, "complementary", 1001 + 3 * number) for user in USERS for number in range(first)}
    names, done = {}, set()
    for line in lines:
        if line[0] == "handed":
            name, user, trigger, item = line[1:]
            if user in USERS:
                assert names.setdefault((user, trigger, int(item)), name) == name, "a trigger fired twice"
            assert name not in done, "a message was handed out after it was acknowledged"
        elif line[0] == "sent":
            done.add(line[1])
    assert names.keys() == wanted, "a trigger never fired"
    assert len(set(names.values()) - done) <= KILLS, "killed between the acknowledgement and saying so, once for a kill"

    erased = [line[1] for line in lines if line[0] == "erased"]
    held = b"".join(contents(folder).values())
    assert len(erased) >= first and not [user for user in erased if user.encode() in held]
