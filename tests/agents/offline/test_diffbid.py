"""DiffBid from recorded days: the noise of the textbooks, plans that follow the return, and the action in between."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tribid.agents.algorithms import ALGORITHMS, Algorithm
from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.networks.diffusion import DiffusionPolicy, cosine_alpha_bar
from tribid.agents.offline import diffbid
from tribid.agents.offline.collect import record_day
from tribid.agents.offline.diffbid import PLANNED, DiffBid, DiffBidClassroom, futures, noised
from tribid.agents.offline.learner import Lesson
from tribid.agents.offline.trajectories import Trajectories, write_trajectories
from tribid.agents.plan import TrainingPlan
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play
from tribid.envs.observation import field_index
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny").with_changes(rules__outcomes="expected")
SPACE = BidderSpace.of(TINY)
GOOD, BAD = 0.3, 1.0
"""The first advertiser's budget is scarce: at the rivals' multiplier 1 it buys a third of what it buys at 0.3."""


def lineup_with(bidder: Bidder, name: str = "own") -> Lineup:
    return Lineup({name: bidder, "rival": FixedMultiplier(1.0, space=SPACE)}, [name, *["rival"] * 4])


def mean_score(bidder: Bidder, days: range = range(500, 506)) -> float:
    ends = [play(TINY, seed, lineup_with(bidder))[0] for seed in days]
    return float(np.mean([score(end.advertisers, end.total, 2.0)[0] for end in ends]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days, in turn of the good and the bad behaviour."""
    folder = tmp_path_factory.mktemp("days")
    for seed in range(40):
        name, multiplier = ("good", GOOD) if seed % 2 else ("bad", BAD)
        day = record_day(TINY, lineup_with(FixedMultiplier(multiplier, space=SPACE), name), seed, noise=0.05)
        write_trajectories(day.select(day.advertiser == "adv_00"), folder / f"part-{seed:05d}.parquet")
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, size in (("HORIZON", 3), ("WIDTH", 64), ("LAYERS", 2), ("INVERSE_WIDTH", 32), ("LEVELS", 30)):
        monkeypatch.setattr(diffbid, name, size)
    module = "tribid.agents.offline.diffbid"
    monkeypatch.setitem(ALGORITHMS, "diffbid", Algorithm("DiffBid", module, "DiffBidClassroom", offline=True))
    yield
    torch.set_num_threads(threads)


def taught(recorded: Path, folder: Path, updates: int = 4, seed: int = 0) -> tuple[DiffBidClassroom, DiffusionPolicy]:
    plan = TrainingPlan(
        scenario=TINY, algorithm="diffbid", data=str(recorded), learners=(0,), steps=256 * updates, seed=seed,
        tensorboard=False,
    )  # fmt: skip
    room = DiffBidClassroom(plan, folder, None)
    room.run()
    policy = room.snapshot("shared")
    assert isinstance(policy, DiffusionPolicy)
    return room, policy


def with_settings(policy: DiffusionPolicy, **settings: float) -> DiffusionPolicy:
    return replace(policy, network=policy.network.model_copy(update=settings))


def days_of(
    observations: NDArray[np.float32], actions: NDArray[np.float32], rewards: NDArray[np.float32]
) -> Trajectories:
    """Made-up days of one campaign."""
    episodes, ticks = rewards.shape
    nothing = np.zeros((episodes, ticks), np.float32)
    return Trajectories(
        observations=observations, actions=actions, rewards=rewards, state16=np.zeros((episodes, ticks, 16), np.float32),
        conversions=nothing, cost=nothing, length=np.full(episodes, ticks), advertiser=np.full(episodes, "a"),
        bidder=np.full(episodes, "b"), seed=np.arange(episodes), day=np.zeros(episodes, np.int64),
        budget=np.ones(episodes), target_cpa=np.zeros(episodes), target_roas=np.zeros(episodes), space=SPACE,
        scenario="made up", scenario_hash="0" * 16,
    )  # fmt: skip


def test_a_noised_plan_has_the_moments_of_its_level() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, 2, generator=generator)
    plan = torch.tensor([[0.7, -2.0]]).expand_as(noise)
    for alpha_bar in cosine_alpha_bar(20)[[0, 9, 19]]:
        drawn = noised(plan, noise, torch.full((len(noise),), alpha_bar))
        np.testing.assert_allclose(drawn.mean(0), np.sqrt(alpha_bar) * np.array([0.7, -2.0]), atol=0.01)
        np.testing.assert_allclose(drawn.var(0), 1.0 - alpha_bar, rtol=0.02)


def test_a_noised_plan_is_what_noising_level_by_level_gives() -> None:
    # x_k = sqrt(1 - beta_k) x_{k-1} + sqrt(beta_k) e_k: mean and variance after all levels are those of one leap.
    alpha_bar = cosine_alpha_bar(20)
    kept = alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]])
    mean, variance = 1.0, 0.0
    for share, whole in zip(kept, alpha_bar, strict=True):
        mean, variance = np.sqrt(share) * mean, share * variance + (1.0 - share)
        one, none = torch.ones(1, 1), torch.zeros(1, 1)
        level = torch.tensor([whole])
        assert float(noised(one.double(), none, level)) == pytest.approx(mean, rel=1e-9)
        assert float(noised(none, one.double(), level)) ** 2 == pytest.approx(variance, rel=1e-9)


def test_futures_are_the_changes_that_came_and_end_with_the_day() -> None:
    rng = np.random.default_rng(0)
    seen = rng.random((2, 8, 36)).astype(np.float32)
    data = replace(
        days_of(seen, np.zeros((2, 8, 1), np.float32), np.zeros((2, 8), np.float32)), length=np.array([8, 5])
    )
    future = futures(data, PLANNED, 3)
    at = [field_index(name) for name in PLANNED]
    for episode, length in ((0, 8), (1, 5)):
        for tick in range(8):
            for ahead in range(3):
                known = tick + 1 + ahead < length
                assert future.there[episode, tick, ahead] == known
                wanted = seen[episode, tick + 1 + ahead, at] - seen[episode, tick, at] if known else np.zeros(len(at))
                np.testing.assert_array_equal(future.change[episode, tick, ahead], wanted)


def test_no_field_that_is_planned_tells_an_action() -> None:
    assert not [name for name in PLANNED if "action" in name]


def test_inverse_dynamics_finds_the_action_of_a_known_linear_map() -> None:
    rng = np.random.default_rng(1)
    actions = rng.uniform(-0.8, 0.8, (64, 8, 1)).astype(np.float32)
    seen = np.full((64, 8, 36), 0.3, np.float32)
    spent = np.cumsum(0.05 + 0.05 * actions[..., 0], axis=1)
    seen[:, 1:, field_index("budget_left")] = 1.0 - spent[:, :-1]
    seen[:, 0, field_index("budget_left")] = 1.0
    rewards = rng.random((64, 8)).astype(np.float32)
    method = DiffBid(Lesson(days_of(seen, actions, rewards)), torch.Generator().manual_seed(0))
    for _ in range(300):
        method.update()
    wanted = torch.linspace(-0.7, 0.7, 15)
    first = torch.zeros(15, len(PLANNED))
    first[:, 0] = (-(0.05 + 0.05 * wanted) - method.plan_mean[0, 0]) / method.plan_std[0, 0]
    with torch.no_grad():
        given = method.averaged.action(method.lesson.observations[:15, 3], first)[:, 0]
    assert float((given - wanted).abs().max()) < 0.1


def test_a_higher_return_gives_a_plan_that_earns_more() -> None:
    # Days earn at a rate of their own from the first tick on, which nothing but the return tells before.
    rng = np.random.default_rng(2)
    rate = rng.uniform(0.02, 0.1, 80).astype(np.float32)
    earned = rate[:, None] * np.arange(8, dtype=np.float32)
    seen = np.full((80, 8, 36), 0.3, np.float32)
    seen[..., field_index("value_day")] = earned / (1.0 + earned)
    seen[..., field_index("objective_target_cpa") : field_index("objective_target_roas") + 1] = 0.0
    actions = np.repeat(20 * rate[:, None] - 1.2, 8, axis=1)[..., None].astype(np.float32)
    days = days_of(seen, actions, np.repeat(rate[:, None], 8, axis=1))
    method = DiffBid(Lesson(days), torch.Generator().manual_seed(0))
    for _ in range(300):
        method.update()
    start = seen[:1, 0]
    plans = [with_settings(method.policy(), target_return=y, guidance=0.0).plan(start) for y in (0.0, 0.5, 1.0)]
    ends = [float(plan[0, -1, PLANNED.index("value_day")]) for plan in plans]
    low, high = np.quantile(rate, [0.1, 0.9])
    wanted = [3 * r / (1 + 3 * r) for r in (low, 0.5 * (low + high), high)]
    assert ends == pytest.approx(wanted, abs=0.02)
    assert ends[0] < ends[1] < ends[2]
    given = [
        float(with_settings(method.policy(), target_return=y, guidance=0.0).predict(start)[0][0, 0]) for y in (0, 1)
    ]
    assert given == pytest.approx([20 * low - 1.2, 20 * high - 1.2], abs=0.2)


def test_it_acts_as_the_behaviour_that_earned_what_is_asked_for(recorded: Path, tmp_path: Path) -> None:
    _, policy = taught(recorded, tmp_path, updates=400)
    good, bad = (mean_score(FixedMultiplier(m, space=SPACE)) for m in (GOOD, BAD))
    assert good > 2 * bad
    assert mean_score(policy) > 0.9 * good
    assert mean_score(with_settings(policy, target_return=0.0)) < 0.6 * good


def test_the_served_policy_is_the_trained_network(recorded: Path, tmp_path: Path) -> None:
    room, policy = taught(recorded, tmp_path, updates=30)
    method = room.methods["shared"]
    assert isinstance(method, DiffBid)
    one = with_settings(policy, steps=1, guidance=0.0)
    rows = method.lesson.data.observations[3]
    seen, n = method.lesson.observations[3], len(rows)
    with torch.no_grad():
        level = torch.full((n,), diffbid.LEVELS - 1)
        told, asked = torch.ones(n), torch.full((n,), policy.network.target_return)
        plan = method.averaged.plan(torch.zeros(n, 3 * len(PLANNED)), seen, level, asked, told).clamp(-5, 5)
        action = method.averaged.action(seen, plan[:, : len(PLANNED)])
    assert np.abs(one.predict(rows)[0] - action.numpy()).max() < 1e-5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(recorded: Path, tmp_path: Path) -> None:
    def weights(seed: int) -> bytes:
        _, policy = taught(recorded, tmp_path, seed=seed)
        return b"".join(values.tobytes() for values in policy.tensors().values())

    first = weights(0)
    torch.manual_seed(99)  # draws from torch's own generator change nothing
    assert weights(0) == first
    assert weights(1) != first
