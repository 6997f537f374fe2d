"""What a brand can see of the market on a morning, as numbers in [0, 1] or near it: its observation."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.market import ChannelState, DayRecord, budget_micros
from tribid.envs.stages import STAGES

FEATURE_NAMES = (
    "days_left", *(f"stage_{stage}" for stage in STAGES), "weariness",
    *(f"{what}_{channel}" for what in ("unsubscribed", "charged", "credited") for channel in CHANNELS),
)  # fmt: skip
"""What each number is, by its index, see ``features_of``."""

FEATURES = len(FEATURE_NAMES)
"""Their number."""


def features_of(state: ChannelState, yesterday: DayRecord | None, brand: int) -> NDArray[np.float32]:
    """Float32 [FEATURES], each cut to 0 to 10, in the order of ``FEATURE_NAMES``.

    The share of days left; the share of consumers in each stage with the brand; their mean weariness; then by channel the
    share of consumers who unsubscribed, the share of the budget that yesterday charged, and a tenth of yesterday's linear
    credit (0 on the first morning).
    """
    config, memory = state.config, state.memory
    stages = np.bincount(memory.stage[:, brand], minlength=len(STAGES)) / config.users
    charged = credit = np.zeros(len(CHANNELS))
    if yesterday is not None:
        charged = yesterday.charged_micros[brand] / max(budget_micros(config), 1)
        credit = yesterday.linear[brand] / 10.0
    parts = [
        [1.0 - state.day / config.days], stages, [memory.weary[:, brand].mean()], state.outbox.gone[:, brand].mean(axis=0),
        charged, credit,
    ]  # fmt: skip
    return np.concatenate(parts).clip(0.0, 10.0).astype(np.float32)
