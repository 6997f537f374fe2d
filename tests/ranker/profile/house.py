"""What the tests of profiles share: events, and stores on a clock of their own."""

import asyncio
import itertools

from tribid.envs.triggers import Trigger
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.profile.settings import ProfileSettings
from tribid.ranker.profile.testing_triggers import NOON, Clock

_numbers = itertools.count()


def event(kind, user="ann", *, name=None, **told):
    """An event with an id of its own unless it is given one."""
    told.setdefault("time_ms", NOON)
    return ConsumerEvent(id=name or f"event-{next(_numbers)}", kind=kind, user=user, **told)


def triggers(**told):
    """One trigger of each kind, never quiet and hardly capped unless told otherwise."""
    told = {"quiet_from": 0.0, "quiet_to": 0.0, "cap": 100} | told
    kinds = ("price_drop", "back_in_stock", "cart_abandoned", "complementary")
    return [Trigger(name=kind, kind=kind, wait_hours=1, **told) for kind in kinds]


def settings(clock=None, **told):
    told.setdefault("triggers", triggers())
    return ProfileSettings(
        **(
            {"complements": lambda item: (item + 1,), "brand_of": lambda item: f"brand-{item % 7}", "keep_days": 7}
            | told
        ),
        clock_ms=clock or Clock(),
    )


def in_store(folder, use, clock=None, **told):
    """What ``use`` makes of the store in a folder, opened for it and closed after it."""

    async def run():
        store = await JournaledProfiles.open(folder, settings(clock, **told))
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def contents(folder):
    """All bytes of all files below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
