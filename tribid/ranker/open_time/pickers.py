"""Pickers: which items a slot would like to show a user, best first, whether they can be had or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from tribid.ranker.stock.stock import LiveStock

_FROM_ORDERS, _FROM_BUCKET = 3, 4


class SlotPicker(Protocol):
    """Chooses for a slot of a user's mail. The slot shows the first item that can be had and no other slot shows."""

    async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
        """Items, best first; may be lazy, long, and hold an item twice."""
        ...


class Seen(Protocol):
    """The part of a user's profile that a picker uses; lists are newest first, times Unix milliseconds."""

    @property
    def viewed(self) -> Sequence[tuple[int, int]]: ...
    @property
    def favourites(self) -> Mapping[int, int]: ...
    @property
    def cart(self) -> Mapping[int, int]: ...
    @property
    def orders(self) -> Sequence[tuple[int, int]]: ...
    @property
    def refused(self) -> bool: ...


class Profiles(Protocol):
    """Where profiles come from."""

    async def profile(self, user: str) -> Seen | None:
        """What is known of a user; None for a user that nobody knows."""
        ...


class PopularityBuckets:
    """The default: virtual buckets, one per category, each sorted by popularity; the same for every user.

    Slot k begins with the best of bucket k (buckets ordered by their items' popularity in all), then goes round: so the
    slots of a mail differ in category. ``popularity`` is one number above 0 per item, equal where left out. Buckets are
    virtual: they hold numbers of items, and what an item costs or how many there are is looked up when it is shown.
    """

    def __init__(self, stock: LiveStock, popularity: ArrayLike | None = None) -> None:
        size = len(stock)
        weight = np.ones(size) if popularity is None else np.asarray(popularity, np.float64)
        if weight.shape != (size,) or not np.isfinite(weight).all() or weight.min() <= 0:
            raise ValueError(f"popularity has shape {weight.shape}; allowed are {size} finite numbers above 0")
        category = np.fromiter((stock.item(number).category for number in range(size)), np.int64, size)
        kinds, kind = np.unique(category, return_inverse=True)
        ranked = np.lexsort((np.arange(size), -weight))
        buckets = [ranked[kind[ranked] == index].tolist() for index in range(len(kinds))]
        largest = sorted(range(len(kinds)), key=lambda index: (-float(weight[buckets[index]].sum()), index))
        self._buckets: list[list[int]] = [buckets[index] for index in largest]
        self._of: dict[int, list[int]] = {int(kinds[index]): buckets[index] for index in range(len(kinds))}

    async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
        """All items, round the buckets."""
        return self.ranked(slot)

    def ranked(self, slot: int) -> Iterator[int]:
        """All items: the best of each bucket, beginning with the slot's, then the second best of each, and so on."""
        count = len(self._buckets)
        turned = [self._buckets[(slot + turn) % count] for turn in range(count)]
        for place in range(max(map(len, turned))):
            for bucket in turned:
                if place < len(bucket):
                    yield bucket[place]

    def bucket(self, category: int) -> Sequence[int]:
        """A category's items, most popular first; empty for a category that has none."""
        return self._of.get(category, ())


class ProfilePicker:
    """From the user's profile, in turns: what goes with the newest orders, the cart, what was viewed, the favourites.

    ``complements`` says which categories go with a category that was bought from (a case with a phone). Items ordered
    before are left out. After all of these, and for users without a profile or who refused, come the buckets' items.
    """

    def __init__(
        self,
        profiles: Profiles,
        stock: LiveStock,
        buckets: PopularityBuckets,
        complements: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._profiles, self._stock, self._buckets = profiles, stock, buckets
        self._complements = {} if complements is None else {kind: tuple(with_) for kind, with_ in complements.items()}

    async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
        """The profile's items, then the buckets'; whatever the store raises."""
        profile = await self._profiles.profile(user)
        if profile is None or profile.refused:
            return self._buckets.ranked(slot)
        ordered = {item for item, _ in profile.orders}
        known = in_turns(
            self._with_orders(profile),
            _newest(profile.cart),
            (item for item, _ in profile.viewed),
            _newest(profile.favourites),
        )
        wanted = dict.fromkeys(item for item in known if item not in ordered)
        return chain(wanted, self._buckets.ranked(slot))

    def _with_orders(self, profile: Seen) -> Iterator[int]:
        """The best of each category that goes with each order, then the second best of each, and so on."""
        known = (item for item, _ in profile.orders[:_FROM_ORDERS] if item < len(self._stock))
        kinds = dict.fromkeys(k for item in known for k in self._complements.get(self._stock.item(item).category, ()))
        return in_turns(
            *(islice(filter(self._stock.is_available, self._buckets.bucket(k)), _FROM_BUCKET) for k in kinds)
        )


def in_turns(*rows: Iterable[int]) -> Iterator[int]:
    """The first of each row, then the second of each, until all are at their end.

    >>> list(in_turns([1, 2, 3], [], [9]))
    [1, 9, 2, 3]
    """
    waiting = [iter(row) for row in rows]
    while waiting:
        going = []
        for row in waiting:
            for item in islice(row, 1):
                yield item
                going.append(row)
        waiting = going


def _newest(items: Mapping[int, int]) -> list[int]:
    return sorted(items, key=lambda item: (-items[item], item))
