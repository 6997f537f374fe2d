"""What goes out to consumers outside an auction's page, and the one frequency cap that all channels share."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.config import Caps

Ints = NDArray[np.int64]


class Sends(NamedTuple):
    """Touches [n] in the order in which they go out: to whom, for which brand, by which channel, with which content."""

    user: Ints
    brand: Ints
    channel: Ints
    content: Ints

    def take(self, which: NDArray[np.bool_] | Ints) -> "Sends":
        """Some of them, by a mask or by index."""
        return Sends(*(column[which] for column in self))


def sends(user: Ints, brand: Ints | int, channel: Ints | int, content: Ints | int = 0) -> Sends:
    """Touches from arrays or single numbers that broadcast to ``user`` [n].

    >>> sends(np.array([4, 5]), brand=0, channel=2).channel.tolist()
    [2, 2]
    """
    columns = (np.broadcast_to(np.asarray(column, np.int64), user.shape).copy() for column in (brand, channel, content))
    return Sends(np.asarray(user, np.int64), *columns)


def no_sends() -> Sends:
    """Nothing goes out."""
    return sends(np.zeros(0, np.int64), 0, 0)


def occurrence(key: Ints) -> Ints:
    """How many equal keys stand before each, [n].

    >>> occurrence(np.array([7, 3, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    place = np.arange(len(key))
    fresh = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(key)]
    first = np.maximum.accumulate(np.where(fresh, place, 0)) if len(key) else place
    rank = np.empty(len(key), np.int64)
    rank[order] = place - first
    return rank


def admitted(wanted: Sends, shown: NDArray[np.int16], caps: Caps) -> NDArray[np.bool_]:
    """Which of the touches may go out, [n], taken one after the other as they stand.

    ``shown`` are the day's touches so far of each user and brand by channel, [U, A, C]; or over all channels, [U, A], and
    then a channel's own cap holds among ``wanted`` only. The cap of a channel and the cap over all channels both hold at
    every moment, also between two channels that meet one user in the same tick.

    >>> both = sends(np.array([0, 0]), brand=0, channel=np.array([0, 3]))
    >>> admitted(both, np.zeros((1, 1, 4), np.int16), Caps(per_day=1)).tolist()
    [True, False]
    """
    pair = wanted.user * shown.shape[1] + wanted.brand
    limits = np.array(caps.per_channel, np.int64)
    so_far = shown[wanted.user, wanted.brand].astype(np.int64)
    before = so_far[np.arange(len(pair)), wanted.channel] if so_far.ndim == 2 else 0
    allowed: NDArray[np.bool_] = before + occurrence(pair * len(limits) + wanted.channel) < limits[wanted.channel]
    if caps.per_day is None:
        return allowed
    total = (so_far.sum(axis=1) if so_far.ndim == 2 else so_far)[allowed]
    allowed[allowed] = total + occurrence(pair[allowed]) < caps.per_day
    return allowed


def room(shown: NDArray[np.int16], caps: Caps) -> NDArray[np.int64]:
    """How many more touches [U, A, C] each channel could make today if it came first: what a planner asks.

    >>> room(np.array([[[1, 0, 0, 0]]], np.int16), Caps(per_day=2))[0, 0].tolist()
    [1, 1, 1, 1]
    """
    own = np.array(caps.per_channel, np.int64) - shown
    if caps.per_day is not None:
        own = np.minimum(own, caps.per_day - shown.sum(axis=2, dtype=np.int64)[..., None])
    left: Ints = np.maximum(own, 0)
    return left


def count_by(shape: tuple[int, int, int], touched: Sends) -> NDArray[np.int16]:
    """Touches of each user and brand by channel, [U, A, C]."""
    counts = np.zeros(shape, np.int16)
    np.add.at(counts, (touched.user, touched.brand, touched.channel), 1)
    return counts
