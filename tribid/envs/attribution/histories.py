"""Touches and orders out of what the simulators keep: a shop's histories, and the log of a journey's memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.behaviour import KINDS, PastEvents
from tribid.envs.journey.memory import Touches as JourneyTouches
from tribid.envs.stages import Event

_EVENT_OF_KIND = np.array(
    [{"view": Event.VIEW, "favourite": Event.FAVOURITE, "cart": Event.CART}.get(k, -1) for k in KINDS]
)


class TouchesAndOrders(NamedTuple):
    """A log, as attribution reads it."""

    touches: Touches
    orders: Orders


def of_histories(past: PastEvents, user: NDArray[np.int64]) -> TouchesAndOrders:
    """The histories of users [B] in a shop, a "brand" being a category: behaviour of view, favourite and cart, and orders.

    Hours count back from the day's start, so they are negative. Channel is 0, and an order is worth 1.
    """
    there = past.item >= 0
    row, _ = np.nonzero(there)
    who, what = user[row], past.kind[there]
    brand, hours = past.category[there].astype(np.int64), -24.0 * past.age_days[there].astype(np.float64)
    bought = what == KINDS.index("order")
    event = _EVENT_OF_KIND[what]
    touched = ~bought
    return TouchesAndOrders(
        Touches(
            user=who[touched], brand=brand[touched], time_hours=hours[touched], event=event[touched],
            channel=np.zeros(touched.sum(), np.int64),
        ),
        Orders(user=who[bought], brand=brand[bought], time_hours=hours[bought], value=np.ones(bought.sum())),
    )  # fmt: skip


def of_journey(log: JourneyTouches, price: NDArray[np.float64]) -> TouchesAndOrders:
    """A journey's log: all events but orders are touches; an order is worth the brand's ``price`` [A], in its unit."""
    bought = log.event == Event.ORDER
    touched, orders = log.rows(~bought), log.rows(bought)
    return TouchesAndOrders(
        Touches(
            user=touched.user.astype(np.int64), brand=touched.brand.astype(np.int64), time_hours=touched.hour,
            channel=touched.channel.astype(np.int64), event=touched.event.astype(np.int64),
        ),
        Orders(
            user=orders.user.astype(np.int64), brand=orders.brand.astype(np.int64), time_hours=orders.hour,
            value=np.asarray(price, np.float64)[orders.brand],
        ),
    )  # fmt: skip
