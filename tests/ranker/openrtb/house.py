"""A bidder's house for tests: a live ranker of a small market, its ledger, a clock that stands still, and an HTTP client."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from tribid.envs import market
from tribid.envs.platform import Platform
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import Decision, Event, Receipt, Request
from tribid.ranker.openrtb.bidder import OpenRtbBidder, OpenRtbSettings
from tribid.ranker.openrtb.config import BidderConfig, default_config
from tribid.ranker.openrtb.messages import BidRequest, BidResponse, decode_bid_request, decode_bid_response
from tribid.ranker.openrtb.router import router_of

HOLD_MS = 60_000
NAMES = tuple(f"adv_{n:02d}" for n in range(5))
T = TypeVar("T")


class Front:
    """A live ranker as a bidder sees it; ``ranked`` is every request that it was asked."""

    def __init__(self, live: LiveRanker, ledger: MemoryLedger) -> None:
        self.live, self.ledger, self.scenario, self.names = live, ledger, live.scenario, live.names
        self.ranked: list[Request] = []

    async def rank(self, request: Request) -> Decision:
        self.ranked.append(request)
        return await self.live.rank(request)

    async def events(self, events: Sequence[Event]) -> list[Receipt]:
        return await self.live.events(events)

    async def release(self, holds: Sequence[str]) -> int:
        return await self.live.release(holds)


class House:
    """Everything in one place; ``now_ms`` and ``clock_s`` move only when a test moves them."""

    def __init__(self) -> None:
        self.now_ms, self.clock_s = 1_000_000, 0.0
        self.front: Front
        self.bidder: OpenRtbBidder
        self.client: httpx.AsyncClient

    @property
    def free(self) -> int:
        return int(self.front.ledger.free_micros().sum())

    @property
    def spent(self) -> int:
        return int(self.front.ledger.spent_micros().sum())

    async def post(self, request: dict[str, Any] | bytes, **headers: str) -> httpx.Response:
        content = request if isinstance(request, bytes) else json.dumps(request).encode()
        sent = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.client.post("/openrtb2/auction", content=content, headers=sent)

    async def bid(self, request: dict[str, Any]) -> BidResponse:
        answer = await self.post(request)
        assert answer.status_code == 200, (answer.status_code, answer.headers.get("x-tribid-why"))
        return decode_bid_response(answer.content)

    async def why(self, request: dict[str, Any]) -> str:
        answer = await self.post(request)
        assert answer.status_code == 204, (answer.status_code, answer.text)
        assert answer.content == b""
        return answer.headers["x-tribid-why"]

    async def call(self, url: str, *, method: str = "GET") -> httpx.Response:
        return await self.client.request(method, url.removeprefix("http://127.0.0.1:8080"))


def in_house(
    use: Callable[[House], Awaitable[T]],
    scenario: str | Scenario = "tiny",
    policy: str = "truthful",
    *,
    config: BidderConfig | None = None,
    platform: Platform | None = None,
    **settings: Any,
) -> T:
    """Open a house, use it, close it."""

    async def run() -> T:
        house = House()
        loaded = load_scenario(scenario)
        ledger = MemoryLedger(market.reset(loaded, 0).advertisers.names)
        live = await LiveRanker.open(
            loaded,
            {"base": policy},
            ledger=ledger,
            hold_ms=HOLD_MS,
            now_ms=lambda: house.now_ms,
            seed=3,
            platform=platform,
        )
        house.front = Front(live, ledger)
        house.bidder = OpenRtbBidder(
            house.front,
            OpenRtbSettings(
                **{
                    "config": config,
                    "secret": b"0123456789abcdef",
                    "hold_ms": HOLD_MS,
                    "now_ms": lambda: house.now_ms,
                    "clock_s": lambda: house.clock_s,
                    **settings,
                }
            ),
        )
        app = FastAPI()
        app.include_router(router_of(house.bidder))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
            house.client = client
            try:
                return await use(house)
            finally:
                await live.close()

    return asyncio.run(run())


def config_of(names: Sequence[str] = NAMES, **changes: Any) -> BidderConfig:
    """The default config with other settings; ``advertisers`` holds what differs of each."""
    content = default_config(names).model_dump(by_alias=True)
    for name, own in changes.pop("advertisers", {}).items():
        content["advertisers"][name].update(own)
    return BidderConfig.model_validate({**content, **changes})


def imp(name: str = "1", **changes: Any) -> dict[str, Any]:
    return {"id": name, "banner": {}, **changes}


def ask(name: str = "auction-1", *imps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": name, "imp": list(imps) or [imp()], "user": {"id": "7"}, **changes}


def read(request: dict[str, Any]) -> BidRequest:
    return decode_bid_request(json.dumps(request))
