"""Who splits a day's budget over channels: the interface, and the rules that need no model."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Seen(NamedTuple):
    """What is known on the morning of day ``day`` of ``days``; ``features`` float32 [F] or empty."""

    day: int
    days: int
    budget_micros: int
    features: NDArray[np.float32]


class Splitter(Protocol):
    """Splits a budget each morning and hears each evening what is credited to the channels."""

    def split(self, seen: Seen) -> Ints:
        """Money for each channel [C], whole micros, together never more than the budget."""
        ...

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """The day's split and the value that an attribution credits to each channel, [C]."""
        ...


def whole(share: ArrayLike, budget_micros: int) -> Ints:
    """Shares [C] of a budget in whole micros, rounded down; shares of 0 or more that sum to 1, or less.

    >>> whole([0.5, 0.5], 3).tolist()
    [1, 1]
    """
    parts = np.asarray(share, np.float64)
    if parts.ndim != 1 or not (parts >= 0).all() or parts.sum() > 1.0 + 1e-9:
        raise ValueError(f"share is {parts.tolist()}; allowed are numbers of 0 or more that sum to 1 or less")
    money: Ints = np.floor(parts * budget_micros).astype(np.int64)
    while money.sum() > budget_micros:  # shares that sum to a hair more than 1
        money[money.argmax()] -= 1
    return money


class FixedSplit:
    """The same shares [C] every day; ``FixedSplit.equal(C)`` gives each channel the same."""

    def __init__(self, share: ArrayLike) -> None:
        self.share = np.asarray(share, np.float64)
        whole(self.share, 0)

    @classmethod
    def equal(cls, channels: int) -> "FixedSplit":
        """Each channel gets the same."""
        return cls(np.full(channels, 1.0 / channels))

    def split(self, seen: Seen) -> Ints:
        """The shares of today's budget."""
        return whole(self.share, seen.budget_micros)

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """Nothing."""


class ReturnSplit:
    """In proportion to what has been credited to each channel, per unit of money that it had: the planner's habit.

    The credit is whatever the caller attributes, last touch or linear. ``weight`` days' worth of equal credit are
    believed beforehand; no channel falls below ``least`` of the budget, so that every one goes on being measured.
    """

    def __init__(self, channels: int, *, weight: float = 2.0, least: float = 0.05) -> None:
        if weight <= 0 or not 0 <= least <= 1 / channels:
            raise ValueError(
                f"weight is {weight}, least {least}; allowed are weights above 0, least up to {1 / channels:g}"
            )
        self.weight, self.least = weight, least
        self._value, self._money, self._days = np.zeros(channels), np.zeros(channels), 0

    def split(self, seen: Seen) -> Ints:
        """Shares by credited return."""
        channels = len(self._value)
        if not self._value.any():
            return whole(np.full(channels, 1.0 / channels), seen.budget_micros)
        usual, each = self._value.sum() / self._days / channels, self._money.sum() / self._days / channels
        rate = (self._value + self.weight * usual) / np.maximum(self._money + self.weight * each, 1.0)
        share = self.least + (1.0 - channels * self.least) * rate / rate.sum()
        return whole(share, seen.budget_micros)

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """Add the day."""
        self._value += value
        self._money += split_micros
        self._days += 1
