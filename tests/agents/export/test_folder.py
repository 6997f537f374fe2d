"""``tribid export``: what comes out of a run is a folder that the ranker serves, whole or not there at all."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tribid.agents.bidder import BidderSpace
from tribid.agents.export import folder as folder_module
from tribid.agents.export.folder import export_policies, policies_folder
from tribid.agents.policy_file import load_lineup, read_lineup, save_lineup
from tribid.agents.testing import random_observations, random_policy
from tribid.cli.export import export
from tribid.envs.scenario import load_scenario
from tribid.ranker import Ranker

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)
TRAINING = {"algorithm": "ppo", "seed": 3, "steps": 1000, "rivals": ["pid"]}
NAMES = {"adv_00": "shared", "adv_02": "other/../one"}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    def made(*seeds: int) -> Path:
        for seed in seeds:
            policies = {"shared": random_policy(SPACE, seed=seed), "other/../one": random_policy(SPACE, seed=seed + 50)}
            where = tmp_path / "run" / f"seed-{seed}" / "policies"
            save_lineup(policies, NAMES, where, scenario=TINY, training=TRAINING)
        return tmp_path / "run"

    return made


def test_a_run_becomes_a_folder_that_bids_the_same_and_keeps_its_cards(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    source = run(3)
    done = export_policies(source, tmp_path / "served" / "here")
    assert (done.folder, done.mapping, done.parity) == (tmp_path / "served" / "here", NAMES, {})
    before, _ = read_lineup(source / "seed-3" / "policies")
    after, mapping = read_lineup(done.folder, scenario=TINY)
    assert mapping == NAMES
    seen = random_observations(SPACE, 50)
    for name, (card, policy) in after.items():
        assert card == before[name].card == done.cards[name]
        assert card.training.rivals == ("pid",)
        assert policy.predict(seen)[0].tobytes() == before[name].policy.predict(seen)[0].tobytes()
    assert {path.name for path in done.folder.iterdir()} == {
        "lineup.json", "shared.safetensors", "shared.json", "other_one.safetensors", "other_one.json",
    }  # fmt: skip


def test_the_ranker_serves_what_was_exported(run: Callable[..., Path], tmp_path: Path) -> None:
    source = run(0)
    done = export_policies(source, tmp_path / "served")
    served, trained = (Ranker(TINY, where) for where in (done.folder, source / "seed-0" / "policies"))
    assert served.multipliers.tobytes() == trained.multipliers.tobytes()
    assert np.ptp(served.multipliers) > 0


def test_a_run_of_several_seeds_asks_which(run: Callable[..., Path], tmp_path: Path) -> None:
    source = run(0, 2, 10)
    with pytest.raises(ValueError, match=r"holds the seeds 0, 2, 10; choose one \(--seed\)"):
        export_policies(source, tmp_path / "served")
    with pytest.raises(ValueError, match=r"holds the seeds 0, 2, 10, not 7"):
        export_policies(source, tmp_path / "served", seed=7)
    assert policies_folder(source, 10) == source / "seed-10" / "policies"
    done = export_policies(source, tmp_path / "served", seed=10)
    seen = random_observations(SPACE, 5)
    given = load_lineup(done.folder)[0]["shared"].predict(seen)[0]
    assert given.tobytes() == random_policy(SPACE, seed=10).predict(seen)[0].tobytes()


def test_a_seeds_folder_and_a_folder_of_policies_are_taken_as_well(run: Callable[..., Path]) -> None:
    source = run(0, 1)
    for given in (source / "seed-1", source / "seed-1" / "policies"):
        assert policies_folder(given) == source / "seed-1" / "policies"
    with pytest.raises(ValueError, match=r"holds no policies; allowed is a run of tribid train"):
        policies_folder(source.parent)


def test_a_folder_that_holds_something_is_never_written_over(run: Callable[..., Path], tmp_path: Path) -> None:
    source, out = run(0), tmp_path / "served"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds something already; choose another folder"):
        export_policies(source, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    with pytest.raises(ValueError, match="holds something already"):
        export_policies(source, out / "mine.txt")
    (out / "mine.txt").unlink()
    assert export_policies(source, out).folder == out  # an empty folder is filled


def test_a_run_with_one_spoilt_policy_gives_no_folder_at_all(run: Callable[..., Path], tmp_path: Path) -> None:
    source = run(0)
    weights = source / "seed-0" / "policies" / "other_one.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="weights_sha256"):
        export_policies(source, tmp_path / "served")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_a_crash_in_the_middle_leaves_nothing_behind(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    source = run(0)
    monkeypatch.setattr(folder_module, "write_lineup", crash)
    with pytest.raises(KeyboardInterrupt):
        export_policies(source, tmp_path / "served")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_with_onnx_a_file_lies_beside_each_policy_and_its_answers_are_compared(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    done = export_policies(run(0), tmp_path / "served", onnx=True)
    assert {path.name for path in done.folder.glob("*.onnx")} == {"shared.onnx", "other_one.onnx"}
    assert set(done.parity) == set(NAMES.values())
    assert all(found.answers >= 1000 and found.action < 1e-4 for found in done.parity.values())
    assert load_lineup(done.folder, scenario=TINY)[1] == NAMES


def test_an_onnx_file_that_answers_otherwise_leaves_nothing_behind(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    from tribid.agents.export import onnx_model

    other = read_lineup(run(7) / "seed-7" / "policies")[0]["shared"]
    right = onnx_model.save_onnx
    monkeypatch.setattr(onnx_model, "save_onnx", lambda file, path: right(other, path))
    with pytest.raises(ValueError, match=r"policy '.*': \d+ of \d+ answers .* lie over 1e-4 off, at most .*1 in 1,000"):
        export_policies(tmp_path / "run", tmp_path / "served", onnx=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(("apart", "is_written"), [(9, True), (10, False)])
def test_one_answer_in_a_thousand_may_lie_off_and_no_more(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: int, is_written: bool
) -> None:
    pytest.importorskip("onnxruntime")
    from tribid.agents.export import parity

    monkeypatch.setattr(parity, "onnx_parity", lambda policy, path: parity.Parity(9_600, 0.25, apart, 0.25))
    if is_written:
        assert export_policies(run(0), tmp_path / "served", onnx=True).parity["shared"].apart == apart
    else:
        with pytest.raises(ValueError, match=r"10 of 9600 answers .* at most 2\.5e-01"):
            export_policies(run(0), tmp_path / "served", onnx=True)
        assert not (tmp_path / "served").exists()


def test_without_onnx_installed_the_folder_is_written_and_the_error_names_the_extra(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("onnx_model", "onnx_file", "graph"):
        monkeypatch.delitem(sys.modules, f"tribid.agents.export.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    source = run(0)
    with pytest.raises(ImportError, match=r"pip install 'tribid\[export\]'"):
        export_policies(source, tmp_path / "served", onnx=True)
    assert not (tmp_path / "served").exists()
    assert export_policies(source, tmp_path / "served").folder.is_dir()


def test_the_command_says_what_it_wrote_and_a_mistake_gets_one_line(run: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    app, source = typer.Typer(), run(0, 1)
    app.command()(export)
    runner = CliRunner()
    result = runner.invoke(app, [str(source), "--out", str(tmp_path / "served"), "--seed", "1", "--onnx"])
    assert result.exit_code == 0, result.output
    assert f"shared: mlp by ppo, 1000 steps, drives 1 advertisers of tiny ({TINY.hash})" in result.output
    assert "ONNX: actions differ by at most" in result.output
    again = runner.invoke(app, [str(source), "--out", str(tmp_path / "served"), "--seed", "1"])
    assert again.exit_code == 2
    assert "holds something already" in again.output
