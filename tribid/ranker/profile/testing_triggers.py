"""What the checker of profile stores needs, and its part about triggers."""

from typing import Any

from msgspec import structs

from tribid.envs.triggers import DAY_MS, HOUR_MS, Trigger
from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import ConsumerEvent, Message, StockMove
from tribid.ranker.profile.settings import ProfileSettings

NOON = 20_000 * DAY_MS + 12 * HOUR_MS
"""When the checks begin, in Unix milliseconds."""


class Clock:
    """A clock that stands until it is told otherwise."""

    def __init__(self, now_ms: int = NOON) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Unix milliseconds."""
        return self.now_ms

    def go(self, hours: float) -> None:
        """Go on by so many hours."""
        self.now_ms += round(hours * HOUR_MS)


def drop(item: int, at_ms: int, version: int = 0, *, units: tuple[int, int] = (100, 80)) -> StockMove:
    """An item's price fell, from 100 to 80 units unless told otherwise."""
    before, after = (1_000_000 * one for one in units)
    return StockMove(
        item=item, before_micros=before, after_micros=after, before_count=5, after_count=5, time_ms=at_ms, version=version
    )  # fmt: skip


def settings_of(clock: Clock) -> ProfileSettings:
    """What every check's store is told: a trigger of each kind, one of them quiet by night and capped, and a brand's cap."""
    always = {"quiet_from": 0.0, "quiet_to": 0.0, "cap": 100}
    triggers = [
        Trigger(name="cheaper", kind="price_drop", **always),
        Trigger(name="back", kind="back_in_stock", **always),
        Trigger(name="cart", kind="cart_abandoned", wait_hours=4, **always),
        Trigger(name="goes_with", kind="complementary", wait_hours=2, cap=2, quiet_from=22, quiet_to=8),
    ]
    return ProfileSettings(
        keep_days=7, triggers=triggers, complements=lambda item: (item + 1, item + 2), items=1000,
        brand_of=lambda item: "acme" if item < 100 else None, brand_cap=3, lease_s=60,
        clock_ms=clock,
    )  # fmt: skip


def event_of(name: str, kind: Any, user: str = "ann", **told: Any) -> ConsumerEvent:
    """An event."""
    return ConsumerEvent(id=name, kind=kind, user=user, **told)


async def statuses(store: ProfileStore, *events: ConsumerEvent) -> list[str]:
    """What became of some events."""
    return [receipt.status for receipt in await store.take(events)]


async def sent_by(store: ProfileStore) -> list[Message]:
    """The messages that are to be sent, which count as sent from then on."""
    messages = await store.messages()
    await store.acknowledge([message.id for message in messages])
    return messages


def same(found: object, wanted: object, what: str) -> None:
    """``AssertionError`` unless the two are equal."""
    assert found == wanted, f"{what}: {found!r}, not {wanted!r}"


async def _price_drop(store: ProfileStore, clock: Clock) -> None:
    await statuses(
        store, event_of("1", "view", item=5, time_ms=NOON - 9), event_of("1", "view", "bob", item=6, time_ms=NOON - 9)
    )
    small = drop(5, NOON - 8, units=(100, 96))
    await store.moved([small, drop(5, NOON), drop(5, NOON), drop(7, NOON)])
    found = await sent_by(store)
    same([(one.user, one.trigger, one.item) for one in found], [("ann", "cheaper", 5)], "a price drop")
    await store.moved([drop(5, NOON)])
    same(await sent_by(store), [], "the same price drop again")
    profile = await store.profile("ann")
    assert profile is not None
    same(profile.sent, [("email", "cheaper", NOON)], "sent")
    clock.go(1)
    await store.moved([drop(5, NOON + 5), drop(5, NOON + 6, units=(100, 78))])
    same(await sent_by(store), [], "the same price, told as another change, and one that is hardly lower than it")
    await store.moved([drop(5, NOON + 7, units=(100, 60))])
    again = await sent_by(store)
    assert [one.item for one in again] == [5] and again[0].id != found[0].id, f"the next price drop: {again}"


async def _late_view(store: ProfileStore, clock: Clock) -> None:
    await store.moved([drop(5, NOON - 5)])
    receipts = await store.take([event_of("1", "view", item=5, time_ms=NOON - 6), event_of("1", "view", "bob", item=5)])
    found = await sent_by(store)
    same([one.user for one in found], ["ann"], "of a view before the drop that came late, and one after it")
    same([one.triggered for one in receipts], [(found[0].id,), ()], "what the receipts say was set off")


async def _back_in_stock(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, event_of("1", "favourite", item=5, time_ms=NOON - 9))
    gone = StockMove(item=5, before_micros=9, after_micros=9, before_count=2, after_count=0, time_ms=NOON - 4)
    back = StockMove(item=5, before_micros=9, after_micros=9, before_count=0, after_count=2, time_ms=NOON - 2)
    await store.moved([gone])
    same(await sent_by(store), [], "sold out")
    await store.moved([back, back, gone])
    same([(one.trigger, one.item) for one in await sent_by(store)], [("back", 5)], "back in stock")
    await store.moved([structs.replace(back, time_ms=NOON - 1)])
    same(await sent_by(store), [], "back in stock, told as another change")


async def _cart(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, *(event_of("1", "cart", user, item=5) for user in ("ann", "bob", "cy")))
    clock.go(0.5)
    await statuses(store, event_of("2", "order", "bob", item=5), event_of("2", "cart_removed", "cy", item=5))
    clock.go(3.4)
    same(await store.tend(), 1, "messages before the cart was left for four hours, but for what goes with an order")
    await statuses(store, event_of("1", "cart", "dee", item=6))
    clock.go(0.2)
    same(await store.tend(), 1, "messages after four hours")
    found = {(one.user, one.trigger, one.item) for one in await sent_by(store)}
    same(found, {("ann", "cart", 5), ("bob", "goes_with", 6)}, "after four hours")
    clock.go(4)
    await store.tend()
    same([one.user for one in await sent_by(store)], ["dee"], "a cart of later")


async def _two_in_cart(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, event_of("1", "cart", item=5), event_of("1", "cart", "bob", item=5))
    clock.go(2)
    await statuses(store, event_of("2", "cart", item=6), event_of("2", "cart", "bob", item=6))
    clock.go(3)
    same(await store.tend(), 0, "messages while something newer is in the cart")
    await statuses(store, event_of("3", "cart_removed", item=6))
    clock.go(2)
    same((await store.tend(), await store.tend()), (2, 0), "messages four hours after the last was added")
    found = sorted((one.user, one.item) for one in await sent_by(store))
    same(found, [("ann", 5), ("bob", 6)], "the newest that is left in the cart")
    clock.go(24)
    await statuses(store, event_of("4", "cart_removed", "bob", item=6))
    clock.go(24)
    same(await store.tend(), 0, "messages about what is older than what was written about")


async def _complement(store: ProfileStore, clock: Clock) -> None:
    await statuses(
        store, event_of("1", "order", item=5, time_ms=NOON - 1), event_of("2", "order", item=6, time_ms=NOON - 2)
    )
    clock.go(2)
    same((await store.tend(), await store.tend()), (2, 0), "after two orders")
    found = sorted((one.trigger, one.item) for one in await sent_by(store))
    same(found, [("goes_with", 7), ("goes_with", 7)], "what goes with them and is not ordered yet")
    await store.moved(
        [StockMove(item=21, before_micros=9, after_micros=9, before_count=1, after_count=0, time_ms=NOON)]
    )
    await statuses(store, event_of("1", "order", "bob", item=20))
    clock.go(2)
    await store.tend()
    same([one.item for one in await sent_by(store)], [22], "where the first that goes with it is sold out")


async def _quiet(store: ProfileStore, clock: Clock) -> None:
    clock.go(9)  # 21:00
    await statuses(store, event_of("1", "order", item=5), event_of("1", "order", "bob", item=5))
    clock.go(2)
    same(await store.tend(), 0, "in the quiet hours")
    await statuses(store, event_of("2", "left", "bob"))
    clock.go(8.9)
    same(await store.tend(), 0, "just before they end")
    clock.go(0.1)
    same(await store.tend(), 1, "when they end, to those whom it still may be sent to")


async def _capped(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, *(event_of(str(item), "order", item=item, time_ms=NOON - item) for item in (10, 20, 30)))
    clock.go(2)
    same(await store.tend(), 2, "three orders where two messages a day are allowed")
    clock.go(25)
    same(await store.tend(), 0, "what was capped stays unsent")
    await statuses(store, event_of("new", "order", item=40))
    clock.go(22)
    same(await store.tend(), 1, "a day later")


async def _brand_capped(store: ProfileStore, clock: Clock) -> None:
    for user, exposures in (("ann", 3), ("bob", 2)):
        await statuses(store, *(event_of(str(n), "exposure", user, brand="acme") for n in range(exposures)))
        await statuses(store, *(event_of(f"v{item}", "view", user, item=item) for item in (5, 6)))
    clock.go(1)
    await store.moved([drop(5, NOON + 1), drop(6, NOON + 2)])
    found = await sent_by(store)
    same(
        [(one.user, one.brand) for one in found], [("bob", "acme")],
        "two prices of a brand fell; one user had met it 3 times today, the other twice, and 3 are allowed",
    )  # fmt: skip
    profile = await store.profile("bob")
    assert profile is not None
    same(profile.shown, {"acme": 3}, "what was shown, the message included")
    clock.go(24)
    await store.moved([drop(5, clock(), units=(80, 60))])
    same(sorted(one.user for one in await sent_by(store)), ["ann", "bob"], "a price that falls on the day after")


TRIGGER_CHECKS = (
    _price_drop, _late_view, _back_in_stock, _cart, _two_in_cart, _complement, _quiet, _capped, _brand_capped,
)  # fmt: skip
