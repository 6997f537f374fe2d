"""The consumers' side when something is slow, fails, comes twice or from elsewhere."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ranker.consumers.house import journey, open_service
from tribid.envs.triggers import DAY_MS
from tribid.ranker.consumers.catalogue import Catalogue
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import STRANGER, Known, LiveRanker
from tribid.ranker.messages import Offer, Request
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.messages import ConsumerEvent
from tribid.ranker.service.app import make_app
from tribid.ranker.stock.source import scenario_stock

Check = Callable[[httpx.AsyncClient, Consumers], Awaitable[None]]


def run(check: Check, folder: Path, **more: Any) -> None:
    asyncio.run(open_service(check, folder, **more))


def test_a_batch_is_decided_in_its_order_however_long_profiles_take() -> None:
    async def check() -> None:
        live = await LiveRanker.open(journey(), {"it": "truthful"})
        decided: list[int] = []
        decide = live._pages.decide

        async def watched(answer: Any, request: Request, *more: Any) -> None:
            decided.append(request.request)
            await decide(answer, request, *more)

        async def slower_first(user: int) -> Known:
            await asyncio.sleep(0.01 / (1 + user))
            return Known({"adv_01": 1}, {}, 0)

        live._pages.decide = watched  # type: ignore[method-assign]
        live.known_of = slower_first
        await live.rank_many([Request(request=n, user=n) for n in range(8)])
        assert decided == list(range(8))
        await live.close()

    asyncio.run(check())


def test_a_page_waits_for_a_profile_only_so_long() -> None:
    async def check() -> None:
        live = await LiveRanker.open(journey(), {"it": "truthful"})

        async def never(user: int) -> Known:
            await asyncio.Event().wait()
            return STRANGER

        live.known_of = never
        decided = await asyncio.wait_for(live.rank(Request(request=1, user=3)), 30)
        await live.close()
        plain = await LiveRanker.open(journey(), {"it": "truthful"})
        assert (await plain.rank(Request(request=1, user=3))).slots == decided.slots
        await plain.close()

    asyncio.run(check())


@pytest.mark.parametrize(("days_ago", "sold"), [(0, 0), (1, 1)])
def test_what_was_shown_on_another_day_keeps_no_brand_out(days_ago: int, sold: int) -> None:
    async def check() -> None:
        today = 20_000
        live = await LiveRanker.open(journey(), {"it": "truthful"}, clock="wall", now_ms=lambda: today * DAY_MS)

        async def known(user: int) -> Known:
            return Known({}, {"adv_01": 1_000}, today - days_ago)

        live.known_of = known
        offered = (Offer(advertiser="adv_01", pctr=0.5, pcvr=0.5),)
        decided = await live.rank(Request(request=1, user=3, candidates=offered))
        await live.close()
        assert len(decided.slots) == sold

    asyncio.run(check())


@pytest.mark.parametrize("told", [{"marks": {"adv_01": 1}}, {"shown": {"adv_02": 1}}])
def test_a_request_that_tells_one_thing_is_decided_with_what_the_profile_knows_of_the_other(told: Any) -> None:
    async def check() -> None:
        today, seen = 20_000, []
        live = await LiveRanker.open(journey(), {"it": "truthful"}, clock="wall", now_ms=lambda: today * DAY_MS)
        decide = live._pages.decide

        async def watched(answer: Any, request: Request, *more: Any) -> None:
            seen.append({"marks": request.marks, "shown": request.shown})
            await decide(answer, request, *more)

        async def known(user: int) -> Known:
            return Known({"adv_03": 4}, {"adv_04": 2}, today)

        live._pages.decide = watched  # type: ignore[method-assign]
        live.known_of = known
        await live.rank(Request(request=1, user=3, **told))
        await live.close()
        assert seen == [{"marks": {"adv_03": 4}, "shown": {"adv_04": 2}} | told]

    asyncio.run(check())


def test_a_page_whose_day_closes_while_its_profile_is_fetched_is_not_charged_to_the_next() -> None:
    async def check() -> None:
        live = await LiveRanker.open(journey(), {"it": "truthful"})
        gate = asyncio.Event()

        async def known(user: int) -> Known:
            if user == 1:
                await gate.wait()
            return STRANGER

        live.known_of = known
        old = asyncio.create_task(live.rank(Request(request=1, user=1, day=0, tick=0)))
        await asyncio.sleep(0)
        await live.rank(Request(request=1, user=2, day=1, tick=0))
        gate.set()
        with pytest.raises(ValueError, match="moved on"):
            await old
        await live.close()

    asyncio.run(check())


def test_what_a_store_missed_counts_when_the_event_is_told_again(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        page = (await http.post("/v1/rank", json={"request": 1, "user": 9})).json()
        event = {"events": [{"id": "c", "kind": "click", "decision": page["id"], "slot": 0}]}
        take = kept.profiles.take

        async def down(events: Any) -> Any:
            raise ProfilesUnavailableError("away")

        kept.profiles.take = down  # type: ignore[method-assign]
        assert (await http.post("/v1/events", json=event)).json()["receipts"][0]["status"] == "accepted"
        kept.profiles.take = take  # type: ignore[method-assign]
        assert await kept.profiles.profile("9") is None
        for _ in range(2):
            assert (await http.post("/v1/events", json=event)).json()["receipts"][0]["status"] == "duplicate"
            profile = await kept.profiles.profile("9")
            assert profile is not None and profile.version == 1
            assert profile.marks == {page["slots"][0]["advertiser"]: 2}

    run(check, tmp_path)


def test_a_page_from_before_an_erasure_makes_no_new_profile(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        page = (await http.post("/v1/rank", json={"request": 1, "user": 9})).json()
        view = {"consumers": [{"id": "v", "kind": "view", "user": "9", "item": 1}]}
        assert (await http.post("/v1/events", json=view)).status_code == 200
        assert (await http.delete("/v1/profile/9")).json() == {"erased": True}
        event = {"events": [{"id": "c", "kind": "click", "decision": page["id"], "slot": 0}]}
        assert (await http.post("/v1/events", json=event)).json()["receipts"][0]["status"] == "accepted"
        assert (await http.get("/v1/profile/9")).status_code == 404

    run(check, tmp_path)


def test_brands_that_the_scenario_no_longer_has_are_left_out_of_what_is_known(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await kept.profiles.take([ConsumerEvent(id="v", kind="view", user="9", item=1)])
        profile = await kept.profiles.profile("9")
        assert profile is not None

        async def older(user: str) -> Any:
            profile.marks = {"adv_01": 2, "a brand of last year": 4}
            profile.shown_day, profile.shown = 20_000, {"a brand of last year": 1, "adv_02": 3}
            return profile

        kept.profiles.profile = older  # type: ignore[method-assign]
        assert await kept.known(9) == ({"adv_01": 2}, {"adv_02": 3}, 20_000)

    run(check, tmp_path)


def test_with_a_stock_of_the_shops_own_an_item_is_no_advertisers(tmp_path: Path) -> None:
    item = {"title": "Lamp", "price_micros": 1_000_000, "count": 3, "category": 1, "url": "https://shop.example/1"}
    stock = tmp_path / "stock.json"
    stock.write_text(json.dumps([item] * 3), encoding="utf-8")

    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        page = (await http.post("/v1/rank", json={"request": 1, "user": 9})).json()
        for kind in ("impression", "click", "conversion"):
            event = {"id": kind, "kind": kind, "decision": page["id"], "slot": 0}
            assert (await http.post("/v1/events", json={"events": [event]})).status_code == 200
        profile = (await http.get("/v1/profile/9")).json()
        assert profile["marks"] == {page["slots"][0]["advertiser"]: 3} and profile["orders"] == []
        await http.post("/v1/events", json={"consumers": [{"id": "v", "kind": "view", "user": "8", "item": 2}]})
        assert (await http.get("/v1/profile/8")).json()["marks"] == {}

    run(check, tmp_path, stock=stock)


def test_other_sites_pages_can_neither_erase_a_profile_nor_lease_messages(tmp_path: Path) -> None:
    elsewhere = [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]

    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        for headers in elsewhere:
            assert (await http.delete("/v1/profile/9", headers=headers)).status_code == 403
            assert (await http.get("/v1/messages", headers=headers)).status_code == 403
            assert (await http.get("/v1/slot/1forged.png", headers=headers)).status_code == 403  # forged, not foreign
        assert (await http.get("/v1/messages", headers={"sec-fetch-site": "none"})).status_code == 200
        assert (await http.get("/v1/profile/9", headers=elsewhere[1])).status_code == 404

    run(check, tmp_path)


def test_addresses_of_profiles_are_not_ready_rather_than_unknown_while_the_service_opens() -> None:
    async def check() -> None:
        async def forever() -> LiveRanker:
            await asyncio.Event().wait()
            raise AssertionError

        app = make_app(forever)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            assert (await http.get("/v1/profile/9")).status_code == 503
            assert (await http.get("/v1/slot/1abc.png")).status_code == 503

    asyncio.run(check())


def test_several_items_of_each_category_that_goes_with_an_order_are_offered_and_none_that_is_sold_out() -> None:
    shop = scenario_stock(journey())
    catalogue = Catalogue(journey(), shop, has_items=True)
    kinds = catalogue.pairs[shop.stock.item(3).category]
    offered = catalogue.complements(3)
    told = [catalogue.category_of(item) for item in offered]
    assert len(offered) == len(set(offered)) and set(told) == set(kinds) and max(map(told.count, kinds)) > 1
    shop.stock.update(offered[0], count=0)
    assert offered[0] not in catalogue.complements(3)
