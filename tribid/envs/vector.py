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
    ``days`` bounds the days of a seed before it starts again (None: never). All markets play their tick in one call, on
    ``threads`` threads, and everything is one array: no row has an object of its own. At a day's end ``dones`` is true,
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
        threads: int = 1,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; allowed is 1 or more")
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
        self._in_order = bool((self.learners == np.arange(len(self.learners))).all())
        self.rivals = rivals or SteadyCrowd(segments)
        self._first_seed, self._days = seed, days
        self._next_day = 0
        self._threads = threads
        self._state = market.reset_many(self.scenario, self._seeds_of_markets(num_markets), [0] * num_markets)
        self._seen = observe(self._state)
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
        return len(self._returns)

    def reset(self) -> NDArray[np.float32]:
        """Open a day in every market; observations [rows, D]."""
        seeds = [seed for seed in self._seeds if seed is not None]
        if seeds:
            self._first_seed = seeds[0]
            self._next_day = 0
        self._reset_seeds()
        self._open()
        self._returns[:] = 0.0
        return self._rows()

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keep the actions [rows, S]."""
        rows = (self.num_envs, self._actions.size // self.num_envs)
        given = checked_actions(actions, rows)
        self._actions = given.reshape(self._actions.shape)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Play one tick in every market."""
        before, most, part = self._state, self.scenario.rules.max_multiplier, self.scenario.reward
        actions = np.empty(before.multipliers.shape)
        if len(self.learners) < len(before.advertisers):
            for m in range(self.num_markets):
                actions[m], self._crowd_states[m] = self.rivals.act(self._seen[m], self._crowd_states[m])
        actions[:, self.learners] = self._actions
        self._state = market.step_many(before, to_multiplier(actions, most), threads=self._threads)
        self._seen = observe(self._state)
        rewards = REWARDS[part.part](before, self._state, part)[:, self.learners].astype(np.float32)
        self._returns += rewards
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        dones = np.full(self.num_envs, self._state.done)
        if self._state.done:
            self._close_day(infos)
        return self._rows(), rewards.ravel(), dones, infos

    def _close_day(self, infos: list[dict[str, Any]]) -> None:
        ticks = self._state.world.n_ticks
        for row, seen, total in zip(infos, self._rows(), self._returns.ravel(), strict=True):
            row["terminal_observation"] = seen.copy()
            row["TimeLimit.truncated"] = True
            row["episode"] = {"r": float(total), "l": ticks, "t": 0.0}
        self._returns[:] = 0.0
        self._open()

    def _open(self) -> None:
        day = self._next_day if self._days is None else self._next_day % self._days
        self._next_day += 1
        count = self.num_markets
        self._state = market.reset_many(self.scenario, self._seeds_of_markets(count), [day] * count)
        self._seen = observe(self._state)
        self._crowd_states = [{} for _ in range(count)]

    def _seeds_of_markets(self, count: int) -> list[int]:
        return [self._first_seed + m for m in range(count)]

    def _rows(self) -> NDArray[np.float32]:
        if len(self.learners) == self._seen.shape[1] and self._in_order:
            return self._seen.reshape(self.num_envs, -1)
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
