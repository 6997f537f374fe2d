"""The checker of the contract of profile stores, for stores of third parties too."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from tribid.envs.triggers import DAY_MS
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.settings import ProfileSettings
from tribid.ranker.profile.testing_triggers import (
    NOON,
    TRIGGER_CHECKS,
    Clock,
    drop,
    event_of,
    same,
    settings_of,
    statuses,
)  # fmt: skip

MakeProfiles = Callable[[ProfileSettings], Awaitable[ProfileStore]]


async def check_profiles(make: MakeProfiles) -> None:
    """Raise ``AssertionError`` where a store breaks the contract of ``tribid.ranker.profile.interface.ProfileStore``.

    ``make`` opens a new, empty store with some settings; every check opens one and closes it.

    >>> import tempfile
    >>> from tribid.ranker.profile.journaled import JournaledProfiles
    >>> async def make(settings):
    ...     return await JournaledProfiles.open(tempfile.mkdtemp(), settings)
    >>> asyncio.run(check_profiles(make))
    """
    for check in (
        _counts, _again, _late, _refused_events, _unknown, _orders, _shown, _consent, _exports, _erases, _hands_out, _crowd,
        *TRIGGER_CHECKS,
    ):  # fmt: skip
        clock = Clock()
        store = await make(settings_of(clock))
        try:
            await check(store, clock)
        finally:
            await store.close()
    await _closed(await make(settings_of(Clock())))


async def _counts(store: ProfileStore, clock: Clock) -> None:
    same(store.trouble, "", "the trouble of a store that is well")
    events = [
        event_of("1", "view", item=3, time_ms=NOON - 5), event_of("2", "view", item=4, brand="zen", time_ms=NOON - 4),
        event_of("3", "cart", item=3), event_of("4", "favourite", item=9), event_of("5", "exposure", brand="zen"),
    ]  # fmt: skip
    same(await statuses(store, *events), ["accepted"] * 5, "five events")
    profile = await store.profile("ann")
    assert profile is not None
    same((profile.version, profile.first_ms, profile.last_ms), (5, NOON - 5, NOON), "version and times")
    same(profile.viewed, [(4, NOON - 4), (3, NOON - 5)], "viewed")
    same((profile.cart, profile.favourites), ({3: NOON}, {9: NOON}), "cart and favourites")
    same(profile.marks, {"acme": 2, "zen": 3}, "marks")
    same(profile.counts, {"acme": [1, 1, 0, 1, 0, 0, 0, 0], "zen": [1, 0, 0, 0, 0, 0, 0, 0]}, "counts")
    same(profile.last["acme"], [NOON - 5, NOON, 0, NOON, 0, 0, 0, 0], "times of behaviours")
    profile.cart.clear()
    again = await store.profile("ann")
    assert again is not None and again.cart, "a profile that was given away is the store's own"


async def _again(store: ProfileStore, clock: Clock) -> None:
    same(
        await statuses(store, event_of("1", "cart", item=3), event_of("1", "cart", item=3)),
        ["accepted", "duplicate"],
        "twice",
    )
    clock.go(24)
    same(await statuses(store, event_of("1", "cart", item=3)), ["duplicate"], "a day later")
    same(await statuses(store, event_of("1", "cart", "bob", item=3)), ["accepted"], "another user's event of this id")
    profile = await store.profile("ann")
    assert profile is not None and profile.version == 1, "a duplicate was counted"


async def _late(store: ProfileStore, clock: Clock) -> None:
    old = NOON - 7 * DAY_MS
    same(await statuses(store, event_of("1", "view", item=1, time_ms=old - 1)), ["late"], "older than the retention")
    same(await store.profile("ann"), None, "a late event made a profile")
    same(await statuses(store, event_of("2", "view", item=1, time_ms=old)), ["accepted"], "as old as the retention")
    same(await statuses(store, event_of("3", "view", item=2, time_ms=NOON + 9)), ["accepted"], "from ahead")
    profile = await store.profile("ann")
    assert profile is not None and profile.last_ms == NOON, "an event from ahead counts as of now"


async def _refused_events(store: ProfileStore, clock: Clock) -> None:
    receipts = await store.take(
        [event_of("1", "cart"), event_of("2", "view", item=1000), event_of("3", "view", item=999)]
    )
    same([receipt.status for receipt in receipts], ["refused", "refused", "accepted"], "events that cannot be")
    assert "item" in receipts[0].why and "999" in receipts[1].why, f"why says {receipts[0].why!r}, {receipts[1].why!r}"
    for wrong in (
        event_of("", "view"),
        event_of("x", "vue"),
        event_of("x", "view", item=-1),
        event_of("x", "view", user="\ud800"),
    ):
        told = "nothing"
        try:
            await store.take([event_of("good", "view", "zoe"), wrong])
        except ValueError as error:
            told = str(error)
        assert "$.consumers[1]" in told, f"{wrong!r} raised {told}; ValueError that says where was expected"
    same(await store.profile("zoe"), None, "a batch with a malformed event was counted in part")


async def _unknown(store: ProfileStore, clock: Clock) -> None:
    found = (
        await store.profile("eve"),
        await store.export("eve"),
        await store.erase("eve"),
        await store.acknowledge(["x"]),
    )
    same(found, (None, None, False, 0), "nobody")


async def _orders(store: ProfileStore, clock: Clock) -> None:
    await statuses(
        store, event_of("2", "order", item=3, time_ms=NOON - 1), event_of("1", "cart", item=3, time_ms=NOON - 2)
    )
    profile = await store.profile("ann")
    assert profile is not None
    same((profile.cart, profile.orders), ({}, [(3, NOON - 1)]), "an item that was put into the cart before its order")
    same(profile.marks, {"acme": 6}, "ordered")
    await statuses(store, event_of("3", "order", item=3), event_of("4", "cart", item=3))
    profile = await store.profile("ann")
    assert profile is not None
    same((profile.marks, profile.orders), ({"acme": 14}, [(3, NOON), (3, NOON - 1)]), "ordered again")
    same(profile.cart, {}, "of two at once the order ends the cart")


async def _shown(store: ProfileStore, clock: Clock) -> None:
    await statuses(
        store, event_of("1", "exposure", brand="zen", time_ms=NOON - DAY_MS), event_of("2", "exposure", brand="zen"),
        event_of("3", "exposure", item=3, channel="search"), event_of("4", "exposure", brand="zen", channel="display"),
        event_of("5", "exposure", brand="zen", time_ms=NOON - DAY_MS), event_of("6", "click", brand="zen"),
    )  # fmt: skip
    profile = await store.profile("ann")
    assert profile is not None
    same(
        (profile.shown_day, profile.shown), (NOON // DAY_MS, {"zen": 2, "acme": 1}), "what was shown on the newest day"
    )
    clock.go(24)
    same(profile.shown_on(clock()), {}, "what was shown on a day without exposures")


async def _consent(store: ProfileStore, clock: Clock) -> None:
    await statuses(
        store, event_of("1", "joined", action="club", time_ms=NOON - 3), event_of("2", "view", item=5, time_ms=NOON - 3)
    )
    await store.moved([drop(5, NOON - 2)])
    await statuses(store, event_of("3", "left", time_ms=NOON - 1))
    profile = await store.profile("ann")
    assert profile is not None and profile.refused, "who left is not refused"
    same(profile.actions, {"club": NOON - 3}, "actions")
    same(await store.messages(), [], "a message to who opted out after it was made")
    await store.moved([drop(5, NOON)])
    await statuses(store, event_of("4", "order", item=3), event_of("5", "cart", item=8))
    clock.go(24)
    same((await store.tend(), await store.messages()), (0, []), "messages to who opted out")
    await statuses(store, event_of("6", "joined", time_ms=NOON - 2))
    profile = await store.profile("ann")
    assert profile is not None and profile.refused, "the older word counted"


async def _exports(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, event_of("1", "view", item=5, time_ms=NOON - 1), event_of("2", "cart", item=6))
    await store.moved([drop(5, NOON)])
    told = json.loads(await store.export("ann") or b"")
    same(told["user"], "ann", "user")
    same(told["profile"]["viewed"], [[5, NOON - 1]], "exported views")
    same([one["trigger"] for one in told["messages"]], ["cheaper"], "exported messages")
    same([one["trigger"] for one in told["waiting"]], ["cart"], "exported waits")
    same(len(told["events"]), 2, "exported events")


async def _erases(store: ProfileStore, clock: Clock) -> None:
    mine = [event_of("1", "view", item=5, time_ms=NOON - 1), event_of("2", "cart", item=6, time_ms=NOON)]
    await statuses(store, *mine, event_of("1", "view", "bob", item=5, time_ms=NOON - 1))
    await store.moved([drop(5, NOON)])
    same((await store.erase("ann"), await store.erase("ann")), (True, False), "erased, and again")
    same((await store.profile("ann"), await store.export("ann")), (None, None), "an erased user")
    same([message.user for message in await store.messages()], ["bob"], "messages after an erasure")
    same(await statuses(store, *mine), ["late", "late"], "events from before the erasure")
    clock.go(6)
    same(await store.tend(), 0, "messages that waited for an erased user")
    same(await statuses(store, event_of("3", "view", item=7)), ["accepted"], "an event from after the erasure")
    profile = await store.profile("ann")
    assert profile is not None and profile.viewed == [(7, clock.now_ms)], "what was erased came back"
    assert await store.profile("bob") is not None, "another user was erased"
    untimed = [event_of("4", "view", item=8), event_of("5", "view", item=9)]
    same(await statuses(store, untimed[0]), ["accepted"], "an event that does not say when it happened")
    assert await store.erase("ann")
    clock.go(1)
    same(await statuses(store, *untimed), ["late", "accepted"], "one from before the erasure, and one that is new")
    assert await store.erase("ann")
    clock.go(1)
    same(await statuses(store, *untimed), ["late", "late"], "both after another erasure")
    same(await statuses(store, event_of("4", "view", "bob", item=8)), ["accepted"], "another user's event of this id")


async def _hands_out(store: ProfileStore, clock: Clock) -> None:
    await statuses(store, *(event_of("1", "view", user, item=5, time_ms=NOON - 1) for user in ("ann", "bob", "cy")))
    await store.moved([drop(5, NOON)])
    first, second = await store.messages(2), await store.messages(2)
    same((len(first), len(second), len(await store.messages())), (2, 1, 0), "three messages, two at a time")
    same(await store.acknowledge([first[0].id, first[0].id, "other"]), 1, "acknowledged")
    clock.go(0.1)
    again = {message.id for message in await store.messages()}
    same(again, {first[1].id, second[0].id}, "what was not acknowledged is handed out again")


async def _crowd(store: ProfileStore, clock: Clock) -> None:
    async def tell(turn: int) -> None:
        await store.take([event_of(str(turn % 40), "view", f"u{turn % 4}", item=turn % 10, time_ms=NOON - turn % 40)])

    await asyncio.gather(*(tell(turn) for turn in range(200)))
    for user in range(4):
        profile = await store.profile(f"u{user}")
        assert profile is not None
        same(profile.version, 10, "events that many told at once, each five times")


async def _closed(store: ProfileStore) -> None:
    await store.close()
    await store.close()
    for call in (
        store.take([event_of("1", "view")]),
        store.profile("ann"),
        store.messages(),
        store.tend(),
        store.erase("a"),
    ):
        try:
            await call
        except ProfilesUnavailableError:
            continue
        raise AssertionError("a closed store answers")
    assert store.trouble, "a closed store says nothing of it"
