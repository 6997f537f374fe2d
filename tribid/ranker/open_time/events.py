"""``SlotEvent``: a mail was opened or a slot clicked; told once each, under an id that is the same on every telling."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from tribid.ranker.open_time.tokens import Slot
from tribid.ranker.profile.messages import ConsumerEvent


class SlotEvent(NamedTuple):
    """What a user did with a slot. ``id`` names a mail's opening, or a slot's click on an item, once and for all."""

    id: str
    kind: Literal["open", "click"]
    user: str
    message: str
    slot: int
    item: int
    time_ms: int


Recorder = Callable[[SlotEvent], Awaitable[None]]
"""Takes an event and returns when it is safe; what it raises means that it may be told again."""


class EventTaker(Protocol):
    """The part of a profile store that is told of events."""

    async def take(self, events: Sequence[ConsumerEvent]) -> Any: ...


def slot_event(kind: Literal["open", "click"], slot: Slot, item: int, time_ms: int) -> SlotEvent:
    """The event of a slot that shows ``item``; a mail has one opening, a slot one click for each item it showed."""
    told = [kind, slot.user, slot.message] + ([str(slot.slot), str(item)] if kind == "click" else [])
    name = "".join(f"{len(part)}.{part}" for part in told).encode()
    digest = hashlib.blake2b(name, digest_size=16, person=b"tribid.slotevent").hexdigest()
    return SlotEvent(f"{kind}-{digest}", kind, slot.user, slot.message, slot.slot, item, time_ms)


def into(store: EventTaker) -> Recorder:
    """A recorder that tells a profile store, which counts each id once."""

    async def record(event: SlotEvent) -> None:
        item = event.item if event.kind == "click" else None
        await store.take(
            [
                ConsumerEvent(
                    id=event.id, kind=event.kind, user=event.user, item=item, channel="email", time_ms=event.time_ms
                )
            ]
        )

    return record
