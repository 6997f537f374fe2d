"""A market of one number that controllers are tried on: spend in proportion to traffic and to the multiplier."""

from collections.abc import Callable

import numpy as np
import pytest

from tribid.agents.bidder import Bidder, BidderSpace
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index

Course = Callable[[Bidder, float], np.ndarray]


def observation(space: BidderSpace, share: np.ndarray, tick: int, spends: list[float]) -> np.ndarray:
    """What the market would show before a tick, [1, D], after these spends (shares of the budget)."""
    over = spends[-1] / share[tick - 1] - 1.0 if spends else 0.0
    numbers = {
        "time_left": 1.0 - tick / len(share),
        "budget_left": 1.0 - sum(spends),
        "spend_pace": over / (1.0 + abs(over)),
        "traffic_now": min(share[tick] * len(share) / 4.0, 1.0),
        "traffic_after": share[tick + 1 :].sum(),
    }
    seen = np.zeros((1, space.observation_size), np.float32)
    for name, number in numbers.items():
        seen[0, field_index(name, space.segments)] = number
    return seen


@pytest.fixture
def course() -> Course:
    """``course(bidder, needed)``: spend so far minus traffic so far after each tick of a day, [T].

    A tick's spend is its share of traffic times ``multiplier / needed``, never more than what is left: bidding ``needed``
    all day spends exactly with the traffic, the unit bid too much (needed below 1) or too little.
    """

    def play(bidder: Bidder, needed: float) -> np.ndarray:
        space: BidderSpace = bidder.space  # type: ignore[attr-defined]
        hour = np.arange(space.n_ticks) / space.n_ticks
        share = 1.0 + 0.6 * np.sin(2 * np.pi * (hour - 0.4))
        share /= share.sum()
        spends: list[float] = []
        state = None
        for tick in range(space.n_ticks):
            actions, state = bidder.predict(observation(space, share, tick, spends), state)
            multiplier = float(to_multiplier(actions, space.max_multiplier).mean())
            spends.append(min(share[tick] * multiplier / needed, 1.0 - sum(spends)))
        return np.cumsum(spends) - np.cumsum(share)

    return play
