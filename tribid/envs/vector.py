"""Arrays in, arrays out, for Stable-Baselines3: all learning advertisers of many markets as one batch of environments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError("FeedAuctionVecEnv needs Stable-Baselines3: pip install 'tribid[train]'") from error

from tribid.envs import market
from tribid.envs.action import checked_actions, to_multiplier
from tribid.envs.crowd import Crowd, SteadyCrowd
from tribid.envs.observation import bounds, observe
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import Scenario, load_scenario


class FeedAuctionVecEnv(VecEnv):
    """``num_markets`` independent days in step, each with the same learning advertisers; row = market * learners + learner.

    One shared policy over the rows is parameter sharing. ``learners`` (indices) act through this environment, all
    others are driven by ``rivals``. Market m opens day 0 of seed ``seed + m`` and goes on with its next day by itself;
    ``days`` bounds the days of a seed before it starts again (None: never). At a day's end ``dones`` is true,
    ``infos[row]`` holds ``terminal_observation`` and ``TimeLimit.truncated = True`` (a day is cut off, it does not
    terminate), and the observation returned is the next day's first, as SB3's environments do it.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario = "feed",
        num_markets: int = 1,
        *,
        learners: Sequence[int] | None = None,
        rivals: Crowd | None = None,
        seed: int = 0,
        days: int | None = None,
    ) -> None:
        if num_markets < 1:
            raise ValueError(f"num_markets is {num_markets}; allowed is 1 or more")
        self.scenario = load_scenario(scenario)
        opened = market.reset(self.scenario, seed)
        n, segments = len(opened.advertisers), opened.world.n_segments
        self.learners = np.arange(n) if learners is None else np.asarray(learners, np.int64)
        if len(self.learners) == 0 or self.learners.min() < 0 or self.learners.max() >= n:
            raise ValueError(
                f"learners are {self.learners.tolist()}; allowed are one or more indices from 0 to {n - 1}"
            )
        if len(set(self.learners.tolist())) < len(self.learners) or (days is not None and days < 1):
            raise ValueError(
                f"learners are {self.learners.tolist()}, days {days}; allowed is each learner once, days from 1"
            )
        self.rivals = rivals or SteadyCrowd(segments)
        self._first_seed, self._days = seed, days
        self._next_day = [0] * num_markets
        self._states = [opened] * num_markets
        self._seen = np.stack([observe(opened)] * num_markets)
        self._crowd_states: list[dict[str, Any]] = [{} for _ in range(num_markets)]
        self._actions = np.zeros((num_markets, len(self.learners), segments))
        self._returns = np.zeros((num_markets, len(self.learners)))
        super().__init__(
            num_markets * len(self.learners),
            Box(*bounds(segments), dtype=np.float32),
            Box(-1.0, 1.0, (segments,), np.float32),
        )

    @property
    def num_markets(self) -> int:
        """How many days run side by side."""
        return len(self._states)

    def reset(self) -> NDArray[np.float32]:
        """Open a day in every market; observations [rows, D]."""
        seeds = [seed for seed in self._seeds if seed is not None]
        if seeds:
            self._first_seed = seeds[0]
            self._next_day = [0] * self.num_markets
        self._reset_seeds()
        for m in range(self.num_markets):
            self._open(m)
        self._returns[:] = 0.0
        return self._rows()

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keep the actions [rows, S]."""
        rows = (self.num_envs, self._actions.shape[2])
        given = checked_actions(actions, rows, tuple(f"row {row}" for row in range(self.num_envs)))
        self._actions = given.reshape(self._actions.shape)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Play one tick in every market."""
        rewards = np.empty((self.num_markets, len(self.learners)), np.float32)
        dones = np.zeros((self.num_markets, len(self.learners)), np.bool_)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        most, part = self.scenario.rules.max_multiplier, self.scenario.reward
        for m, before in enumerate(self._states):
            crowd, self._crowd_states[m] = self.rivals.act(self._seen[m], self._crowd_states[m])
            actions = np.array(crowd, np.float64)
            actions[self.learners] = self._actions[m]
            after, _ = market.step(before, to_multiplier(actions, most))
            rewards[m] = REWARDS[part.part](before, after, part)[self.learners]
            self._states[m], self._seen[m] = after, observe(after)
            self._returns[m] += rewards[m]
            if after.done:
                dones[m] = True
                self._close_day(m, infos)
        return self._rows(), rewards.ravel(), dones.ravel(), infos

    def _close_day(self, m: int, infos: list[dict[str, Any]]) -> None:
        ticks = self._states[m].world.n_ticks
        for k, learner in enumerate(self.learners):
            infos[m * len(self.learners) + k].update(
                {
                    "terminal_observation": self._seen[m, learner].copy(),
                    "TimeLimit.truncated": True,
                    "episode": {"r": float(self._returns[m, k]), "l": ticks, "t": 0.0},
                }
            )
        self._returns[m] = 0.0
        self._open(m)

    def _open(self, m: int) -> None:
        day = self._next_day[m] if self._days is None else self._next_day[m] % self._days
        self._next_day[m] += 1
        self._states[m] = market.reset(self.scenario, self._first_seed + m, day)
        self._seen[m] = observe(self._states[m])
        self._crowd_states[m] = {}

    def _rows(self) -> NDArray[np.float32]:
        return self._seen[:, self.learners].reshape(self.num_envs, -1)

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's own attribute, once per row."""
        return [getattr(self, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Rows have no attributes of their own."""
        raise AttributeError(f"rows of FeedAuctionVecEnv have no attribute of their own to set ({attr_name})")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Rows have no methods of their own."""
        raise AttributeError(f"rows of FeedAuctionVecEnv have no method of their own ({method_name})")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No row is wrapped."""
        return [False] * len(list(self._get_indices(indices)))
