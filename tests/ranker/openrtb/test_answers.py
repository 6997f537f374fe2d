"""The same bid request is answered once; pages' numbers that meet are told apart; and what is over is forgotten."""

import asyncio
import gc
import hashlib
import json
import tracemalloc

import pytest

from tests.ranker.openrtb.house import HOLD_MS, ask, imp, in_house, read
from tribid.ranker.live import Conflict
from tribid.ranker.openrtb import answers
from tribid.ranker.openrtb.answers import AnswerBook, NoBid, Reply, content_key


def _book(now, **settings):
    return AnswerBook(1_000, lambda: now[0], **settings)


async def _answer(numbers):
    return Reply(200, str(next(numbers)).encode())


def test_the_time_left_and_fields_that_are_not_read_are_no_part_of_a_request():
    key = content_key(read(ask("a", tmax=100)))
    assert key == content_key(read(ask("a", tmax=90, ext={"x": 1}, source={"tid": "t"})))
    others = [ask("b"), ask("a", imp(bidfloor=1)), ask("a", user={"id": "8"}), ask("a", badv=["x"])]
    assert len({key, *(content_key(read(other)) for other in others)}) == 5


def test_numbers_that_are_taken_are_passed_over(monkeypatch):
    class Narrow:
        """A hash of two bits: every other request meets a number that is taken."""

        @staticmethod
        def blake2b(key, digest_size, salt):
            full = hashlib.blake2b(key, digest_size=digest_size, salt=salt)
            return type("D", (), {"digest": lambda self: bytes([0, 0, 0, full.digest()[0] & 3])})()

    monkeypatch.setattr(answers, "hashlib", Narrow)

    async def run():
        book, found = _book([0]), []
        for name in (b"a", b"b", b"c"):
            found.append((await book.open(name, _answer).answer()).content)
        assert len(set(found)) == 3

    asyncio.run(run())


def test_what_is_over_is_forgotten_after_twice_its_time():
    async def run():
        now = [0]
        book = _book(now)
        await book.open(b"a", _answer).answer()
        now[0] = 1_000
        assert book.is_over(book.of(b"a"))
        now[0] = 2_000
        assert book.of(b"a") is None and len(book) == 0 and not book._taken

    asyncio.run(run())


def test_the_same_request_much_later_is_another_page():
    async def run():
        now = [0]
        book, found = _book(now), set()
        for _ in range(5):
            found.add((await book.open(b"a", _answer).answer()).content)
            now[0] += 2_000
            assert book.of(b"a") is None
        assert len(found) == 5

    asyncio.run(run())


def test_two_processes_give_the_same_request_the_same_number_at_the_same_time():
    async def run():
        one, other = [await _book([500]).open(b"a", _answer).answer() for _ in range(2)]
        assert one == other

    asyncio.run(run())


def test_a_book_keeps_no_more_bytes_of_answers_than_it_may():
    async def long(numbers):
        return Reply(200, str(next(numbers)).encode().ljust(9_000))

    async def run():
        book = _book([0], most_bytes=32_000)
        for n in range(10):
            await book.open(bytes([n]), long).answer()
            book.of(b"")
        assert len(book) == len(book._taken) == 3 and 0 < book._bytes <= 32_000
        assert book.of(bytes([9])) is not None and book.of(bytes([0])) is None
        for n in range(10, 60):
            await book.open(bytes([n]), _answer).answer()
            book.of(b"")
        assert 20 < len(book) == len(book._taken) <= 50 and book._bytes <= 32_000

    asyncio.run(run())


def test_an_entry_takes_no_more_memory_than_is_reckoned():
    async def decline(numbers):
        next(numbers)
        return NoBid("no advertiser bids")

    async def run():
        book = _book([0])
        await asyncio.gather(*(book.open(n.to_bytes(16, "big"), decline).answer() for n in range(8)))
        gc.collect()
        tracemalloc.start()
        for n in range(8, 4_008):
            await book.open(n.to_bytes(16, "big"), decline).answer()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert taken < 4_000 * answers._ENTRY_BYTES
        assert all(entry.made == NoBid("no advertiser bids") for entry in book._entries.values())

    asyncio.run(run())


def test_a_no_bid_is_told_again_without_its_body_being_kept():
    async def use(house):
        blocked = ask("a", badv=[f"adv-0{n}.example" for n in range(5)])
        whys = [await house.why(blocked) for _ in range(2)]
        assert whys == ["every advertiser is blocked"] * 2 and not house.front.ranked
        dear, before = ask("b", imp(bidfloor=1e8)), house.free
        whys = [await house.why(dear) for _ in range(2)]
        assert whys == ["no ad reaches an imp's floor or fits it"] * 2 and len(house.front.ranked) == 1
        assert house.free == before and house.bidder.counts["no_bid.other"] == 4
        assert all(isinstance(entry.made, NoBid) for entry in house.bidder._book._entries.values())

    in_house(use)


def test_an_answer_that_fails_is_forgotten_and_can_be_asked_again():
    async def fail(numbers):
        next(numbers)
        raise RuntimeError("broken")

    async def run():
        book = _book([0])
        with pytest.raises(RuntimeError, match="broken"):
            await book.open(b"a", fail).answer()
        assert book.of(b"a") is None and not book._taken
        assert (await book.open(b"a", _answer).answer()).status == 200

    asyncio.run(run())


def test_a_page_number_that_the_ranker_has_given_away_is_replaced_by_the_next():
    async def use(house):
        rank, refused = house.front.rank, []

        async def rank_twice(request):
            if len(refused) < 2:
                refused.append(request.request)
                raise Conflict("answered before")
            return await rank(request)

        house.front.rank = rank_twice
        response = await house.bid(ask("a"))
        assert int(response.bidid.split(".")[1]) not in refused and len(set(refused)) == 2
        assert house.bidder.counts["conflict"] == 2

    in_house(use)


def test_where_no_number_is_free_there_is_no_bid():
    async def use(house):
        async def conflict(request):
            raise Conflict("answered before")

        house.front.rank = conflict
        response = await house.bid(ask("a"))
        assert (response.nbr, response.seatbid) == (1, ())

    in_house(use)


def test_who_asked_may_go_away_and_the_answer_is_still_booked():
    async def use(house):
        held, rank = asyncio.Event(), house.front.rank

        async def slow(request):
            await held.wait()
            return await rank(request)

        house.front.rank = slow
        first = asyncio.ensure_future(house.bidder.reply(_json("a")))
        await asyncio.sleep(0)
        first.cancel()
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        reply = await house.bidder.reply(_json("a"))
        assert reply.status == 200 and len(house.front.ranked) == 1

    in_house(use)


def test_a_request_long_after_its_time_is_bid_for_with_money_held_anew():
    async def use(house):
        before = house.free
        first = await house.bid(ask("a"))
        house.now_ms += 2 * HOLD_MS
        await house.front.ledger.expire(house.now_ms)
        assert house.free == before
        again = await house.bid(ask("a"))
        assert again.bidid != first.bidid and house.free < before

    in_house(use)


def _json(name):
    return json.dumps(ask(name)).encode()
