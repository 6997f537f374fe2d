"""A change of the stock is one change: after a restart, on several servers, and whatever the one who tells it believed."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from tests.ranker.profile.house import event, in_store, settings
from tribid.ranker.profile.book import ProfileBook
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.redis_store import RedisProfiles
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop
from tribid.ranker.profile.watch import Watch
from tribid.ranker.stock import LiveStock, StockItem


@asynccontextmanager
async def _server(store, clock):
    """A server with its own stock, at 100 units an item as the catalogue says, told of by a watch."""
    item = StockItem(title="x", price_micros=100_000_000, count=3, category=0, url="https://shop.example/1")
    stock = LiveStock([item] * 9, now_ms=clock)
    watch = Watch(store, stock, every_s=3600)
    watch.start()
    try:
        yield stock
    finally:
        await watch.stop()  # tells what waits
        await store.close()


async def _view(store, clock, name="1"):
    await store.take([event("view", item=5, name=name, time_ms=clock.now_ms)])
    clock.go(1)


def test_a_price_that_is_told_again_after_a_restart_sends_nothing_and_a_lower_one_does(tmp_path):
    clock = Clock()

    async def sent(store):
        found = await store.messages()
        await store.acknowledge([message.id for message in found])
        return sorted(message.trigger for message in found)

    async def live(units):
        """One life of a server, which is told a price and that the item was gone for a while; what it sends."""
        async with _server(await JournaledProfiles.open(tmp_path, settings(clock)), clock) as stock:
            stock.update(5, price_micros=units * 1_000_000)
            stock.update(5, count=0)
            stock.update(5, count=4)
        clock.go(1)
        store = await JournaledProfiles.open(tmp_path, settings(clock))
        try:
            return await sent(store)
        finally:
            await store.close()

    in_store(tmp_path, lambda store: _view(store, clock), clock)
    assert asyncio.run(live(50)) == ["back_in_stock", "price_drop"]
    assert asyncio.run(live(50)) == ["back_in_stock"], "it was gone again, but costs what it cost"
    assert asyncio.run(live(30)) == ["back_in_stock", "price_drop"]


def test_the_last_price_of_an_item_is_known_however_long_ago_it_was_told(tmp_path):
    clock = Clock()

    async def long_ago(store):
        await store.moved([drop(5, clock.now_ms)])

    async def now(store):
        await store._snapshot(1)
        await _view(store, clock)
        await store.moved([drop(5, clock.now_ms)])
        same = await store.messages()
        await store.moved([drop(5, clock.now_ms, 1, units=(100, 60))])
        return len(same), len(await store.messages())

    in_store(tmp_path, long_ago, clock)
    clock.go(24 * 60)
    assert in_store(tmp_path, now, clock) == (0, 1)


def test_a_move_is_judged_against_the_newest_in_whatever_order_they_come():
    clock = Clock()
    book = ProfileBook(settings(clock), b"s" * 32)
    first, second = drop(5, NOON, units=(100, 80)), drop(5, NOON + 1, units=(80, 60))
    assert book.move(second).move.before_micros == 80_000_000
    late = book.move(first).move
    assert (late.before_micros, late.after_micros) == (60_000_000, 80_000_000), "no drop from what is known"
    assert book.move(first) is None and book.move(second) is None
    assert book.move(drop(5, NOON + 2, units=(100, 60))) is None, "the newest is the one that happened last"
    assert book.move(drop(5, NOON + 3, units=(100, 59))).move.before_micros == 60_000_000


def _sale(item, at_ms, left, *, units=100):
    """One of an item was sold."""
    price = units * 1_000_000
    return StockMove(
        item=item, before_micros=price, after_micros=price, before_count=left + 1, after_count=left, time_ms=at_ms
    )


def test_what_is_back_after_a_restart_that_forgot_it_was_gone_is_told(tmp_path):
    clock = Clock()

    async def live(*counts):
        """One life of a server, whose catalogue says that there are three, and which is told other numbers."""
        async with _server(await JournaledProfiles.open(tmp_path, settings(clock)), clock) as stock:
            for count in counts:
                clock.go(1)
                stock.update(5, count=count)

    in_store(tmp_path, lambda store: _view(store, clock), clock)
    asyncio.run(live(0))
    asyncio.run(live(2))
    asyncio.run(live(1))
    found = in_store(tmp_path, lambda store: store.messages(), clock)
    assert [(one.trigger, one.item) for one in found] == [("back_in_stock", 5)]


def test_a_sale_after_a_restart_does_not_bring_the_catalogues_price_back(tmp_path):
    clock = Clock()

    async def live(*units):
        async with _server(await JournaledProfiles.open(tmp_path, settings(clock)), clock) as stock:
            clock.go(1)
            stock.take(5)
            for one in units:
                clock.go(1)
                stock.update(5, price_micros=one * 1_000_000)

    in_store(tmp_path, lambda store: _view(store, clock), clock)
    asyncio.run(live(60))
    asyncio.run(live(60))
    assert len(in_store(tmp_path, lambda store: store.messages(), clock)) == 1


def test_a_sale_that_leaves_some_is_not_kept(tmp_path):
    clock = Clock()

    async def use(store):
        await store.moved([drop(5, NOON)])
        before = (tmp_path / "journal-00000001.log").read_bytes(), repr(store._book.moves)
        await store.moved([_sale(item, NOON + 1 + left, left) for item in (5, 6) for left in range(9, 0, -1)])
        assert ((tmp_path / "journal-00000001.log").read_bytes(), repr(store._book.moves)) == before

    in_store(tmp_path, use, clock)


def test_a_book_remembers_who_wants_an_item_only_as_long_as_the_record_says_so():
    clock = Clock()
    book = ProfileBook(settings(clock), b"s" * 32)
    for item in range(500):
        clock.go(0.01)
        for user in ("ann", "bob"):
            book.take(event("view", user, item=item, time_ms=clock.now_ms))
    book.take(event("view", "ann", item=900, time_ms=NOON))
    wanted = {item: set(users) for item, users in book._wanted.items()}
    book.index_all()
    assert wanted == book._wanted and set(wanted) == set(book.records["ann"].interests) == set(range(300, 500))
    for user in ("ann", "bob"):
        book.erase(user)
    assert book._wanted == {}


async def _redis(server, prefix, clock):
    return await RedisProfiles.open(server.url, settings(clock), prefix=prefix, claim_ms=0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_servers_that_are_told_the_same_price_send_one_message(redis_server, order):
    async def run():
        clock, prefix = Clock(), redis_server.prefix()
        stores = [await _redis(redis_server, prefix, clock) for _ in range(3)]
        await _view(stores[2], clock)
        async with _server(stores[order[0]], clock) as one, _server(stores[order[1]], clock) as other:
            for stock in (one, other):
                stock.update(5, price_micros=50_000_000)
                clock.now_ms += 50
        await stores[2].tend()
        found = await stores[2].messages()
        await stores[2].close()
        return [(message.trigger, message.item) for message in found]

    assert asyncio.run(run()) == [("price_drop", 5)]


def test_many_servers_that_tell_one_price_at_once_send_one_message_even_when_the_changes_are_forgotten(redis_server):
    async def run():
        clock, prefix = Clock(), redis_server.prefix()
        stores = [await _redis(redis_server, prefix, clock) for _ in range(4)]
        await _view(stores[0], clock)
        await asyncio.gather(*(stores[n % 4].moved([drop(5, clock.now_ms - n)]) for n in range(20)))
        await stores[0]._link.client.delete(stores[0]._keys.move(5))  # as it does by itself in time
        await stores[1].moved([drop(5, clock.now_ms + 5)])
        found = await stores[0].messages()
        await stores[0].moved([drop(5, clock.now_ms + 6, units=(100, 50))])
        found += await stores[0].messages()
        for store in stores:
            await store.close()
        return [message.trigger for message in found]

    assert asyncio.run(run()) == ["price_drop", "price_drop"]


def test_a_sale_that_leaves_some_is_not_kept_in_redis(redis_server):
    async def run():
        clock = Clock()
        store = await _redis(redis_server, redis_server.prefix(), clock)
        await store.moved([drop(5, NOON)])

        async def held():
            client, keys = store._link.client, store._keys
            return [await client.hgetall(keys.newest), await client.get(keys.moved), await client.hlen(keys.move(5))]

        before = await held()
        await store.moved([_sale(item, NOON + 1 + left, left) for item in (5, 6) for left in range(9, 0, -1)])
        after = await held()
        await store.moved([_sale(6, NOON + 20, 0), structs.replace(_sale(6, NOON + 21, 4), before_count=0)])
        moved = int(await store._link.client.get(store._keys.moved))
        await store.close()
        return before, after, moved

    before, after, moved = asyncio.run(run())
    assert before == after and moved == 3


def test_a_server_that_tells_late_what_others_told_before_sends_nothing_again(redis_server):
    async def run():
        clock, prefix = Clock(), redis_server.prefix()
        one, late = [await _redis(redis_server, prefix, clock) for _ in range(2)]
        await _view(one, clock)
        clock.go(1)
        for after_ms, units in ((0, (100, 90)), (1000, (90, 80))):
            await one.moved([drop(5, clock.now_ms + after_ms, units=units)])
        sent = await one.messages()
        for after_ms, units in ((50, (100, 90)), (1050, (90, 80))):
            await late.moved([drop(5, clock.now_ms + after_ms, units=units)])
        again = await late.messages()
        for store in (one, late):
            await store.close()
        return len(sent), len(again)

    assert asyncio.run(run()) == (2, 0)
