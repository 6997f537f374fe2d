import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranker.open_time.house import START_MS, a_slot
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
