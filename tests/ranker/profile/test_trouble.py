"""A disk that fails: nothing is answered for meanwhile, what was answered stays, and all goes on once it is well again."""

import asyncio
import os
import random
import threading

import pytest

from tests.ranker.profile.house import contents, event, in_store
from tribid.ranker.profile import journaled
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop

FULL = OSError(28, "No space left on device")


class Disk:
    """Lets calls of the journal's thread fail: those of these names, while it ``is_full``."""

    def __init__(self, monkeypatch, *names, chance=None):
        self.is_full, self.failed = False, 0
        for name in names:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name), chance))

    def _failing(self, real, chance):
        def call(*given, **told):
            is_journal = threading.current_thread().name == "tribid-profiles"
            if not (self.is_full and is_journal and (chance is None or chance.random() < 0.3)):
                return real(*given, **told)
            self.failed += 1
            if real.__name__ == "write":  # half of it is there before the disk is full
                real(given[0], bytes(given[1][: len(given[1]) // 2]))
            raise FULL

        return call


async def _versions(store):
    return {record.profile.user: record.profile.version async for record in store.records()}


async def _refused(store, *work):
    for one in work:
        with pytest.raises(ProfilesUnavailableError):
            await one
    assert "No space left" in store.trouble


@pytest.mark.parametrize("names", [("write",), ("fsync",), ("write", "open"), ("write", "ftruncate")])
def test_a_disk_that_fails_answers_for_nothing_and_one_that_is_well_again_has_all(names, tmp_path, monkeypatch):
    disk = Disk(monkeypatch, *names)
    lost = event("view", "lost", item=1)

    async def use(store):
        await store.take([event("view", "ann", item=1)])
        assert store.trouble == ""
        disk.is_full = True
        with pytest.raises(ProfilesUnavailableError, match="No space left"):
            await store.take([lost])
        for _ in range(5):
            await _refused(
                store, store.take([event("view", "never", item=1)]), store.profile("ann"), store.messages(), store.tend(),
                store.moved([drop(1, NOON)]), store.acknowledge(["x"]), store.erase("ann"),
            )  # fmt: skip
        assert len(list(tmp_path.glob("journal-*"))) <= 3 and len(store._writer._unwritten) == 1, "tries leave nothing"
        disk.is_full = False
        assert [one.status for one in await store.take([lost])] == ["duplicate"], "told again, it counts once"
        assert store.trouble == ""
        await store.take([event("view", "bob", item=1)])
        return await _versions(store)

    assert in_store(tmp_path, use) == {"ann": 1, "lost": 1, "bob": 1}
    for _ in range(2):
        assert in_store(tmp_path, _versions) == {"ann": 1, "lost": 1, "bob": 1}


def test_a_disk_that_is_well_again_is_found_by_tending_alone(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, "write")

    async def use(store):
        await store.take([event("view", "ann", item=1)])
        disk.is_full = True
        await _refused(store, store.take([event("view", "ann", item=2)]), store.profile("ann"))
        disk.is_full = False
        await store.tend()
        assert store.trouble == ""
        return (await store.profile("ann")).version

    assert in_store(tmp_path, use) == 2
    assert in_store(tmp_path, _versions) == {"ann": 2}


def test_a_store_that_is_closed_or_killed_while_its_disk_is_full_opens_with_what_was_answered(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, "write", "fsync")

    async def use(store):
        await store.take([event("view", "ann", item=1)])
        disk.is_full = True
        await _refused(store, store.take([event("view", "ann", item=2)]), store.tend())

    in_store(tmp_path, use)
    disk.is_full = False
    assert in_store(tmp_path, _versions) == {"ann": 1}


def test_an_erasure_that_a_full_disk_refused_is_done_when_it_is_asked_for_again(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, "write")

    async def use(store):
        await store.take([event("view", "erase-me-31", item=1)])
        disk.is_full = True
        with pytest.raises(ProfilesUnavailableError):
            await store.erase("erase-me-31")
        disk.is_full = False
        await store.erase("erase-me-31")
        assert not [path for path, content in contents(tmp_path).items() if b"erase-me-31" in content]
        return await _versions(store)

    assert in_store(tmp_path, use) == {}
    assert in_store(tmp_path, _versions) == {}


@pytest.mark.parametrize("seed", range(12))
def test_a_disk_that_fails_now_and_then_loses_nothing_that_was_answered(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    monkeypatch.setattr(journaled, "_LEAST_BYTES", 2_000)
    disk = Disk(monkeypatch, "write", "fsync", "open", "ftruncate", chance=chance)
    answered, offered = {}, {}

    async def tell(store, turn):
        user = f"u{turn % 5}"
        offered.setdefault(user, set()).add(turn)
        try:
            receipts = await store.take([event("view", user, item=turn % 9, name=str(turn))])
        except ProfilesUnavailableError:
            return
        assert receipts[0].status == "accepted"
        answered.setdefault(user, set()).add(turn)

    async def use(store):
        disk.is_full = True
        for turn in range(0, 150, 3):
            await asyncio.gather(*(tell(store, turn + more) for more in range(3)))
        disk.is_full = False
        await store.tend()
        return await _versions(store)

    async def look(store):
        for user, turns in answered.items():
            told = [event("view", user, item=turn % 9, name=str(turn)) for turn in sorted(turns)]
            assert {one.status for one in await store.take(told)} == {"duplicate"}, "what was answered was lost"
        return await _versions(store)

    versions = in_store(tmp_path, use, Clock())
    assert disk.failed > 10 and answered
    assert in_store(tmp_path, look) == versions
    assert all(len(answered[user]) <= versions[user] <= len(offered[user]) for user in answered)
