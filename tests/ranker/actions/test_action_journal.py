import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranker.actions.house import NOW_MS, SALT, Shelf, named, run
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
    log = read_log(tmp_path)
    assert [event.id for event in log.events] == ["one", "two"] and log.torn == 1 and writer.lost == 1


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
    one, other = (ActionJournal(tmp_path, NAMES, salt) for salt in (SALT, SALT[::-1]))
    assert one.hashed("ann") == ActionJournal(tmp_path, NAMES, SALT).hashed("ann") != other.hashed("ann")
    with pytest.raises(ValueError, match="salt has 3 bytes; allowed are 16 to 64") as error:
        ActionJournal(tmp_path, NAMES, b"abc")
    assert "abc" not in str(error.value)


def test_an_event_that_cannot_be_written_is_not_counted_and_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    writer = ActionJournal(tmp_path, ActionRanker(named("a")).reader.names, SALT)
    ranker = ActionRanker(named("a"), profiles=shelf, journal=writer, clock_ms=lambda: NOW_MS)
    event = ActionEvent(id="e", user="u", kind="taken", action="a")

    def fails(handle: int, content: bytes) -> int:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", fails)
        with pytest.raises(OSError, match="no space"):
            run(ranker.events([event]))
        answer = run(ranker.answer(ActionRequest(user="u")))  # proposals go on all the same
    assert [one.action for one in answer.actions] == ["a"] and shelf.seen == [] and writer.lost == 2
    assert run(ranker.events([event]))[0].status == "accepted" and len(shelf.seen) == 1
    writer.close()
