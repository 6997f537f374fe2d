"""Bidders of one's own: a file is run because its user asked for it, and is checked before anybody plays with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tribid.agents import own
from tribid.agents.bidder import BidderSpace
from tribid.agents.registry import BIDDERS, make_bidder

EXAMPLE = Path(__file__).parents[2] / "scripts" / "my_bidder.py"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(BIDDERS)
    BIDDERS.pop("win_keeper", None)
    monkeypatch.setattr(own, "_loaded", {})
    yield
    BIDDERS.clear()
    BIDDERS.update(before)


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.py"
    file.write_text(text)
    return file


def test_the_example_is_known_by_name_once_it_is_loaded() -> None:
    assert own.load_own([EXAMPLE]) == ("win_keeper",)
    assert own.load_own([EXAMPLE]) == ("win_keeper",)  # twice is once
    assert own.loaded_files() == (str(EXAMPLE),)
    space = BidderSpace.of("tiny")
    assert make_bidder("win_keeper", space).space == space  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "BIDDERS is None; allowed is a dict"),
        ("BIDDERS = {}", "BIDDERS is {}"),
        ("BIDDERS = {'pid': None}", r"named 'pid' \(taken\)"),
        ("BIDDERS = {'no name': None}", "named 'no name'; allowed are letters"),
        (
            "class Late:\n"
            "    def __init__(self, space): self.space, self.ticks = space, 0\n"
            "    def predict(self, observation, state=None, episode_start=None, deterministic=True):\n"
            "        self.ticks += 1\n"
            "        return self.space.actions(0.01 * min(self.ticks, 90), len(observation)), None\n"
            "BIDDERS = {'late': Late}",
            "bidder late breaks the contract: predict changes the state",
        ),
    ],
)
def test_a_file_that_names_no_good_bidder_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own.load_own([written(tmp_path, text)])
    assert own.loaded_files() == ()


def test_a_missing_file_and_another_kind_of_file_are_refused(tmp_path: Path) -> None:
    for name in ("nobody.py", "mine.txt"):
        with pytest.raises(ValueError, match=f"{name}; allowed is a Python file"):
            own.load_own([tmp_path / name])
