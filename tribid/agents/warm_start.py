"""Warm start: a policy first learns to do what a controller does, then reinforcement learning goes on from there.

Behaviour cloning with noise in the executed actions and the teacher's own action as the label, so that the pupil also
sees how the teacher recovers (Laskey et al., "DART: noise injection for robust imitation learning", CoRL 2017). The
critic is fitted to the returns of the same days, or the first policy updates would follow a critic that knows nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from tribid.agents.bidder import Bidder

_NOISE = 0.15
_EPOCHS = 30
_BATCH = 512


@dataclass(frozen=True)
class Lesson:
    """Observations [M, D] as the policy sees them, the teacher's actions [M, S], and returns to the day's end [M]."""

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    returns: NDArray[np.float32]


def imitate(model: BaseAlgorithm, env: VecNormalize, teacher: Bidder, *, days: int, ticks: int, seed: int) -> None:
    """Fit the policy's mean action (and PPO's critic) to ``days`` days of every row driven by the teacher."""
    raw, rewards, actions = _taught_days(env, teacher, days, ticks, seed)
    returns = np.zeros_like(rewards)
    following = np.zeros(rewards.shape[2], np.float32)
    for day in range(days):
        following[:] = 0.0
        for tick in reversed(range(ticks)):
            following = rewards[day, tick] + model.gamma * following  # type: ignore[attr-defined]
            returns[day, tick] = following
    seen = np.asarray(env.normalize_obs(raw.reshape(-1, raw.shape[-1])), np.float32)
    _fit(model, Lesson(seen, actions.reshape(-1, actions.shape[-1]), returns.ravel()), seed)


def _taught_days(
    env: VecNormalize, teacher: Bidder, days: int, ticks: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Raw observations [days, ticks, rows, D], rewards as the learner sees them, and the teacher's actions."""
    rng = np.random.default_rng(seed)
    env.reset()
    rows, size = env.num_envs, env.observation_space.shape[0]  # type: ignore[index]
    width = env.action_space.shape[0]  # type: ignore[index]
    raw = np.empty((days, ticks, rows, size), np.float32)
    rewards = np.empty((days, ticks, rows), np.float32)
    actions = np.empty((days, ticks, rows, width), np.float32)
    for day in range(days):
        state = None
        for tick in range(ticks):
            raw[day, tick] = env.get_original_obs()
            actions[day, tick], state = teacher.predict(raw[day, tick], state)
            noisy = actions[day, tick] + _NOISE * rng.standard_normal((rows, width))
            _, rewards[day, tick], _, _ = env.step(np.clip(noisy, -1.0, 1.0).astype(np.float32))
    return raw, rewards, actions


def _fit(model: BaseAlgorithm, lesson: Lesson, seed: int) -> None:
    policy = model.policy
    observations, actions, returns = (
        torch.as_tensor(part) for part in (lesson.observations, lesson.actions, lesson.returns)
    )
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        for rows in torch.split(torch.randperm(len(observations), generator=order), _BATCH):
            if isinstance(model, PPO):
                mean = policy.get_distribution(observations[rows]).distribution.mean  # type: ignore[operator]
                value = policy.predict_values(observations[rows]).flatten()  # type: ignore[operator]
                loss = torch.nn.functional.mse_loss(mean, actions[rows])
                loss = loss + 0.1 * torch.nn.functional.mse_loss(value, returns[rows])
            else:
                mean = policy.actor(observations[rows], deterministic=True)  # type: ignore[operator]
                loss = torch.nn.functional.mse_loss(mean, actions[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
