"""What comes of messages that are opened, in expectation: clicks and orders of each brand, subscriptions ended."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.envs.journey.memory import Memory
from tribid.envs.journey.messages import odds_of
from tribid.envs.journey.world import Journey
from tribid.envs.market import MarketState
from tribid.envs.world import Day


@dataclass(frozen=True)
class Answers:
    """Expected ``clicks`` and ``orders`` [A] of opened messages, and how many subscriptions they end."""

    clicks: NDArray[np.float64]
    orders: NDArray[np.float64]
    left: float

    @classmethod
    def none(cls, brands: int) -> "Answers":
        """No message."""
        return cls(np.zeros(brands), np.zeros(brands), 0.0)

    def __add__(self, other: "Answers") -> "Answers":
        return Answers(self.clicks + other.clicks, self.orders + other.orders, self.left + other.left)


def answers_of(state: MarketState, memory: Memory, day: Day, tick: int, *, by_hour: float | None = None) -> Answers:
    """Of the messages that ``memory`` holds and that are opened until the tick's start, or ``by_hour``.

    The chances are those with which the market draws what happens, so that the mean over draws is the same.
    """
    brands, world = len(state.advertisers), state.world
    assert isinstance(world, Journey)
    if memory.outbox is None:
        return Answers.none(brands)
    _, opened = memory.outbox.due(world.hour(day.day, tick) if by_hour is None else by_hour)
    if not len(opened.open_hour):
        return Answers.none(brands)
    odds, brand = odds_of(world, memory, day, tick, opened), opened.sent.brand
    clicks, orders = (
        np.bincount(brand, chance, brands).astype(np.float64) for chance in (odds.click, odds.click * odds.order)
    )
    return Answers(clicks, orders, float(odds.leave.sum()))
