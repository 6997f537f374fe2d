"""Paths: the touches of one consumer with one brand on the way to an order, or to none.

Of each user and brand, touches and orders are put in order of time. These rules are ours:

* An order ends a path; later touches start a new one. So every order has one path, and an order without a touch since the
  order before has an empty one: nobody is credited with it, it counts as direct.
* A touch at the same instant as an order comes before it: of a click and the order it led to, both of one tick, the click
  is credited. Of several orders at one instant the one that is first in the log has the touches. Touches of one instant
  keep the log's order.
* Touches older than the lookback window before their order led to no order: they are a path of their own, not converted.
* What is left after the last order is a path that has not converted; the window says nothing of it.

So each touch of the log is on exactly one path. Paths never cross brands, since an order of a brand belongs to that brand
alone: rules of credit differ in which channel, scene, day or campaign of that brand they credit, and in whether views count
(``Touches.of``), never in who sold.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.touches import Orders, Touches

LOOKBACK_HOURS = 720.0
"""How far back from an order touches are credited unless one says otherwise: 30 days."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """P paths over n touches; path p has touches ``first[p]`` to ``first[p + 1] - 1``, oldest first.

    Of touches, [n]: ``touch`` is the row in the log; ``time_hours``, ``channel`` and ``event`` are its columns. Of paths,
    [P]: ``user``, ``brand``, ``converted``, ``order`` (row in the log of orders; -1 without one), ``end_hours`` (the order's
    time, else the last touch's) and ``value`` (the order's, else 0). Paths are in order of user, brand and time.
    """

    first: NDArray[np.int64]
    touch: NDArray[np.int64]
    time_hours: NDArray[np.float64]
    channel: NDArray[np.int64]
    event: NDArray[np.int64]
    user: NDArray[np.int64]
    brand: NDArray[np.int64]
    converted: NDArray[np.bool_]
    order: NDArray[np.int64]
    end_hours: NDArray[np.float64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def length(self) -> NDArray[np.int64]:
        """How many touches each path has, [P]."""
        return np.diff(self.first)

    @cached_property
    def path(self) -> NDArray[np.int64]:
        """The path of each touch, [n]."""
        return np.repeat(np.arange(len(self)), self.length)

    @cached_property
    def credited(self) -> NDArray[np.bool_]:
        """Which touches [n] led to an order."""
        return self.converted[self.path]

    @cached_property
    def direct(self) -> NDArray[np.bool_]:
        """Which paths [P] are orders that no touch led to."""
        direct: NDArray[np.bool_] = self.converted & (self.length == 0)
        return direct


def build_paths(touches: Touches, orders: Orders, *, lookback_hours: float = LOOKBACK_HOURS) -> Paths:
    """The paths of a log; ``ValueError`` for a lookback that is not positive (infinity is allowed).

    >>> touches = Touches(user=[1, 1, 1], brand=[0, 0, 0], time_hours=[0.0, 5.0, 9.0], channel=[0, 1, 0], event=[2, 2, 2])
    >>> paths = build_paths(touches, Orders(user=[1], brand=[0], time_hours=[5.0], value=[30.0]))
    >>> paths.first.tolist(), paths.converted.tolist()
    ([0, 2, 3], [True, False])
    """
    if not lookback_hours > 0:
        raise ValueError(f"lookback_hours is {lookback_hours!r}; allowed are positive numbers")
    n = len(touches)
    user, brand = np.r_[touches.user, orders.user], np.r_[touches.brand, orders.brand]
    time = np.r_[touches.time_hours, orders.time_hours]
    is_order = np.arange(len(user)) >= n
    rows = np.lexsort((is_order, time, brand, user))  # stable: what is alike keeps the log's order
    user, brand, time, is_order = user[rows], brand[rows], time[rows], is_order[rows]

    turn = np.ones(len(rows), np.bool_)
    turn[1:] = (user[1:] != user[:-1]) | (brand[1:] != brand[:-1]) | is_order[:-1]
    ends = np.r_[turn[1:], True][: len(rows)]
    stretch = np.cumsum(turn) - 1
    to_order = is_order[ends][stretch]
    expired = to_order & ~is_order & (time[ends][stretch] - time > lookback_hours)
    start = turn.copy()
    start[1:] |= expired[:-1] & ~expired[1:]
    last = np.flatnonzero(np.r_[start[1:], True][: len(rows)])

    of_touch = rows[~is_order]
    length = np.bincount(np.cumsum(start)[~is_order] - 1, minlength=len(last))
    order = np.where(is_order[last], rows[last] - n, -1)
    value = np.r_[orders.value, 0.0][order]  # -1 takes the 0 behind the end
    return Paths(
        first=np.r_[0, np.cumsum(length)],
        touch=of_touch,
        time_hours=touches.time_hours[of_touch],
        channel=touches.channel[of_touch],
        event=touches.event[of_touch],
        user=user[last],
        brand=brand[last],
        converted=is_order[last],
        order=order,
        end_hours=time[last],
        value=value,
    )
