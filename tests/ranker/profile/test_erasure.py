"""Erased data are gone from memory and every byte of every file, and nothing brings them back."""

import asyncio
import json

import pytest

from tests.ranker.profile.house import contents, event, in_store, settings
from tribid.ranker.profile import folder as folder_module
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop

USER = "erase-me-7781"
MINE = "secret-action-5519"


def _events(user):
    return [
        event("view", user, item=3, time_ms=NOON - 9), event("cart", user, item=4), event("joined", user, action=MINE),
        event("order", user, item=8), event("view", user, item=5, brand=f"brand-of-{user}"),
    ]  # fmt: skip


async def _fill(store):
    for user in (USER, "bob"):
        await store.take(_events(user))
    await store.moved([drop(3, NOON)])
    assert {message.user for message in await store.messages()} == {USER, "bob"}


def _holding(folder, *needles):
    return [
        (path.name, needle)
        for path, content in contents(folder).items()
        for needle in (USER, *needles)
        if needle.encode() in content
    ]


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_no_file_of_a_folder_holds_an_erased_user(has_snapshot, tmp_path):
    async def use(store):
        await _fill(store)
        if has_snapshot:
            await store._snapshot(1)
            await store.take([event("view", USER, item=1)])
        before = _holding(tmp_path, MINE)
        assert before
        assert await store.erase(USER)
        after = _holding(tmp_path, f"brand-of-{USER}")
        assert not after
        return store.token(USER)

    token = in_store(tmp_path, use)
    assert not _holding(tmp_path)
    assert any(b"bob" in content for content in contents(tmp_path).values()), "others are kept"
    assert any(token.encode() in content for content in contents(tmp_path).values()), (
        "the token stays, to refuse replays"
    )


def test_what_was_erased_stays_so_after_restarts_and_replays(tmp_path):
    clock, mine = Clock(), _events(USER)

    async def first(store):
        await store.take(mine)
        return await store.erase(USER)

    async def again(store):
        receipts = await store.take(mine)
        return {receipt.status for receipt in receipts}, await store.profile(USER), await store.export(USER)

    assert in_store(tmp_path, first, clock)
    for _ in range(2):
        assert in_store(tmp_path, again, clock) == ({"late"}, None, None)
    clock.go(24 * 9)  # retention and a day: the token itself is forgotten, the events are too old to count

    async def much_later(store):
        await store._snapshot(1)
        return await again(store)

    assert in_store(tmp_path, much_later, clock) == ({"late"}, None, None)
    assert not _holding(tmp_path, MINE)


def test_an_erased_event_that_does_not_say_when_it_happened_stays_erased_after_restarts_and_snapshots(tmp_path):
    clock = Clock()
    told = event("view", USER, item=1, name="no-time", time_ms=None)

    async def first(store):
        await store.take([told])
        return await store.erase(USER)

    async def again(store):
        clock.go(1)
        await store._snapshot(store._begun + 1)
        return [one.status for one in await store.take([told])], await store.profile(USER)

    assert in_store(tmp_path, first, clock)
    for _ in range(3):
        assert in_store(tmp_path, again, clock) == (["late"], None)
    assert not _holding(tmp_path, "no-time")
    clock.go(24 * 8 + 1)
    assert in_store(tmp_path, again, clock)[0] == ["accepted"], "forgotten like the ids of events that are not erased"


def test_an_erasure_that_a_crash_cut_short_is_finished_when_the_store_is_opened(tmp_path, monkeypatch):
    async def use(store):
        await _fill(store)
        monkeypatch.setattr(
            store._folder, "write_snapshot", lambda number, parts: (_ for _ in ()).throw(OSError("full"))
        )
        with pytest.raises(ProfilesUnavailableError, match="could not be rewritten"):
            await store.erase(USER)
        assert await store.profile(USER) is None
        with pytest.raises(ProfilesUnavailableError):
            await store.erase(USER)

    in_store(tmp_path, use)
    assert _holding(tmp_path), "the files could not be rewritten"

    async def look(store):
        assert not _holding(tmp_path), "done before anybody is answered"
        return await store.profile(USER)

    assert in_store(tmp_path, look) is None


def test_an_erasure_that_a_snapshot_holds_already_but_not_its_own_is_finished_when_the_store_is_opened(tmp_path):
    async def use(store):
        encode, erasures = store._encode, []

        async def meanwhile(parts):
            """The user comes and is erased while a snapshot is written; the one that is to free the files fails."""
            store._encode = encode
            await store.take(_events(USER))
            store._folder.write_snapshot = lambda number, parts: (_ for _ in ()).throw(OSError("killed"))
            erasures.append(asyncio.create_task(store.erase(USER)))
            await asyncio.sleep(0)
            assert await store.profile(USER) is None
            await encode(parts)

        await store.take(_events("bob"))
        store._encode = meanwhile
        await store._snapshot(1)
        with pytest.raises(ProfilesUnavailableError):
            await erasures[0]

    in_store(tmp_path, use)
    assert (tmp_path / "snapshot-00000002.bin").exists() and _holding(tmp_path)

    async def again(store):
        held = _holding(tmp_path)
        return held, await store.erase(USER), (await store.profile("bob")).version

    assert in_store(tmp_path, again) == ([], False, 5)


def test_asking_again_frees_the_files_that_could_not_be_rewritten(tmp_path):
    async def use(store):
        await _fill(store)
        real = store._folder.write_snapshot

        def full(number, parts):
            raise OSError("full")

        store._folder.write_snapshot = full
        with pytest.raises(ProfilesUnavailableError):
            await store.erase(USER)
        store._folder.write_snapshot = real
        assert not await store.erase(USER), "nothing was known any more"
        assert not _holding(tmp_path)

    in_store(tmp_path, use)


def test_many_erasures_at_once_share_snapshots_and_all_are_done(tmp_path, monkeypatch):
    written = []
    real = folder_module.ProfileFolder.write_snapshot
    monkeypatch.setattr(
        folder_module.ProfileFolder, "write_snapshot", lambda *given: (written.append(1), real(*given))[1]
    )

    async def use(store):
        users = [f"user-{number:04d}" for number in range(60)]
        for user in users:
            await store.take([event("view", user, item=1)])
        done = await asyncio.gather(*(store.erase(user) for user in users[:50]))
        assert all(done)
        held = b"".join(contents(tmp_path).values())
        assert [user for user in users if user.encode() in held] == users[50:]

    in_store(tmp_path, use)
    assert len(written) <= 3


def test_erasing_while_events_come_loses_none_of_others(tmp_path):
    async def use(store):
        async def others():
            for turn in range(100):
                await store.take([event("view", "bob", item=turn)])

        await store.take(_events(USER))
        await asyncio.gather(others(), store.erase(USER))
        return (await store.profile("bob")).version

    assert in_store(tmp_path, use) == 100
    assert in_store(tmp_path, lambda store: store.profile("bob")).version == 100
    assert not _holding(tmp_path)


def test_no_file_of_redis_holds_an_erased_user(redis_server):
    async def use():
        store = await RedisProfiles.open(redis_server.url, settings(), prefix=redis_server.prefix(), claim_ms=0)
        try:
            await _fill(store)
            await store._link.client.xgroup_create(store._keys.log, "readers", id="0")
            await store._link.client.bgsave()
            await store._link._idle("rdb_bgsave_in_progress")
            assert {name for name, _ in _holding(redis_server.folder)} >= {"dump.rdb"}
            told = json.loads(await store.export(USER))
            assert len(told["log"]) == 5 and {entry["user"] for entry in told["log"]} == {store.token(USER)}
            assert await store.erase(USER)
            assert not _holding(redis_server.folder)
            token = store.token(USER).encode()
            lines = await store._link.client.xreadgroup("readers", "me", {store._keys.log: ">"}, count=100)
            users = [fields[b"user"] for _, fields in lines[0][1]]
            assert users == [store.token("bob").encode()] * 5 and token not in users
            assert await store.profile("bob") is not None
            keys = [key async for key in store._link.client.scan_iter(match=f"{store._keys.prefix}*")]
            left = [key for key in keys if USER.encode() in key]
            assert not left
            for key in keys:
                if await store._link.client.type(key) == b"set":
                    assert USER.encode() not in await store._link.client.smembers(key)
        finally:
            await store.close()

    asyncio.run(use())
