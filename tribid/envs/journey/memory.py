"""What a journey's market remembers of its users: an immutable snapshot, and how a tick's events make the next one.

Within a tick everybody sees the memory of the tick's start. Hours count from the start of day 0, so that a memory can be
carried into the next day; what happened before day 0 has hours below 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.outbox import Outbox
from tribid.envs.stages import Event, mark_all, stage_of

NOTHING = -1
"""The category of who bought or put aside nothing, and the request of a touch outside the auction."""


class Touches(NamedTuple):
    """E touches in order of time, every column [E]; of one instant in the order in which they came to be known.

    ``user``, ``brand`` int32; ``hour`` float64 from the start of day 0; ``channel`` int8, an index of ``CHANNELS``;
    ``event`` int8, an ``Event``; ``request`` int64, the page's number within its day, ``NOTHING`` outside the auction.
    """

    user: NDArray[np.int32]
    brand: NDArray[np.int32]
    hour: NDArray[np.float64]
    channel: NDArray[np.int8]
    event: NDArray[np.int8]
    request: NDArray[np.int64]

    def rows(self, which: Any) -> "Touches":
        """Some of the touches: a mask, indices or a slice."""
        return Touches(*(column[which] for column in self))

    @property
    def size(self) -> int:
        """E."""
        return len(self.user)


def touches_of(user: Any, brand: Any, hour: Any, channel: Any, event: Any, request: Any = NOTHING) -> Touches:
    """Touches from columns that broadcast to one length, in their types."""
    columns = np.broadcast_arrays(*(np.atleast_1d(column) for column in (user, brand, hour, channel, event, request)))
    kinds = (np.int32, np.int32, np.float64, np.int8, np.int8, np.int64)
    return Touches(*(column.astype(kind) for column, kind in zip(columns, kinds, strict=True)))


def joined(chunks: Sequence[Touches]) -> Touches:
    """Touches one after the other."""
    if not chunks:
        return touches_of(*(np.zeros(0),) * 6)
    return Touches(*(np.concatenate(columns) for columns in zip(*chunks, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What is remembered of U users and A brands on day ``day`` of ``seed``; its arrays are read-only.

    ``marks`` [U, A] uint8 (``tribid.envs.stages``); ``shown`` [U, A] int16 the day's exposures over all channels;
    ``bought`` [U] the category of the last order and ``bought_hour`` [U] when that was; ``cart``, ``cart_hour`` [U] the
    same of what was put into the cart last and not ordered since (``NOTHING`` and -inf for nothing), and ``cart_brand`` [U]
    whose it was (``NOTHING`` where that was before the log). ``chunks`` hold the touches since the first day of the memory:
    those of earlier days together, then what came to be known at once. ``written`` [U] and ``messages`` [A, C] are how many
    messages were sent on this day, to each user and by each brand through each of C channels; ``booked_micros`` [A, C] is
    what messages and contents cost then outside the auctions, of which brands' or channels' own budgets pay for messages and
    nobody's for contents. ``outbox`` holds the messages on their way and ended subscriptions, None where no messages are
    sent. A message counts in ``shown`` when it is sent, and is a touch when it is opened.
    """

    seed: int
    day: int
    marks: NDArray[np.uint8]
    shown: NDArray[np.int16]
    bought: NDArray[np.int32]
    bought_hour: NDArray[np.float64]
    cart: NDArray[np.int32]
    cart_hour: NDArray[np.float64]
    cart_brand: NDArray[np.int32]
    written: NDArray[np.int64]
    messages: NDArray[np.int64]
    booked_micros: NDArray[np.int64]
    outbox: Outbox | None = None
    chunks: tuple[Touches, ...] = ()

    def __post_init__(self) -> None:
        for value in vars(self).values():
            for array in (value,) if isinstance(value, np.ndarray) else ():
                array.flags.writeable = False
        for column in self.chunks[-1] if self.chunks else ():
            column.flags.writeable = False

    @cached_property
    def touches(self) -> Touches:
        """The whole log; a message's touches are known after those of pages that were seen later, so it is sorted once."""
        log = joined(self.chunks)
        return log if (log.hour[1:] >= log.hour[:-1]).all() else in_order(log)

    def since(self, hour: float) -> Touches:
        """The touches of the log from an hour on."""
        return self.touches.rows(slice(int(np.searchsorted(self.touches.hour, hour)), None))

    @cached_property
    def stages(self) -> NDArray[np.int8]:
        """The stage [U, A] of every user with every brand."""
        return stage_of(self.marks)


def remembered(
    memory: Memory, happened: Touches, category: NDArray[np.int32], booked_micros: NDArray[np.int64] | None = None
) -> Memory:
    """The memory after these touches with brands of the categories [A]; ``booked_micros`` [A, C] is added to the day's."""
    booked = memory.booked_micros if booked_micros is None else memory.booked_micros + booked_micros
    if not happened.size:
        return replace(memory, booked_micros=booked)
    happened = in_order(happened)
    user, brand, event = happened.user.astype(np.int64), happened.brand.astype(np.int64), happened.event
    shown = memory.shown.copy()
    seen = (event == Event.EXPOSURE) & (happened.request != NOTHING)
    np.add.at(shown, (user[seen], brand[seen]), 1)
    bought, bought_hour = memory.bought.copy(), memory.bought_hour.copy()
    cart, cart_hour, cart_brand = memory.cart.copy(), memory.cart_hour.copy(), memory.cart_brand.copy()
    ordered = happened.rows(event == Event.ORDER)
    orders, carts = later(ordered, bought_hour), later(happened.rows(event == Event.CART), cart_hour)
    bought[orders.user], bought_hour[orders.user] = category[orders.brand], orders.hour  # of several the last one stays
    cart[carts.user], cart_hour[carts.user], cart_brand[carts.user] = category[carts.brand], carts.hour, carts.brand
    cart, cart_hour = without_bought(cart, cart_hour, bought, bought_hour)
    gone = (category[ordered.brand] == cart[ordered.user]) & (ordered.hour >= cart_hour[ordered.user])
    cart[ordered.user[gone]], cart_hour[ordered.user[gone]] = NOTHING, -np.inf  # though another order is the last one
    return replace(
        memory, marks=mark_all(memory.marks, user, brand, event.astype(np.int64)), shown=shown, bought=bought,
        bought_hour=bought_hour, cart=cart, cart_hour=cart_hour, cart_brand=np.where(cart == NOTHING, NOTHING, cart_brand),
        booked_micros=booked, chunks=(*memory.chunks, happened),
    )  # fmt: skip


def in_order(touches: Touches) -> Touches:
    """The touches in order of time; those of one instant stay as they are."""
    return touches.rows(np.argsort(touches.hour, kind="stable"))


def later(touches: Touches, hour: NDArray[np.float64]) -> Touches:
    """Those of the touches that are not before each user's ``hour`` [U]: what is known late may have been overtaken."""
    return touches.rows(touches.hour >= hour[touches.user])


def without_bought(
    cart: NDArray[np.int32], cart_hour: NDArray[np.float64], bought: NDArray[np.int32], bought_hour: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Carts without what was ordered since: an order of the cart's category takes it out."""
    gone = (cart == bought) & (bought_hour >= cart_hour)
    return np.where(gone, NOTHING, cart).astype(np.int32), np.where(gone, -np.inf, cart_hour)
