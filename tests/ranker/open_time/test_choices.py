import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.ranker.open_time.house import START_MS, a_slot
from tribid.ranker.open_time import choices as module
from tribid.ranker.open_time.choices import Choices

_SHOP, _OTHER_SHOP = b"s" * 16, b"o" * 16


def test_a_slot_remembers_what_it_shows_and_its_mails_other_slots() -> None:
    choices = Choices()
    assert choices.of(a_slot(0)) is None
    choices.show(a_slot(0), 7, START_MS)
    choices.show(a_slot(1), 8, START_MS)
    choices.show(a_slot(0, message="m2"), 9, START_MS)
    choices.show(a_slot(0, user="43"), 10, START_MS)
    assert [
        choices.of(slot).item for slot in (a_slot(0), a_slot(1), a_slot(0, message="m2"), a_slot(0, user="43"))
    ] == [7, 8, 9, 10]
    assert choices.elsewhere(a_slot(0)) == {8} and choices.elsewhere(a_slot(2)) == {7, 8}


def test_users_and_messages_that_run_together_stay_apart() -> None:
    choices = Choices()
    choices.show(a_slot(0, user="ab", message="c"), 1, START_MS)
    assert choices.of(a_slot(0, user="a", message="bc")) is None


def test_only_the_mails_opened_last_are_remembered() -> None:
    choices = Choices(most=3)
    for number in range(5):
        choices.show(a_slot(0, message=f"m{number}"), number, START_MS)
    assert [choices.of(a_slot(0, message=f"m{number}")) is None for number in range(5)] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_choices_and_clicks_survive_a_restart(tmp_path: Path) -> None:
    journal = tmp_path / "choices"
    one = Choices(journal=journal, identity=_SHOP)
    one.show(a_slot(0), 7, START_MS)
    one.click(a_slot(0), 7, START_MS)
    one.show(a_slot(0), 8, START_MS + 5)
    one.show(a_slot(31), 9, START_MS)
    one.close()
    for _ in range(2):
        again = Choices(journal=journal, identity=_SHOP)
        choice = again.of(a_slot(0))
        assert (choice.item, choice.shown_ms, choice.clicked) == (8, START_MS + 5, {7})
        assert again.of(a_slot(31)).item == 9
        again.close()


def test_choices_survive_a_killed_process(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from tests.ranker.open_time.house import a_slot\n"
        "from tribid.ranker.open_time.choices import Choices\n"
        "choices = Choices(journal=sys.argv[1], identity=b's' * 16)\n"
        "for number in range(20): choices.show(a_slot(0, message=f'm{number}'), number, 1)\n"
        "print('shown', flush=True)\n"
        "time.sleep(60)\n"
    )
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "choices")],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"shown\n"
        process.send_signal(signal.SIGKILL)
    choices = Choices(journal=tmp_path / "choices", identity=_SHOP)
    assert [choices.of(a_slot(0, message=f"m{number}")).item for number in range(20)] == list(range(20))
    choices.close()


@pytest.mark.parametrize("damage", ["torn", "flipped", "zeros"])
def test_a_damaged_end_of_the_journal_is_cut_off(tmp_path: Path, damage: str) -> None:
    journal = tmp_path / "choices"
    one = Choices(journal=journal, identity=_SHOP)
    one.show(a_slot(0), 7, START_MS)
    one.show(a_slot(1), 8, START_MS)
    one.close()
    content = journal.read_bytes()
    item = len(content) - 34 + 2  # of the last record
    bad = {
        "torn": content[:-5],
        "flipped": content[:item] + bytes([content[item] ^ 1]) + content[item + 1 :],
        "zeros": content[:-34] + bytes(34),
    }
    journal.write_bytes(bad[damage])
    again = Choices(journal=journal, identity=_SHOP)
    assert again.of(a_slot(0)).item == 7 and again.of(a_slot(1)) is None
    again.show(a_slot(2), 9, START_MS)
    again.close()
    last = Choices(journal=journal, identity=_SHOP)
    assert last.of(a_slot(0)).item == 7 and last.of(a_slot(2)).item == 9
    last.close()


def test_choices_among_other_items_are_forgotten_and_other_files_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / "choices"
    one = Choices(journal=journal, identity=_SHOP)
    one.show(a_slot(0), 7, START_MS)
    one.close()
    other = Choices(journal=journal, identity=_OTHER_SHOP)
    assert other.of(a_slot(0)) is None
    other.close()
    journal.write_bytes(b"my diary")
    with pytest.raises(ValueError, match="is no journal of choices"):
        Choices(journal=journal)
    assert journal.read_bytes() == b"my diary"


def test_the_journal_stays_bounded(tmp_path: Path) -> None:
    journal = tmp_path / "choices"
    choices = Choices(journal=journal, most=2)
    for number in range(200):
        choices.show(a_slot(0), number, START_MS)
        assert journal.stat().st_size < 2_000
    choices.close()


def test_nobody_is_named_in_the_journal_and_a_user_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    journal = tmp_path / "choices"
    choices = Choices(journal=journal)
    for user in ("customer-4711", "somebody-else"):
        for number in (0, 1):
            choices.show(a_slot(number, user=user, message="spring-mail"), number, START_MS)
    content = journal.read_bytes()
    assert b"4711" not in content and b"spring" not in content
    assert choices.forget("customer-4711") == 2
    assert choices.of(a_slot(0, user="customer-4711", message="spring-mail")) is None
    assert len(content) - len(journal.read_bytes()) == 2 * 34
    choices.close()
    again = Choices(journal=journal)
    assert again.of(a_slot(1, user="somebody-else", message="spring-mail")).item == 1
    again.close()
    other = Choices(journal=tmp_path / "other")
    other.show(a_slot(0, user="somebody-else", message="spring-mail"), 0, START_MS)
    assert journal.read_bytes()[-34:-4] != (tmp_path / "other").read_bytes()[-34:-4]  # salted
    other.close()


def test_the_journals_folder_is_made_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    choices = Choices(journal=tmp_path / "a" / "b" / "choices")
    choices.show(a_slot(0), 7, START_MS)
    choices.close()
    assert (tmp_path / "a" / "b" / "choices").stat().st_size > 34
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"choices cannot be kept in .*file/choices: "):
        Choices(journal=tmp_path / "file" / "choices")


def test_a_user_is_found_wherever_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 3)
    users = ["ann", "bob", "bob", "ann", "ann", "bob", "ann", "bob"]
    for count in range(len(users) + 1):
        choices = Choices(journal=tmp_path / f"choices{count}")
        for number, user in enumerate(users[:count]):
            choices.show(a_slot(number, user=user), number, START_MS)
        assert choices.forget("ann") == users[:count].count("ann")
        choices.close()
        again = Choices(journal=tmp_path / f"choices{count}")
        slots = [again.of(a_slot(number, user=user)) for number, user in enumerate(users[:count])]
        assert [slot and slot.item for slot in slots] == [
            None if user == "ann" else number for number, user in enumerate(users[:count])
        ]
        again.close()


def full(*args: object) -> None:
    raise OSError(28, "no space")


def test_a_full_disk_keeps_no_later_choice_from_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(journal=tmp_path / "choices", most=3)
    for user in ("ann", "bob"):
        choices.show(a_slot(0, user=user), 7, START_MS)
    with monkeypatch.context() as patch:
        patch.setattr("tribid.files.os.replace", full)
        with pytest.raises(OSError, match="no space"):
            choices.forget("ann")
        for number in range(60):  # more than the journal's bound: writing it anew fails, too
            choices.show(a_slot(0, user="bob"), number, START_MS)
    choices.show(a_slot(1, user="bob"), 99, START_MS)
    assert choices.of(a_slot(0, user="ann")) is None
    before = (tmp_path / "choices").read_bytes()
    assert choices.forget("ann") == 0 and len(before) - (tmp_path / "choices").stat().st_size == 34
    choices.close()
    again = Choices(journal=tmp_path / "choices")
    assert (again.of(a_slot(0, user="bob")).item, again.of(a_slot(1, user="bob")).item) == (59, 99)
    again.close()


def test_a_journal_is_written_anew_again_when_the_disk_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = Choices(journal=tmp_path / "choices", most=2)
    with monkeypatch.context() as patch:
        patch.setattr("tribid.files.os.replace", full)
        for number in range(100):
            choices.show(a_slot(0), number, START_MS)
    for number in range(100):
        choices.show(a_slot(0), number, START_MS)
    assert (tmp_path / "choices").stat().st_size < 2_000
    choices.close()


def test_choices_that_no_mail_holds_any_more_are_forgotten_in_the_journal_too(tmp_path: Path) -> None:
    choices = Choices(journal=tmp_path / "choices", most=1)
    assert choices.forget("ann") == 0
    size = (tmp_path / "choices").stat().st_size
    choices.show(a_slot(0, user="ann"), 7, START_MS)
    choices.show(a_slot(0, user="bob"), 7, START_MS)
    assert choices.forget("ann") == 0
    assert (tmp_path / "choices").stat().st_size == size + 34
    choices.close()
    with pytest.raises(OSError, match="closed"):
        choices.forget("bob")


def test_nothing_is_lost_that_is_chosen_while_a_user_is_forgotten(tmp_path: Path) -> None:
    choices = Choices(journal=tmp_path / "choices")
    choices.show(a_slot(0, user="ann"), 1, START_MS)
    stop = threading.Event()
    forgotten = []

    def forget() -> None:
        while not stop.is_set():
            choices.show(a_slot(0, user="ann"), 1, START_MS)
            forgotten.append(choices.forget("ann"))

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    for number in range(3_000):
        choices.show(a_slot(number % 3, message=f"m{number // 3}"), number, START_MS)
    stop.set()
    forgetting.join()
    choices.close()
    again = Choices(journal=tmp_path / "choices")
    assert set(forgotten) == {1} and again.of(a_slot(0, user="ann")) is None
    slots = [a_slot(number % 3, message=f"m{number // 3}") for number in range(3_000)]
    for one in (choices, again):
        assert [one.of(slot).item for slot in slots] == list(range(3_000))
    again.close()


def test_a_process_killed_while_it_forgets_leaves_all_that_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(journal=tmp_path / "choices")
    for user in ("ann", "bob"):
        choices.show(a_slot(0, user=user), 7, START_MS)
    real, seen = os.replace, []

    def replace(one: Path, other: Path) -> None:
        choices.show(a_slot(1, user="bob"), 8, START_MS)
        seen.append(Path(other).read_bytes())  # what a kill just before leaves, and just after
        real(one, other)
        seen.append(Path(other).read_bytes())

    monkeypatch.setattr("tribid.files.os.replace", replace)
    assert choices.forget("ann") == 1
    choices.close()
    monkeypatch.undo()
    for place, content in enumerate(seen):
        (tmp_path / f"left{place}").write_bytes(content)
        left = Choices(journal=tmp_path / f"left{place}")
        assert [left.of(a_slot(number, user="bob")).item for number in (0, 1)] == [7, 8]
        assert (left.of(a_slot(0, user="ann")) is None) == (place == 1)
        left.close()


def test_what_is_chosen_while_the_journal_is_looked_through_is_in_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(journal=tmp_path / "choices")
    choices.show(a_slot(0, user="ann"), 7, START_MS)
    real = module._without

    def without(content: bytes, digest: bytes) -> bytes:
        for user in ("ann", "bob"):  # both are from after the forgetting began
            choices.show(a_slot(1, user=user), 8, START_MS)
        return real(content, digest)

    monkeypatch.setattr(module, "_without", without)
    assert choices.forget("ann") == 1
    choices.close()
    again = Choices(journal=tmp_path / "choices")
    assert again.of(a_slot(0, user="ann")) is None
    assert [again.of(a_slot(1, user=user)).item for user in ("ann", "bob")] == [8, 8]
    again.close()


@pytest.mark.parametrize(
    ("name", "killed_in"),
    [("choices", "_take_out"), ("choices.bin", "_compact"), ("[c]*.bin", "_compact"), ("link", "_take_out")],
)
def test_what_a_killed_process_left_beside_the_journal_goes_with_the_next_opening(
    tmp_path: Path, name: str, killed_in: str
) -> None:
    journal = tmp_path / "here" / name
    journal.parent.mkdir()
    (tmp_path / "there").mkdir()
    if name == "link":
        journal.symlink_to(tmp_path / "there" / "choices.bin")
    script = (
        "import os, sys\n"
        "from tests.ranker.open_time.house import a_slot\n"
        "from tribid.ranker.open_time.choices import Choices\n"
        "choices = Choices(journal=sys.argv[1])\n"
        "for user in ('ann', 'bob'): choices.show(a_slot(0, user=user), 7, 1)\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "choices.forget('ann') if sys.argv[2] == '_take_out' else choices._compact(choices._path)\n"
    )
    root = str(Path(__file__).parents[3])
    killed = subprocess.run(
        [sys.executable, "-c", script, str(journal), killed_in],
        check=False, cwd=root, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert killed.returncode == -9
    (left,) = tmp_path.glob("*/.*")
    choices = Choices(journal=journal)
    assert not left.exists()
    assert [choices.forget(user) for user in ("ann", "bob")] == [1, 1]
    names = [choices._digest(user) for user in (b"ann", b"bob")]
    choices.close()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("*/*") if path.is_file())
    assert not any(name in content for name in names)


def test_nothing_beside_the_journal_goes_but_what_was_left_of_it(tmp_path: Path) -> None:
    journal = tmp_path / "choices.bin"
    choices = Choices(journal=journal)
    choices.show(a_slot(0), 7, START_MS)
    choices.close()
    content, torn = journal.read_bytes(), journal.read_bytes()[:7]
    ours = {".choices.bin.abc_ef01.bin": content, ".choices.bin.abc_ef02.bin": torn, ".choices.bin.abc_ef03.bin": b""}
    others = {
        ".choices.bin.abc_ef04.bin": b"my diary", ".choices.bin.swp": content, ".choices.bin.2.abc_ef01.2": content,
        ".choices.abc_ef01": content, ".choicesxbin.abc_ef01.bin": content,
    }  # fmt: skip
    for name, kept in (ours | others).items():
        (tmp_path / name).write_bytes(kept)
    (tmp_path / ".choices.bin.abc_ef05.bin").mkdir()
    Choices(journal=journal).close()
    assert {path.name for path in tmp_path.iterdir()} == {
        "choices.bin", "choices.bin-lock", ".choices.bin.abc_ef05.bin", *others,
    }  # fmt: skip
    journal.write_bytes(b"my other diary")
    (tmp_path / ".choices.bin.abc_ef01.bin").write_bytes(content)
    with pytest.raises(ValueError, match="is no journal of choices"):
        Choices(journal=journal)
    assert (tmp_path / ".choices.bin.abc_ef01.bin").exists()


def test_a_journal_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    journal, link = tmp_path / "choices", tmp_path / "link"
    link.symlink_to(journal)
    choices = Choices(journal=journal)
    for path in (journal, link):
        with pytest.raises(ValueError, match=f"{path} is open in another process, or twice in this one"):
            Choices(journal=path)
    choices.close()
    Choices(journal=link).close()
    journal.write_bytes(b"my diary")
    for _ in range(2):  # who is refused for what it holds lets go of it
        with pytest.raises(ValueError, match="is no journal of choices"):
            Choices(journal=journal)
