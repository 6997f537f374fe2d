"""``Rules``: which messages a user's events, changes of the stock and the passing of time set off.

Each rule looks at one record and at what is known of the stock, changes the record, and returns the entries that did it. A
message's id follows from user, trigger and cause, and a cause that was settled, by a message or by none, is never looked at
again: so a message is made once however often and in whatever order its cause is told.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from msgspec import structs

from tribid.envs.triggers import DAY_MS, HOUR_MS, Trigger
from tribid.ranker.profile.messages import ConsumerEvent, Message, StockMove
from tribid.ranker.profile.record import Entry, Record, Settled, Waiting, Waits
from tribid.ranker.profile.settings import ProfileSettings

Recent = Callable[[int], Sequence[StockMove]]
"""The changes of an item that are still remembered, in any order."""

_PERSON = b"tribid message"


class _Cause(NamedTuple):
    """A reason to write: of which trigger, about which item, since when, and what its id is made of."""

    trigger: Trigger
    item: int
    cause_ms: int
    due_ms: int
    told: str
    most_micros: int = -1


class Rules:
    """The triggers of a store; ``salt`` keeps message ids from telling whose they are."""

    def __init__(self, settings: ProfileSettings, salt: bytes) -> None:
        self._triggers = {trigger.name: trigger for trigger in settings.triggers}
        self._complements, self._on_sale = settings.complements, settings.on_sale
        self._brand_of, self._brand_cap = settings.brand_of, settings.brand_cap
        self._salt = salt

    def after_event(self, record: Record, event: ConsumerEvent, recent: Recent, now_ms: int) -> list[Entry]:
        """What a counted event sets off: changes of the stock that it came later than, waits, and messages."""
        if not self._triggers or event.item is None or event.time_ms is None:
            return []
        causes: list[_Cause] = []
        if event.kind in ("view", "favourite", "cart"):
            causes += [cause for change in recent(event.item) for cause in self._stock_causes(record, change)]
        if event.kind in ("cart", "cart_removed", "order"):
            causes += self._cart_causes(record)
        if event.kind == "order":
            at_ms, told = event.time_ms, f"order.{event.item}.{event.time_ms}"
            causes += [
                _Cause(trigger, event.item, at_ms, at_ms + _wait(trigger), told)
                for trigger in self._of("complementary")
            ]
        return self._begin(record, causes, recent, now_ms)

    def after_change(self, record: Record, change: StockMove, recent: Recent, now_ms: int) -> list[Entry]:
        """What a change of the stock sets off for a user."""
        return self._begin(record, self._stock_causes(record, change), recent, now_ms)

    def due(self, record: Record, recent: Recent, now_ms: int) -> list[Entry]:
        """Settle what is due: sent where its reason still holds, put off where it is quiet or something newer waits."""
        ready = [waiting for waiting in record.waiting.values() if waiting.due_ms <= now_ms]
        entries = []
        for waiting in sorted(ready, key=lambda one: (-self._priority(one.trigger), one.due_ms, -one.cause_ms, one.id)):
            entries.append(self._settled(record, waiting, recent, now_ms))
            record.apply(entries[-1])
        return entries

    def asks(self, record: Record) -> set[int]:
        """The items whose changes settling this record may ask about."""
        items = {waiting.item for waiting in record.waiting.values()}
        return items | {other for item in items for other in self._complements(item)}

    @property
    def watch_stock(self) -> bool:
        """Whether any trigger answers to changes of the stock."""
        return bool(self._of("price_drop") or self._of("back_in_stock"))

    def _of(self, kind: str) -> list[Trigger]:
        return [trigger for trigger in self._triggers.values() if trigger.kind == kind]

    def _priority(self, name: str) -> int:
        trigger = self._triggers.get(name)
        return 0 if trigger is None else trigger.priority

    def _stock_causes(self, record: Record, change: StockMove) -> list[_Cause]:
        causes = []
        for trigger in [*self._of("price_drop"), *self._of("back_in_stock")]:
            most = -1
            if trigger.kind == "price_drop":
                most = int(change.before_micros * (1 - trigger.least_drop))
                if not change.after_micros <= most < change.before_micros or change.after_count <= 0:
                    continue
            elif not change.before_count <= 0 < change.after_count:
                continue
            if _interest_ms(record, change, trigger) is not None:
                told = f"stock.{change.item}.{change.time_ms}.{change.version}"
                causes.append(_Cause(trigger, change.item, change.time_ms, change.time_ms, told, most))
        return causes

    def _cart_causes(self, record: Record) -> list[_Cause]:
        newest = _newest_in_cart(record)
        if newest is None:
            return []
        item, at_ms = newest
        return [
            _Cause(trigger, item, at_ms, at_ms + _wait(trigger), f"cart.{item}.{at_ms}")
            for trigger in self._of("cart_abandoned")
            if not any(name == trigger.name and cause_ms > at_ms for name, cause_ms, _ in record.settled.values())
        ]

    def _begin(self, record: Record, causes: Iterable[_Cause], recent: Recent, now_ms: int) -> list[Entry]:
        """Settle new causes at once, the higher priority first, or let them wait; nothing for who opted out."""
        if record.profile.refused:
            return []
        entries: list[Entry] = []
        for cause in sorted(causes, key=lambda one: (-one.trigger.priority, one.cause_ms, one.trigger.name)):
            name = self._id(record.profile.user, cause)
            if name in record.settled or name in record.waiting:
                continue
            waiting = Waiting(
                name, cause.trigger.name, cause.item, cause.cause_ms, cause.due_ms, max(cause.due_ms, now_ms),
                cause.most_micros,
            )  # fmt: skip
            # What waits anyway is left to the clock, though it be due: an event that ends its reason may be on its way.
            at_once = cause.trigger.kind in ("price_drop", "back_in_stock")
            entries.append(
                self._settled(record, waiting, recent, now_ms) if at_once else Waits(record.profile.user, waiting)
            )
            record.apply(entries[-1])
        return entries

    def _settled(self, record: Record, waiting: Waiting, recent: Recent, now_ms: int) -> Entry:
        user, trigger = record.profile.user, self._triggers.get(waiting.trigger)
        item: int | None = None
        why: str | None = "the scenario has no such trigger any more"
        if trigger is not None:
            due_ms = max(trigger.quiet_until(now_ms), _after_newer(record, trigger, waiting))
            if due_ms > now_ms:
                return Waits(user, structs.replace(waiting, due_ms=due_ms))
            why = _why_not(record, trigger, waiting, now_ms)
            item = self._item(record, trigger, waiting, recent) if why is None else None
            if why is None and item is None:
                why = "its reason holds no longer"
        brand = None if item is None else self._brand_of(item)
        if brand is not None and self._is_capped(record, brand, now_ms):
            why = "the user met the brand often enough today"
        told = (user, waiting.id, waiting.trigger, waiting.cause_ms, now_ms)
        if trigger is None or why is not None:
            return Settled(*told, None, why or "")
        message = Message(
            id=waiting.id, user=user, trigger=trigger.name, item=item, channel=trigger.channel, created_ms=now_ms,
            template=trigger.template, priority=trigger.priority, brand=brand,
        )  # fmt: skip
        return Settled(*told, message)

    def _is_capped(self, record: Record, brand: str, now_ms: int) -> bool:
        return self._brand_cap is not None and record.profile.shown_on(now_ms).get(brand, 0) >= self._brand_cap

    def _item(self, record: Record, trigger: Trigger, waiting: Waiting, recent: Recent) -> int | None:
        """What the message would be about; None where its reason holds no longer."""
        if trigger.kind == "complementary":
            owned = {item for item, _ in record.profile.orders}
            fitting = (
                item for item in self._complements(waiting.item) if item not in owned and self._to_be_had(item, recent)
            )
            return next(fitting, None)
        if trigger.kind == "cart_abandoned":
            newest = _newest_in_cart(record)
            ordered = any(at_ms > waiting.cause_ms for _, at_ms in record.profile.orders)
            return waiting.item if newest == (waiting.item, waiting.cause_ms) and not ordered else None
        sale = self._sale(waiting.item, recent)
        bought = any(item == waiting.item for item, _ in record.profile.orders)
        dear = sale is not None and 0 <= waiting.most_micros < sale[0]
        return None if bought or dear or not self._to_be_had(waiting.item, recent) else waiting.item

    def _sale(self, item: int, recent: Recent) -> tuple[int, int] | None:
        """An item's price and number, as far as anybody knows."""
        told = self._on_sale(item)
        if told is not None:
            return told
        last = max(recent(item), key=lambda change: change.order, default=None)
        return None if last is None else (last.after_micros, last.after_count)

    def _to_be_had(self, item: int, recent: Recent) -> bool:
        sale = self._sale(item, recent)
        return sale is None or sale[1] > 0

    def _id(self, user: str, cause: _Cause) -> str:
        told = "\0".join((user, cause.trigger.name, cause.told)).encode()
        return blake2b(told, digest_size=16, key=self._salt, person=_PERSON).hexdigest()


def _wait(trigger: Trigger) -> int:
    return round(trigger.wait_hours * HOUR_MS)


def _why_not(record: Record, trigger: Trigger, waiting: Waiting, now_ms: int) -> str | None:
    """Why nothing is sent whatever the reason for it; None where something may be."""
    if record.profile.refused:
        return "the user opted out"
    if now_ms > waiting.since_ms + round(trigger.window_hours * HOUR_MS):
        return "it is too late for it"
    since_ms = now_ms - trigger.cap_days * DAY_MS
    if sum(at_ms > since_ms for _, _, at_ms in record.profile.sent) >= trigger.cap:
        return "the user got enough messages"
    return None


def _interest_ms(record: Record, change: StockMove, trigger: Trigger) -> int | None:
    """When the user last showed interest in an item before it changed, within the trigger's window."""
    from_ms = change.time_ms - round(trigger.window_hours * HOUR_MS)
    times = record.interests.get(change.item, ())
    return max((at_ms for at_ms in times if from_ms <= at_ms <= change.time_ms), default=None)


def _newest_in_cart(record: Record) -> tuple[int, int] | None:
    cart = record.profile.cart
    return max(cart.items(), key=lambda one: (one[1], one[0]), default=None)


def _after_newer(record: Record, trigger: Trigger, waiting: Waiting) -> int:
    """When what is still in the cart is looked at again because something newer in it waits; 0 where nothing does."""
    newest = _newest_in_cart(record)
    if trigger.kind != "cart_abandoned" or newest is None or record.profile.cart.get(waiting.item) != waiting.cause_ms:
        return 0
    return max(
        (
            other.due_ms
            for other in record.waiting.values()
            if other.trigger == trigger.name and (other.item, other.cause_ms) == newest and other.id != waiting.id
        ),
        default=0,
    )
