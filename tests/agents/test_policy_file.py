import json
import os
import pickle  # noqa: TID251 - to write what must be refused
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tribid.agents import policy_file
from tribid.agents.bidder import BidderSpace
from tribid.agents.policy_card import read_card
from tribid.agents.policy_file import load_lineup, load_policies, load_policy, save_lineup, save_policy
from tribid.agents.testing import random_observations, random_policy
from tribid.envs.observation import fields
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "p.safetensors"
    training = {"algorithm": "ppo", "seed": 3, "steps": 1000, "rivals": ["pid"]}
    save_policy(random_policy(SPACE), path, name="p", scenario=TINY, training=training)
    return path


def change_card(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    card = path.with_suffix(".json")
    content = json.loads(card.read_text())
    change(content)
    card.write_text(json.dumps(content))


def change_weights(path: Path, change: Callable[[dict[str, Any]], Any], *, new_digest: bool = True) -> None:
    tensors = {name: values.copy() for name, values in load_tensors(path.read_bytes()).items()}
    change(tensors)
    replace_weights(path, save_tensors(tensors), new_digest=new_digest)


def replace_weights(path: Path, data: bytes, *, new_digest: bool = True) -> None:
    """What an attacker would do: other bytes, and a card that vouches for them."""
    path.write_bytes(data)
    if new_digest:
        digest = policy_file.hashlib.sha256(data).hexdigest()
        change_card(path, lambda card: card.update(weights_sha256=digest))


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize(("activation", "output"), [("tanh", "clip"), ("relu", "tanh")])
def test_a_loaded_policy_answers_as_the_saved_one_to_the_bit(
    tmp_path: Path, segments: int, activation: str, output: str
) -> None:
    space = BidderSpace(segments=segments)
    policy = random_policy(space, (16, 8), activation=activation, output=output)
    save_policy(policy, tmp_path / "p.safetensors", name="p", scenario=TINY)
    loaded = load_policy(tmp_path / "p.safetensors", space=space)
    seen = random_observations(space, 500)
    assert loaded.predict(seen)[0].tobytes() == policy.predict(seen)[0].tobytes()
    assert loaded.space == space


def test_equal_policies_give_equal_files(tmp_path: Path, saved: Path) -> None:
    again = tmp_path / "q.safetensors"
    training = {"algorithm": "ppo", "seed": 3, "steps": 1000, "rivals": ["pid"]}
    save_policy(random_policy(SPACE), again, name="p", scenario=TINY, training=training)
    assert again.read_bytes() == saved.read_bytes()
    assert again.with_suffix(".json").read_bytes() == saved.with_suffix(".json").read_bytes()


def test_the_card_says_what_the_policy_is(saved: Path) -> None:
    card = read_card(saved.with_suffix(".json"))
    assert card.scenario.hash == TINY.hash
    assert (card.training.algorithm, card.training.seed, card.training.steps) == ("ppo", 3, 1000)
    assert [f.name for f in card.observation] == [f.name for f in fields(1)]
    assert (card.network.kind, card.network.layers) == ("mlp", (36, 8, 8, 1))
    assert card.max_multiplier == 8.0


def test_there_are_enough_probes_and_both_extremes_among_them(saved: Path) -> None:
    tensors = load_tensors(saved.read_bytes())
    probes = tensors["probe.observation"]
    assert len(probes) >= 64
    for extreme in ([f.low for f in fields(1)], [f.high for f in fields(1)]):
        assert (probes == np.array(extreme, np.float32)).all(axis=1).any()


@pytest.mark.parametrize("cut", [0, 4, 8, 100, -4, -1])
def test_a_truncated_file_is_refused(saved: Path, cut: int) -> None:
    replace_weights(saved, saved.read_bytes()[:cut])
    with pytest.raises(ValueError, match=str(saved)):
        load_policy(saved)


def test_bytes_after_the_tensors_are_refused(saved: Path) -> None:
    replace_weights(saved, saved.read_bytes() + b"\0" * 8)
    with pytest.raises(ValueError, match="safetensors"):
        load_policy(saved)


@pytest.mark.parametrize("length", [2**63 - 1, 2**64 - 1, 10**6, 2**24])
def test_a_header_that_says_it_is_huge_is_refused_before_it_is_read(saved: Path, length: int) -> None:
    replace_weights(saved, struct.pack("<Q", length) + saved.read_bytes()[8:])
    with pytest.raises(ValueError, match="header length"):
        load_policy(saved)


def test_a_file_above_the_cap_is_refused_without_being_read_whole(saved: Path) -> None:
    with open(saved, "r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 67108864 bytes"):
        load_policy(saved)


@pytest.mark.parametrize(
    "header", [b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"layer0.weight": 3}', b'{"__metadata__": {}}']
)
def test_a_header_that_lists_other_things_is_refused(saved: Path, header: bytes) -> None:
    replace_weights(saved, struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"header|tensor"):
        load_policy(saved)


def test_overlapping_tensors_are_refused(saved: Path) -> None:
    data = saved.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["layer1.bias"]["data_offsets"] = header["layer0.bias"]["data_offsets"]
    text = json.dumps(header).encode()
    replace_weights(saved, struct.pack("<Q", len(text)) + text + data[8 + length :])
    with pytest.raises(ValueError, match="safetensors"):
        load_policy(saved)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["layer0.weight", "normaliser.std", "probe.observation", "probe.action"])
def test_a_number_that_is_not_finite_is_refused(saved: Path, name: str, bad: float) -> None:
    change_weights(saved, lambda tensors: tensors[name].reshape(-1).__setitem__(0, bad))
    with pytest.raises(ValueError, match=f"tensor {name} holds"):
        load_policy(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.update({"layer0.weight": np.zeros((36, 8), np.float32)}),
            "tensor layer0.weight is 'F32' of shape",
        ),
        (lambda t: t.update({"layer0.weight": t["layer0.weight"].astype(np.float64)}), "tensor layer0.weight is 'F64'"),
        (lambda t: t.update({"layer0.bias": t["layer0.bias"].astype(np.int32)}), "tensor layer0.bias is 'I32'"),
        (lambda t: t.update({"backdoor": np.zeros(1, np.float32)}), "tensor 'backdoor' is not called for"),
        (lambda t: t.pop("layer1.bias"), "tensor 'layer1.bias' is missing"),
        (lambda t: t.pop("probe.action"), "tensor 'probe.action' is missing"),
        (lambda t: t["normaliser.std"].__setitem__(0, 0.0), "std"),
        (lambda t: t["layer0.weight"].__setitem__((0, 0), 5.0), "probe 0 of tick 0 gives the action"),
        (lambda t: t["probe.action"].__setitem__((1, 9, 0), 0.1), "probe 9 of tick 1 gives the action"),
    ],
)
def test_tensors_that_are_not_the_cards_are_refused(saved: Path, change: Any, message: str) -> None:
    change_weights(saved, change)
    with pytest.raises(ValueError, match=message):
        load_policy(saved)


def test_a_flipped_bit_anywhere_in_the_weights_is_noticed(saved: Path) -> None:
    data = saved.read_bytes()
    for place in range(0, len(data), 97):
        saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match="weights_sha256"):
            load_policy(saved)


def test_a_last_bit_of_a_weight_is_noticed_by_the_probes_even_with_a_forged_card(saved: Path) -> None:
    def last_bit(tensors: dict[str, Any]) -> None:
        tensors["layer2.bias"].view(np.uint32)[0] ^= 4

    change_weights(saved, last_bit)
    with pytest.raises(ValueError, match="probe"):
        load_policy(saved)


def test_weights_that_could_answer_with_nan_are_refused(saved: Path) -> None:
    change_weights(saved, lambda tensors: [tensors[f"layer{i}.weight"].fill(3e38) for i in range(3)])
    with pytest.raises(ValueError, match=r"the network up to layer 0 can give .* allowed is 1e\+37"):
        load_policy(saved)


REQUIRED = [
    "name", "tribid_version", "scenario", "observation", "segments", "max_multiplier", "ticks", "network", "weights_sha256",
]  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_a_card_without_a_field_is_refused(saved: Path, name: str) -> None:
    change_card(saved, lambda card: card.pop(name))
    with pytest.raises(ValueError, match=f"{name} is missing"):
        load_policy(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "pickle"), ("version", 1), ("version", "2"), ("name", ""), ("name", "x" * 81), ("segments", 0),
        ("segments", "1"), ("segments", 1.5), ("max_multiplier", 1.0), ("max_multiplier", "8"),
        ("network", None),
        ("network", {"kind": "pickle"}), ("observation", []), ("weights_sha256", "../x"), ("training", {"seed": -1}),
        ("training", {"code": "x"}),
        ("scenario", {"name": "tiny", "hash": "x"}), ("path", "/etc/passwd"), ("ticks", True),
    ],
)  # fmt: skip
def test_a_card_with_a_bad_field_is_refused(saved: Path, name: str, value: Any) -> None:
    change_card(saved, lambda card: card.update({name: value}))
    with pytest.raises(ValueError, match=name):
        load_policy(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", [36]), ("layers", [36, 8, -1, 1]), ("layers", [36, 8, 8.5, 1]), ("layers", [36, 10**9, 1]),
        ("layers", "36"), ("layers", [4096, 4096, 4096]), ("activation", "__import__('os')"), ("output", None),
        ("observation_clip", 0), ("kind", "pickle"), ("path", "/etc/passwd"),
    ],
)  # fmt: skip
def test_a_network_with_a_bad_field_is_refused(saved: Path, name: str, value: Any) -> None:
    change_card(saved, lambda card: card["network"].update({name: value}))
    with pytest.raises(ValueError, match=f"network.*{name}"):
        load_policy(saved)
    change_card(saved, lambda card: card["network"].pop(name, None))


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]", b'"x"', b"[" * 200_000, b'{"version": NaN}', b"x" * 2**21])
def test_a_card_that_is_not_a_json_object_is_refused(saved: Path, text: bytes) -> None:
    saved.with_suffix(".json").write_bytes(text)
    with pytest.raises(ValueError, match=r"p\.json"):
        load_policy(saved)


def test_a_missing_card_or_file_is_a_value_error_that_names_it(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"p\.json cannot be read"):
        load_policy(saved)
    with pytest.raises(ValueError, match=r"q\.safetensors is no file"):
        load_policy(saved.with_name("q.safetensors"))
    with pytest.raises(ValueError, match=r"allowed is a path ending in \.safetensors"):
        load_policy(saved.with_name("p.zip"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.safetensors")
    with pytest.raises(ValueError, match="is no file"):
        load_policy(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["observation"][3].update(name="rivals_bid"),
        lambda card: card["observation"][3].update(high=2.0),
        lambda card: card["observation"].pop(),
        lambda card: card["observation"].append({"name": "more", "low": 0.0, "high": 1.0}),
    ],
)
def test_a_policy_that_was_trained_on_another_observation_is_refused(saved: Path, change: Any) -> None:
    change_card(saved, change)
    with pytest.raises(ValueError, match="observation"):
        load_policy(saved)


def test_a_policy_of_another_action_map_is_refused_by_the_scenario_it_is_meant_for(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"max_multiplier is 8\.0; allowed is the scenario's 16"):
        load_policy(saved, space=BidderSpace(max_multiplier=16.0))
    with pytest.raises(ValueError, match="segments is 1; allowed is the scenario's 2"):
        load_policy(saved, space=BidderSpace(segments=2))


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch exploded",)


def test_a_pickle_in_disguise_is_refused_and_never_run(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (pickle.dumps(Bomb()), pickle.dumps(Bomb(), 0), b"\0" * 8 + pickle.dumps(Bomb())):
        replace_weights(saved, data)
        with pytest.raises(ValueError, match="header"):
            load_policy(saved)
        saved.with_suffix(".json").write_bytes(data)
        with pytest.raises(ValueError, match=r"p\.json"):
            load_policy(saved)
        save_policy(random_policy(SPACE), saved, name="p", scenario=TINY)
    assert not (tmp_path / "exploded").exists()


def test_nothing_that_loads_policies_imports_a_training_library_or_pickle() -> None:
    program = (
        "import sys; import tribid.agents, tribid.agents.policy_file; "
        "print([m for m in ('torch', 'stable_baselines3', 'cloudpickle') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    folder = Path(policy_file.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name != "training.py":
            assert "import pickle" not in path.read_text()


def test_a_crash_between_weights_and_card_leaves_nothing_that_loads_wrongly(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(policy_file, "write_json", crash)
    with pytest.raises(KeyboardInterrupt):
        save_policy(random_policy(SPACE, seed=9), saved, name="p", scenario=TINY)
    with pytest.raises(ValueError, match="weights_sha256"):
        load_policy(saved)


def test_a_lineup_comes_back_whatever_the_policies_are_called(tmp_path: Path) -> None:
    names = [
        "shared",
        "Shared",
        "../../etc/passwd",
        "Café & Co",
        "",
        "x" * 80,
        "adv/00",
        "adv:00",
        "adv_00-2",
        "lineup",
    ]
    policies = {name: random_policy(SPACE, seed=seed) for seed, name in enumerate(names) if name}
    mapping = {f"adv{i:02d}": name for i, name in enumerate(policies)}
    folder = tmp_path / "run" / "policies"
    save_lineup(policies, mapping, folder, scenario=TINY, training={"algorithm": "ppo"})
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {folder}
    loaded, drivers = load_lineup(folder, space=SPACE)
    assert drivers == mapping
    seen = random_observations(SPACE, 3)
    assert all((loaded[name].predict(seen)[0] == policies[name].predict(seen)[0]).all() for name in policies)
    assert set(load_policies(folder)) == set(policies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["policies"].update(p="../p"), r"policies\.p is '\.\./p'"),
        (lambda content: content["policies"].update(p="/etc/passwd"), r"policies\.p"),
        (lambda content: content["policies"].update(p=3), "policies is"),
        (lambda content: content.update(policies=[]), "policies is"),
        (lambda content: content.update(mapping={"adv00": "q"}), r"mapping\.adv00 is 'q'; choose p"),
        (lambda content: content.update(version=2), "version 1"),
        (lambda content: content.pop("mapping"), "mapping is None"),
    ],
)
def test_a_bad_lineup_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    save_lineup({"p": random_policy(SPACE)}, {"adv00": "p"}, tmp_path, scenario=TINY)
    content = json.loads((tmp_path / "lineup.json").read_text())
    change(content)
    (tmp_path / "lineup.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_lineup(tmp_path)


def test_a_lineup_must_name_its_own_policies(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mapping names the policy 'q'; choose p"):
        save_lineup({"p": random_policy(SPACE)}, {"adv00": "q"}, tmp_path, scenario=TINY)
    with pytest.raises(ValueError, match=r"lineup\.json cannot be read"):
        load_lineup(tmp_path)
