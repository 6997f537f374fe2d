"""``Record``: all that a store keeps of one user, and how each entry changes it.

What is counted of events does not depend on their order: sums, unions, earliest and latest, registers in which the newest
wins, and the newest of a bounded list. Applying an entry twice does what applying it once does, so a store may apply entries
that its snapshot holds already.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
from msgspec import Struct, field

from tribid.envs.stages import BEHAVIOURS, Event, marked
from tribid.envs.triggers import DAY_MS
from tribid.ranker.profile.messages import ConsumerEvent, Message, Profile

VIEWED, ORDERS, HELD, SENT = 50, 50, 200, 100
"""How many views, orders, favourites (and cart items with removals, and actions) and sent messages are kept: the newest."""

_INTERESTS, _TIMES = 200, 8  # items whose interest is remembered, and its newest times
_INTERESTED = frozenset(("view", "favourite", "cart"))
_EVENTS = {event.name.lower(): event for event in Event}
_MARKS = {kind: int(marked(np.zeros(1, np.uint8), event)[0]) for kind, event in _EVENTS.items()}
_ORDERED = _MARKS["order"]
_ORDERED_AGAIN = int(marked(np.array([_ORDERED], np.uint8), Event.ORDER)[0]) & ~_ORDERED
_BEHAVIOUR = {event.name.lower(): place for place, event in enumerate(BEHAVIOURS)}


class Waiting(Struct, frozen=True, array_like=True):
    """A message that is to be settled at ``due_ms``: sent if its reason still holds then.

    ``cause_ms`` is when its cause happened, ``since_ms`` when it was due first. ``most_micros`` is the highest price that
    still is a price drop; -1 where no price matters.
    """

    id: str
    trigger: str
    item: int
    cause_ms: int
    since_ms: int
    due_ms: int
    most_micros: int = -1


class Counted(Struct, frozen=True, array_like=True, tag="e"):
    """An event that counts; its ``time_ms`` and, where its item tells it, its ``brand`` are filled in."""

    event: ConsumerEvent

    @property
    def user(self) -> str:
        """Whose it is."""
        return self.event.user


class Waits(Struct, frozen=True, array_like=True, tag="w"):
    """A message is to be settled later."""

    user: str
    waiting: Waiting


class Settled(Struct, frozen=True, array_like=True, tag="s"):
    """A cause of a trigger is settled for good: by a message or, for the reason ``why``, by none."""

    user: str
    id: str
    trigger: str
    cause_ms: int
    at_ms: int
    message: Message | None = None
    why: str = ""


class Acknowledged(Struct, frozen=True, array_like=True, tag="a"):
    """A message was sent and need not be handed out again."""

    user: str
    id: str


Entry = Counted | Waits | Settled | Acknowledged


class Record(Struct, kw_only=True):
    """A user's profile and what else a store must know of them.

    ``ids`` are hashes of the events that were counted and their times; ``interests`` the newest times at which an item was
    viewed, favourited or put into the cart; ``settled`` per message id the trigger, when its cause happened and when it was
    settled; ``waiting`` what is to be settled, ``outbox`` what is to be sent.
    """

    profile: Profile
    ids: dict[int, int] = field(default_factory=dict)
    interests: dict[int, list[int]] = field(default_factory=dict)
    settled: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    outbox: dict[str, Message] = field(default_factory=dict)

    def apply(self, entry: Entry) -> None:
        """Change the record by an entry of this user; nothing where it holds it already."""
        if isinstance(entry, Counted):
            self._count(entry.event)
        elif isinstance(entry, Waits):
            if entry.waiting.id not in self.settled:
                self.waiting[entry.waiting.id] = entry.waiting
        elif isinstance(entry, Settled):
            self._settle(entry)
        else:
            self.outbox.pop(entry.id, None)

    def knows(self, event: ConsumerEvent) -> bool:
        """Whether an event of this id was counted."""
        return id_hash(event.id) in self.ids

    def forget(self, before_ms: int) -> None:
        """Drop the memory of what happened before: an event from then must not be offered again."""
        self.ids = {name: time_ms for name, time_ms in self.ids.items() if time_ms >= before_ms}
        self.settled = {name: told for name, told in self.settled.items() if max(told[1:]) >= before_ms}

    def due_ms(self) -> int | None:
        """When the first waiting message is due; None where none waits."""
        return min((waiting.due_ms for waiting in self.waiting.values()), default=None)

    def wanted(self) -> Iterable[int]:
        """The items that the user showed interest in."""
        return self.interests

    def _settle(self, entry: Settled) -> None:
        self.waiting.pop(entry.id, None)
        if entry.id in self.settled:
            return
        self.settled[entry.id] = (entry.trigger, entry.cause_ms, entry.at_ms)
        if entry.message is not None:
            self.outbox[entry.id] = entry.message
            sent = self.profile.sent
            sent.append((entry.message.channel, entry.trigger, entry.at_ms))
            sent.sort(key=lambda one: (-one[2], one[1], one[0]))
            del sent[SENT:]
            if entry.message.brand is not None:
                _show(self.profile, entry.message.brand, entry.at_ms)

    def _count(self, event: ConsumerEvent) -> None:
        name, at_ms, profile = id_hash(event.id), event.time_ms, self.profile
        assert at_ms is not None
        if name in self.ids:
            return
        self.ids[name] = at_ms
        profile.first_ms = at_ms if profile.version == 0 else min(profile.first_ms, at_ms)
        profile.last_ms = max(profile.last_ms, at_ms)
        profile.version += 1
        if event.brand is not None and event.kind in _EVENTS:
            _of_brand(profile, event.brand, event.kind, at_ms)
        if event.brand is not None and event.kind == "exposure":
            _show(profile, event.brand, at_ms)
        if event.item is not None:
            self._of_item(event.item, event.kind, at_ms)
        if event.kind in ("joined", "left"):
            self._consent(event, at_ms)

    def _of_item(self, item: int, kind: str, at_ms: int) -> None:
        profile = self.profile
        if kind == "view":
            newest = dict(profile.viewed)
            newest[item] = max(newest.get(item, 0), at_ms)
            profile.viewed = sorted(newest.items(), key=_newest_first)[:VIEWED]
        elif kind == "favourite":
            profile.favourites[item] = max(profile.favourites.get(item, 0), at_ms)
            _bound(profile.favourites, HELD)
        elif kind == "order":
            profile.orders = sorted([*profile.orders, (item, at_ms)], key=_newest_first)[:ORDERS]
        if kind in ("cart", "cart_removed", "order"):
            _put(profile.cart, profile.removed, item, at_ms, is_in=kind == "cart")
        if kind in _INTERESTED:
            times = {*self.interests.get(item, ()), at_ms}
            self.interests[item] = sorted(times, reverse=True)[:_TIMES]
            if len(self.interests) > _INTERESTS:
                del self.interests[min(self.interests, key=lambda other: (self.interests[other][0], -other))]

    def _consent(self, event: ConsumerEvent, at_ms: int) -> None:
        profile, is_in = self.profile, event.kind == "joined"
        if event.action is not None:
            _put(profile.actions, profile.left, event.action, at_ms, is_in=is_in)
        elif at_ms > profile.consent_ms or (at_ms == profile.consent_ms and not is_in):
            profile.consent_ms, profile.refused = at_ms, not is_in
        if profile.refused:
            self.settled |= {one.id: (one.trigger, one.cause_ms, at_ms) for one in self.waiting.values()}
            self.waiting.clear()
            self.outbox.clear()


def _of_brand(profile: Profile, brand: str, kind: str, at_ms: int) -> None:
    before = profile.marks.get(brand, 0)
    again = _ORDERED_AGAIN if kind == "order" and before & _ORDERED else 0
    profile.marks[brand] = before | _MARKS[kind] | again
    place = _BEHAVIOUR.get(kind)
    if place is not None:
        counts = profile.counts.setdefault(brand, [0] * len(BEHAVIOURS))
        last = profile.last.setdefault(brand, [0] * len(BEHAVIOURS))
        counts[place] += 1
        last[place] = max(last[place], at_ms)


def _show(profile: Profile, brand: str, at_ms: int) -> None:
    """Count a brand among those of the newest day; what is of an older day changes nothing."""
    day = at_ms // DAY_MS
    if day > profile.shown_day:
        profile.shown_day, profile.shown = day, {}
    if day == profile.shown_day:
        profile.shown[brand] = profile.shown.get(brand, 0) + 1


def _put(held: dict[Any, int], gone: dict[Any, int], key: int | str, at_ms: int, *, is_in: bool) -> None:
    """Say that a key is held, or gone, since ``at_ms``: the newest word counts, of two at once the one for gone.

    Both together keep the ``HELD`` newest, so that what was dropped can never be told from what is too old to enter.
    """
    before_ms = max(held.get(key, -1), gone.get(key, -1))
    if at_ms < before_ms or (at_ms == before_ms and (is_in or key in gone)):
        return
    held.pop(key, None)
    gone.pop(key, None)
    (held if is_in else gone)[key] = at_ms
    if len(held) + len(gone) > HELD:
        oldest = min(((when, one, group is gone) for group in (held, gone) for one, when in group.items()))
        del (gone if oldest[2] else held)[oldest[1]]


def _newest_first(entry: tuple[int, int]) -> tuple[int, int]:
    return -entry[1], entry[0]


def _bound(held: dict[int, int], most: int) -> None:
    if len(held) > most:
        del held[min(held, key=lambda item: (held[item], -item))]


def id_hash(event: str) -> int:
    """What a record knows a counted event by."""
    return int.from_bytes(blake2b(event.encode(), digest_size=8).digest(), "little")
