from pathlib import Path

import msgspec
import numpy as np
import pytest

from tribid.models.actions.examples import TAKEN, VIEWED
from tribid.models.actions.log import Happened, Header, Listed, events_of, line_of, read_log, write_log

NAMES = ("count_view", "member")
LISTED = Listed(
    id="l", user="u", time_ms=5, model="m", features=(3.0, 1.0), actions=("app", "club"), propensities=(0.5, 0.0),
    chances=(1.0, 0.5), first_chances=(0.9, 0.1),
)  # fmt: skip


def happened(name: str = "e", **changes: object) -> Happened:
    given = {"user": "u", "kind": "taken", "action": "app", "time_ms": 9, "listing": "l"} | changes
    return Happened(id=name, **given)  # type: ignore[arg-type]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_log(tmp_path / "actions-1.jsonl", NAMES, [LISTED, happened()])
    log = read_log(tmp_path)
    assert log.features == NAMES and log.listings == {("u", "l"): LISTED} and log.events == (happened(),)
    assert (log.torn, log.repeated) == (0, 0)
    assert read_log(tmp_path / "actions-1.jsonl") == log


def test_events_carry_the_features_of_their_listing_or_their_own(tmp_path: Path) -> None:
    own = happened("own", listing=None, features=(7.0, 0.0), kind="viewed", user="v")
    blind = happened("blind", listing="never written")
    another = happened("another", user="somebody else", features=(8.0, 0.0))
    write_log(tmp_path / "actions-1.jsonl", NAMES, [happened(), own, blind, another, LISTED])  # a listing may come late
    found = events_of(read_log(tmp_path), ("club", "app"))
    assert found.events.features.tolist() == [[3.0, 1.0], [7.0, 0.0], [8.0, 0.0]] and found.blind == 1
    assert found.events.kind.tolist() == [TAKEN, VIEWED, TAKEN] and found.events.action.tolist() == [1, 1, 1]
    assert found.events.user.tolist() == [0, 1, 2] and found.events.features.dtype == np.float32


def test_ids_are_a_users_own(tmp_path: Path) -> None:
    theirs = msgspec.structs.replace(LISTED, user="v", features=(4.0, 0.0))
    write_log(tmp_path / "actions-1.jsonl", NAMES, [LISTED, theirs, happened(), happened(user="v")])
    log = read_log(tmp_path)
    assert log.repeated == 0
    assert events_of(log, ("app",)).events.features.tolist() == [[3.0, 1.0], [4.0, 0.0]]


def test_an_event_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    write_log(tmp_path / "actions-1.jsonl", NAMES, [LISTED, happened()])
    write_log(tmp_path / "actions-2.jsonl", NAMES, [happened(time_ms=8), LISTED])
    log = read_log(tmp_path)
    assert log.events == (happened(),) and log.repeated == 2


def test_a_line_that_a_killed_process_left_unfinished_is_passed_over(tmp_path: Path) -> None:
    whole = line_of(Header(NAMES)) + line_of(LISTED)
    (tmp_path / "actions-1.jsonl").write_bytes(whole + line_of(happened())[:-9])
    (tmp_path / "actions-2.jsonl").write_bytes(line_of(Header(NAMES)) + line_of(happened("later")))
    log = read_log(tmp_path)
    assert log.torn == 1 and [event.id for event in log.events] == ["later"]


def test_an_unknown_action_is_refused_unless_it_may_be_passed_over(tmp_path: Path) -> None:
    write_log(tmp_path / "actions-1.jsonl", NAMES, [LISTED, happened(action="fax"), happened("f")])
    log = read_log(tmp_path)
    with pytest.raises(ValueError, match="event 'e' is of action 'fax'; choose app, club"):
        events_of(log, ("app", "club"))
    found = events_of(log, ("app", "club"), skip_unknown=True)
    assert found.unknown == 1 and len(found.events.user) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "no record"),
        (b'{"type": "pickle"}', "no record"),
        (b'{"type":"happened","id":"e","user":"u","kind":"bought","action":"a","time_ms":1}', "kind"),
        (b'{"type":"happened","id":"e","user":"u","kind":"taken","action":"a","time_ms":-1}', "time_ms"),
        (b'{"type":"happened","id":"e","user":"u","kind":"taken","action":"a","time_ms":1,"x":1}', "unknown field"),
        (
            b'{"type":"happened","id":"e","user":"u","kind":"taken","action":"a","time_ms":1,"features":[NaN,1]}',
            "no rec",
        ),
        (
            b'{"type":"happened","id":"e","user":"u","kind":"taken","action":"a","time_ms":1,"features":[1]}',
            "are 1; all",
        ),
        (line_of(LISTED).replace(b'"chances":[1.0,0.5]', b'"chances":[1.0]').strip(), "one propensity, chance"),
        (line_of(LISTED).replace(b'"chances":[1.0,0.5]', b'"chances":[1.0,1.5]').strip(), "chances"),
        (line_of(Header(NAMES)).strip(), "in the first line, and only there"),
        (b"\xff\xfe", "no record"),
        (b"[" * 100_000, "no record"),
        (b"1" * (2 << 20), "more than 1048576 bytes"),
    ],
)
def test_what_is_no_record_is_refused_by_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "actions-1.jsonl").write_bytes(line_of(Header(NAMES)) + line_of(LISTED) + line + b"\n")
    with pytest.raises(ValueError, match=message) as error:
        read_log(tmp_path)
    assert "actions-1.jsonl:3" in str(error.value)


def test_files_of_other_features_and_folders_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no actions-\*.jsonl"):
        read_log(tmp_path)
    write_log(tmp_path / "actions-1.jsonl", NAMES, [])
    write_log(tmp_path / "actions-2.jsonl", NAMES[:1], [])
    with pytest.raises(ValueError, match="features are others than in actions-1"):
        read_log(tmp_path)
    (tmp_path / "actions-2.jsonl").write_bytes(line_of(LISTED))
    with pytest.raises(ValueError, match="names in the first line"):
        read_log(tmp_path)
