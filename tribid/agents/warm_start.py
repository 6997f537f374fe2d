"""Warm start: a policy first learns to do what a controller does, then reinforcement learning goes on from there.

Behaviour cloning with noise in the executed actions and the teacher's own action as the label, so that the pupil also
sees how the teacher recovers (Laskey et al., "DART: noise injection for robust imitation learning", CoRL 2017). The
critic is fitted to the returns of the same days, or the first policy updates would follow a critic that knows nothing.
SAC and TD3 also keep those days as experience and begin to learn from them at once, in place of random actions (as
Vecerik et al., "Leveraging demonstrations for deep reinforcement learning", 2017, fill the replay buffer).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor
from torch.nn.functional import mse_loss

from tribid.agents.bidder import Bidder

_NOISE = 0.15
_EPOCHS = 30
_BATCH = 512
_CRITIC_WEIGHT = 0.1


@dataclass(frozen=True)
class Lesson:
    """Days of every row: days, ticks and rows are the first axes of each.

    Raw ``observations`` [.., D], the teacher's ``actions`` and those ``executed`` [.., S], and ``rewards`` as the learner
    sees them.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    executed: NDArray[np.float32]
    rewards: NDArray[np.float32]

    @classmethod
    def empty(cls, days: int, ticks: int, env: VecNormalize) -> "Lesson":
        """Room for so many days."""
        seen, acted = env.observation_space.shape, env.action_space.shape
        shape = (days, ticks, env.num_envs)
        return cls(*(np.empty((*shape, *own), np.float32) for own in (seen, acted, acted, ())))  # type: ignore[misc]

    def returns(self, gamma: float) -> NDArray[np.float32]:
        """Discounted rewards to the day's end."""
        returns = np.zeros_like(self.rewards)
        following = np.zeros_like(self.rewards[:, 0])
        for tick in reversed(range(self.rewards.shape[1])):
            following = self.rewards[:, tick] + gamma * following
            returns[:, tick] = following
        return returns


def imitate(model: BaseAlgorithm, env: VecNormalize, teacher: Bidder, *, days: int, ticks: int, seed: int) -> None:
    """Fit the policy's mean action and the critic to ``days`` days of every row driven by the teacher."""
    lesson = _taught(model, env, teacher, Lesson.empty(days, ticks, env), seed)
    seen = np.asarray(env.normalize_obs(lesson.observations), np.float32)
    returns = lesson.returns(model.gamma)  # type: ignore[attr-defined]
    parts = [torch.as_tensor(part) for part in (seen, lesson.actions, lesson.executed, returns)]
    if isinstance(model, RecurrentPPO):
        # [days, ticks, rows, ..] becomes one sequence of ticks for each day of a row.
        loss, examples = _sequence_loss(model), [part.transpose(1, 2).flatten(0, 1) for part in parts]
        _fit(model, loss, examples, max(1, _BATCH // ticks), seed)
        return
    loss = _ppo_loss(model) if isinstance(model, PPO) else _off_policy_loss(model)
    _fit(model, loss, [part.flatten(0, 2) for part in parts], _BATCH, seed)
    if isinstance(model, OffPolicyAlgorithm):
        _begin_from_here(model)


def _taught(model: BaseAlgorithm, env: VecNormalize, teacher: Bidder, lesson: Lesson, seed: int) -> Lesson:
    """Play the days into the lesson, and into the replay buffer of a model that has one."""
    rng = np.random.default_rng(seed)
    buffer: Any = getattr(model, "replay_buffer", None)
    days, ticks = lesson.rewards.shape[:2]
    env.reset()
    for day in range(days):
        state = None
        for tick in range(ticks):
            seen = np.asarray(env.get_original_obs()).copy()
            action, state = teacher.predict(seen, state)
            executed = np.clip(action + _NOISE * rng.standard_normal(action.shape), -1.0, 1.0).astype(np.float32)
            _, rewards, dones, infos = env.step(executed)
            lesson.observations[day, tick], lesson.rewards[day, tick] = seen, rewards
            lesson.actions[day, tick], lesson.executed[day, tick] = action, executed
            if buffer is not None:
                # The observation after a day's end is the next day's; nothing is bootstrapped from it.
                buffer.add(seen, env.get_original_obs(), executed, env.get_original_reward(), dones, infos)
    return lesson


Loss = Callable[[list[Tensor]], Tensor]
"""The loss of some examples: observations, the teacher's actions, the executed ones, returns."""


def _fit(model: BaseAlgorithm, loss_of: Loss, examples: list[Tensor], batch: int, seed: int) -> None:
    optimiser = torch.optim.Adam(model.policy.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        for chosen in torch.split(torch.randperm(len(examples[0]), generator=order), batch):
            loss = loss_of([part[chosen] for part in examples])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def _ppo_loss(model: BaseAlgorithm) -> Loss:
    policy: Any = model.policy

    def loss(examples: list[Tensor]) -> Tensor:
        seen, actions, _, returns = examples
        mean = policy.get_distribution(seen).distribution.mean
        value = policy.predict_values(seen).flatten()
        return mse_loss(mean, actions) + _CRITIC_WEIGHT * mse_loss(value, returns)

    return loss


def _sequence_loss(model: RecurrentPPO) -> Loss:
    """As ``_ppo_loss``, for whole days [n, ticks, ..] that begin with an empty memory."""
    policy: Any = model.policy

    def loss(examples: list[Tensor]) -> Tensor:
        seen, actions, _, returns = examples
        rows, ticks = seen.shape[:2]
        memory = (torch.zeros(policy.lstm_actor.num_layers, rows, policy.lstm_actor.hidden_size),) * 2
        carried = torch.zeros(rows * ticks)
        flat = seen.flatten(0, 1)
        mean = policy.get_distribution(flat, memory, carried)[0].distribution.mean
        value = policy.predict_values(flat, memory, carried).flatten()
        return mse_loss(mean, actions.flatten(0, 1)) + _CRITIC_WEIGHT * mse_loss(value, returns.flatten())

    return loss


def _off_policy_loss(model: BaseAlgorithm) -> Loss:
    """The critics judge what was executed, the actor does what the teacher would have done."""
    policy: Any = model.policy

    def loss(examples: list[Tensor]) -> Tensor:
        seen, actions, executed, returns = examples
        mean = policy.actor(seen, deterministic=True) if isinstance(model, SAC) else policy.actor(seen)
        told = mse_loss(mean, actions)
        for value in policy.critic(seen, executed):
            told = told + _CRITIC_WEIGHT * mse_loss(value.flatten(), returns)
        return told

    return loss


def _begin_from_here(model: OffPolicyAlgorithm) -> None:
    """The target networks start where the lesson ended, and no random actions are needed to fill the replay buffer."""
    policy: Any = model.policy
    for name in ("actor", "critic"):
        target = getattr(policy, f"{name}_target", None)
        if target is not None:
            target.load_state_dict(getattr(policy, name).state_dict())
    model.learning_starts = 0
