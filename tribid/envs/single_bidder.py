"""One learner in a market of fixed rivals, or on a replayed log, in Gymnasium's API."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tribid.envs import market
from tribid.envs.action import checked_actions, to_multiplier
from tribid.envs.crowd import Crowd, SteadyCrowd
from tribid.envs.observation import bounds, observe
from tribid.envs.render import day_picture, day_text
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import Scenario, load_scenario


class SingleBidder(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A day of auctions seen by one advertiser; action, observation, reward and days as in ``FeedAuction``.

    ``scenario``: a name, a YAML path or a ``Scenario`` (a replay among them). ``advertiser``: a name or an index.
    ``rivals``: whoever drives the others (``Crowd``); left out, they bid their unit bids. The end of a day is a
    truncation. ``info`` holds ``seed``, ``day``, ``tick``, ``left_micros`` and ``spend_micros``.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's attribute

    def __init__(
        self,
        scenario: str | Path | Scenario = "feed",
        *,
        advertiser: str | int = 0,
        rivals: Crowd | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi", "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; allowed are 'ansi', 'rgb_array' and None")
        self.scenario = load_scenario(scenario)
        self.render_mode = render_mode
        opened = market.reset(self.scenario, 0)
        self.advertiser = _place(advertiser, opened.advertisers.names)
        segments = opened.world.n_segments
        self.rivals = rivals or SteadyCrowd(segments)
        self.observation_space = Box(*bounds(segments), dtype=np.float32)
        self.action_space = Box(-1.0, 1.0, (segments,), np.float32)
        self._seed, self._day = 0, -1
        self._state: market.MarketState | None = None
        self._seen = observe(opened)
        self._rival_states: dict[str, Any] = {}
        self._ledgers: list[market.Ledger] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Open a day: day 0 of ``seed``; without one the next day of the last seed; or ``options["day"]``."""
        fresh = seed is not None or self._state is None
        first = seed if seed is not None else int(self.np_random.integers(2**63 - 1)) if fresh else self._seed
        day = (options or {}).get("day", 0 if fresh else self._day + 1)
        self._state = market.reset(self.scenario, first, day)
        super().reset(seed=seed)
        self._seed, self._day = first, day
        self._seen, self._rival_states, self._ledgers = observe(self._state), {}, []
        return self._seen[self.advertiser].copy(), self._info(0)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play one tick."""
        before = self._running()
        shape = self.action_space.shape
        if np.shape(action) != shape:
            raise ValueError(f"action has shape {np.shape(action)}; allowed is {shape}")
        name = before.advertisers.names[self.advertiser]
        own = checked_actions(np.asarray(action)[None], (1, *(shape or ())), (name,))[0]
        crowd, self._rival_states = self.rivals.act(self._seen, self._rival_states)
        actions = np.array(crowd, np.float64)
        actions[self.advertiser] = own
        after, _ = market.step(before, to_multiplier(actions, self.scenario.rules.max_multiplier))
        self._state, self._seen = after, observe(after)
        self._ledgers.append(after.recent[0])
        reward = REWARDS[self.scenario.reward.part](before, after, self.scenario.reward)[self.advertiser]
        info = self._info(int(after.recent[0].spend_micros[self.advertiser]))
        return self._seen[self.advertiser].copy(), float(reward), False, after.done, info

    def render(self) -> Any:
        """The day so far, as text or as a picture."""
        if self.render_mode is None:
            return None
        if self._state is None:
            raise ValueError("the environment has no day yet; call reset() first")
        return (day_text if self.render_mode == "ansi" else day_picture)(self._state, self._ledgers)

    @property
    def market_state(self) -> market.MarketState:
        """The market behind the environment, for evaluation."""
        if self._state is None:
            raise ValueError("the environment has no day yet; call reset() first")
        return self._state

    def _running(self) -> market.MarketState:
        state = self.market_state
        if state.done:
            raise ValueError("the day has ended (truncated); call reset() for another")
        return state

    def _info(self, spend: int) -> dict[str, Any]:
        state = self.market_state
        left = int(state.left_micros[self.advertiser])
        return {"seed": self._seed, "day": self._day, "tick": state.tick, "left_micros": left, "spend_micros": spend}


def _place(advertiser: str | int, names: tuple[str, ...]) -> int:
    if isinstance(advertiser, str) and advertiser in names:
        return names.index(advertiser)
    if isinstance(advertiser, int) and not isinstance(advertiser, bool) and 0 <= advertiser < len(names):
        return advertiser
    raise ValueError(f"advertiser is {advertiser!r}; allowed is an index from 0 to {len(names) - 1} or one of {names}")
