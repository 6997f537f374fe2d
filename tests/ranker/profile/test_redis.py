"""What Redis adds to the contract: several servers at once, one that dies, and what its log holds."""

import asyncio
import subprocess
import sys

import pytest

from tests.ranker.profile.house import event, settings
from tribid.ranker.profile.check import check_store
from tribid.ranker.profile.errors import ProfileDamageError, ProfilesUnavailableError
from tribid.ranker.profile.redis_link import MOST_CONNECTIONS
from tribid.ranker.profile.redis_scripts import GROUP
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop


def in_servers(redis_server, use, count=3, clock=None, **told):
    """What ``use`` makes of several servers of one store."""

    async def run():
        prefix, clocked = redis_server.prefix(), clock or Clock()
        stores = [
            await RedisProfiles.open(
                redis_server.url, settings(clocked), prefix=prefix, claim_ms=told.get("claim_ms", 0)
            )
            for _ in range(count)
        ]
        try:
            return await use(*stores)
        finally:
            for store in stores:
                await store.close()

    return asyncio.run(run())


def test_servers_that_count_for_one_user_at_once_lose_no_event(redis_server):
    async def use(*stores):
        events = [event("view", "ann", item=turn % 9, name=str(turn)) for turn in range(90)]
        told = [event("order", "bob", item=1, name=str(turn)) for turn in range(3)]
        receipts = await asyncio.gather(
            *(stores[place % 3].take([one]) for place, one in enumerate(events + events[:30])),
            *(store.take(told) for store in stores),
        )
        statuses = [one.status for some in receipts for one in some]
        assert (statuses.count("accepted"), statuses.count("duplicate")) == (93, 36)
        profiles = [await store.profile("ann") for store in stores]
        assert [profile.version for profile in profiles] == [90] * 3
        assert sum(profiles[0].counts[brand][0] for brand in profiles[0].counts) == 90
        assert (await stores[2].profile("bob")).version == 3

    in_servers(redis_server, use)


def test_a_change_that_every_server_is_told_of_and_that_views_race_with_fires_once_for_each(redis_server):
    async def use(*stores):
        users = [f"u{number}" for number in range(40)]
        move = drop(5, NOON)
        await asyncio.gather(
            *(
                stores[place % 3].take([event("view", user, item=5, time_ms=NOON - 5)])
                for place, user in enumerate(users)
            ),
            *(store.moved([move]) for store in stores),
        )
        await asyncio.gather(*(store.tend() for store in stores))
        return [message.user for message in await stores[0].messages(1000)], users

    sent, users = in_servers(redis_server, use)
    assert sorted(sent) == sorted(users)


def test_due_messages_that_every_server_tends_are_made_once(redis_server):
    clock = Clock()

    async def use(*stores):
        await stores[0].take([event("cart", f"u{number}", item=5) for number in range(150)])
        clock.go(2)
        made = await asyncio.gather(*(store.tend() for store in stores))
        handed = await asyncio.gather(*(store.messages(100) for store in stores))
        return sum(made), [message.id for some in handed for message in some]

    made, handed = in_servers(redis_server, use, clock=clock)
    assert made == len(handed) == len(set(handed)) == 150


def test_what_a_dead_server_had_taken_is_taken_over(redis_server):
    async def use(dead, other):
        await dead.take([event("view", item=5, time_ms=NOON - 5)])

        async def dies(move):
            raise KeyError("the server died here")

        dead._spread_one = dies
        with pytest.raises(KeyError):
            await dead.moved([drop(5, NOON)])
        assert await other.messages() == []
        made = await other.tend()
        return made, [message.trigger for message in await other.messages()]

    assert in_servers(redis_server, use, count=2) == (1, ["price_drop"])


def test_the_log_names_users_by_salted_hashes_and_stays_short(redis_server):
    async def use(store):
        store._records.log_length = 100
        await store.take([event("view", "somebody", item=1, name="my-event-id") for _ in range(1)])
        for _ in range(20):
            await store.take([event("view", "somebody", item=turn) for turn in range(20)])
        entries = await store._link.client.xrange(store._keys.log)
        assert 100 <= len(entries) <= 250
        told = repr(entries)
        assert "somebody" not in told and "my-event-id" not in told and store.token("somebody") in told
        return store.token("somebody")

    tokens = {in_servers(redis_server, use, count=1) for _ in range(2)}
    assert len(tokens) == 2, "another store's salt gives another hash"


def test_a_store_that_agrees_passes_its_check_and_one_that_was_changed_by_hand_does_not(redis_server):
    async def use(store):
        await store.take([event("view", "ann", item=1, time_ms=NOON - 2), event("cart", "bob", item=2)])
        await store.moved([drop(1, NOON)])
        good = await check_store(store)
        assert (good.users, good.events, good.waiting, good.messages, good.problems) == (2, 2, 1, 1, [])
        await store._link.client.zadd(store._keys.outbox, {"nobody": 0})
        assert (await check_store(store)).problems == ["1 messages are in one of outbox and owner only"]
        await store._link.client.hset(store._keys.user("ann"), "body", b"\x01")
        with pytest.raises(ProfileDamageError, match="no store writes"):
            await check_store(store)

    in_servers(redis_server, use, count=1)


def test_hundreds_of_calls_at_once_wait_for_a_connection(redis_server):
    async def use(store):
        await store.take([event("view", "ann", item=1)])
        profiles = await asyncio.gather(*(store.profile("ann") for _ in range(300)))
        assert [one.version for one in profiles] == [1] * 300
        receipts = await asyncio.gather(*(store.take([event("view", f"u{n}", item=1)]) for n in range(300)))
        assert {one.status for some in receipts for one in some} == {"accepted"}
        clients = await store._link.client.client_list()
        assert len(clients) <= MOST_CONNECTIONS + 5

    in_servers(redis_server, use, count=1)


async def _sent(store):
    found = await store.messages()
    await store.acknowledge([one.id for one in found])
    return sorted((one.user, one.trigger) for one in found)


async def _damage(store, user):
    await store._link.client.hset(store._keys.user(user), "body", b"\x81\x01garbage")


def test_a_record_that_cannot_be_read_stops_nobody_elses_messages(redis_server, caplog):
    clock = Clock()

    async def use(store):
        users = ["ann", "bad", "cy"]
        await store.take([event("view", user, item=5, time_ms=NOON - 5) for user in users])
        await store.take([event("cart", user, item=8) for user in users])
        await store.moved([drop(7, NOON)])
        await _damage(store, "bad")
        await store.moved([drop(5, NOON)])
        assert await _sent(store) == [("ann", "price_drop"), ("cy", "price_drop")]
        clock.go(2)
        assert (await store.tend(), await store.tend()) == (2, 0)
        await store.moved([drop(5, NOON + 9, units=(80, 60))])
        assert await _sent(store) == [
            ("ann", "cart_abandoned"), ("ann", "price_drop"), ("cy", "cart_abandoned"), ("cy", "price_drop"),
        ]  # fmt: skip
        assert (await store._link.client.xpending(store._keys.moves, GROUP))["pending"] == 0
        told = [one.getMessage() for one in caplog.records]
        assert told and all(store.token("bad") in one and "garbage" not in one for one in told)

    in_servers(redis_server, use, count=1, clock=clock)


def test_messages_of_a_user_whose_record_cannot_be_read_are_left_out(redis_server):
    async def use(store):
        await store.take([event("view", user, item=5, time_ms=NOON - 5) for user in ("ann", "bad")])
        await store.moved([drop(5, NOON)])
        names = await store._link.client.hkeys(store._keys.owner)
        await _damage(store, "bad")
        assert [one.user for one in await store.messages()] == ["ann"]
        assert await store.acknowledge([name.decode() for name in names]) == 1

    in_servers(redis_server, use, count=1)


def test_a_record_that_cannot_be_read_can_be_erased_with_all_that_names_its_user(redis_server):
    async def use(store):
        events = [event("view", "bad-user", item=5, time_ms=NOON - 5), event("cart", "bad-user", item=8)]
        await store.take(events)
        await store.moved([drop(5, NOON)])
        await _damage(store, "bad-user")
        assert (await store.erase("bad-user"), await store.erase("bad-user")) == (True, False)
        assert await store.profile("bad-user") is None
        client = store._link.client
        keys = [key async for key in client.scan_iter(match=f"{store._keys.prefix}*")]
        assert store._keys.due.encode() not in keys and store._keys.owner.encode() not in keys
        assert not [key for key in keys if b":want:" in key or b"bad-user" in key]
        assert [one.status for one in await store.take(events)] == ["late", "late"]

    in_servers(redis_server, use, count=1)


def test_a_server_that_went_away_is_told_as_trouble_until_it_answers(redis_server):
    async def use(store):
        assert store.trouble == ""
        real, store._link.client.pipeline = store._link.client.pipeline, _away
        with pytest.raises(ProfilesUnavailableError):
            await store.profile("ann")
        assert store.trouble == "Redis cannot be used: ConnectionError"
        store._link.client.pipeline = real
        await store.profile("ann")
        assert store.trouble == ""

    in_servers(redis_server, use, count=1)


def _away(**told):
    import redis

    raise redis.ConnectionError("Error 111 connecting to 10.0.0.1:6379.")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@localhost:6379/0", "redis://:12/34secret@localhost:6379/0", "redis://:sec#ret@localhost/0",
        "redis://user:12#secret@localhost/0", "redis://:1?secret@localhost/0", "redis://:secret@localhost:secret/0",
        "redis://:12@secret@localhost/0", "redis://localhost/0?password=12@secret", "redis://localhost/0?secret=1",
        "unix://:se/cret@/run/redis.sock", "redis://:secret]@localhost/0", "redis://localhost/0?socket_timeout=secret",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_read_is_not_repeated(url):
    with pytest.raises(ValueError, match="the URL of Redis cannot be read") as raised:
        asyncio.run(RedisProfiles.open(url))
    told = str(raised.value)
    assert raised.value.__suppress_context__ and not [part for part in ("cret", "12", "34") if part in told]


def test_a_redis_that_cannot_be_reached_is_told_so(tmp_path):
    with pytest.raises(ProfilesUnavailableError, match="cannot be used"):
        asyncio.run(RedisProfiles.open(f"unix://{tmp_path}/none"))
    with pytest.raises(ValueError, match="allowed is redis://"):
        asyncio.run(RedisProfiles.open("http://127.0.0.1"))
    with pytest.raises(ValueError, match="prefix is"):
        asyncio.run(RedisProfiles.open("redis://127.0.0.1", prefix="a:b"))


def test_importing_the_store_needs_no_client():
    code = "import sys; import tribid.ranker.profile.redis_store; assert 'redis' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_client_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ImportError, match=r"tribid\[redis\]"):
        asyncio.run(RedisProfiles.open("redis://127.0.0.1"))
