import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="pip install 'tribid[serve]'")
from fastapi import FastAPI

from tests.ranker.open_time.house import LIFE_MS, Clock, a_slot, a_stock, a_token, open_time
from tribid.ranker.open_time.card import Painter, card_of
from tribid.ranker.open_time.events import SlotEvent
from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.open_time.routes import open_time_routes, slot_route
from tribid.ranker.open_time.tokens import Signer


def ask(part: OpenTime, check: Callable[[httpx.AsyncClient], Awaitable[None]], wrap: Any = lambda app: app) -> None:
    """Let ``check`` ask a FastAPI application that serves a part's slots."""

    async def inner() -> None:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.router.routes.extend(open_time_routes(part))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(wrap(app)), base_url="http://test") as client:
            await check(client)
        await part.close()

    asyncio.run(inner())


def test_a_picture_is_a_png_that_no_proxy_may_keep() -> None:
    part = open_time(a_stock())

    async def check(http: httpx.AsyncClient) -> None:
        answer = await http.get(f"/v1/slot/{a_token()}.png")
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        assert answer.content == Painter().draw(card_of(0, part.stock.item(0)))
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert {"private", "no-store", "no-cache", "max-age=0"} <= set(
            answer.headers["cache-control"].replace(",", " ").split()
        )
        assert (
            "etag" not in answer.headers
            and "last-modified" not in answer.headers
            and "set-cookie" not in answer.headers
        )
        assert answer.headers["expires"] == "0" and answer.headers["x-content-type-options"] == "nosniff"
        head = await http.head(f"/v1/slot/{a_token()}.png")
        assert head.status_code == 200 and head.content == b""

    ask(part, check)


def test_a_click_is_sent_on_to_the_stocks_own_address() -> None:
    part = open_time(a_stock())

    async def check(http: httpx.AsyncClient) -> None:
        answer = await http.get(
            f"/v1/slot/{a_token('click')}/click", params={"url": "https://evil.example", "next": "//evil.example"}
        )
        assert answer.status_code == 302 and answer.headers["location"] == part.stock.item(0).url
        assert "no-store" in answer.headers["cache-control"] and answer.headers["referrer-policy"] == "no-referrer"

    ask(part, check)


def test_programs_that_look_where_a_link_leads_click_nothing() -> None:
    told: list[SlotEvent] = []

    async def record(event: SlotEvent) -> None:
        told.append(event)

    async def check(http: httpx.AsyncClient) -> None:
        click = f"/v1/slot/{a_token('click')}/click"
        for asked in (
            http.head(click),
            http.get(click, headers={"sec-purpose": "prefetch;prerender"}),
            http.get(click, headers={"purpose": "prefetch"}),
        ):
            assert (await asked).status_code == 302
        assert told == []
        await http.get(click)
        assert [event.kind for event in told] == ["click"]

    ask(open_time(a_stock(), record=record), check)


def test_refusals_say_nothing_but_their_status() -> None:
    clock = Clock()

    async def check(http: httpx.AsyncClient) -> None:
        other = Signer([b"x" * 32]).token("open", a_slot())
        tokens = [
            (other, 403),
            ("1", 403),
            ("a" * 3_000, 403),
            ("%00", 403),
            ("%F0%9F%98%80", 403),
            ("..%2f..", 404),
            (a_token("click"), 403),
        ]
        for token, status in tokens:
            answer = await http.get(f"/v1/slot/{token}.png")
            assert (answer.status_code, status == 404 or answer.content == b"") == (status, True)
        assert (await http.get(f"/v1/slot/{a_token('open')}/click")).status_code == 403
        clock.ms += LIFE_MS
        for path in (f"{a_token()}.png", f"{a_token('click')}/click"):
            answer = await http.get(f"/v1/slot/{path}")
            assert answer.status_code == 410 and answer.content == b"" and "location" not in answer.headers
        for path in ("", ".png", "x", "x.gif", "x/click/more", "x/clickx"):
            assert (await http.get(f"/v1/slot/{path}")).status_code == 404
        assert (await http.post(f"/v1/slot/{a_token()}.png")).status_code == 405

    ask(open_time(a_stock(), clock), check)


def test_a_token_used_too_fast_is_told_when_to_come_again() -> None:
    async def check(http: httpx.AsyncClient) -> None:
        answers = [await http.get(f"/v1/slot/{a_token()}.png") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 0 < int(answers[2].headers["retry-after"]) <= 60

    ask(open_time(a_stock(), settings={"opens_per_minute": 2}), check)


def test_the_stock_is_looked_at_once_more_when_the_answer_is_sent() -> None:
    stock = a_stock()
    part = open_time(stock)

    def selling_out(app: Any) -> Any:
        """An application around the other, which sells the item out when the slot has been filled and routing goes on."""
        fill = part.open

        async def filled(*given: Any) -> Any:
            opened = await fill(*given)
            assert opened.card is not None
            stock.update(opened.card.item, count=0)
            return opened

        part.open = filled  # type: ignore[method-assign]
        return app

    async def check(http: httpx.AsyncClient) -> None:
        answer = await http.get(f"/v1/slot/{a_token()}.png")
        assert answer.content == part.fallback and int(answer.headers["content-length"]) == len(part.fallback)

    ask(part, check, selling_out)


def test_the_time_before_routing_counts_where_the_service_tells_it() -> None:
    clock = Clock()
    clock.s = 100.0

    def arrived(app: Any) -> Any:
        async def late(scope: Any, receive: Any, send: Any) -> None:
            scope["tribid.arrived"] = clock.s - 1.0
            await app(scope, receive, send)

        return late

    part = open_time(a_stock(), clock, {"budget_ms": 20.0})

    async def check(http: httpx.AsyncClient) -> None:
        assert (await http.get(f"/v1/slot/{a_token()}.png")).content == part.fallback

    ask(part, check, arrived)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/slot/1abc-_.png", "/v1/slot/{token}.png"), ("/v1/slot/1abc/click", "/v1/slot/{token}/click"),
        ("/v1/slot/.png", None),
        ("/v1/slot//click", None), ("/v1/slot/a/b.png", None), ("/v1/slot/a/../../v1/policies", None), ("/v1/rank", None),
        ("/v1/slot/a/b/click", None), ("/v1/slots/a.png", None), ("/V1/slot/a.png", None),
    ],
)  # fmt: skip
def test_only_the_slots_own_addresses_are_let_through_without_credentials(path: str, route: str | None) -> None:
    assert slot_route(path) == route
