"""ONNX files answer as the policies do, to the last few digits of float32, and hold all that is needed to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from tribid.agents.bidder import BidderSpace
from tribid.agents.export import onnx_model
from tribid.agents.export.onnx_file import check_onnx
from tribid.agents.export.onnx_model import KINDS, onnx_bytes, save_onnx
from tribid.agents.export.parity import onnx_parity, trial_observations
from tribid.agents.policy_card import Network
from tribid.agents.policy_file import PolicyFile
from tribid.envs.observation import bounds, field_index, fields
from tribid.envs.scenario import load_scenario

CHOOSING = ("discrete", "bcq")
"""Kinds that take the best of several: where two are equal but for the last digits, the other one may be taken."""


@pytest.fixture
def written(file_like: Callable[..., PolicyFile], tmp_path: Path) -> Callable[..., tuple[PolicyFile, Path]]:
    def made(name: str, seed: int = 0) -> tuple[PolicyFile, Path]:
        file, path = file_like(name, seed), tmp_path / f"policy-{seed}.onnx"
        save_onnx(file, path)
        return file, path

    return made


def test_every_kind_of_network_that_a_card_may_hold_can_be_written() -> None:
    kinds = {card.model_fields["kind"].default for card in get_args(get_args(Network)[0])}
    assert kinds == set(KINDS)


def test_answers_differ_by_no_more_than_float32_sums_do(like: str, written: Callable[..., Any]) -> None:
    file, path = written(like)
    parity = onnx_parity(file.policy, path)
    assert parity.answers >= 1000 * file.card.segments
    allowed = parity.answers // 1000 if file.card.network.kind in CHOOSING else 0
    assert parity.apart <= allowed, parity
    if not allowed:
        assert parity.action < 1e-4
        assert parity.multiplier < 3e-4


def test_the_comparison_tells_policies_apart(like: str, written: Callable[..., Any]) -> None:
    first, _ = written(like)
    _, other = written(like, 1)
    assert onnx_parity(first.policy, other).apart > 1000


def test_the_trial_holds_extremes_and_the_ticks_of_a_day() -> None:
    space = BidderSpace(segments=2, n_ticks=24)
    low, high = (edge.astype(np.float32) for edge in bounds(2))
    for tick, seen in enumerate(trial_observations(space)):
        assert len(seen) >= 1000
        assert (seen[0] == low).all()
        assert (seen[1] == high).all()
        assert ((seen[3:300] == low) | (seen[3:300] == high)).all()
        assert seen[-1, field_index("time_left", 2)] == pytest.approx(1 - tick / 24)


def test_observations_far_outside_their_bounds_are_cut_as_the_policy_cuts_them(
    like: str, written: Callable[..., Any]
) -> None:
    file, path = written(like)
    seen = trial_observations(file.policy.space, rows=64, ticks=2)
    wild = [rows * np.float32(1e6) for rows in seen]
    for rows, kept in zip(wild, seen, strict=True):
        rows[:, field_index("budget_left", 2)] = kept[:, field_index("budget_left", 2)]
    parity = onnx_parity(file.policy, path, observations=wild)
    assert parity.apart <= (2 if file.card.network.kind in CHOOSING else 0), parity


def test_a_row_alone_gets_the_answer_that_it_gets_among_others(written: Callable[..., Any]) -> None:
    file, path = written("mlp")
    session = onnxruntime.InferenceSession(check_onnx(path).data, providers=["CPUExecutionProvider"])
    seen = trial_observations(file.policy.space, rows=50, ticks=1)[0]
    (together,) = session.run(["action"], {"observation": seen})
    alone = np.concatenate([session.run(["action"], {"observation": seen[i : i + 1]})[0] for i in range(len(seen))])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_the_file_says_what_it_is_and_how_a_day_starts(written: Callable[..., Any]) -> None:
    file, path = written("adjusting")
    checked = check_onnx(path)
    told = checked.metadata
    assert told["scenario_hash"] == load_scenario("tiny").hash == file.card.scenario.hash
    assert (told["name"], told["weights_sha256"]) == ("adjusting", file.card.weights_sha256)
    assert json.loads(told["observation"]) == [field.name for field in fields(2)]
    assert json.loads(told["state"]) == {"multipliers": pytest.approx(1.3)}
    assert checked.inputs == {"observation": (None, 37), "multipliers": (None, 2)}
    assert set(checked.outputs) == {"action", "multiplier", "next_multipliers"}


def test_a_policy_with_a_memory_names_it_as_inputs_and_outputs(written: Callable[..., Any]) -> None:
    assert check_onnx(written("transformer")[1]).inputs == {
        "observation": (None, 37), "past": (None, 5, 40), "ticks": (None, 5), "length": (None,),
    }  # fmt: skip
    assert check_onnx(written("lstm", 1)[1]).outputs == {
        "action": (None, 2), "multiplier": (None, 2), "next_h": (None, 2, 16), "next_c": (None, 2, 16),
    }  # fmt: skip


def test_the_graph_is_of_an_opset_that_old_runtimes_read_and_holds_all_its_data(
    like: str, written: Callable[..., Any]
) -> None:
    _, path = written(like)
    model = onnx.load_model_from_string(path.read_bytes())
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (7, [("", 13)])
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert {node.domain for node in model.graph.node} == {""}


def test_equal_policies_give_equal_files(like: str, file_like: Callable[..., PolicyFile]) -> None:
    assert onnx_bytes(file_like(like)) == onnx_bytes(file_like(like))


def test_a_kind_that_cannot_be_written_is_refused_by_name(
    file_like: Callable[..., PolicyFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_like("lstm")
    monkeypatch.delitem(onnx_model.KINDS, "lstm")
    with pytest.raises(ValueError, match="policy 'lstm' is a lstm; allowed as ONNX are mlp, discrete"):
        save_onnx(file, tmp_path / "p.onnx")
    assert not (tmp_path / "p.onnx").exists()


def test_the_longest_plan_that_a_card_allows_is_within_the_reader_s_limit(written: Callable[..., Any]) -> None:
    _, path = written("diffusion")
    nodes = check_onnx(path).nodes
    _, single = written("diffusion, unguided", 1)
    assert (nodes - check_onnx(single).nodes) / 5 * 1000 < 50_000
