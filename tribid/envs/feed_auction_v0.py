"""The multi-agent environment: ``parallel_env()`` for PettingZoo's parallel API, ``env()`` for AEC.

env = feed_auction_v0.parallel_env(scenario="feed")
observations, infos = env.reset(seed=7)
while env.agents:
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from tribid.envs import market
from tribid.envs.action import checked_actions, to_multiplier
from tribid.envs.observation import bounds, market_view, observe
from tribid.envs.platform import Forecaster
from tribid.envs.render import day_picture, day_text
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import MICROS, Scenario, load_scenario

Actions = dict[str, Any]


class FeedAuction(ParallelEnv[str, NDArray[np.float32], NDArray[np.float32]]):
    """A day of feed auctions among all advertisers of a scenario; one step is one tick (a quarter of an hour in ``feed``).

    | | |
    |---|---|
    | agents | one per advertiser, named as in the scenario; all act in every tick, none leaves before the day's end |
    | action | ``Box(-1, 1, (S,), float32)``: a bid multiplier per user segment on a log scale (``tribid.envs.action``) |
    | observation | ``Box(float32)`` of own money, goals, results and the clock: ``tribid.envs.observation.fields()`` |
    | reward | float, the scenario's ``reward.part`` (``tribid.envs.reward``): by default the tick's gain in score |
    | state | ``state()``: the whole market, ``Box(-1, 1)``, for centralised critics |
    | infos | ``seed``, ``day``, ``tick``, ``exhausted``, ``left_micros``; of the tick: ``spend_micros`` and events |
    | end | after the scenario's last tick every agent is truncated; nothing terminates |

    **Infos.** Per agent; the tick's events are ``clicks``, ``conversions`` and, unless ``rules.feedback`` is none,
    ``wins``; absent after ``reset``.

    **Budgets.** An advertiser that has run out (less left than the reserve, or nothing) stays in ``agents``; its bid is
    forced to zero, and ``infos[agent]["exhausted"]`` is true.

    **Chance.** ``reset(seed=s)`` opens day 0 of seed s, ``reset()`` the next day of the same seed, and
    ``options={"day": d}`` a given one. A day is a pure function of scenario, seed, day and actions.

    **Arguments.** ``scenario``: a name, a YAML path or a ``Scenario``. ``forecaster``: predictions in place of the
    scenario's. ``render_mode``: ``"ansi"`` (text) or ``"rgb_array"`` (the day's pacing as a picture).

    **Version history.** v0: first version.
    """

    metadata = {"name": "feed_auction_v0", "render_modes": ["ansi", "rgb_array"], "is_parallelizable": True}  # noqa: RUF012 - PettingZoo's attribute

    def __init__(
        self,
        scenario: str | Path | Scenario = "feed",
        *,
        forecaster: Forecaster | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi", "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; allowed are 'ansi', 'rgb_array' and None")
        self.scenario = load_scenario(scenario)
        self.render_mode = render_mode
        self._forecaster = forecaster
        self._seed, self._day = 0, -1
        self._seeded = False
        opened = market.reset(self.scenario, 0)
        self.possible_agents = list(opened.advertisers.names)
        self._names = set(self.possible_agents)
        self.agents: list[str] = []
        self._state: market.MarketState | None = None
        self._ticks: list[market.Ledger] = []
        segments = opened.world.n_segments
        seen = Box(*bounds(segments), dtype=np.float32)
        acted = Box(-1.0, 1.0, (segments,), np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        self.action_spaces = dict.fromkeys(self.possible_agents, acted)
        self.state_space = Box(-1.0, 1.0, market_view(opened).shape, np.float32)

    def observation_space(self, agent: str) -> Box:
        """The same space for every agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """The same space for every agent."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Open a day: day 0 of ``seed``; without one the next day of the last seed; or ``options["day"]``."""
        fresh = seed is not None or not self._seeded
        if seed is None:
            seed = self._seed if self._seeded else int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 1)
        day = (options or {}).get("day", 0 if fresh else self._day + 1)
        self._state = market.reset(self.scenario, seed, day, forecaster=self._forecaster)
        self._seed, self._day, self._seeded = seed, day, True
        self._ticks = []
        self.agents = list(self.possible_agents)
        return self._observations(), self._infos(None)

    def step(self, actions: Actions) -> tuple[Any, Any, Any, Any, Any]:
        """Play one tick with an action for every agent."""
        before = self._running()
        chosen = to_multiplier(self._checked(actions), self.scenario.rules.max_multiplier)
        after, _ = market.step(before, chosen)
        self._state = after
        self._ticks.append(after.recent[0])
        rewards = REWARDS[self.scenario.reward.part](before, after, self.scenario.reward)
        agents = self.agents
        if after.done:
            self.agents = []
        return (
            self._observations(),
            dict(zip(agents, rewards.tolist(), strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, after.done),
            self._infos(after.recent[0]),
        )

    def state(self) -> NDArray[np.float32]:
        """The whole market, float32, in ``state_space``."""
        return market_view(self._opened())

    @property
    def market_state(self) -> market.MarketState:
        """The market behind the environment, for evaluation and rendering; never changed in place."""
        return self._opened()

    def render(self) -> str | NDArray[np.uint8] | None:
        """The day so far, as text or as a picture of each advertiser's spend against the traffic plan."""
        if self.render_mode is None:
            return None
        return (day_text if self.render_mode == "ansi" else day_picture)(self._opened(), self._ticks)

    def close(self) -> None:
        """Nothing is held open."""

    def _opened(self) -> market.MarketState:
        if self._state is None:
            raise ValueError("the environment has no day yet; call reset() first")
        return self._state

    def _running(self) -> market.MarketState:
        state = self._opened()
        if state.done:
            raise ValueError("the day has ended (every agent was truncated); call reset() for another")
        return state

    def _checked(self, actions: Actions) -> NDArray[np.float64]:
        if actions.keys() != self._names:
            missing, unknown = sorted(set(self.agents) - set(actions)), sorted(set(actions) - set(self.agents))
            raise ValueError(
                f"actions lack {missing} and name unknown {unknown}; allowed is one for each of {self.agents}"
            )
        given = [actions[agent] for agent in self.agents]
        shape = self.action_spaces[self.agents[0]].shape
        if not all(type(action) is np.ndarray and action.shape == shape for action in given):
            for agent, action in zip(self.agents, given, strict=True):
                if np.shape(action) != shape:
                    raise ValueError(f"action of {agent} has shape {np.shape(action)}; allowed is {shape}")
            given = [np.asarray(action) for action in given]
        return checked_actions(np.concatenate(given).reshape(-1, *shape), (len(given), *shape), self.agents)

    def _observations(self) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self.possible_agents, observe(self._opened()), strict=True))

    def _infos(self, ledger: market.Ledger | None) -> dict[str, dict[str, Any]]:
        state, seed, day = self._opened(), self._seed, self._day
        floor, tick, left = max(1, round(self.scenario.rules.reserve * MICROS)), state.tick, state.left_micros.tolist()
        if ledger is None:
            return {
                agent: {"seed": seed, "day": day, "tick": tick, "left_micros": own, "exhausted": own < floor}
                for agent, own in zip(self.possible_agents, left, strict=True)
            }
        counts = ledger.counts
        columns = (ledger.spend_micros.tolist(), counts.clicks.tolist(), counts.conversions.tolist())
        infos: dict[str, dict[str, Any]] = {
            agent: {
                "seed": seed, "day": day, "tick": tick, "left_micros": own, "exhausted": own < floor,
                "spend_micros": spend, "clicks": clicks, "conversions": conversions,
            }
            for agent, own, spend, clicks, conversions in zip(self.possible_agents, left, *columns, strict=True)
        }  # fmt: skip
        if self.scenario.rules.feedback != "none":
            for info, wins in zip(infos.values(), counts.wins.tolist(), strict=True):
                info["wins"] = wins
        return infos


def parallel_env(scenario: str | Path | Scenario = "feed", **arguments: Any) -> FeedAuction:
    """The environment in PettingZoo's parallel API; arguments as ``FeedAuction``."""
    return FeedAuction(scenario, **arguments)


def env(scenario: str | Path | Scenario = "feed", **arguments: Any) -> AECEnv[str, Any, Any]:
    """The environment in PettingZoo's AEC API: agents act in turn, a tick is played after the last one."""
    return parallel_to_aec(FeedAuction(scenario, **arguments))


raw_env = env
"""PettingZoo's name for an environment without wrappers: ours needs none."""
