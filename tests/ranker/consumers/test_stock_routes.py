"""Changes of the stock that are told twice."""

import asyncio
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="pip install 'tribid[serve]'")
from starlette.applications import Starlette

from tribid.ranker.consumers.stock_routes import ChangesOnce, ItemChange, ItemChanges, stock_routes
from tribid.ranker.service.errors import ServiceError
from tribid.ranker.stock import LiveStock, StockItem


def a_stock() -> LiveStock:
    return LiveStock(
        StockItem(title="Lamp", price_micros=10, count=10, category=0, url=f"https://shop.example/{number}")
        for number in range(3)
    )


def taking(name: str | None, item: int = 0, take: int = 1) -> ItemChanges:
    return ItemChanges(items=(ItemChange(item=item, take=take),), id=name)


def test_a_call_with_an_id_takes_once_and_gets_the_answer_that_it_got() -> None:
    stock = a_stock()

    async def post(body: dict[str, Any]) -> dict[str, Any]:
        transport = httpx.ASGITransport(Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return dict((await http.post("/v1/items", json=body)).json())

    routes = stock_routes(stock)
    order = {"id": "order-1", "items": [{"item": 0, "take": 4}, {"item": 1, "take": 99}]}
    first = asyncio.run(post(order))
    assert [one["done"] for one in first["items"]] == [True, False]
    stock.update(0, price_micros=77)
    assert asyncio.run(post(order)) == first and stock.item(0).count == 6
    for count in (5, 4):
        asyncio.run(post({"items": [{"item": 0, "take": 1}]}))  # no id: each is a call of its own
        assert stock.item(0).count == count


def test_an_id_that_was_used_for_other_changes_is_refused_and_changes_nothing() -> None:
    stock = a_stock()
    once = ChangesOnce(stock)
    once.make(taking("a"))
    with pytest.raises(ServiceError, match="id was used for other changes") as refusal:
        once.make(taking("a", take=2))
    assert (refusal.value.status, refusal.value.field) == (409, "id") and stock.item(0).count == 9


def test_a_call_that_was_refused_may_use_its_id_again() -> None:
    stock = a_stock()
    once = ChangesOnce(stock)
    with pytest.raises(ServiceError, match="item is 9"):
        once.make(taking("a", item=9))
    assert once.make(taking("a")).items[0].count == 9


def test_only_the_newest_calls_are_remembered() -> None:
    stock = a_stock()
    once = ChangesOnce(stock, remembered=2)
    for name in ("a", "b", "c", "b", "c"):
        once.make(taking(name))
    assert stock.item(0).count == 7
    once.make(taking("a"))
    assert stock.item(0).count == 6
