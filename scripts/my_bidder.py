"""A bidder of one's own in one file: it spends faster where it wins little, and slower where it wins much.

    tribid evaluate --own scripts/my_bidder.py --bidders pid,win_keeper
    tribid bench-bidders quick --own scripts/my_bidder.py

The class answers observations [n, D] with actions [n, S] and carries its own state; ``BIDDERS`` names it. Every file given
with ``--own`` is checked first (``tribid.agents.testing.check_bidder``).
"""

from typing import Any

import numpy as np

from tribid.agents import BidderSpace
from tribid.agents.bidder import Actions, fresh_rows
from tribid.envs.observation import field_index


class WinKeeper:
    """Keeps the win rate of the last tick near ``wanted``: the multiplier rises by a tenth below it and falls above."""

    def __init__(self, space: BidderSpace, wanted: float = 0.25) -> None:
        self.space, self.wanted = space, wanted
        self._win_rate = field_index("win_rate_last_tick", space.segments)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Any]:
        """Actions, and the multipliers [n] to go on from."""
        seen = self.space.rows(observation)
        moved = np.ones(len(seen))
        if state is not None:
            step = np.where(seen[:, self._win_rate] < self.wanted, 1.1, 1 / 1.1)
            moved = np.where(fresh_rows(episode_start, len(seen)), 1.0, np.clip(state * step, 0.05, 4.0))
        return self.space.actions(moved, len(seen)), moved


BIDDERS = {"win_keeper": WinKeeper}
