import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.ranker.open_time.house import KEY, LIFE_MS, START_MS, Clock, a_slot, a_stock, a_token, open_time
from tribid.ranker.open_time.card import Card, Painter, card_of
from tribid.ranker.open_time.choices import Choices
from tribid.ranker.open_time.events import SlotEvent, into
from tribid.ranker.open_time.open_time import Opened, OpenTime, RefusedError
from tribid.ranker.open_time.settings import OpenTimeSettings
from tribid.ranker.open_time.studio import BusyError, Studio
from tribid.ranker.open_time.tokens import Signer
from tribid.ranker.stock import LiveStock

HOUR_MS = 3_600_000


def use(part: OpenTime, check: Callable[[OpenTime], Awaitable[None]]) -> None:
    async def inner() -> None:
        try:
            await check(part)
        finally:
            await part.close()

    asyncio.run(inner())


def shown(opened: Opened) -> int | None:
    """The item whose picture is in an answer, None for the fallback."""
    return None if opened.card is None else opened.card.item


class Likes:
    """A picker that wants these items, whoever asks."""

    def __init__(self, *items: int) -> None:
        self.items, self.asked = items, 0

    async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
        self.asked += 1
        return self.items


class Told:
    """A recorder that keeps what it is told, or fails."""

    def __init__(self) -> None:
        self.events: list[SlotEvent] = []
        self.fails = False

    async def __call__(self, event: SlotEvent) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError
        self.events.append(event)

    def clicks(self) -> list[int]:
        return [event.item for event in self.events if event.kind == "click"]


def test_a_slot_shows_the_best_item_and_its_click_leads_there() -> None:
    async def check(part: OpenTime) -> None:
        opened = await part.open(a_token())
        assert opened.content() == Painter().draw(card_of(5, part.stock.item(5)))
        assert await part.click(a_token("click")) == part.stock.item(5).url

    use(open_time(a_stock(), picker=Likes(5, 6)), check)


def test_a_slot_shows_the_same_item_within_its_time_whatever_is_liked_meanwhile() -> None:
    clock, likes = Clock(), Likes(5, 6)

    async def check(part: OpenTime) -> None:
        assert shown(await part.open(a_token())) == 5
        likes.items = (7,)
        clock.ms += HOUR_MS - 1
        assert shown(await part.open(a_token())) == 5
        assert await part.click(a_token("click")) == part.stock.item(5).url
        clock.ms += 1
        assert await part.click(a_token("click")) == part.stock.item(5).url  # as the picture that was drawn last
        assert shown(await part.open(a_token())) == 7
        assert await part.click(a_token("click")) == part.stock.item(7).url

    use(open_time(a_stock(), clock, picker=likes), check)


def test_a_restarted_service_shows_and_sends_to_the_same_item(tmp_path: Path) -> None:
    stock = a_stock()

    def part(*liked: int) -> OpenTime:
        choices = Choices(journal=tmp_path / "choices", identity=stock.identity)
        return open_time(stock, picker=Likes(*liked), choices=choices)

    async def first(part: OpenTime) -> None:
        assert shown(await part.open(a_token())) == 5

    async def second(part: OpenTime) -> None:
        assert await part.click(a_token("click")) == stock.item(5).url
        assert shown(await part.open(a_token())) == 5

    use(part(5), first)
    use(part(7), second)


def test_the_slots_of_a_mail_show_different_items_even_opened_at_once() -> None:
    async def check(part: OpenTime) -> None:
        opened = await asyncio.gather(*(part.open(a_token(number=number)) for number in range(4)))
        assert sorted(shown(one) for one in opened) == [5, 6, 7, 8]
        assert shown(await part.open(a_token(message="m2"))) == 5

    use(open_time(a_stock(), picker=Likes(5, 6, 7, 8, 9)), check)


def test_a_slot_opened_twice_at_once_shows_one_item() -> None:
    class Changing:
        """Another liking on each question, answered after a while."""

        def __init__(self) -> None:
            self.asked = 0

        async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
            self.asked += 1
            mine = self.asked
            await asyncio.sleep(0)
            return [mine]

    async def check(part: OpenTime) -> None:
        opened = await asyncio.gather(*(part.open(a_token()) for _ in range(4)))
        assert {shown(one) for one in opened} == {1}
        assert await part.click(a_token("click")) == part.stock.item(1).url

    use(open_time(a_stock(), picker=Changing()), check)


def test_the_last_item_is_shown_twice_rather_than_nothing() -> None:
    stock = a_stock()
    for number in range(1, 12):
        stock.update(number, count=0)

    async def check(part: OpenTime) -> None:
        assert [shown(await part.open(a_token(number=number))) for number in (0, 1)] == [0, 0]

    use(open_time(stock), check)


def test_an_item_that_sells_out_is_replaced_and_the_click_follows_the_picture() -> None:
    stock = a_stock()

    async def check(part: OpenTime) -> None:
        assert shown(await part.open(a_token())) == 5
        stock.take(5, 100)
        assert await part.click(a_token("click")) == stock.item(5).url  # the reader still sees its picture
        assert shown(await part.open(a_token())) == 6
        assert await part.click(a_token("click")) == stock.item(6).url
        stock.put_back(5)
        assert shown(await part.open(a_token())) == 6

    use(open_time(stock, picker=Likes(5, 6)), check)


def test_an_item_that_sells_out_while_it_is_drawn_is_not_shown() -> None:
    stock = a_stock()
    painter = Painter()

    def draw(card: Card) -> bytes:
        stock.update(card.item, count=0)  # from the drawing thread, as another buyer would
        return painter.draw(card)

    async def check(part: OpenTime) -> None:
        opened = await part.open(a_token())
        assert opened.card is None and opened.content() == part.fallback

    use(open_time(stock, studio=Studio(draw)), check)


def test_an_item_that_sells_out_before_its_answer_is_sent_is_not_sent() -> None:
    stock = a_stock()

    async def check(part: OpenTime) -> None:
        opened = await part.open(a_token())
        assert opened.content() != part.fallback
        stock.update(5, count=0)
        assert opened.content() == part.fallback

    use(open_time(stock, picker=Likes(5)), check)


def test_an_item_that_sold_out_between_being_chosen_and_described_is_not_shown() -> None:
    stock = a_stock()
    part = open_time(stock)
    assert part.shows(card_of(5, stock.item(5)))
    stock.update(5, count=0)
    assert not part.shows(card_of(5, stock.item(5)))
    asyncio.run(part.close())


def test_price_and_stock_are_those_of_the_moment_of_opening() -> None:
    stock = a_stock()

    async def check(part: OpenTime) -> None:
        await part.open(a_token())
        stock.update(5, price_micros=1_990_000, count=2)
        opened = await part.open(a_token())
        assert (
            opened.card == card_of(5, stock.item(5))
            and opened.card.price == "USD 1.99"
            and opened.card.hint == "Only 2 left"
        )
        assert opened.content() == Painter().draw(opened.card)

    use(open_time(stock, picker=Likes(5)), check)


def test_a_price_that_changes_while_it_is_drawn_is_drawn_again() -> None:
    stock, painter = a_stock(), Painter()

    def draw(card: Card) -> bytes:
        if card.price != "USD 1.99":
            stock.update(card.item, price_micros=1_990_000)
        return painter.draw(card)

    async def check(part: OpenTime) -> None:
        opened = await part.open(a_token())
        assert opened.card is not None and opened.card.price == "USD 1.99"

    use(open_time(stock, picker=Likes(5), studio=Studio(draw)), check)


def test_nothing_to_be_had_shows_the_fallback_and_leads_to_the_shop() -> None:
    async def check(part: OpenTime) -> None:
        assert (await part.open(a_token())).content() == part.fallback
        assert await part.click(a_token("click")) == "https://shop.example"
        assert part.counts["fallback.sold out"] == 1

    use(open_time(a_stock(count=0)), check)


def test_a_slot_that_takes_longer_than_its_budget_shows_the_fallback() -> None:
    clock = Clock()
    clock.step_s = 0.006

    async def check(part: OpenTime) -> None:
        assert (await part.open(a_token())).content() == part.fallback
        assert part.counts == {"fallback.late": 1}
        clock.step_s = 0.0
        assert shown(await part.open(a_token())) is not None

    use(open_time(a_stock(), clock, {"budget_ms": 10.0}), check)


def test_a_request_that_waited_longer_than_the_budget_already_shows_the_fallback() -> None:
    clock = Clock()
    clock.s = 5.0

    async def check(part: OpenTime) -> None:
        assert (await part.open(a_token(), began_s=4.0)).content() == part.fallback

    use(open_time(a_stock(), clock, {"budget_ms": 20.0}), check)


def test_drawing_that_hangs_does_not_hold_the_answer_up_and_is_there_for_the_next() -> None:
    hold, painter = threading.Event(), Painter()

    def draw(card: Card) -> bytes:
        assert hold.wait(60)
        return painter.draw(card)

    async def check(part: OpenTime) -> None:
        opened = await part.open(a_token())  # returns though the drawing never would
        assert opened.content() == part.fallback and part.counts["fallback.late"] == 1
        hold.set()
        card = card_of(0, part.stock.item(0))
        while part._studio.kept(card) is None:
            await asyncio.sleep(0.001)
        assert part._studio.kept(card) == painter.draw(card)

    use(open_time(a_stock(), settings={"budget_ms": 20.0}, studio=Studio(draw)), check)


def test_drawing_that_fails_shows_the_fallback() -> None:
    def draw(card: Card) -> bytes:
        raise MemoryError

    async def check(part: OpenTime) -> None:
        assert (await part.open(a_token())).content() == part.fallback
        assert part.counts["fallback.error"] == 1

    use(open_time(a_stock(), studio=Studio(draw)), check)


@pytest.mark.parametrize("fault", ["hangs", "fails"])
def test_a_picker_that_hangs_or_fails_is_replaced_by_the_buckets(fault: str) -> None:
    class Bad:
        async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
            if fault == "fails":
                raise ConnectionError
            await asyncio.sleep(3_600)
            return [5]

    async def check(part: OpenTime) -> None:
        assert shown(await part.open(a_token())) == 0
        assert part.counts["picker failed"] == 1

    use(open_time(a_stock(), settings={"budget_ms": 2_000.0}, picker=Bad()), check)


def test_items_that_a_picker_makes_up_are_passed_over() -> None:
    async def check(part: OpenTime) -> None:
        assert shown(await part.open(a_token())) == 5

    use(open_time(a_stock(), picker=Likes(-1, 12, 10**9, 5)), check)


def test_a_picker_without_end_ends_with_the_budget() -> None:
    clock = Clock()

    class Endless:
        async def pick(self, user: str, slot: int, now_ms: int) -> Iterable[int]:
            def items() -> Iterable[int]:
                while True:
                    clock.s += 0.001
                    yield 99

            return items()

    async def check(part: OpenTime) -> None:
        assert (await part.open(a_token())).content() == part.fallback

    use(open_time(a_stock(), clock, picker=Endless()), check)


@pytest.mark.parametrize("purpose", ["open", "click"])
def test_tokens_that_are_forged_over_or_for_something_else_are_refused(purpose: Any) -> None:
    clock = Clock()
    other = "click" if purpose == "open" else "open"

    async def check(part: OpenTime) -> None:
        act: Any = part.open if purpose == "open" else part.click
        for token, status in (
            (a_token(other), 403),
            (a_token(purpose)[:-2] + "AA", 403),
            (Signer([b"x" * 32]).token(purpose, a_slot()), 403),
            ("", 403),
            ("../../etc/passwd", 403),
            ("\ud800", 403),
            (a_token(purpose, life_ms=-1), 410),
        ):
            with pytest.raises(RefusedError) as raised:
                await act(token)
            assert raised.value.status == status
        clock.ms += LIFE_MS
        with pytest.raises(RefusedError) as raised:
            await act(a_token(purpose))
        assert raised.value.status == 410
        assert part.choices.of(a_slot()) is None and part.counts["refused.forged"] == 6

    use(open_time(a_stock(), clock), check)


@pytest.mark.parametrize("purpose", ["open", "click"])
def test_a_token_that_is_replayed_too_often_is_refused(purpose: Any) -> None:
    clock = Clock()
    limits = {"opens_per_minute": 3, "opens": 5, "clicks_per_minute": 3, "clicks": 5}

    async def check(part: OpenTime) -> None:
        act: Any = part.open if purpose == "open" else part.click
        statuses, waits = [], []
        for minute in (0, 0, 0, 0, 1, 1, 1, 2):
            clock.ms = START_MS + minute * 60_000
            try:
                await act(a_token(purpose))
                statuses.append(200)
            except RefusedError as error:
                statuses.append(error.status)
                waits.append(error.wait_s)
        assert statuses == [200, 200, 200, 429, 200, 200, 410, 410]
        assert waits == [60, 0, 0]
        await act(a_token(purpose, 1))  # another slot's token is not affected

    use(open_time(a_stock(), clock, limits), check)


def test_a_click_is_recorded_once_for_each_item_however_often_it_comes() -> None:
    told, stock = Told(), a_stock()

    async def check(part: OpenTime) -> None:
        await part.open(a_token())
        urls = await asyncio.gather(*(part.click(a_token("click")) for _ in range(5)))
        assert urls == [stock.item(5).url] * 5 and told.clicks() == [5]
        await part.click(a_token("click"))
        stock.update(5, count=0)
        await part.open(a_token())
        for _ in range(3):
            await part.click(a_token("click"))
        assert told.clicks() == [5, 6] and part.counts["click.counted"] == 2
        await part.click(a_token("click", 1), counts=False)
        assert told.clicks() == [5, 6]
        assert len({event.id for event in told.events if event.kind == "click"}) == 2

    use(open_time(stock, picker=Likes(5, 6), record=told), check)


def test_a_click_that_could_not_be_recorded_leads_on_and_is_recorded_under_the_same_id_later() -> None:
    told = Told()

    async def check(part: OpenTime) -> None:
        told.fails = True
        assert await part.click(a_token("click")) == part.stock.item(5).url
        assert told.clicks() == [] and part.counts["click.untold"] == 1
        told.fails = False
        await part.click(a_token("click"))
        assert told.clicks() == [5]

    use(open_time(a_stock(), picker=Likes(5), record=told), check)


def test_a_click_recorded_before_a_restart_is_not_recorded_again(tmp_path: Path) -> None:
    told, stock = Told(), a_stock()

    async def check(part: OpenTime) -> None:
        await part.click(a_token("click"))

    for _ in range(2):
        use(
            open_time(
                stock,
                picker=Likes(5),
                record=told,
                choices=Choices(journal=tmp_path / "choices", identity=stock.identity),
            ),
            check,
        )
    assert told.clicks() == [5]


def test_a_store_is_told_of_one_opening_for_each_mail_and_of_clicks() -> None:
    class Store:
        def __init__(self) -> None:
            self.events: list[Any] = []

        async def take(self, events: Any) -> None:
            self.events += events

    store = Store()

    async def check(part: OpenTime) -> None:
        await part.open(a_token(number=0))
        await part.open(a_token(number=1))
        await part.click(a_token("click", 1))

    use(open_time(a_stock(), picker=Likes(5, 6), record=into(store)), check)
    opens = [event for event in store.events if event.kind == "open"]
    clicks = [event for event in store.events if event.kind == "click"]
    assert len({event.id for event in opens}) == 1 and opens[0].item is None
    assert [(event.user, event.item, event.channel) for event in clicks] == [("42", 6, "email")]


def test_equal_cards_that_many_ask_for_are_drawn_once_and_no_more_than_allowed_wait() -> None:
    drawn, hold = [], threading.Event()

    def draw(card: Card) -> bytes:
        assert hold.wait(60)
        drawn.append(card.item)
        return b"x" * 100

    async def check() -> None:
        studio = Studio(draw, threads=1, waiting=2, cache_bytes=250)
        cards = [card_of(number, a_stock().item(number)) for number in range(4)]
        asked = [asyncio.create_task(studio.picture(cards[number])) for number in (0, 0, 0, 1)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await studio.picture(cards[2])
        hold.set()
        assert await asyncio.gather(*asked) == [b"x" * 100] * 4 and drawn == [0, 1]
        await studio.picture(cards[2])
        assert [studio.kept(card) is None for card in cards] == [True, False, False, True]  # 250 bytes hold two
        studio.close()

    asyncio.run(check())


def test_settings_name_what_is_wrong() -> None:
    for given, told in (
        ({"budget_ms": 0}, "budget_ms is 0"), ({"same_ms": 0}, "same_ms"), ({"clicks": 0}, "clicks is 0"),
        ({"shop_url": "javascript:x"}, "shop_url"), ({"currency": "<b>"}, "currency"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            OpenTimeSettings(**given)


def test_a_stock_of_other_items_starts_with_no_choices() -> None:
    assert LiveStock([a_stock().item(0)]).identity != a_stock().identity
    assert Signer([KEY]).token("open", a_slot()) == a_token()
