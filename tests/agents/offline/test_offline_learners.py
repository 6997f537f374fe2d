import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tribid.agents.algorithms import ALGORITHMS, Algorithm
from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.divergence import DivergenceError
from tribid.agents.offline.bc import BcClassroom, BehaviourCloning
from tribid.agents.offline.bcq import BatchConstrainedQ
from tribid.agents.offline.collect import collect, record_day
from tribid.agents.offline.cql import ConservativeQLearning, log_volume
from tribid.agents.offline.iql import ImplicitQLearning, expectile_loss
from tribid.agents.offline.learner import Lesson, Method
from tribid.agents.offline.td3_bc import Td3Bc
from tribid.agents.offline.trajectories import Trajectories, read_trajectories, write_trajectories
from tribid.agents.plan import TrainingPlan
from tribid.agents.policy_file import load_lineup
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play, random_observations
from tribid.agents.training import train
from tribid.envs.observation import field_index
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

METHODS: dict[str, type[Any]] = {
    "bc": BehaviourCloning,
    "td3_bc": Td3Bc,
    "iql": ImplicitQLearning,
    "cql": ConservativeQLearning,
    "bcq": BatchConstrainedQ,
}
TINY = load_scenario("tiny").with_changes(rules__outcomes="expected")
SPACE = BidderSpace.of(TINY)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days of everybody at its unit bid with much noise: mediocre, but with something to choose from."""
    folder = tmp_path_factory.mktemp("log")
    collect(TINY, ("fixed",), range(500, 560), out=folder, noise=0.4)
    return folder


@pytest.fixture(scope="module")
def data(log: Path) -> Trajectories:
    return read_trajectories(log)


def taught(method: Method, updates: int, seed: int, size: int) -> Method:
    stream = method.lesson.stream(seed, size)  # type: ignore[attr-defined]
    for _ in range(updates):
        method.update(next(stream))
    return method


def made(name: str, data: Trajectories, updates: int, seed: int = 0, size: int = 64, **settings: Any) -> Any:
    method = METHODS[name](Lesson(data), torch.Generator().manual_seed(seed), **settings)
    return taught(method, updates, seed, size)


def mean_score(bidder: Bidder, seeds: range = range(200, 210)) -> float:
    scores = []
    for seed in seeds:
        state, _ = play(TINY, seed, Lineup.of(bidder, 5))
        scores.append(score(state.advertisers, state.total, 2.0).mean())
    return float(np.mean(scores))


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(data: Trajectories, name: str) -> None:
    one, again, other = (made(name, data, 12, seed).policy().tensors() for seed in (3, 3, 4))
    assert {key: part.tobytes() for key, part in one.items()} == {key: part.tobytes() for key, part in again.items()}
    assert any(one[key].tobytes() != other[key].tobytes() for key in one)


@pytest.mark.parametrize("name", METHODS)
def test_what_serves_does_what_the_torch_networks_do(data: Trajectories, name: str) -> None:
    method = made(name, data, 40)
    seen = random_observations(SPACE, 300)
    normal = torch.from_numpy(np.clip((seen - method.lesson.mean) / method.lesson.std, -5, 5))
    with torch.no_grad():
        if name == "bcq":
            wanted = method.choose(normal).numpy()
        else:
            wanted = (method.actor.mean if name == "cql" else method.actor)(normal).tanh().numpy()
    away = np.abs(method.policy().act(seen) - wanted)
    assert np.quantile(away, 0.99) < 2e-5  # a near tie between two of BCQ's candidates may go the other way
    assert wanted.std() > 0.01


class Steady:
    """A controller that keeps nothing: bids more where more budget than time is left."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        left, time = (observation[:, field_index(name)] for name in ("budget_left", "time_left"))
        return np.clip(0.9 * (left - time) - 0.2, -1, 1)[:, None].astype(np.float32), None


def test_cloning_recovers_a_controller_and_earns_what_it_earns() -> None:
    days = [record_day(TINY, Lineup.of(Steady(), 5), seed, noise=0.1) for seed in range(40)]
    parts = {
        name: np.concatenate([getattr(day, name) for day in days])
        for name in vars(days[0])
        if name not in ("space", "scenario", "scenario_hash")
    }
    data = Trajectories(**parts, space=SPACE, scenario="tiny", scenario_hash=TINY.hash)
    policy = made("bc", data, 600, size=256).policy()
    fresh = record_day(TINY, Lineup.of(Steady(), 5), 300, noise=0.0)
    away = policy.act(fresh.observations.reshape(-1, 36)) - fresh.actions.reshape(-1, 1)
    assert float(np.square(away).mean()) < 0.2 * float(fresh.actions.var())
    assert mean_score(policy) == pytest.approx(mean_score(Steady()), rel=0.1)


@pytest.mark.parametrize(("name", "updates"), [("iql", 700), ("td3_bc", 700)])
def test_learning_from_a_mediocre_bidder_gives_a_better_one(data: Trajectories, name: str, updates: int) -> None:
    behaviour = float(data.rewards.sum(axis=1).mean())
    plain = mean_score(FixedMultiplier(1.0, space=SPACE))
    learnt = mean_score(made(name, data, updates, size=256).policy())
    assert learnt > max(behaviour, plain) + 0.3


def test_td3_bc_without_the_critic_is_behaviour_cloning_bit_for_bit(data: Trajectories) -> None:
    cloned = made("bc", data, 20).policy().tensors()
    without = made("td3_bc", data, 20, alpha=0.0, delay=1).policy().tensors()
    assert all(cloned[key].tobytes() == without[key].tobytes() for key in cloned)
    withit = made("td3_bc", data, 20, delay=1).policy().tensors()
    assert any(cloned[key].tobytes() != withit[key].tobytes() for key in cloned)


def test_an_expectile_of_one_half_is_half_the_squared_error_and_a_higher_one_leans_up() -> None:
    errors = torch.linspace(-3, 2, 101)
    assert float(expectile_loss(errors, 0.5)) == pytest.approx(0.5 * float(errors.square().mean()), rel=1e-6)
    places = torch.linspace(0, 1, 501)
    sample = torch.tensor([0.0, 0.0, 0.0, 1.0])
    best = [float(places[np.argmin([float(expectile_loss(sample - p, tau)) for p in places])]) for tau in (0.5, 0.9)]
    assert best == pytest.approx([0.25, 0.75], abs=0.003)  # tau = 0.9: 0.1 * 3 m = 0.9 * (1 - m)


def test_cqls_soft_maximum_is_exact_for_constants_and_never_below_the_mean() -> None:
    uniform = torch.full((1, 50), -2 * math.log(2.0))
    assert float(log_volume(torch.full((1, 50), 3.0), uniform)) == pytest.approx(3.0 + 2 * math.log(2.0), abs=1e-5)
    q = torch.randn(200, 50, generator=torch.Generator().manual_seed(0)) * 3
    assert (log_volume(q, uniform) >= q.mean(1) + 2 * math.log(2.0) - 1e-5).all()


def test_cqls_penalty_is_not_negative_where_recorded_actions_are_uniform(data: Trajectories) -> None:
    """By Jensen: the log of the mean of exp Q is at least the mean of Q over the same uniform actions."""
    method = made("cql", data, 15, samples=64)
    batch = next(method.lesson.stream(0))
    uniform = 2 * torch.rand(batch.actions.shape, generator=torch.Generator().manual_seed(1)) - 1
    with torch.no_grad():
        assert float(method.penalty(batch._replace(actions=uniform))) > 0


def test_conservatism_lowers_what_unrecorded_actions_are_worth(data: Trajectories) -> None:
    gaps = []
    for conservatism in (0.0, 5.0):
        method = made("cql", data, 150, conservatism=conservatism)
        batch = next(method.lesson.stream(9))
        with torch.no_grad():
            far = method.critic.lower(batch.observations, torch.full_like(batch.actions, 0.98))
            gaps.append(float((method.critic.lower(batch.observations, batch.actions) - far).mean()))
    assert gaps[1] > gaps[0] + 0.2


def test_bcq_without_reach_acts_as_its_decoder_does_and_its_generator_has_more_than_one_answer(
    data: Trajectories,
) -> None:
    method = made("bcq", data, 500, reach=0.0)
    observations = method.lesson.observations[:, 3]
    with torch.no_grad():
        many = observations.repeat_interleave(method.draws, 0)
        likely = method.generator.decode(many, method.served_latents.repeat(len(observations), 1))
        answers = likely.view(len(observations), method.draws)
        chosen = method.choose(observations)
    assert (answers - chosen).abs().amin(1).max() < 1e-6
    assert (answers.amax(1) - answers.amin(1)).mean() > 0.05


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("td3_bc", {"alpha": -1.0}, "alpha is -1.0"),
        ("iql", {"expectile": 1.0}, "expectile is 1.0"),
        ("cql", {"samples": 0}, "samples 0"),
        ("bcq", {"reach": 3.0}, "reach is 3.0, draws 10; allowed are 0 to 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    data: Trajectories, name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        made(name, data, 0, **settings)


def plan_for(log: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> TrainingPlan:
    algorithm = Algorithm("behaviour cloning", "tribid.agents.offline.bc", "BcClassroom", offline=True)
    monkeypatch.setitem(ALGORITHMS, "bc", algorithm)
    settings: dict[str, Any] = {"algorithm": "bc", "data": str(log), "steps": 256 * 250, "tensorboard": False}
    return TrainingPlan(scenario=load_scenario("tiny"), **(settings | changes))


def test_a_training_writes_policies_that_load_a_curve_and_tensorboard(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, float | None]] = []
    plan = plan_for(log, monkeypatch, mapping="by_objective", steps=256 * 120, tensorboard=True, learners=(0, 3))
    trained = train(plan, tmp_path, lambda *news: told.append(news))
    policies, drivers = load_lineup(tmp_path / "policies", space=SPACE)
    assert set(policies) == {"max_clicks", "target_cpa"} == set(drivers.values())
    assert [entry["steps"] for entry in trained.learning] == [25_600, 30_720, 56_320, 61_440]
    assert told[-1][:2] == (61_440, 61_440)
    for name in policies:
        assert list((tmp_path / "tensorboard" / name).iterdir())
    names = np.array(list(drivers))
    own = Lesson(read_trajectories(log).select(read_trajectories(log).advertiser == names[0]))
    assert policies[drivers[names[0]]].tensors()["normaliser.mean"].tobytes() == own.mean.tobytes()


def test_an_interrupted_training_keeps_what_it_has_learnt(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*news: object) -> None:
        raise KeyboardInterrupt

    trained = train(plan_for(log, monkeypatch), tmp_path, stop)
    assert trained.interrupted
    assert trained.learning[-1]["steps"] == 25_600
    assert load_lineup(tmp_path / "policies")[0]["shared"].tensors()


def test_a_training_that_diverges_keeps_its_last_good_policy(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = BehaviourCloning.update

    def breaks(self: BehaviourCloning, batch: Any) -> Any:
        losses = update(self, batch)
        self.count = getattr(self, "count", 0) + 1  # type: ignore[attr-defined]
        return losses if self.count < 150 else {"imitation": losses["imitation"] * math.inf}  # type: ignore[attr-defined]

    monkeypatch.setattr(BehaviourCloning, "update", breaks)
    with pytest.raises(DivergenceError, match="imitation is inf at step 51200"):
        train(plan_for(log, monkeypatch), tmp_path)
    assert load_lineup(tmp_path / "policies")[0]["shared"].tensors()


def test_data_of_another_market_or_without_a_learner_is_refused(
    log: Path, data: Trajectories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(log, monkeypatch)
    BcClassroom(plan, tmp_path, None)  # the recording paid expected outcomes, the plan's scenario samples them
    other = TrainingPlan(
        scenario=plan.scenario.with_changes(rules__reserve=0.06), algorithm="bc", data=str(log), tensorboard=False
    )
    with pytest.raises(ValueError, match="was recorded in scenario tiny"):
        BcClassroom(other, tmp_path, None)
    first = data.advertiser[0]
    write_trajectories(data.select(data.advertiser != first), tmp_path / "some.parquet")
    with pytest.raises(ValueError, match=f"has no day of '{first}'"):
        BcClassroom(plan_for(tmp_path / "some.parquet", monkeypatch), tmp_path, None)
