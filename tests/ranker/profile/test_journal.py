"""What is on disk: kept through restarts, torn ends told from damage, one process at a time."""

import asyncio
import random
import shutil

import msgspec
import pytest

from tests.ranker.profile.house import event, in_store, settings
from tribid.ranker.profile import folder as folder_module
from tribid.ranker.profile.errors import ProfileDamageError
from tribid.ranker.profile.frames import frame, frames
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop


async def _fill(store, users=5):
    for number in range(users):
        await store.take(
            [event("view", f"u{number}", item=number, name="v"), event("cart", f"u{number}", item=9, name="c")]
        )


async def _all(store):
    return [
        (record.profile, record.ids, record.waiting, record.outbox, record.settled) async for record in store.records()
    ]


def test_what_was_answered_is_there_after_a_restart(tmp_path):
    async def fill(store):
        await _fill(store)
        await store.moved([drop(3, NOON)])
        return await _all(store)

    before = in_store(tmp_path, fill)
    assert len(before) == 5 and any(outbox for *_, outbox, _ in before)
    assert in_store(tmp_path, _all) == before


def test_a_snapshot_holds_what_its_journals_held_and_these_are_gone(tmp_path):
    async def fill(store):
        await _fill(store)
        await store.moved([drop(3, NOON)])
        await store._snapshot(1)
        await store.take([event("order", "u0", item=1)])
        return await _all(store)

    before = in_store(tmp_path, fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal-00000002.log", "lock", "salt", "snapshot-00000002.bin",
    ]  # fmt: skip
    assert in_store(tmp_path, _all) == before


def test_what_happens_while_a_snapshot_is_written_counts_once(tmp_path):
    async def fill(store):
        await _fill(store, 450)
        snapshot = asyncio.create_task(store._snapshot(1))
        turn = 0
        while not snapshot.done():
            await store.take(
                [event("view", f"u{turn % 450}", item=turn, name=f"s{turn}"), event("order", "new", item=turn)]
            )
            await store.moved([drop(turn % 9, NOON, version=turn)])
            await store.acknowledge([message.id for message in await store.messages(5)])
            turn += 1
        assert turn > 0, "nothing happened meanwhile"
        return await _all(store)

    before = in_store(tmp_path, fill)
    assert in_store(tmp_path, _all) == before


def test_a_snapshot_that_was_given_up_never_passes_for_a_whole_one(tmp_path):
    async def fill(store):
        await _fill(store, 3)

        async def stops(parts):
            parts.put(msgspec.msgpack.encode(folder_module.Part()))
            raise asyncio.CancelledError

        store._encode = stops
        with pytest.raises(asyncio.CancelledError):
            await store._snapshot(1)
        return await _all(store)

    before = in_store(tmp_path, fill)
    assert not [path for path in tmp_path.iterdir() if "snapshot" in path.name]
    assert len(before) == 3 and in_store(tmp_path, _all) == before


def test_journals_are_cut_by_themselves_when_they_grow(tmp_path, monkeypatch):
    monkeypatch.setattr("tribid.ranker.profile.journaled._LEAST_BYTES", 2_000)

    async def fill(store):
        for turn in range(200):
            await store.take([event("view", f"u{turn % 7}", item=turn)])
        return await _all(store)

    before = in_store(tmp_path, fill)
    assert len(list(tmp_path.glob("snapshot-*"))) == 1
    assert in_store(tmp_path, _all) == before


def test_a_journal_that_is_cut_anywhere_opens_with_what_was_whole(tmp_path):
    whole = tmp_path / "whole"
    in_store(whole, lambda store: _fill(store, 3))
    journal = (whole / "journal-00000001.log").read_bytes()
    ends = [one.end for one in frames(journal, "journal")]
    versions = []
    for cut in sorted({*ends, *(end - 1 for end in ends), *(end + 5 for end in ends[:-1]), 0, 3}):
        copy = tmp_path / f"cut-{cut}"
        shutil.copytree(whole, copy)
        (copy / "journal-00000001.log").write_bytes(journal[:cut])
        records = in_store(copy, _all)
        versions.append(sum(profile.version for profile, *_ in records))
        assert versions[-1] == 2 * sum(end <= cut for end in ends[1:]), f"cut at {cut}"
        assert in_store(copy, _all) == records, "and opens again"
    assert versions == sorted(versions) and versions[-1] == 6


def test_garbage_at_the_end_is_a_torn_write(tmp_path):
    in_store(tmp_path, lambda store: _fill(store, 3))
    journal = tmp_path / "journal-00000001.log"
    journal.write_bytes(journal.read_bytes() + frame(b"torn")[:-1] + bytes(500))
    assert len(in_store(tmp_path, _all)) == 3


def test_damage_before_what_can_be_read_is_refused_and_told_where(tmp_path):
    in_store(tmp_path, lambda store: _fill(store, 3))
    journal = tmp_path / "journal-00000001.log"
    good = journal.read_bytes()
    last = [one.end for one in frames(good, "journal")][-2]
    chance = random.Random(5)
    for place in [0, 4, 9, 40, *(chance.randrange(last) for _ in range(40))]:
        journal.write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        with pytest.raises(ProfileDamageError, match=r"journal-00000001\.log is damaged at byte \d+"):
            in_store(tmp_path, _all)
    journal.write_bytes(good)
    assert len(in_store(tmp_path, _all)) == 3


def test_a_damaged_snapshot_is_refused(tmp_path):
    async def fill(store):
        await _fill(store, 3)
        await store._snapshot(1)

    in_store(tmp_path, fill)
    snapshot = tmp_path / "snapshot-00000002.bin"
    good = snapshot.read_bytes()
    for wrong in (good[:-1], good[: len(good) // 2], good[:-40], b"", good[:30] + b"x" + good[31:]):
        snapshot.write_bytes(wrong)
        with pytest.raises(ProfileDamageError, match="snapshot-00000002"):
            in_store(tmp_path, _all)


def test_a_missing_file_is_refused(tmp_path):
    for _ in range(3):
        in_store(tmp_path, lambda store: _fill(store, 3))
    (tmp_path / "journal-00000002.log").unlink()
    with pytest.raises(ProfileDamageError, match="some are missing"):
        in_store(tmp_path, _all)
    (tmp_path / "salt").unlink()
    with pytest.raises(ProfileDamageError, match="salt is gone"):
        in_store(tmp_path, _all)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_another_files_content_is_refused(number, tmp_path):
    for _ in range(3):
        in_store(tmp_path, lambda store: _fill(store, 1))
    other = tmp_path / f"journal-{number % 3 + 1:08d}.log"
    (tmp_path / f"journal-{number:08d}.log").write_bytes(other.read_bytes())
    with pytest.raises(ProfileDamageError, match="begins as journal"):
        in_store(tmp_path, _all)


def test_whole_frames_of_what_no_store_writes_are_refused(tmp_path):
    in_store(tmp_path, lambda store: _fill(store, 1))
    journal = tmp_path / "journal-00000001.log"
    good = journal.read_bytes()
    for wrong in (b"", b"\x91\xc0", b"\x91\x91\xa1?", b"\xd9\xff"):
        journal.write_bytes(good + frame(wrong))
        with pytest.raises(ProfileDamageError, match="no store writes"):
            in_store(tmp_path, _all)


def test_a_folder_is_open_once_at_a_time(tmp_path):
    async def twice(store):
        with pytest.raises(ValueError, match="open in another process, or twice"):
            await JournaledProfiles.open(tmp_path, settings())
        return True

    assert in_store(tmp_path, twice)
    assert in_store(tmp_path, twice), "and can be opened again"


def test_a_folder_without_a_store_is_made_only_if_it_may_be(tmp_path):
    with pytest.raises(ValueError, match="holds no profiles"):
        asyncio.run(JournaledProfiles.open(tmp_path / "none", create=False))
    assert not (tmp_path / "none").exists()


def test_only_the_owner_may_read_the_files(tmp_path):
    async def fill(store):
        await _fill(store, 1)
        await store._snapshot(1)

    in_store(tmp_path / "store", fill)
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    named = [path for path in (tmp_path / "store").iterdir() if path.name != "lock"]
    assert len(named) == 3 and all(path.stat().st_mode & 0o077 == 0 for path in named)


def test_a_long_row_of_due_messages_lets_others_in_between(tmp_path, monkeypatch):
    monkeypatch.setattr("tribid.ranker.profile.journaled._STRETCH_S", 0.0)  # each user takes longer than that
    clock, turns = Clock(), []

    async def use(store):
        await store.take([event("order", f"u{number}", item=number) for number in range(50)])
        clock.go(2)
        beat = 0
        store._book.counting.rules._complements = lambda item: (turns.append(beat), (item + 1,))[1]
        tending = asyncio.create_task(store.tend())
        while not tending.done():
            beat += 1
            await asyncio.sleep(0)
        assert await tending == 50

    in_store(tmp_path, use, clock)
    assert len(turns) >= 50 and max(map(turns.count, turns)) <= 1


def test_what_a_killed_writer_left_beside_is_removed(tmp_path):
    in_store(tmp_path, lambda store: _fill(store, 1))
    (tmp_path / ".snapshot-00000002.bin.abc.bin").write_bytes(b"u0")
    in_store(tmp_path, _all)
    assert not list(tmp_path.glob(".snapshot*"))


def test_a_cancelled_caller_takes_nothing_with_it(tmp_path):
    async def use(store):
        tasks = [asyncio.create_task(store.take([event("view", "ann", item=n)])) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, (list, asyncio.CancelledError)) for one in done)
        return (await store.profile("ann")).version

    version = in_store(tmp_path, use)
    assert version >= 10
    assert in_store(tmp_path, _all)[0][0].version == version


def test_ids_are_forgotten_after_the_retention_and_a_day(tmp_path):
    clock = Clock()

    async def use(store):
        for turn in range(600):
            await store.take([event("view", item=turn % 60, name=str(turn), time_ms=clock.now_ms)])
            clock.go(1)
        return [(len(ids), profile.version) async for profile, ids in _ids(store)]

    assert in_store(tmp_path, use, clock, keep_days=2)[0] == (pytest.approx(256, abs=256), 600)


async def _ids(store):
    async for record in store.records():
        yield record.profile, record.ids


@pytest.mark.parametrize("other", [1, 3])
@pytest.mark.parametrize("kind", ["snapshot", "journal"])
def test_a_file_of_another_format_is_refused(kind, other, tmp_path):
    async def fill(store):
        await _fill(store, 1)
        await store._snapshot(1)

    in_store(tmp_path, fill)
    (path,) = tmp_path.glob(f"{kind}-*")
    data = path.read_bytes()
    first = next(frames(data, kind))
    changed = bytes(first.content).replace(b"\xa6format\x02", b"\xa6format" + bytes([other]))
    path.write_bytes(frame(changed) + data[first.end :])
    with pytest.raises(ProfileDamageError, match=f"{kind} 2 of format {other}; allowed is {kind} 2 of format 2"):
        in_store(tmp_path, _all)
