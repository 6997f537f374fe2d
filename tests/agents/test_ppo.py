"""PPO in tensors computes what Stable-Baselines3 computes: moments, densities, advantages, the update, the start."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from tribid.agents.bidder import BidderSpace
from tribid.agents.plan import TrainingPlan
from tribid.agents.ppo import ActorCritic, PpoRule, Rollout, RunningMoments, advantages_of, ppo_update
from tribid.agents.sb3 import _DayEndsTheReturn
from tribid.agents.sb3_models import _ppo
from tribid.agents.training import GAE_LAMBDA, GAMMA, LOG_STD
from tribid.envs.scenario import load_scenario
from tribid.envs.vector import FeedAuctionVecEnv

TINY = load_scenario("tiny")
SPACE = BidderSpace.of(TINY)


def test_running_moments_are_those_of_stable_baselines() -> None:
    rng = np.random.default_rng(0)
    mine, wanted = RunningMoments((3,), torch.device("cpu")), RunningMeanStd(shape=(3,))
    for rows in (1, 7, 100):
        batch = rng.normal(5.0, 3.0, (rows, 3)).astype(np.float32)
        mine.update(torch.from_numpy(batch))
        wanted.update(batch.astype(np.float64))
    np.testing.assert_allclose(mine.mean.numpy(), wanted.mean, rtol=1e-12)
    np.testing.assert_allclose(mine.var.numpy(), wanted.var, rtol=1e-12)


def test_log_density_and_entropy_are_those_of_a_normal_distribution() -> None:
    network = ActorCritic(3, 2, torch.Generator().manual_seed(0))
    mean, actions = torch.randn(4, 2), torch.randn(4, 2)
    normal = torch.distributions.Normal(mean, network.log_std.exp())
    torch.testing.assert_close(network.log_prob(actions, mean), normal.log_prob(actions).sum(-1))
    torch.testing.assert_close(network.entropy(), normal.entropy().sum(-1)[0])


@pytest.fixture(scope="module")
def their_day() -> tuple[PPO, Rollout]:
    """A PPO of Stable-Baselines3 with a day in its buffer, and the same day as a rollout (one market, five rows)."""
    env = VecNormalize(_DayEndsTheReturn(FeedAuctionVecEnv(TINY, 1)), gamma=GAMMA, clip_obs=5.0)
    model = _ppo(env, TrainingPlan(scenario=TINY))
    assert isinstance(model, PPO)
    _, callback = model._setup_learn(40)
    model.collect_rollouts(env, callback, model.rollout_buffer, model.n_steps)
    day = model.rollout_buffer
    parts = (day.observations, day.actions, day.log_probs, day.values, day.rewards)
    return model, Rollout(*(torch.from_numpy(part.copy())[:, None] for part in parts))


def test_advantages_are_those_of_stable_baselines(their_day: tuple[PPO, Rollout]) -> None:
    model, rollout = their_day
    mine = advantages_of(rollout.rewards, rollout.values, GAMMA, GAE_LAMBDA)
    np.testing.assert_allclose(mine[:, 0].numpy(), model.rollout_buffer.advantages, atol=1e-6)


def test_an_update_is_that_of_stable_baselines(their_day: tuple[PPO, Rollout]) -> None:
    model, rollout = their_day
    network = ActorCritic(SPACE.observation_size, 1, torch.Generator())
    theirs = model.policy
    pairs = [
        *zip(network.policy.parameters(), [*theirs.mlp_extractor.policy_net.parameters(),
                                           *theirs.action_net.parameters()], strict=True),
        *zip(network.value.parameters(), [*theirs.mlp_extractor.value_net.parameters(),
                                          *theirs.value_net.parameters()], strict=True),
        (network.log_std, theirs.log_std),
    ]  # fmt: skip
    with torch.no_grad():
        for mine, wanted in pairs:
            mine.copy_(wanted)
    before = [mine.detach().clone() for mine, _ in pairs]
    rate = model.lr_schedule(1.0)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, eps=1e-5)
    ppo_update(network, optimiser, rollout, torch.Generator().manual_seed(0), PpoRule())
    model._current_progress_remaining = 1.0
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.train()
    for (mine, wanted), start in zip(pairs, before, strict=True):
        torch.testing.assert_close(mine, wanted, atol=2e-5, rtol=0)
        assert not torch.allclose(mine, start, atol=2e-4)


def test_a_network_starts_as_stable_baselines_starts_it() -> None:
    network = ActorCritic(36, 2, torch.Generator().manual_seed(0))
    first, middle, last = (layer.weight.detach() for layer in network.policy if isinstance(layer, torch.nn.Linear))
    torch.testing.assert_close(middle @ middle.T, 2.0 * torch.eye(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(first.T @ first, 2.0 * torch.eye(36), atol=1e-5, rtol=0)
    torch.testing.assert_close(last @ last.T, 1e-4 * torch.eye(2), atol=1e-8, rtol=0)
    assert network.log_std.tolist() == [LOG_STD, LOG_STD]
