"""Policy folders made to do harm: each is refused with a clear error; nothing in them is run, followed or waited for."""

import hashlib
import io
import json
import os
import pickle  # noqa: TID251 - to write what must be refused
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tribid.agents import weights_file
from tribid.agents.bidder import BidderSpace
from tribid.agents.plain_file import MAX_DEPTH, parse_json, read_plain
from tribid.agents.policy_file import load_lineup, load_policy, read_policy, save_lineup, save_policy
from tribid.agents.testing import random_policy
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "policies" / "p.safetensors"
    path.parent.mkdir()
    save_lineup({"p": random_policy(SPACE)}, {"adv_00": "p"}, path.parent, scenario=TINY)
    return path


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that no test may leave behind: every bomb here would make it."""
    return tmp_path / "exploded"


def vouch(path: Path, data: bytes) -> None:
    """What an attacker would do: other bytes, and a card that names them."""
    path.write_bytes(data)
    card = path.with_suffix(".json")
    content = json.loads(card.read_text())
    content["weights_sha256"] = hashlib.sha256(data).hexdigest()
    card.write_text(json.dumps(content))


def rewrite_header(path: Path, change: Callable[[dict[str, Any]], Any], rest: Callable[[bytes], bytes] = bytes) -> None:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    vouch(path, struct.pack("<Q", len(text)) + text + rest(data[8 + length :]))


class Bomb:
    """Unpickled anywhere, it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def a_pickle(canary: Path) -> bytes:
    return pickle.dumps(Bomb(canary))


def a_zip(canary: Path) -> bytes:
    """As Stable-Baselines3 saves a model: a zip whose ``data`` holds a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": pickle.dumps(Bomb(canary)).hex()}}))
        archive.writestr("policy.pth", pickle.dumps(Bomb(canary)))
    return file.getvalue()


def a_zip_bomb(canary: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", b"\0" * (32 << 20))
    return file.getvalue()


def a_torch_file(canary: Path) -> bytes:
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({"state_dict": Bomb(canary)}, file)
    return file.getvalue()


def an_object_array(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    return file.getvalue()


BOMBS = [a_pickle, a_zip, a_zip_bomb, a_torch_file, an_object_array]


@pytest.mark.parametrize("make", BOMBS)
@pytest.mark.parametrize("before", [b"", b"\x02\0\0\0\0\0\0\0{}"], ids=["bare", "after a header"])
def test_other_formats_in_disguise_are_refused_and_nothing_is_run(
    saved: Path, canary: Path, make: Callable[[Path], bytes], before: bytes
) -> None:
    vouch(saved, before + make(canary))
    with pytest.raises(ValueError, match=r"header|tensor"):
        load_policy(saved)
    assert not canary.exists()


@pytest.mark.parametrize("make", BOMBS)
@pytest.mark.parametrize("name", ["p.json", "lineup.json"])
def test_other_formats_in_place_of_a_card_or_lineup_are_refused(
    saved: Path, canary: Path, make: Callable[[Path], bytes], name: str
) -> None:
    (saved.parent / name).write_bytes(make(canary))
    with pytest.raises(ValueError, match=rf"{name} is not JSON"):
        load_lineup(saved.parent)
    assert not canary.exists()


def test_the_bombs_are_real(canary: Path) -> None:
    pickle.loads(a_pickle(canary))
    assert canary.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["p.safetensors", "p.json", "lineup.json"])
def test_a_link_in_a_policy_folder_is_refused_and_its_target_not_told(saved: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"password": "hunter2"}')
    (saved.parent / name).unlink()
    (saved.parent / name).symlink_to(secret)
    with pytest.raises(ValueError, match=rf"{name} is a link; allowed is a file of its own") as refused:
        load_lineup(saved.parent)
    assert "hunter2" not in str(refused.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_may_be_reached_by_a_link(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(saved.parent, target_is_directory=True)
    assert set(load_lineup(tmp_path / "latest")[0]) == {"p"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["p.json", "lineup.json"])
def test_a_pipe_in_place_of_a_card_is_refused_rather_than_waited_for(saved: Path, name: str) -> None:
    (saved.parent / name).unlink()
    os.mkfifo(saved.parent / name)
    with pytest.raises(ValueError, match=rf"{name} is no file"):
        load_lineup(saved.parent)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_device_is_refused() -> None:
    with pytest.raises(ValueError, match="/dev/zero is no file"):
        read_plain(Path("/dev/zero"), 10)


@pytest.mark.parametrize(
    "stem",
    ["../p", "..", ".", "", "/etc/passwd", "p/../p", "p\0", "p.safetensors", "CON:", "p ", "p\n", "x" * 101, "é"],
)
def test_a_file_name_in_a_lineup_that_is_more_than_a_name_is_refused(saved: Path, stem: str) -> None:
    lineup = saved.parent / "lineup.json"
    content = json.loads(lineup.read_text())
    content["policies"]["p"] = stem
    lineup.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"policies\.p is .* allowed is a file's name"):
        load_lineup(saved.parent)


def test_a_lineup_that_names_one_file_a_thousand_times_is_refused_before_it_is_read(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineup = saved.parent / "lineup.json"
    content = json.loads(lineup.read_text())
    content["policies"] = {f"p{i}": "p" if i % 2 else "P" for i in range(1000)}
    content["mapping"] = {}
    lineup.write_text(json.dumps(content))
    monkeypatch.setattr(weights_file, "read_plain", lambda *_: pytest.fail("a weights file was read"))
    with pytest.raises(ValueError, match=r"policies\.p1 is 'p', as 'p0' is; allowed is a file each"):
        load_lineup(saved.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"format": "tribid-lineup", "format": "x"}', "key 'format' stands more than once"),
        (b"[" * 900 + b"]" * 900, f"nests deeper than {MAX_DEPTH} levels"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, f"nests deeper than {MAX_DEPTH} levels"),
        (b"[" * 500_000, "is not JSON"),
        (b"9" * 500_000, "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"version": Infinity}', "Infinity is no JSON number"),
        (b'{"a": "\x00"}', "is not JSON"),
    ],
)
@pytest.mark.parametrize("name", ["p.json", "lineup.json"])
def test_hostile_json_is_refused(saved: Path, name: str, text: bytes, message: str) -> None:
    (saved.parent / name).write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_lineup(saved.parent)


def test_json_as_deep_as_allowed_is_read() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_json(deep, "x") is not None
    with pytest.raises(ValueError, match="nests deeper"):
        parse_json(b"[1" + b",[1" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]", "x")


def test_a_card_with_a_number_too_large_for_a_float_is_refused(saved: Path) -> None:
    card = saved.with_suffix(".json")
    card.write_text(card.read_text().replace('"max_multiplier": 8.0', '"max_multiplier": 1e999'))
    with pytest.raises(ValueError, match="max_multiplier"):
        load_policy(saved)


def test_a_tensor_named_twice_in_the_header_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    text = data[8 : 8 + length].rstrip()
    again = text[:-1] + b', "layer0.bias": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}'
    vouch(saved, struct.pack("<Q", len(again)) + again + data[8 + length :])
    with pytest.raises(ValueError, match=r"key 'layer0\.bias' stands more than once"):
        load_policy(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["layer1.bias"].update(data_offsets=h["layer0.bias"]["data_offsets"]), "begins at byte"),
        (lambda h: h["layer1.bias"].update(data_offsets=[0, 2**63]), r"layer1\.bias has data_offsets"),
        (lambda h: h["layer1.bias"].update(data_offsets=[-32, 0]), "begins at byte -32; allowed is 0"),
        (lambda h: h["layer1.bias"].update(data_offsets=[2**70, 2**70 + 32]), "begins at byte"),
        (lambda h: h["layer1.bias"].update(data_offsets=[32, 0]), r"layer1\.bias has data_offsets"),
        (lambda h: h["layer1.bias"].update(data_offsets=[0.0, 32.0]), r"layer1\.bias has data_offsets"),
        (lambda h: h["layer1.bias"].update(data_offsets=None), r"layer1\.bias has data_offsets"),
        (lambda h: h["layer1.bias"].update(data_offsets=[0, 32, 64]), r"layer1\.bias has data_offsets"),
        (lambda h: h["layer1.bias"].update(shape=[8.0]), r"layer1\.bias is 'F32' of shape \[8\.0\]"),
        (lambda h: h["layer1.bias"].update(shape=[2**62, 2**62]), r"layer1\.bias is 'F32' of shape"),
        (lambda h: h["layer1.bias"].update(shape=[]), r"layer1\.bias is 'F32' of shape"),
        (lambda h: h["layer1.bias"].update(dtype="BF16"), r"layer1\.bias is 'BF16'"),
        (lambda h: h["layer1.bias"].update(file="/etc/passwd"), r"layer1\.bias is 'F32'"),
        (lambda h: h.update(__metadata__={"code": 3}), "no safetensors file"),
    ],
)
def test_a_header_that_lies_about_a_tensor_is_refused(saved: Path, change: Any, message: str) -> None:
    rewrite_header(saved, change)
    with pytest.raises(ValueError, match=message):
        load_policy(saved)


def test_a_hole_between_tensors_is_refused(saved: Path) -> None:
    def apart(header: dict[str, Any]) -> None:
        last = max(header.values(), key=lambda entry: entry["data_offsets"][0])
        last["data_offsets"] = [place + 64 for place in last["data_offsets"]]

    rewrite_header(saved, apart, lambda data: data + b"\0" * 64)
    with pytest.raises(ValueError, match=r"begins at byte \d+; allowed is \d+, where the one before it ends"):
        load_policy(saved)


def test_bytes_after_the_last_tensor_are_refused_by_the_count(saved: Path) -> None:
    rewrite_header(saved, lambda header: None, lambda data: data + b"\0" * 8)
    with pytest.raises(ValueError, match=r"tensors end at byte \d+ of \d+"):
        load_policy(saved)


def test_a_policy_of_another_scenario_is_refused_where_it_is_to_be_served(saved: Path) -> None:
    other = TINY.with_changes(rules__reserve=0.5)
    assert BidderSpace.of(other) == SPACE
    assert load_policy(saved, scenario=TINY).space == SPACE
    with pytest.raises(
        ValueError, match=rf"scenario is tiny \({TINY.hash}\); allowed is .*{other.hash}.*--any-scenario"
    ):
        load_policy(saved, scenario=other)
    with pytest.raises(ValueError, match="any_scenario=True"):
        load_lineup(saved.parent, scenario=other)


def test_a_policy_of_another_scenario_is_served_where_that_is_asked_for_and_judged_anywhere(saved: Path) -> None:
    other = TINY.with_changes(rules__reserve=0.5)
    assert load_policy(saved, scenario=other, any_scenario=True).space == SPACE
    assert load_lineup(saved.parent, scenario=other, any_scenario=True)[1] == {"adv_00": "p"}
    assert load_lineup(saved.parent, space=BidderSpace.of(other))[1] == {"adv_00": "p"}


def test_any_scenario_still_means_one_of_these_segments_and_this_cap(saved: Path) -> None:
    for changes, message in (({"rules__segments": "state"}, "segments"), ({"rules__max_multiplier": 4.0}, "max_mult")):
        with pytest.raises(ValueError, match=f"{message}.*allowed is the scenario's"):
            load_policy(saved, scenario=TINY.with_changes(**changes), any_scenario=True)


def test_a_policy_and_its_card_are_read_together(saved: Path) -> None:
    card, policy = read_policy(saved)
    assert (card.name, card.network) == ("p", policy.card())


def test_a_card_keeps_the_scenario_that_it_is_written_again_with(saved: Path, tmp_path: Path) -> None:
    card, policy = read_policy(saved)
    again = save_policy(policy, tmp_path / "q.safetensors", name="p", scenario=card.scenario)
    assert again == card
