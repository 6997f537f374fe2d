"""Training: PPO and SAC of Stable-Baselines3 on the market, with parameters shared as a policy mapping says.

Each policy learns from all its advertisers' rows of many markets at once (parameter sharing). With several policies each
learns in turn, round after round, while the others act as they last stood: independent learners in one market. What
comes out is policy files (``tribid.agents.policy_file``), never a pickle, and those files are what is evaluated. On a
GPU, ``tribid.agents.device_ppo`` trains instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

try:
    import torch
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.logger import configure
    from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize
except ImportError as error:
    raise ImportError("training needs torch and Stable-Baselines3: pip install 'tribid[train]'") from error

from tribid.agents.algorithms import ALGORITHMS
from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.divergence import DivergenceError, LastGood, check_finite
from tribid.agents.networks.card import ServedPolicy
from tribid.agents.networks.mlp import MlpPolicy
from tribid.agents.plan import Roster, TrainingPlan
from tribid.agents.policy_file import save_lineup
from tribid.agents.registry import make_bidder
from tribid.agents.warm_start import imitate
from tribid.envs.vector import FeedAuctionVecEnv
from tribid.envs.world import build_world
from tribid.files import write_json

__all__ = [
    "Classroom",
    "Progress",
    "Roster",
    "Sb3Classroom",
    "Trained",
    "TrainingPlan",
    "export",
    "falling",
    "save",
    "train",
]

CLIP_OBSERVATION = 5.0
GAMMA = 0.995
GAE_LAMBDA = 0.9
EPOCHS = 8
LEARNING_RATE = 1e-3
HIDDEN = (64, 64)
LOG_STD = -1.5

_TAUGHT_DAYS = 6

Progress = Callable[[int, int, float | None], None]
"""Called with the advertiser-steps done, the total, and the mean score of the last finished days (None at first)."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Policies by name, the name that drives each learner, and the learning curve; ``interrupted`` if cut short."""

    plan: TrainingPlan
    policies: dict[str, ServedPolicy]
    mapping: dict[str, str]
    learning: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False


def train(plan: TrainingPlan, folder: Path, progress: Progress | None = None) -> Trained:
    """Train and write ``policies/``, ``learning.json`` and TensorBoard logs under ``folder``.

    Ctrl-C stops the training and still writes what was learnt so far. Where numbers stop being finite (``DivergenceError``),
    the last good policies are written, marked as interrupted, and the error goes on, naming the folder.
    """
    torch.set_num_threads(1)
    classroom = _open_classroom(plan, folder, progress)
    interrupted, diverged = False, None
    try:
        classroom.run()
    except KeyboardInterrupt:
        interrupted = True
    except DivergenceError as error:
        interrupted, diverged = True, error
    names = classroom.roster.names
    if diverged and not set(names) <= set(classroom.last_good.policies):
        raise diverged
    trained = Trained(
        plan=plan,
        policies=dict(classroom.last_good.policies) if diverged else {name: classroom.snapshot(name) for name in names},
        mapping=classroom.roster.mapping,
        learning=classroom.learning,
        interrupted=interrupted,
    )
    save(trained, folder)
    if diverged:
        raise DivergenceError(f"{diverged}; the last good policies are in {folder / 'policies'}") from diverged
    return trained


def save(trained: Trained, folder: Path) -> None:
    """Write the policy files, ``lineup.json`` and ``learning.json``."""
    plan = trained.plan
    card = {
        "algorithm": plan.algorithm,
        "seed": plan.seed,
        "steps": int(trained.learning[-1]["steps"]) if trained.learning else 0,
        "rivals": list(plan.rivals),
        "interrupted": trained.interrupted,
    }
    save_lineup(trained.policies, trained.mapping, folder / "policies", scenario=plan.scenario, training=card)
    write_json(folder / "learning.json", trained.learning)


class Classroom(Protocol):
    """Where a plan's policies learn; made from the plan, the run's folder and whom to tell of progress."""

    roster: Roster
    learning: list[dict[str, float]]
    last_good: LastGood

    def run(self) -> None:
        """Train to the plan's end."""
        ...

    def snapshot(self, name: str) -> ServedPolicy:
        """A policy as it stands, in the runtime that serves it."""
        ...


def _open_classroom(plan: TrainingPlan, folder: Path, progress: Progress | None) -> Classroom:
    if plan.on_device:
        from tribid.agents.device_ppo import DeviceClassroom

        return DeviceClassroom(plan, folder, progress)
    opened: Classroom = ALGORITHMS[plan.algorithm].load()(plan, folder, progress)
    return opened


class _DayEndsTheReturn(VecEnvWrapper):
    """Hides that a day's end is a truncation, so that no value beyond it is bootstrapped.

    What an advertiser maximises is the day's score; budgets and books start anew, and a critic's guess of a next day's
    worth would only add noise.
    """

    def seed(self, seed: int | None = None) -> list[int | None]:
        """The model's seed is for its own draws: the markets keep the seeds that the plan gave them."""
        return [None] * self.num_envs

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        if dones.any():
            for info in infos:
                info.pop("TimeLimit.truncated", None)
        return observations, rewards, dones, infos


class _Pupil(NamedTuple):
    """A policy that learns: its model, its normaliser, and the markets that it learns in."""

    model: BaseAlgorithm
    normal: VecNormalize
    market: FeedAuctionVecEnv


class Sb3Classroom:
    """The policies that learn in one market, each with its model and its rows."""

    def __init__(self, plan: TrainingPlan, folder: Path, progress: Progress | None) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.roster = Roster.of(plan)
        self.pupils: dict[str, _Pupil] = {}
        self.learning: list[dict[str, float]] = []
        self.last_good = LastGood()
        self.done = 0

    def run(self) -> None:
        """All rounds, each policy in its turn."""
        for _ in range(self.plan.rounds):
            for name in self.roster.names:
                self.teach(name)

    def teach(self, name: str) -> None:
        """One round of one policy, the other policies frozen as they stand."""
        first_lesson = name not in self.pupils
        pupil = self._pupil(name)
        pupil.market.rivals = self._others(name)
        if first_lesson and self.plan.warm_start:
            teacher = make_bidder(self.plan.warm_start, self.roster.space)
            ticks = build_world(self.plan.scenario).n_ticks
            imitate(pupil.model, pupil.normal, teacher, days=_TAUGHT_DAYS, ticks=ticks, seed=self.plan.seed)
        steps = max(1, self.plan.steps // self.plan.rounds)
        pupil.model.learn(steps, callback=_Watch(self, steps), reset_num_timesteps=False)

    def snapshot(self, name: str) -> MlpPolicy:
        """The policy as it stands, in the runtime that serves it."""
        pupil = self._pupil(name)
        return export(pupil.model, pupil.normal, space=self.roster.space)

    def _pupil(self, name: str) -> "_Pupil":
        if name not in self.pupils:
            plan = self.plan
            scenario = plan.scenario.with_changes(rules__outcomes=plan.outcomes)
            market = FeedAuctionVecEnv(
                scenario, plan.num_markets, learners=self.roster.rows[name], rivals=self.roster.rivals,
                seed=plan.first_market_seed,
            )  # fmt: skip
            normal = VecNormalize(_DayEndsTheReturn(market), gamma=GAMMA, clip_obs=CLIP_OBSERVATION)
            model = _MAKERS[plan.algorithm](normal, plan)
            if plan.tensorboard:
                model.set_logger(configure(str(self.folder / "tensorboard" / name), ["tensorboard"]))
            self.pupils[name] = _Pupil(model, normal, market)
        return self.pupils[name]

    def _others(self, name: str) -> Lineup:
        bidders: dict[str, Bidder] = dict(self.roster.rivals.bidders)
        drivers = list(self.roster.rivals.mapping)
        for other in self.roster.names:
            if other != name and other in self.pupils:
                bidders[f"policy {other}"] = self.snapshot(other)
                for who in self.roster.rows[other]:
                    drivers[who] = f"policy {other}"
        return Lineup(bidders, drivers)


class _Watch(BaseCallback):
    """Collects the scores of finished days and reports progress once a tick."""

    def __init__(self, classroom: Sb3Classroom, steps: int) -> None:
        super().__init__()
        self.classroom, self.steps, self._scores = classroom, steps, list[float]()
        self._start = classroom.done

    def _on_step(self) -> bool:
        room, plan = self.classroom, self.classroom.plan
        room.done += self.training_env.num_envs
        self._scores += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        mean = float(np.mean(self._scores)) if self._scores else None
        if mean is not None:
            check_finite(room.done, day_score=mean)
            room.learning.append({"steps": room.done, "score": mean})
            self.logger.record("day/score", mean)
            self._scores.clear()
        if room.progress:
            total = plan.steps * len(room.roster.names)
            room.progress(min(room.done, total), total, room.learning[-1]["score"] if room.learning else None)
        return room.done - self._start < self.steps


def _ppo(env: VecNormalize, plan: TrainingPlan) -> BaseAlgorithm:
    ticks = build_world(plan.scenario).n_ticks
    return PPO(
        "MlpPolicy", env, n_steps=ticks, batch_size=_batch(ticks * env.num_envs), n_epochs=EPOCHS, gamma=GAMMA,
        gae_lambda=GAE_LAMBDA, learning_rate=falling(LEARNING_RATE), seed=plan.seed, device="cpu",
        policy_kwargs={"log_std_init": LOG_STD, "net_arch": list(HIDDEN)},
    )  # fmt: skip


def _batch(rollout: int, most: int = 512) -> int:
    """The largest mini-batch of at most ``most`` that divides a rollout."""
    return next(size for size in range(min(most, rollout), 0, -1) if rollout % size == 0)


def _sac(env: VecNormalize, plan: TrainingPlan) -> BaseAlgorithm:
    return SAC(
        "MlpPolicy", env, learning_rate=5e-4, gamma=GAMMA, batch_size=256, buffer_size=200_000,
        learning_starts=min(2000, plan.steps // 10), train_freq=1, gradient_steps=max(1, env.num_envs // 8),
        ent_coef="auto_0.05", seed=plan.seed, device="cpu", policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip


_MAKERS: dict[str, Callable[[VecNormalize, TrainingPlan], BaseAlgorithm]] = {"ppo": _ppo, "sac": _sac}


def falling(start: float) -> Callable[[float], float]:
    """A learning rate that falls linearly to a tenth of its start."""
    return lambda left: start * (0.1 + 0.9 * max(0.0, left))


def export(model: BaseAlgorithm, normal: VecNormalize, *, space: BidderSpace) -> MlpPolicy:
    """The model's mean action, with its observation normaliser, as a policy of the serving runtime."""
    policy: Any = model.policy
    if isinstance(model, PPO):
        layers, hidden, output = [*policy.mlp_extractor.policy_net, policy.action_net], "tanh", "clip"
    else:
        layers, hidden, output = [*policy.actor.latent_pi, policy.actor.mu], "relu", "tanh"
    dense = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    observed: Any = normal.obs_rms
    return MlpPolicy(
        weights=tuple(layer.weight.detach().numpy().astype(np.float32) for layer in dense),
        biases=tuple(layer.bias.detach().numpy().astype(np.float32) for layer in dense),
        mean=np.asarray(observed.mean, np.float32),
        std=np.sqrt(observed.var + normal.epsilon).astype(np.float32),
        clip=CLIP_OBSERVATION,
        activation=hidden,
        output=output,
        space=space,
    )
