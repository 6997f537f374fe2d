"""Whoever drives the advertisers that an environment's caller does not: one method, no knowledge of what is behind it."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Crowd(Protocol):
    """Acts for every advertiser of a market; an environment takes the rows that it needs."""

    def act(self, observations: NDArray[np.float32], states: dict[str, Any]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Actions [A, S] in [-1, 1] for observations [A, D], and the states to hand in next tick ({} at day's start)."""
        ...


class SteadyCrowd:
    """Everybody bids its unit bid: action 0, multiplier 1."""

    def __init__(self, segments: int = 1) -> None:
        self.segments = segments

    def act(self, observations: NDArray[np.float32], states: dict[str, Any]) -> tuple[NDArray[Any], dict[str, Any]]:
        """Zeros."""
        return np.zeros((len(observations), self.segments), np.float32), {}
