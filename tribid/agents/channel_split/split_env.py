"""The split of a brand's days as a Gymnasium environment."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tribid.agents.channel_split.features import FEATURES
from tribid.agents.channel_split.play import LEARNER, seen_of, with_rivals
from tribid.agents.channel_split.splitter import Floats, whole
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.market import ChannelState, open_world, play_day
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.given import check_whole, is_number

SHARPNESS = 3.0


def shares_of(action: NDArray[np.float32] | Floats, payable: NDArray[np.bool_]) -> Floats:
    """Shares [C] of an action in [-1, 1]^C: a softmax of three times the action; channels with own money get nothing.

    >>> shares_of(np.zeros(2), np.array([True, True])).tolist()
    [0.5, 0.5]
    """
    given = np.asarray(action)
    if given.shape != payable.shape or given.dtype.kind not in "iuf" or np.isnan(given).any():
        raise ValueError(f"action is {action!r:.80}; allowed are {len(payable)} numbers, one for each channel")
    scores = SHARPNESS * np.clip(given.astype(np.float64), -1.0, 1.0)
    weight = np.where(payable, np.exp(scores - scores.max()), 0.0)
    return np.asarray(weight / max(float(weight.sum()), 1e-300))


class ChannelSplit(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Version 0. One brand's days in the multi-channel market; the other brands split equally.

    Action: Box [-1, 1]^4, one number a channel, see ``shares_of``; the whole budget is offered each day. Observation:
    ``tribid.agents.channel_split.features``. Reward: the day's orders times ``1 / scale``. The last day truncates.
    ``info`` holds the ``seed`` after a reset, and ``orders`` and ``charged_micros`` of the day after a step.
    ``reset(seed=s)`` plays seed ``s``; without one the next seed after it.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's attribute

    def __init__(self, config: ChannelWorldConfig | None = None, *, scale: float = 5.0) -> None:
        if config is not None and not isinstance(config, ChannelWorldConfig):
            raise ValueError(f"config is {config!r:.80}; allowed is a ChannelWorldConfig, or None for the default one")
        if not is_number(scale) or scale <= 0.0:
            raise ValueError(f"scale is {scale!r:.80}; allowed is a finite number above 0")
        self.config, self.scale = config or ChannelWorldConfig(), scale
        self.observation_space = Box(0.0, 10.0, (FEATURES,), np.float32)
        self.action_space = Box(-1.0, 1.0, (len(CHANNELS),), np.float32)
        self.payable = np.array([channel.paid_from == "advertiser" for channel in self.config.channels])
        self._seed = -1
        self._state: ChannelState | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The first morning of a seed."""
        if seed is not None:
            check_whole("seed", seed, 2**63)
            seed = int(seed)  # Gymnasium takes Python's alone
        super().reset(seed=seed)
        self._seed = self._seed + 1 if seed is None else seed
        self._state = open_world(self.config, self._seed)
        return seen_of(self._state, None).features, {"seed": self._seed}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:  # fmt: skip
        """One day."""
        if self._state is None:
            raise ValueError("step before reset; reset the environment first")
        split = whole(shares_of(action, self.payable), seen_of(self._state, None).budget_micros)
        self._state, record = play_day(self._state, with_rivals(self.config, split))
        orders = float(record.orders[LEARNER].sum())
        info = {"orders": orders, "charged_micros": int(record.charged_micros[LEARNER].sum())}
        return seen_of(self._state, record).features, orders / self.scale, False, self._state.done, info
