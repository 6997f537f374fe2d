"""What PettingZoo's dicts cost: our parallel environment, the same steps with arrays, and an environment that is empty."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from tribid.benchmark.clock import interleaved
from tribid.benchmark.figure import Figure, plain, rate
from tribid.envs import feed_auction_v0, market
from tribid.envs.action import to_multiplier
from tribid.envs.observation import bounds, observe
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import Scenario, load_scenario

AGENTS, TICKS = 48, 48


class EmptyEnv(ParallelEnv[str, NDArray[np.float32], NDArray[np.float32]]):  # type: ignore[misc]
    """A PettingZoo environment in which nothing happens: observations, rewards and flags of 48 agents for so many ticks."""

    metadata = {"name": "empty_v0"}  # noqa: RUF012 - PettingZoo's attribute

    def __init__(self, agents: list[str], ticks: int, segments: int = 1) -> None:
        self.possible_agents = agents
        self.agents: list[str] = []
        self._space = Box(*bounds(segments), dtype=np.float32)
        self._action_space = Box(-1.0, 1.0, (segments,), np.float32)
        self._ticks, self._tick = ticks, 0

    def observation_space(self, agent: str) -> Box:
        """As of the feed."""
        return self._space

    def action_space(self, agent: str) -> Box:
        """As of the feed."""
        return self._action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Start again."""
        self.agents, self._tick = list(self.possible_agents), 0
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Nothing but the five dicts."""
        self._tick += 1
        agents, over = self.agents, self._tick >= self._ticks
        if over:
            self.agents = []
        return (
            self._observations(),
            dict.fromkeys(agents, 0.0),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {agent: {} for agent in agents},
        )

    def _observations(self) -> dict[str, NDArray[np.float32]]:
        shape = self._space.shape
        return {agent: np.zeros(shape, np.float32) for agent in self.possible_agents}


def dict_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``pettingzoo_dicts``: steps of the parallel environment less the same with arrays, over the empty one's."""
    traffic = {"ticks": TICKS, "requests": TICKS, "session_length": 1}
    scenario = load_scenario("feed").with_changes(generated__count=AGENTS, world__traffic=traffic)
    opened = market.reset(scenario, 0)
    names, segments = list(opened.advertisers.names), opened.world.n_segments
    days = 2 if quick else 5
    whole, arrays, empty = interleaved(
        [
            _days(feed_auction_v0.parallel_env(scenario=scenario), segments, days),
            lambda: _days_of_arrays(scenario, segments, days),
            _days(EmptyEnv(names, TICKS, segments), segments, days),
        ],
        repetitions + 4,
    )
    steps = float(AGENTS * TICKS * days)
    more: dict[str, Any] = {"group": "pettingzoo", "clock": "cpu"}
    note = "48 agents, about one impression a tick"
    yield rate("pettingzoo_steps", "PettingZoo parallel env", "agent-steps/s", whole, steps, note=note, **more)
    yield rate(
        "pettingzoo_arrays", "  the same steps with arrays", "agent-steps/s", arrays, steps,
        note="actions to multipliers, market.step, observe, reward", **more,
    )  # fmt: skip
    yield rate("pettingzoo_empty", "  an empty PettingZoo env", "agent-steps/s", empty, steps, note="zeros", **more)
    yield plain(
        "pettingzoo_dicts", "  cost of the dicts over the empty env's step", "x",
        [(a - b) / c for a, b, c in zip(whole, arrays, empty, strict=True)], better="lower", group="pettingzoo",
        note="parallel env less arrays, over the empty env",
    )  # fmt: skip


def _days(env: Any, segments: int, days: int) -> Callable[[], None]:
    action = np.zeros(segments, np.float32)

    def play() -> None:
        for day in range(days):
            env.reset(seed=day)
            while env.agents:
                env.step(dict.fromkeys(env.agents, action))

    return play


def _days_of_arrays(scenario: Scenario, segments: int, days: int) -> None:
    part, actions, most = scenario.reward, np.zeros((AGENTS, segments)), scenario.rules.max_multiplier
    for day in range(days):
        before = market.reset(scenario, day)
        observe(before)
        while not before.done:
            after, _ = market.step(before, to_multiplier(actions, most))
            observe(after)
            REWARDS[part.part](before, after, part)
            before = after
