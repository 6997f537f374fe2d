"""An item that sold out is in no answer whose last look at the stock began after the sale returned: 32 readers try."""

import asyncio
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from tests.ranker.open_time.house import a_stock, a_token, open_time
from tribid.ranker.open_time.card import Card, Painter, card_of
from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.stock import LiveStock

READERS = 32
ROUNDS = 6
PAINTER = Painter()


class Answers:
    """What readers got: when each asked, and which item's picture came back (None: the fallback)."""

    def __init__(self, stock: LiveStock) -> None:
        self.item_of: dict[bytes, int | None] = {PAINTER.fallback(): None}
        for number in range(len(stock)):
            for count in (1, 2, 3, 4, 5, 6):
                card = card_of(number, stock.item(number))
                few = count <= 5
                told = card._replace(hint=f"Only {count} left" if few else "In stock", few=few)
                self.item_of[PAINTER.draw(told)] = number
        self.seen: list[tuple[float, int | None]] = []

    def add(self, asked_s: float, content: bytes) -> None:
        self.seen.append((asked_s, self.item_of[content]))  # a picture that is of no item is an error

    def after(self, moment_s: float) -> set[int | None]:
        return {item for asked_s, item in self.seen if asked_s > moment_s}


def sell_out(stock: LiveStock, answers: Answers, number: int) -> float:
    """Buy an item until there is none, when readers have seen it; the moment after the last sale returned."""
    end_s = time.monotonic() + 10
    while not any(item == number for _, item in answers.seen) and time.monotonic() < end_s:
        time.sleep(0.001)
    while stock.take(number):
        pass
    assert stock.item(number).count == 0
    return time.perf_counter()


def buy_one_item_after_another(stock: LiveStock, answers: Answers) -> list[float]:
    gone = []
    for number in range(ROUNDS):
        gone.append(sell_out(stock, answers, number))
        before, end_s = len(answers.seen), time.monotonic() + 10
        while len(answers.seen) < before + 2 * READERS and time.monotonic() < end_s:
            time.sleep(0.001)
    return gone


def assert_no_later_answer_shows_it(answers: Answers, gone: list[float]) -> None:
    for number, moment_s in enumerate(gone):
        assert any(item == number for _, item in answers.seen), f"item {number} was never shown"
        later = answers.after(moment_s)
        assert len(later) > 0 and number not in later


def test_no_later_answer_over_http_shows_a_sold_out_item() -> None:
    pytest.importorskip("uvicorn", reason="pip install 'tribid[serve]'")
    import uvicorn
    from starlette.applications import Starlette

    from tribid.ranker.open_time.routes import open_time_routes

    stock = a_stock(ROUNDS + 1, count=3, category=0)
    limits = {"opens_per_minute": 10**9, "opens": 10**9, "same_ms": 1}
    part, answers, stop = open_time(stock, settings=limits), Answers(stock), threading.Event()
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=open_time_routes(part)), log_level="error", lifespan="off"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    serving.start()
    failed: list[Exception] = []

    def read(reader: int) -> None:
        path = f"http://127.0.0.1:{door.getsockname()[1]}/v1/slot/{a_token(message=f'm{reader}')}.png"
        try:
            with httpx.Client(timeout=30) as http:
                while not stop.is_set():
                    asked_s = time.perf_counter()
                    answers.add(asked_s, http.get(path).content)
        except Exception as error:
            failed.append(error)

    readers = [threading.Thread(target=read, args=[reader]) for reader in range(READERS)]
    try:
        for reader in readers:
            reader.start()
        gone = buy_one_item_after_another(stock, answers)
    finally:
        stop.set()
        for reader in readers:
            reader.join(60)
        server.should_exit = True
        serving.join(60)
        door.close()
        asyncio.run(part.close())
    assert failed == []
    assert_no_later_answer_shows_it(answers, gone)


def test_no_later_answer_in_32_threads_shows_a_sold_out_item() -> None:
    stock = a_stock(ROUNDS + 1, count=3, category=0)
    answers, stop = Answers(stock), threading.Event()
    failed: list[BaseException] = []

    async def read(part: OpenTime, token: str) -> None:
        while not stop.is_set():
            opened = await part.open(token)
            looked_s = time.perf_counter()  # the last look begins after this
            answers.add(looked_s, opened.content())

    def reader(number: int) -> None:
        limits = {"opens_per_minute": 10**9, "opens": 10**9, "same_ms": 1}
        part = open_time(stock, settings=limits, painter=PAINTER)

        async def run() -> None:
            await read(part, a_token(message=f"m{number}"))
            await part.close()

        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)

    readers = [threading.Thread(target=reader, args=[number]) for number in range(READERS)]
    for one in readers:
        one.start()
    gone = buy_one_item_after_another(stock, answers)
    stop.set()
    for one in readers:
        one.join(60)
    assert failed == []
    assert_no_later_answer_shows_it(answers, gone)


def test_the_check_would_see_a_sold_out_item() -> None:
    """The tests above can fail: without the last look, the item is shown."""
    stock = a_stock(2, count=1, category=0)
    part = open_time(stock)
    held: list[Any] = []

    async def open_then_sell() -> None:
        opened = await part.open(a_token())
        assert stock.take(0)
        held.append((opened.picture, opened.content()))
        await part.close()

    asyncio.run(open_then_sell())
    answers = Answers(a_stock(2, count=1, category=0))
    picture, content = held[0]
    assert answers.item_of[picture] == 0 and answers.item_of[content] is None
    assert isinstance(card_of(0, stock.item(0)), Card)
