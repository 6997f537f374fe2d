"""A process that takes events and sends messages, round after round, until it is killed: for ``test_kill``.

Line by line it says what it was answered, each line only after the answer: ``took ID``, ``handed ID USER TRIGGER ITEM``,
``sent ID``, ``erased USER``, ``round N``.
"""

import asyncio
import os
import sys

from tests.ranker.profile.house import event, settings
from tribid.envs.triggers import HOUR_MS
from tribid.ranker.profile import journaled
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop

USERS = [f"u{number}" for number in range(4)]
ROUND_MS = 3 * HOUR_MS


def told(number):
    """The events of a round, the same however often it is begun again, and out of order."""
    at_ms = NOON + number * ROUND_MS
    for user in USERS:
        yield event("order", user, name=f"o{number}", item=1000 + 3 * number, time_ms=at_ms + 20)
        yield event("view", user, name=f"v{number}", item=number, time_ms=at_ms + 10)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def _send(store):
    for message in await store.messages(1000):
        say("handed", message.id, message.user, message.trigger, message.item)
        assert await store.acknowledge([message.id]) == 1
        say("sent", message.id)


async def _round(store, clock, number):
    at_ms = clock.now_ms = NOON + number * ROUND_MS + 100
    for one in told(number):
        (receipt,) = await store.take([one])
        assert receipt.status in ("accepted", "duplicate"), receipt
        say("took", one.user, one.id)
    gone = f"gone-{number}-x"
    await store.take([event("view", gone, name="1", item=number, time_ms=at_ms - 50)])
    background = asyncio.create_task(store.moved([drop(number, at_ms - 60)]))
    await store.take(list(told(number)))
    await background
    await _send(store)
    clock.now_ms += 2 * HOUR_MS
    await store.tend()
    await _send(store)
    await store.erase(gone)
    say("erased", gone)
    say("round", number)


async def main(folder, first, last):
    journaled._LEAST_BYTES = 5_000
    clock = Clock()
    store = await journaled.JournaledProfiles.open(folder, settings(clock, keep_days=365))
    say("ready")
    for number in range(first, last):
        await _round(store, clock, number)
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
