"""PPO on a torch device: rivals bid as on the host, nothing is asked of the device within a day, and it learns.

Everything here runs on the CPU device; what only a GPU can show is skipped without one.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("stable_baselines3")

import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.device_bidders import device_bidder
from tribid.agents.device_ppo import DeviceClassroom
from tribid.agents.plan import FIRST_EVALUATION_SEED, TrainingPlan
from tribid.agents.policy_file import load_lineup, save_policy
from tribid.agents.ppo import PpoRule, ppo_update
from tribid.agents.registry import make_bidder
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.seeds import describe, train_seeds
from tribid.agents.testing import random_policy
from tribid.agents.training import GAMMA, train
from tribid.envs import action, market
from tribid.envs.observation import observe
from tribid.envs.reward import REWARDS, score
from tribid.envs.scenario import Scenario, load_scenario
from tribid.evaluation.contest import HELD_OUT
from tribid.evaluation.day import play_day
from tribid.gpu.observation import to_multiplier

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)
CPU = torch.device("cpu")
SPARSE = TINY.with_changes(world__traffic__requests=40)
QUICK = TrainingPlan(scenario=SPARSE, engine="device", steps=160, num_markets=2, tensorboard=False)


class Step(NamedTuple):
    observations: Tensor
    rewards: Tensor
    done: bool


class HostMarkets:
    """The interface of ``DeviceMarkets`` on ``tribid.envs.market`` itself: the faster one on a CPU."""

    def __init__(self, scenario: Scenario, num_markets: int, *, device: Any = "cpu", seed: int = 0) -> None:
        assert torch.device(device).type == "cpu"
        self.scenario, self.num_markets, self.seed = scenario, num_markets, seed
        self.n_ticks = BidderSpace.of(scenario).n_ticks
        self.played: list[np.ndarray[Any, Any]] = []
        self._day = -1

    def reset(self) -> Tensor:
        self._day += 1
        self.states = [market.reset(self.scenario, self.seed + m, self._day) for m in range(self.num_markets)]
        return self._observed()

    def step(self, multipliers: Tensor) -> Step:
        self.played.append(multipliers.numpy().copy())
        after = [market.step(state, mine)[0] for state, mine in zip(self.states, self.played[-1], strict=True)]
        part = self.scenario.reward
        pairs = zip(self.states, after, strict=True)
        rewards = torch.from_numpy(np.stack([REWARDS[part.part](a, b, part) for a, b in pairs]).astype(np.float32))
        self.states = after
        done = after[0].done
        return Step(self.reset() if done else self._observed(), rewards, done)

    def _observed(self) -> Tensor:
        return torch.from_numpy(np.stack([observe(state) for state in self.states]))


def classroom(plan: TrainingPlan, folder: Path, **arguments: Any) -> DeviceClassroom:
    return DeviceClassroom(plan, folder, make_markets=HostMarkets, **arguments)


# --- the plan ---


def test_cuda_without_a_gpu_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device is 'cuda'.*sees 0 CUDA.*choose device 'cpu'.*install the driver"):
        TrainingPlan(scenario=TINY, device="cuda")
    plan = TrainingPlan(scenario=TINY, device="auto")
    assert (plan.torch_device, plan.on_device) == ("cpu", False)


def test_a_gpu_is_taken_by_the_device_engine_and_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    plans = [TrainingPlan(scenario=TINY, device=device) for device in ("cuda", "cuda:1", "auto", "cpu")]
    assert [plan.torch_device for plan in plans] == ["cuda", "cuda:1", "cuda", "cpu"]
    assert [plan.on_device for plan in plans] == [True, True, True, False]
    with pytest.raises(ValueError, match=r"device is 'cuda:2', but torch .* sees 2 CUDA"):
        TrainingPlan(scenario=TINY, device="cuda:2")
    with pytest.raises(ValueError, match="device is 'cuda'; allowed with engine='sb3' is 'cpu'"):
        TrainingPlan(scenario=TINY, device="cuda", engine="sb3")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"device": "tpu"}, "device is 'tpu'; allowed is cpu, cuda, cuda:N or auto"),
        ({"engine": "gpu"}, "engine is 'gpu'; allowed is auto, sb3 or device"),
        ({"algorithm": "sac"}, "algorithm is 'sac'; allowed on engine='device' is ppo"),
        ({"outcomes": "real"}, "outcomes is 'real'; allowed is sampled or expected"),
        ({"rounds": 2}, "rounds is 2; allowed on engine='device' is 1"),
        ({"num_markets": 100_001}, "num_markets is 100001; allowed is 1 to 100000"),
        ({"num_markets": 4096, "seed": 200}, "seed is 200; allowed is 0 to 199 with 4096 markets"),
    ],
)
def test_what_the_device_engine_cannot_do_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(QUICK, **change)


@pytest.mark.parametrize("learners", [(), (5,), (-1,), (2, 2)])
@pytest.mark.parametrize("engine", ["sb3", "device"])
def test_learners_that_are_not_there_or_twice_are_refused(
    learners: tuple[int, ...], engine: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="allowed are one or more of 0 to 4, each once"):
        train(replace(QUICK, learners=learners, engine=engine), tmp_path)


@given(markets=st.integers(1, 100_000), seed=st.integers(0, 8))
def test_training_seeds_never_share_a_market_seed_or_reach_the_evaluation_seeds(markets: int, seed: int) -> None:
    plan = replace(QUICK, num_markets=markets, seed=seed)
    last = plan.first_market_seed + markets - 1
    assert last < replace(plan, seed=seed + 1).first_market_seed
    assert last < FIRST_EVALUATION_SEED == HELD_OUT


# --- bidders on the device ---


@pytest.mark.parametrize("name", ["off", "truthful", "fixed:2.5", "pid", "dual_pacing", "a policy file"])
@pytest.mark.parametrize("segments", ["none", "state"])
def test_a_bidder_on_the_device_does_what_it_does_on_the_host(name: str, segments: str, tmp_path: Path) -> None:
    scenario = TINY.with_changes(rules__segments=segments)
    space = BidderSpace.of(scenario)
    if name == "a policy file":
        name = str(tmp_path / "frozen.safetensors")
        save_policy(random_policy(space), name, name="frozen", scenario=scenario)
    bidder, there = make_bidder(name, space), device_bidder(name, space, "cpu")
    markets = HostMarkets(scenario, 3)
    seen, states, carried = markets.reset(), [None] * 3, None
    for _ in range(space.n_ticks):
        rows = [bidder.predict(own, state) for own, state in zip(seen.numpy(), states, strict=True)]
        states = [state for _, state in rows]
        actions, carried = there.act(seen, carried)
        assert actions.shape == (3, 5, space.segments) and actions.dtype == torch.float32
        np.testing.assert_allclose(actions.numpy(), np.stack([mine for mine, _ in rows]), atol=2e-6)
        seen = markets.step(to_multiplier(actions, space.max_multiplier)).observations


@pytest.mark.parametrize(
    ("change", "workers", "told"),
    [
        ({"learners": (7,)}, 1, "learners are"),
        ({"scenario": TINY.with_changes(world__retrieval={"candidates": 2, "cells": 3})}, 1, "world.retrieval"),
        ({}, 0, "workers is 0; allowed is 1 or more"),
    ],
)
def test_a_run_that_cannot_be_leaves_no_file(change: dict[str, Any], workers: int, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        train_seeds(replace(QUICK, **change), [0], tmp_path / "run", workers=workers)
    assert not (tmp_path / "run").exists()


def test_noise_is_not_drawn_as_the_first_weights_are(tmp_path: Path) -> None:
    start = torch.Generator().manual_seed(QUICK.seed)
    assert not torch.equal(torch.rand(8, generator=start), torch.rand(8, generator=classroom(QUICK, tmp_path)._draws))


def test_a_bidder_that_plays_on_the_host_alone_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    told = r"bidder 'random' does not play on a device; choose off, truthful, fixed, .*engine='sb3'"
    with pytest.raises(ValueError, match=told):
        train_seeds(replace(QUICK, rivals=("pid", "random")), [0], tmp_path / "run")
    with pytest.raises(ValueError, match=told):
        train_seeds(replace(QUICK, warm_start="random"), [0], tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- training ---


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train_seeds(QUICK, [0], tmp_path / "run")
    return tmp_path / "run"


def test_a_run_leaves_what_any_other_run_leaves(run: Path) -> None:
    policies, mapping = load_lineup(run / "seed-0" / "policies", space=SPACE)
    assert list(policies) == ["shared"] and len(mapping) == 5
    card = json.loads((run / "seed-0" / "policies" / "shared.json").read_text(encoding="utf-8"))
    assert card["training"] == {
        "algorithm": "ppo", "seed": 0, "steps": 160, "rivals": ["truthful"], "interrupted": False,
    }  # fmt: skip
    learning = json.loads((run / "seed-0" / "learning.json").read_text(encoding="utf-8"))
    assert [day["steps"] for day in learning] == [80, 160]
    assert all(np.isfinite(day["score"]) for day in learning)
    assert {path.suffix for path in run.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_run_json_tells_the_engine_of_a_device_run_and_is_as_before_for_others(run: Path) -> None:
    kept = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (kept["engine"], kept["device"], kept["seeds"]) == ("device", "cpu", [0])
    assert not {"engine", "device"} & set(describe(replace(QUICK, engine="auto")))
    with pytest.raises(ValueError, match=r"holds another training .its device, engine differ"):
        train_seeds(replace(QUICK, engine="sb3"), [1], run)


def test_training_twice_gives_the_same_policies_and_another_seed_others(tmp_path: Path, run: Path) -> None:
    train(QUICK, tmp_path / "again")
    train(replace(QUICK, seed=1), tmp_path / "other")
    first, again, other = (
        (folder / "policies" / "shared.safetensors").read_bytes()
        for folder in (run / "seed-0", tmp_path / "again", tmp_path / "other")
    )
    assert first == again != other


def test_the_exported_policy_acts_as_the_network_does(tmp_path: Path) -> None:
    room = classroom(QUICK, tmp_path)
    room.run()
    pupil, policy = room.pupils["shared"], room.snapshot("shared")
    rows = np.random.default_rng(0).uniform(-1, 1, (256, policy.sizes[0])).astype(np.float32)
    with torch.no_grad():
        mean, _ = pupil.network(pupil.normalised(torch.from_numpy(rows)))
    np.testing.assert_allclose(policy.predict(rows)[0], mean.clamp(-1.0, 1.0).numpy(), atol=2e-6)


def test_learners_and_rivals_bid_in_their_own_rows(tmp_path: Path) -> None:
    plan = replace(QUICK, learners=(1, 3), rivals=("fixed:2", "off", "pid"), warm_start="", steps=1)
    room = classroom(plan, tmp_path)
    room.run()
    markets = room._markets
    assert isinstance(markets, HostMarkets) and len(markets.played) == SPACE.n_ticks
    played = np.stack(markets.played)[..., 0]
    np.testing.assert_allclose(played[:, :, 0], 2.0, rtol=1e-6)
    kept = to_multiplier(room.pupils["shared"].rollout.actions, SPACE.max_multiplier)[..., 0]
    np.testing.assert_allclose(played[:, :, [1, 3]], kept.numpy(), rtol=1e-14)
    crowd = rivals_in_turn(plan.rivals, SPARSE)
    host = HostMarkets(SPARSE.with_changes(rules__outcomes="expected"), plan.num_markets)
    seen, states = host.reset(), [dict[str, Any]() for _ in range(plan.num_markets)]
    for tick in range(SPACE.n_ticks):
        for m in range(plan.num_markets):
            wanted, states[m] = crowd.act(seen[m].numpy(), states[m])
            for who in (0, 2, 4):
                np.testing.assert_allclose(
                    played[tick, m, who], action.to_multiplier(wanted[who, 0], SPACE.max_multiplier), rtol=1e-5
                )
        seen = host.step(torch.from_numpy(markets.played[tick])).observations


def test_the_rewards_learnt_from_are_scaled_as_vec_normalize_scales_them(tmp_path: Path) -> None:
    room = classroom(replace(QUICK, steps=1, warm_start=""), tmp_path, rule=PpoRule(epochs=0))
    raw: list[Tensor] = []
    markets: Any = room._markets
    step = markets.step
    markets.step = lambda multipliers: (raw.append((answer := step(multipliers)).rewards), answer)[1]
    room.run()
    moments, running = RunningMeanStd(shape=()), np.zeros(10)
    for tick, rewards in enumerate(raw):
        running = running * GAMMA + rewards.numpy().ravel()
        moments.update(running)
        wanted = np.clip(rewards.numpy() / np.sqrt(moments.var + 1e-8), -10, 10)
        np.testing.assert_allclose(room.pupils["shared"].rollout.rewards[tick].numpy(), wanted, rtol=1e-5)
    assert room.learning[0]["score"] == pytest.approx(float(torch.stack(raw).sum(0).mean()), rel=1e-5)


def test_policies_by_objective_learn_all_in_the_same_day(tmp_path: Path) -> None:
    plan = replace(QUICK, mapping="by_objective", steps=16, warm_start="")
    room = classroom(plan, tmp_path)
    before = {name: room.snapshot(name).weights[0].tobytes() for name in room.pupils}
    room.run()
    after = {name: room.snapshot(name).weights[0].tobytes() for name in room.pupils}
    assert len(before) == 5 and room.days == 1
    assert all(before[name] != after[name] for name in before)
    assert len(set(before.values()) | set(after.values())) == 10


def test_every_policy_gets_at_least_its_steps(tmp_path: Path) -> None:
    plan = replace(QUICK, mapping="independent", learners=(1, 3), steps=17, warm_start="")
    room = classroom(plan, tmp_path)
    room.run()
    assert room.learning[-1]["steps"] == 2 * 2 * 16


def test_ctrl_c_leaves_a_usable_run(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, latest: float | None) -> None:
        if done >= 160:
            raise KeyboardInterrupt

    trained = train(replace(QUICK, steps=100_000), tmp_path, interrupt)
    assert trained.interrupted and len(trained.learning) == 2
    policies, mapping = load_lineup(tmp_path / "policies")
    assert len(mapping) == 5
    assert np.isfinite(policies["shared"].predict(np.zeros((1, SPACE.observation_size), np.float32))[0]).all()


def test_tensorboard_logs_are_written_for_each_policy(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    classroom(replace(QUICK, steps=1, mapping="by_objective", tensorboard=True), tmp_path).run()
    assert len(list((tmp_path / "tensorboard").glob("*/events*"))) == 5


class _Asked(TorchDispatchMode):
    """Counts the operations that would make a host wait for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (
            torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal,
            torch.ops.aten.masked_select, torch.ops.aten.is_nonzero,
        ):  # fmt: skip
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_playing_and_learning_ask_the_device_for_nothing(tmp_path: Path) -> None:
    plan = replace(QUICK, learners=(1, 3), rivals=("pid", "dual_pacing", "truthful"), num_markets=16)
    room = classroom(plan, tmp_path)
    pupil = room.pupils["shared"]
    plain = torch.optim.SGD(pupil.network.parameters(), lr=1e-3)  # Adam's own count of steps is on the host anywhere
    with _Asked() as asked:
        room._taught_day(device_bidder("pid", SPACE, CPU))
        room._play()
        ppo_update(pupil.network, plain, pupil.rollout, room._draws, PpoRule(least_batch=64))
        assert asked.count == 0
        float(pupil.rollout.rewards.sum())
        assert asked.count == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_never_waited_for_within_a_day(tmp_path: Path) -> None:
    room = DeviceClassroom(replace(QUICK, engine="auto", device="cuda", rivals=("pid", "off"), learners=(1,)), tmp_path)
    pupil, states = room.pupils["shared"], dict[str, Any]()
    room._play()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            for tick in range(SPACE.n_ticks - 1):
                actions = pupil.act(tick, room._seen, room._draws)
                pupil.earn(tick, room._step({"shared": actions}, states))
        pupil.learn(1e-3, room._draws, room.rule)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_policies_that_play_on_the_host(tmp_path: Path) -> None:
    trained = train(replace(QUICK, engine="auto", device="cuda"), tmp_path)
    assert [day["steps"] for day in trained.learning] == [80, 160]
    policies, _ = load_lineup(tmp_path / "policies", space=SPACE)
    assert np.isfinite(play_day(SPARSE, Lineup.of(policies["shared"], 5), HELD_OUT).total.spend_micros).all()


def _mean_score(scenario: Scenario, lineup: Lineup, days: int = 30) -> float:
    played = [play_day(scenario, lineup, HELD_OUT + seed) for seed in range(days)]
    return float(np.mean([score(day.advertisers, day.total, 2.0)[0] for day in played]))


@pytest.mark.slow
def test_a_learner_finds_that_bidding_high_wins_an_idle_market(tmp_path: Path) -> None:
    # As for the engine sb3 in test_training.py: every click costs the reserve, and the start bids next to nothing.
    scenario = TINY.with_changes(rules__reserve=0.6, generated__bid_level=0.5)
    plan = TrainingPlan(
        scenario=scenario, engine="device", learners=(0,), rivals=("off",), steps=12_000, num_markets=8,
        warm_start="fixed:0.3", tensorboard=False,
    )  # fmt: skip
    space, crowd = BidderSpace.of(scenario), rivals_in_turn(("off",), scenario)
    drivers = ["learner", *crowd.mapping[1:]]
    room = classroom(plan, tmp_path)
    room.run()
    learnt = room.snapshot("shared")
    before = _mean_score(scenario, Lineup({**crowd.bidders, "learner": make_bidder("fixed:0.3", space)}, drivers))
    after = _mean_score(scenario, Lineup({**crowd.bidders, "learner": learnt}, drivers))
    best = max(
        _mean_score(scenario, Lineup({**crowd.bidders, "learner": make_bidder(f"fixed:{m}", space)}, drivers))
        for m in (0.5, 1, 2, 4)
    )
    assert after > before + 0.5 * (best - before)
