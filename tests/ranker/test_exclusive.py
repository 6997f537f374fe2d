"""A lock says that somebody holds it where somebody does, and else why it cannot be had."""

import re
import sqlite3
from pathlib import Path

import pytest

from tribid.ranker.exclusive import exclusive


def test_a_lock_that_is_held_names_what_is_open_and_the_rule_and_can_be_had_again(tmp_path: Path) -> None:
    for _ in range(2):
        held = exclusive(tmp_path / "lock", "the shop", "one at a time")
        with pytest.raises(ValueError, match=r"^the shop is open in another process, .* locked\); one at a time$"):
            exclusive(tmp_path / "lock", "the shop", "one at a time")
        held.close()


@pytest.mark.parametrize("place", ["a folder", "no such folder/lock", "something else"])
def test_a_lock_that_cannot_be_is_named_and_nobody_is_said_to_hold_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "something else").write_bytes(b"no database" * 100)
    lock = tmp_path / place
    with pytest.raises(ValueError, match=rf"^{re.escape(str(lock))} cannot be locked: ") as told:
        exclusive(lock, "the shop", "one at a time")
    assert "another process" not in str(told.value) and not isinstance(told.value, sqlite3.Error)
