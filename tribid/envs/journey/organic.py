"""What users' own behaviour in the shop does to a memory: where a day starts, and what a night adds. Ours."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.behaviour import KINDS, Past, PastEvents
from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.journey.categories import Categories
from tribid.envs.journey.config import Organic
from tribid.envs.journey.memory import NOTHING, Memory, without_bought
from tribid.envs.stages import Event, mark_all

_LOOKED = 1
_EVENT_OF_KIND = np.array([Event.VIEW, Event.FAVOURITE, Event.CART, Event.ORDER], np.int64)


class Behaved(NamedTuple):
    """Events [E] that move stages: ``user``, ``brand``, ``event``; and U users' latest order and cart, as in ``Memory``."""

    user: NDArray[np.int64]
    brand: NDArray[np.int64]
    event: NDArray[np.int64]
    bought: NDArray[np.int32]
    bought_hour: NDArray[np.float64]
    cart: NDArray[np.int32]
    cart_hour: NDArray[np.float64]


def opening(seed: int, day: int, users: int, past: Past, categories: Categories, config: Organic) -> Memory:
    """The memory with which a day opens whose users have met no ad yet: that of their histories in the shop."""
    did = behaved(seed, day, users, past, categories, config)
    brands = len(categories.category)
    nobody = np.zeros((users, brands), np.uint8)
    cart, cart_hour = without_bought(did.cart, did.cart_hour, did.bought, did.bought_hour)
    return Memory(
        seed=seed, day=day, marks=mark_all(nobody, did.user, did.brand, did.event),
        shown=np.zeros((users, brands), np.int16), bought=did.bought, bought_hour=did.bought_hour, cart=cart,
        cart_hour=cart_hour, cart_brand=np.full(users, NOTHING, np.int32), written=np.zeros(users, np.int64),
        messages=np.zeros((brands, len(CHANNELS)), np.int64), booked_micros=np.zeros((brands, len(CHANNELS)), np.int64),
    )  # fmt: skip


def overnight(memory: Memory, day: int, past: Past, categories: Categories, config: Organic) -> Memory:
    """The memory of the day before, as ``day`` opens: what users did by themselves on that day joins it.

    The day's exposures, messages and what it booked start from nothing again; marks, orders, carts and touches stay. No
    touch is forgotten: accounts over several days and some rules of credit read the whole log.
    """
    users = len(memory.bought)
    did = behaved(memory.seed, day, users, past, categories, config, days=1.0)
    later = did.bought_hour > memory.bought_hour
    bought, bought_hour = np.where(later, did.bought, memory.bought), np.maximum(did.bought_hour, memory.bought_hour)
    later = did.cart_hour > memory.cart_hour
    cart, cart_hour = np.where(later, did.cart, memory.cart), np.maximum(did.cart_hour, memory.cart_hour)
    cart, cart_hour = without_bought(cart, cart_hour, bought, bought_hour)
    brand = np.where(later | (cart == NOTHING), NOTHING, memory.cart_brand).astype(np.int32)
    return replace(
        memory, day=day, marks=mark_all(memory.marks, did.user, did.brand, did.event),
        shown=np.zeros_like(memory.shown), bought=bought, bought_hour=bought_hour, cart=cart, cart_hour=cart_hour,
        cart_brand=brand, written=np.zeros_like(memory.written), messages=np.zeros_like(memory.messages),
        booked_micros=np.zeros_like(memory.booked_micros), chunks=(memory.touches,) if memory.chunks else (),
    )  # fmt: skip


def behaved(
    seed: int, day: int, users: int, past: Past, categories: Categories, config: Organic, days: float = np.inf
) -> Behaved:
    """What all users did in the last ``days`` days before ``day``, as far as their histories go."""
    history = past.histories(seed, day, np.arange(users))
    inside = (np.arange(history.item.shape[1]) < history.length[:, None]) & (history.age_days < days)
    user, place = np.nonzero(inside)
    item, kind = history.item[user, place], history.kind[user, place]
    brand = categories.seller[item].astype(np.int64)
    sold = brand >= 0
    looker, looked_at = _looked(seed, day, user, place, history, categories, config)
    return Behaved(
        np.concatenate([user[sold], looker]),
        np.concatenate([brand[sold], looked_at]),
        np.concatenate([_EVENT_OF_KIND[kind[sold]], np.full(len(looker), int(Event.CATEGORY_SEARCH))]),
        *_latest(history, inside, KINDS.index("order"), day),
        *_latest(history, inside, KINDS.index("cart"), day),
    )


def _looked(
    seed: int, day: int, user: NDArray[np.int64], place: NDArray[np.int64], history: PastEvents, categories: Categories,
    config: Organic,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Users and the brands of the categories that they looked through."""
    draws = uniforms(seed, Stream.SCENE, day, user, _LOOKED + place)[:, 2]
    around = draws < config.looks_around
    user, place = user[around], place[around]
    brands = categories.own[history.category[user, place]]
    row, column = np.nonzero(brands >= 0)
    return user[row], brands[row, column].astype(np.int64)


def _latest(
    history: PastEvents, inside: NDArray[np.bool_], kind: int, day: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The category [U] of each user's last event of a kind and its hour [U]; ``NOTHING`` and -inf where there is none."""
    is_kind = inside & (history.kind == kind)
    length = is_kind.shape[1]
    last = length - 1 - is_kind[:, ::-1].argmax(axis=1)  # histories are in order of time
    row, has = np.arange(len(last)), is_kind.any(axis=1)
    hour = 24.0 * (day - history.age_days[row, last].astype(np.float64))
    return np.where(has, history.category[row, last], NOTHING).astype(np.int32), np.where(has, hour, -np.inf)
