"""How long it takes from an event to the profile that shows it, under load, in one process: a probe, no test.

python -m tests.ranker.profile.latency_probe [events_per_s] [seconds]
python -m tests.ranker.profile.latency_probe 500 10 unix:///tmp/redis.sock
"""

import asyncio
import sys
import tempfile
import time

import numpy as np

from tests.ranker.profile.house import triggers
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.settings import ProfileSettings

KINDS = ("view", "view", "view", "click", "cart", "favourite", "order", "exposure")
USERS = 20_000


async def _one(store, number, readable_ms, durable_ms):
    user, began = f"user-{number * 7919 % USERS}", time.perf_counter()
    event = ConsumerEvent(
        id=f"event-{number}",
        kind=KINDS[number % len(KINDS)],
        user=user,
        item=number % 5000,
        brand=f"brand-{number % 20}",
    )
    taking = asyncio.ensure_future(store.take([event]))
    await taking
    durable_ms.append((time.perf_counter() - began) * 1e3)
    profile = await store.profile(user)
    assert profile is not None and profile.version
    readable_ms.append((time.perf_counter() - began) * 1e3)


async def probe(store, rate, seconds):
    readable_ms, durable_ms, tasks = [], [], set()
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        wait = began + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(_one(store, number, readable_ms, durable_ms))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number % 97 == 0:
            tasks.add(tending := asyncio.create_task(store.tend()))
            tending.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    took = time.perf_counter() - began
    for name, values in (("answered, durable", durable_ms), ("profile read after", readable_ms)):
        p50, p99, most = np.percentile(values, [50, 99, 100])
        print(f"{name:>20}: p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  most {most:6.2f} ms")
    print(f"{len(readable_ms)} events in {took:.1f} s, {len(readable_ms) / took:.0f} a second")


async def main(rate, seconds, url):
    told = ProfileSettings(triggers=triggers(), complements=lambda item: (item + 1,))
    with tempfile.TemporaryDirectory() as folder:
        if url is None:
            store = await JournaledProfiles.open(folder, told)
        else:
            store = await RedisProfiles.open(url, told, prefix="probe")
        try:
            await probe(store, rate, seconds)
        finally:
            await store.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        main(
            float(given[0]) if given else 500,
            float(given[1]) if len(given) > 1 else 10,
            given[2] if len(given) > 2 else None,
        )
    )
