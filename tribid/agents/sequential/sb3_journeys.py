"""PPO, DQN and DDPG of Stable-Baselines3 on campaigns: value as the reward, and a budget that ends what can be shown.

They see the budget and the time that are left, and learn on campaigns of ``campaign`` consumers with as much budget for each
as the one to come. DDPG acts in a score for each action, of which the highest is played: a continuous relaxation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tribid.envs.sequential.campaign import Arrivals, Moment, Plan
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.journey_env import ConsumerJourney, observe_states

try:
    from stable_baselines3 import DDPG, DQN, PPO
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.vec_env import DummyVecEnv
except ImportError as error:
    raise ImportError(
        "PPO, DQN and DDPG need Stable-Baselines3; install it with: pip install 'tribid[train]'"
    ) from error

Actor = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Sb3Plan:
    """``consumers`` journeys in all, over ``copies`` campaigns at a time of ``campaign`` consumers each."""

    consumers: int = 20_000
    campaign: int = 8
    copies: int = 8
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("consumers", "campaign", "copies"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is a whole number from 1")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma is {self.gamma}; allowed is above 0 up to 1")


class ScoredActions(gymnasium.ActionWrapper[NDArray[np.float32], NDArray[np.float32], np.int64]):
    """Takes a score in [-1, 1] for each action and plays the highest."""

    def __init__(self, env: ConsumerJourney) -> None:
        super().__init__(env)
        self.action_space = Box(-1.0, 1.0, (env.world.actions,), np.float32)

    def action(self, action: NDArray[np.float32]) -> np.int64:
        """The action of the highest score."""
        return np.int64(np.argmax(action))


class NetworkStrategy:
    """A strategy from ``act``, which maps observations [n, D] to actions [n]; each period is asked for all states."""

    def __init__(self, world: ConsumerWorld, act: Actor) -> None:
        self.world, self.act = world, act

    def begin(self) -> None:
        """Nothing to prepare."""

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """What the network does in each state with this much budget and time left."""
        left = moment.left_micros / max(1, moment.budget_micros)
        seen = observe_states(self.world, left, moment.time_left)
        actions = self.act(seen.reshape(-1, seen.shape[-1]))
        return Plan.of(actions.astype(np.int8).reshape(self.world.shape), len(arrivals.kind))


def train_sb3(
    name: str, world: ConsumerWorld, consumer_budget: float, plan: Sb3Plan, seed: int,
    progress: Callable[[int], None] | None = None,
) -> NetworkStrategy:  # fmt: skip
    """Train ``ppo``, ``dqn`` or ``ddpg`` until ``plan.consumers`` journeys were met; the strategy acts without chance."""
    if name not in _MODELS:
        raise ValueError(f"no learner named {name!r}; choose {', '.join(_MODELS)}")
    budget = int(consumer_budget * 1e6) * plan.campaign

    def make() -> gymnasium.Env[Any, Any]:
        env = ConsumerJourney(world, consumers=plan.campaign, budget_micros=budget)
        return ScoredActions(env) if name == "ddpg" else env

    markets = DummyVecEnv([make] * plan.copies)
    markets.seed(seed)
    model = _MODELS[name](markets, plan, seed)
    model.learn(plan.consumers * world.steps, callback=_Stop(plan.consumers, progress))
    actor: Any = model.policy

    def act(seen: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            actions = actor.predict(seen, deterministic=True)[0]
        chosen: NDArray[np.int64] = actions.argmax(axis=1) if name == "ddpg" else actions
        return chosen

    return NetworkStrategy(world, act)


class _Stop(BaseCallback):
    """Ends the training when all copies together have met so many consumers."""

    def __init__(self, consumers: int, progress: Callable[[int], None] | None) -> None:
        super().__init__()
        self.consumers, self.progress = consumers, progress

    def _on_step(self) -> bool:
        met = sum(info["met"] for info in self.locals["infos"])
        if self.progress:
            self.progress(min(met, self.consumers))
        return bool(met < self.consumers)


def _ppo(markets: DummyVecEnv, plan: Sb3Plan, seed: int) -> BaseAlgorithm:
    return PPO(
        "MlpPolicy", markets, n_steps=256, batch_size=256, learning_rate=1e-3, ent_coef=0.01, gamma=plan.gamma, seed=seed,
        device="cpu",
    )  # fmt: skip


def _dqn(markets: DummyVecEnv, plan: Sb3Plan, seed: int) -> BaseAlgorithm:
    return DQN(
        "MlpPolicy", markets, learning_rate=5e-4, buffer_size=200_000, learning_starts=500, batch_size=128, train_freq=4,
        gradient_steps=2, target_update_interval=2000, exploration_fraction=0.5, gamma=plan.gamma, seed=seed, device="cpu",
    )  # fmt: skip


def _ddpg(markets: DummyVecEnv, plan: Sb3Plan, seed: int) -> BaseAlgorithm:
    shape = markets.action_space.shape or (1,)
    noise = NormalActionNoise(np.zeros(shape), np.full(shape, 0.5))
    return DDPG(
        "MlpPolicy", markets, learning_rate=5e-4, buffer_size=200_000, learning_starts=500, batch_size=128, train_freq=8,
        gradient_steps=1, action_noise=noise, gamma=plan.gamma, seed=seed, device="cpu",
    )  # fmt: skip


_MODELS: dict[str, Callable[[DummyVecEnv, Sb3Plan, int], BaseAlgorithm]] = {"ppo": _ppo, "dqn": _dqn, "ddpg": _ddpg}
