"""A watch tells the store of stock changes from any thread and of the passing of time, and keeps what could not be told."""

import asyncio
import threading

import pytest

from tests.ranker.profile.house import event, settings
from tribid.ranker.profile import watch as watch_module
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop
from tribid.ranker.profile.watch import Watch
from tribid.ranker.stock import LiveStock, StockItem


def _stock(clock, count=3):
    items = [
        StockItem(title=f"Item {n}", price_micros=100_000_000, count=count, category=0, url=f"https://shop.example/{n}")
        for n in range(10)
    ]
    return LiveStock(items, now_ms=clock)


async def _until(answer, what):
    for _ in range(3000):
        found = await answer()
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing came: {what}")


def _watched(folder, use, every_s=0.01):
    async def run():
        clock = Clock()
        stock = _stock(clock)
        store = await JournaledProfiles.open(folder, settings(clock))
        watch = Watch(store, stock, every_s=every_s)
        watch.start()
        try:
            return await use(store, stock, watch, clock)
        finally:
            await watch.stop()
            await store.close()

    return asyncio.run(run())


def test_a_price_that_falls_in_another_thread_sends_a_message(tmp_path):
    async def use(store, stock, watch, clock):
        await store.take([event("view", item=5, time_ms=NOON - 5), event("favourite", "bob", item=6, time_ms=NOON - 5)])
        stock.update(5, price_micros=97_000_000)  # less than the trigger asks for
        thread = threading.Thread(target=lambda: stock.update(5, price_micros=70_000_000))
        thread.start()
        thread.join()
        stock.take(6, 3)
        stock.put_back(6, 2)
        found = await _until(store.messages, "a price drop")
        return found + (await _until(store.messages, "back in stock") if len(found) < 2 else [])

    found = _watched(tmp_path, use)
    assert sorted((one.user, one.trigger, one.item) for one in found) == [
        ("ann", "price_drop", 5),
        ("bob", "back_in_stock", 6),
    ]


def test_time_that_passes_sends_what_is_due(tmp_path):
    async def use(store, stock, watch, clock):
        await store.take([event("cart", item=5)])
        clock.go(1)
        return [one.trigger for one in await _until(store.messages, "a cart left alone")]

    assert _watched(tmp_path, use) == ["cart_abandoned"]


def test_what_a_store_could_not_take_is_told_again(tmp_path):
    async def use(store, stock, watch, clock):
        real, failures = store.moved, []

        async def fails(moves):
            failures.append(len(moves))
            if len(failures) < 3:
                raise ProfilesUnavailableError("away")
            await real(moves)

        store.moved = fails
        await store.take([event("view", item=5, time_ms=NOON - 5)])
        stock.update(5, price_micros=70_000_000)
        found = await _until(store.messages, "a price drop")
        return failures, [one.item for one in found]

    failures, items = _watched(tmp_path, use)
    assert failures[:3] == [1, 1, 1] and items == [5]


def test_changes_that_wait_when_the_watch_ends_are_told(tmp_path):
    async def use(store, stock, watch, clock):
        await store.take([event("view", item=5, time_ms=NOON - 5)])
        stock.update(5, price_micros=70_000_000)
        await watch.stop()
        stock.update(5, price_micros=50_000_000)
        return [one.item for one in await store.messages()]

    assert _watched(tmp_path, use, every_s=3600) == [5]


def test_a_watch_begins_once_and_not_too_often(tmp_path):
    async def use(store, stock, watch, clock):
        with pytest.raises(ValueError, match="begun"):
            watch.start()

    _watched(tmp_path, use)
    with pytest.raises(ValueError, match="every_s is 0"):
        Watch(None, every_s=0)


class _Tells:
    """A store that is told, and does something each time."""

    def __init__(self, meanwhile):
        self.told, self._meanwhile = [], meanwhile

    async def moved(self, moves):
        await self._meanwhile(len(self.told))
        self.told += [move.version for move in moves]

    async def tend(self):
        return 0


def _told(meanwhile, first):
    """The versions that a store is told, of those that wait at first and those that ``meanwhile`` adds."""

    async def run():
        watch = Watch(_Tells(lambda told: meanwhile(watch, told)))
        _wait(watch, first)
        while not await watch._tell():
            pass
        return watch._store.told

    return asyncio.run(run())


def _wait(watch, versions):
    watch._untold.extend(drop(1, NOON, version=version) for version in versions)


def test_changes_that_come_while_others_are_told_push_none_of_them_out(monkeypatch):
    monkeypatch.setattr(watch_module, "MOST", 20)
    monkeypatch.setattr(watch_module, "_AT_ONCE", 10)

    async def meanwhile(watch, told):
        if told == 0:
            _wait(watch, range(20, 25))

    assert _told(meanwhile, range(20)) == list(range(25))


def test_changes_that_could_not_be_told_wait_in_their_place_and_the_oldest_go_where_there_is_no_room(monkeypatch):
    monkeypatch.setattr(watch_module, "MOST", 20)
    monkeypatch.setattr(watch_module, "_AT_ONCE", 10)
    failures = []

    async def meanwhile(watch, told):
        if len(failures) < 2:
            failures.append(1)
            _wait(watch, range(20 + 3 * len(failures) - 3, 20 + 3 * len(failures)))
            raise ProfilesUnavailableError("away")

    assert _told(meanwhile, range(20)) == list(range(6, 26))


def test_changes_that_were_being_told_when_that_was_cancelled_are_told_next():
    async def run():
        began = asyncio.Event()

        async def meanwhile(told):
            if not began.is_set():
                began.set()
                await asyncio.sleep(3600)

        watch = Watch(_Tells(meanwhile))
        _wait(watch, range(3))
        telling = asyncio.create_task(watch._tell())
        await began.wait()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        assert watch._store.told == []
        await watch._tell()
        return watch._store.told

    assert asyncio.run(run()) == [0, 1, 2]


def test_sales_that_leave_some_are_told_once_an_item_and_what_matters_always():
    async def nothing(told):
        pass

    async def run():
        stock = _stock(Clock(), count=50)
        watch = Watch(_Tells(nothing), stock, every_s=3600)
        watch.start()
        stock.update(5, title="another")
        for _ in range(40):
            stock.take(5)
        stock.take(6)  # version 42
        stock.take(5, 10)
        stock.put_back(5, 1)
        stock.take(6)
        await watch.stop()
        stock.take(6)
        watch.start()
        stock.take(6)  # what changed meanwhile was not told
        await watch.stop()
        return watch._store.told

    assert asyncio.run(run()) == [2, 42, 43, 44, 47]


@pytest.mark.parametrize("turns", range(8))
def test_a_watch_ends_whatever_happens_at_that_moment(turns):
    async def nothing(told):
        pass

    async def run():
        stock = _stock(Clock())
        watch = Watch(_Tells(nothing), stock, every_s=3600)
        watch.start()
        await asyncio.sleep(0.01)
        stock.update(5, price_micros=70_000_000)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(watch.stop(), 30)
        return len(watch._store.told)

    assert asyncio.run(run()) == 1


def test_a_watch_whose_store_cannot_be_used_ends_at_once():
    async def away(told):
        raise ProfilesUnavailableError("away")

    async def run():
        watch = Watch(_Tells(away), every_s=3600)
        watch.start()
        _wait(watch, range(3))
        watch._stirred.set()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(watch.stop(), 30)
        return watch._store.told, len(watch._untold)

    assert asyncio.run(run()) == ([], 3)
