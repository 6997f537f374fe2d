import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.ranker.actions.house import NOW_MS, SALT, Shelf, named, run
from tribid.models.actions import log
from tribid.models.actions.log import Happened, read_log
from tribid.ranker.actions import journal as module
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import ActionEvent, ActionRequest
from tribid.ranker.actions.ranker import ActionRanker

NAMES = ("member",)


def record(name: str, user: str = "u") -> Happened:
    return Happened(id=name, user=user, kind="viewed", action="a", time_ms=NOW_MS, features=(1.0,))


def test_what_was_appended_is_there_though_the_process_ends_at_once(tmp_path: Path) -> None:
    child = (
        "import os, sys\n"
        "from tribid.models.actions.log import Happened\n"
        "from tribid.ranker.actions.journal import ActionJournal\n"
        "writer = ActionJournal(sys.argv[1], ('member',), b'0123456789abcdef')\n"
        "for name in ('one', 'two'):\n"
        "    writer.append([Happened(id=name, user='u', kind='viewed', action='a', time_ms=1, features=(1.0,))])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", child, str(tmp_path)], check=False).returncode == -9
    assert [event.id for event in read_log(tmp_path).events] == ["one", "two"]


def test_a_failed_write_spoils_no_other_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    writer.append([record("one")])
    real = os.write

    def short(handle: int, content: bytes) -> int:
        return real(handle, content[:-5])

    monkeypatch.setattr(module.os, "write", short)
    with pytest.raises(OSError, match="full"):
        writer.append([record("cut")])
    monkeypatch.setattr(module.os, "write", real)
    writer.append([record("two")])
    writer.close()
    read = read_log(tmp_path)
    assert [event.id for event in read.events] == ["one", "two"] and read.torn == 1 and writer.lost == 1


def test_a_full_file_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 300)
    writer = ActionJournal(tmp_path, NAMES, SALT)
    for number in range(20):
        writer.append([record(f"e{number}")])
    writer.close()
    assert len(list(tmp_path.iterdir())) > 3 and len(read_log(tmp_path).events) == 20


def test_a_user_can_be_forgotten(tmp_path: Path) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    ann, bob = writer.hashed("ann"), writer.hashed("bob")
    writer.append([record("one", ann), record("two", bob), record("three", ann)])
    assert writer.forget("ann") == 2 and writer.forget("ann") == 0
    writer.append([record("four", bob)])
    writer.close()
    assert [event.id for event in read_log(tmp_path).events] == ["two", "four"]
    assert ann.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_hashes_depend_on_the_salt_and_a_short_one_is_refused(tmp_path: Path) -> None:
    one, again, other = (
        ActionJournal(tmp_path / name, NAMES, salt) for name, salt in (("a", SALT), ("b", SALT), ("c", SALT[::-1]))
    )
    assert one.hashed("ann") == again.hashed("ann") != other.hashed("ann")
    with pytest.raises(ValueError, match="salt has 3 bytes; allowed are 16 to 64") as error:
        ActionJournal(tmp_path, NAMES, b"abc")
    assert "abc" not in str(error.value)


def test_an_event_that_cannot_be_written_is_not_answered_for_and_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    writer = ActionJournal(tmp_path, ActionRanker(named("a", "b")).reader.names, SALT)
    ranker = ActionRanker(named("a", "b"), profiles=shelf, journal=writer, clock_ms=lambda: NOW_MS)
    events = [ActionEvent(id=kind, user="u", kind=kind, action="a") for kind in ("viewed", "taken")]

    def fails(handle: int, content: bytes) -> int:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", fails)
        with pytest.raises(OSError, match="no space"):
            run(ranker.events(events))
        answer = run(ranker.answer(ActionRequest(user="u")))  # proposals go on all the same
    assert [one.action for one in answer.actions] == ["b"] and writer.lost == 3
    for told in (
        ["accepted", "duplicate"],
        ["duplicate", "duplicate"],
    ):  # the taking is in the profile since the first try
        assert [one.status for one in run(ranker.events(events))] == told
    writer.close()
    assert len(shelf.seen) == 1
    assert [(event.id, event.features is None) for event in read_log(tmp_path).events] == [
        ("viewed", False), ("taken", True),
    ]  # fmt: skip


def test_one_journal_at_a_time_has_a_folder_open_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    child = (
        "import os, sys\n"
        "from tribid.ranker.actions.journal import ActionJournal\n"
        "writer = ActionJournal(sys.argv[1], ('member',), b'0123456789abcdef')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", child, str(tmp_path)], check=False).returncode == -9
    for _ in range(2):
        writer = ActionJournal(tmp_path, NAMES, SALT)
        with pytest.raises(ValueError, match="is open in another process"):
            ActionJournal(tmp_path, NAMES, SALT)
        writer.close()
        writer.close()
    for refused in (lambda: writer.append([record("e")]), lambda: writer.forget("ann")):
        with pytest.raises(OSError, match="closed"):
            refused()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="file: File exists"):
        ActionJournal(tmp_path / "file", NAMES, SALT)


def test_lines_that_cannot_be_read_go_with_the_forgotten_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_LINE_BYTES", 500)
    writer = ActionJournal(tmp_path, NAMES, SALT)
    ann, bob = writer.hashed("ann"), writer.hashed("bob")
    writer.append([record("one", bob), record("two", ann)])
    cut = log.line_of(record("cut", ann)).partition(ann[10:].encode())[0]
    with open(next(tmp_path.glob("actions-*")), "ab") as file:
        file.write(b"garbage\n" + b'{"type":"happened","user":' + b'"x' * 400 + b"\n" + b'{"user":7}\n')
        file.write(log.line_of(record("three", bob)) + cut)
    with caplog.at_level("WARNING", "tribid.ranker.actions"):
        assert writer.forget("ann") == 1
    assert "could not be read" in caplog.text and str(tmp_path) not in caplog.text
    writer.append([record("four", bob)])
    writer.close()
    read = read_log(tmp_path)
    assert [event.id for event in read.events] == ["one", "three", "four"] and read.torn == 0
    assert ann[:8].encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("actions-*"))


def test_a_forgetting_that_fails_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    writer.append([record("one", writer.hashed("ann")), record("two", writer.hashed("bob"))])

    def full(*args: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr("tribid.files.os.replace", full)
        with pytest.raises(OSError, match="no space"):
            writer.forget("ann")
    writer.append([record("three", writer.hashed("bob"))])
    assert len(read_log(tmp_path).events) == 3 and writer.forget("ann") == 1
    writer.close()
    assert [event.id for event in read_log(tmp_path).events] == ["two", "three"]


def test_nothing_is_lost_that_is_written_while_a_user_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 2_000)
    writer = ActionJournal(tmp_path, NAMES, SALT)
    ann, bob = writer.hashed("ann"), writer.hashed("bob")

    async def work() -> None:
        for turn in range(20):
            await writer.keep([record(f"a{turn}", ann)])
            forgetting = asyncio.create_task(asyncio.to_thread(writer.forget, "ann"))
            for number in range(10):
                await writer.keep([record(f"b{turn}.{number}", bob)])
            assert await forgetting == 1

    run(work())
    writer.close()
    assert [event.id for event in read_log(tmp_path).events] == [
        f"b{turn}.{n}" for turn in range(20) for n in range(10)
    ]


def test_what_is_kept_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    flushed: list[int] = []
    real = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda file: (flushed.append(os.fstat(file).st_size), real(file)))
    run(writer.keep([record("one")]))
    assert flushed == [next(tmp_path.glob("actions-*")).stat().st_size]

    def broken(file: int) -> None:
        raise OSError(5, "broken")

    monkeypatch.setattr(module.os, "fsync", broken)
    with pytest.raises(OSError, match="broken"):
        run(writer.keep([record("two")]))


def test_what_a_process_killed_while_it_forgot_left_behind_goes_with_the_next_opening(tmp_path: Path) -> None:
    child = (
        "import os, sys\n"
        "from tribid.models.actions.log import Happened\n"
        "from tribid.ranker.actions.journal import ActionJournal\n"
        "writer = ActionJournal(sys.argv[1], ('member',), b'0123456789abcdef')\n"
        "for user in ('ann', 'bob'):\n"
        "    told = dict(kind='viewed', action='a', time_ms=1, features=(1.0,))\n"
        "    writer.append([Happened(id=user, user=writer.hashed(user), **told)])\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "writer.forget('ann')\n"
    )
    assert subprocess.run([sys.executable, "-c", child, str(tmp_path)], check=False).returncode == -9
    (left,) = tmp_path.glob(".*")
    (tmp_path / ".actions-notes").write_bytes(b"somebody's")
    writer = ActionJournal(tmp_path, NAMES, SALT)
    assert not left.exists() and (tmp_path / ".actions-notes").exists()
    assert [writer.forget(user) for user in ("ann", "bob")] == [1, 1]
    hashes = [writer.hashed(user).encode() for user in ("ann", "bob")]
    writer.close()
    assert not any(name in path.read_bytes() for path in tmp_path.iterdir() for name in hashes)


def test_what_is_left_behind_and_cannot_go_is_told_and_the_folder_let_go_of(tmp_path: Path) -> None:
    left = tmp_path / ".actions-1.jsonl.abcdefgh.jsonl"
    left.mkdir()
    with pytest.raises(ValueError, match="the log of actions cannot be kept in") as told:
        ActionJournal(tmp_path, NAMES, SALT)  # what is not closed is held on to by the error
    left.rmdir()
    ActionJournal(tmp_path, NAMES, SALT).close()
    assert str(tmp_path) in str(told.value)


def test_forgetting_waits_for_what_is_under_way_and_takes_its_records_along(tmp_path: Path) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    gone: list[int] = []
    forgetting = threading.Thread(target=lambda: gone.append(writer.forget("ann")))
    with writer.under_way():
        forgetting.start()
        forgetting.join(0.1)
        assert forgetting.is_alive()
        writer.append([record("one", writer.hashed("ann")), record("two", writer.hashed("bob"))])
    forgetting.join()
    writer.close()
    assert gone == [1] and [event.id for event in read_log(tmp_path).events] == ["two"]


def test_what_is_under_way_without_end_keeps_a_forgetting_no_longer_than_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    writer = ActionJournal(tmp_path, NAMES, SALT)
    writer.append([record("one", writer.hashed("ann"))])
    with writer.under_way(), pytest.raises(OSError, match=r"records were still under way after 0\.01 s"):
        writer.forget("ann")
    assert writer.forget("ann") == 1
    writer.close()


def test_a_batch_that_fails_is_under_way_no_longer(tmp_path: Path) -> None:
    writer = ActionJournal(tmp_path, NAMES, SALT)
    with pytest.raises(KeyError, match="the batch"), writer.under_way():
        raise KeyError("the batch")
    assert writer.forget("ann") == 0
    writer.close()
