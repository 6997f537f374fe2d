"""What touches cost, in whole micros: a price of one touch, and the auction channels' price that rises with demand. Ours.

An auction channel has ``supply`` exposures a tick. Buyers say what they would spend; all pay one price, at which what is
bought together is just paid for: ``price(x) = base * (1 + rise * x / supply)`` with ``x`` the exposures bought. The more
money comes, the fewer exposures a unit of it buys: the return of an auction channel falls by itself.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.config import Channel
from tribid.envs.scenario import MICROS


class Bought(NamedTuple):
    """The price of one touch, and how many of them each buyer gets, ``touches`` [A]."""

    price_micros: int
    touches: NDArray[np.int64]


def unit_micros(channel: Channel) -> int:
    """What one touch costs (pricing ``click``: one click; ``auction``: while nobody else buys), rounded up to a micro.

    >>> unit_micros(Channel(pricing="mille", cost=2.5)), unit_micros(Channel(pricing="message", cost=0.002))
    (2500, 2000)
    """
    per_unit = channel.cost / (1000 if channel.pricing in ("auction", "mille") else 1)
    return math.ceil(round(per_unit * MICROS, 6))


def buy(channel: Channel, money_micros: NDArray[np.int64], supply: int) -> Bought:
    """What each buyer's money [A] buys of ``supply`` exposures or messages in one tick.

    ``touches * price`` never exceeds the money. A price of 0 gives everybody with any money the whole supply.

    >>> buy(Channel(pricing="auction", cost=1.0, price_rise=0.0), np.array([5_000]), 100).touches.tolist()
    [5]
    >>> buy(Channel(pricing="auction", cost=1.0, price_rise=2.0), np.array([4_000, 4_000]), 8)
    Bought(price_micros=2000, touches=array([2, 2]))
    """
    base = unit_micros(channel)
    price = _risen(base, channel.price_rise, int(money_micros.sum()), supply) if channel.pricing == "auction" else base
    if price == 0 or supply == 0:
        return Bought(price, np.where(money_micros > 0, supply, 0).astype(np.int64))
    return Bought(price, np.minimum(money_micros // price, supply))


def _risen(base: int, rise: float, money: int, supply: int) -> int:
    """The price at which the money buys what makes it: by the root of ``x * base * (1 + rise * x / supply) = money``."""
    if rise == 0 or supply == 0 or base == 0 or money == 0:
        return base
    bend = rise / supply
    bought = 2.0 * money / base / (1.0 + math.sqrt(1.0 + 4.0 * bend * money / base))  # no difference of nearly equals
    return math.ceil(round(base * (1.0 + bend * bought), 6))
