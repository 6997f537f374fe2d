"""The consumers' side of a service, over HTTP: events become profiles, stock moves set off messages, mails are filled."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ranker.consumers.house import journey, open_service
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import LiveRanker
from tribid.ranker.live_day import ClockKind
from tribid.ranker.messages import decode_request
from tribid.ranker.open_time.tokens import Signer, Slot, read_keys
from tribid.ranker.service.app import make_app
from tribid.ranker.service.settings import Settings


def run(
    check: Callable[[httpx.AsyncClient, Consumers], Awaitable[None]],
    folder: Path,
    *,
    clock: ClockKind = "request",
    **more: Any,
) -> None:
    asyncio.run(open_service(check, folder, settings=Settings(**more), clock=clock))


async def tell(http: httpx.AsyncClient, *consumers: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post("/v1/events", json={"consumers": list(consumers)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_event_is_in_the_profile_when_it_has_been_answered(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        told = await tell(http, {"id": "e1", "kind": "view", "user": "7", "item": 5})
        assert [one["status"] for one in told["consumers"]] == ["accepted"]
        profile = (await http.get("/v1/profile/7")).json()
        assert profile["viewed"][0][0] == 5 and profile["marks"] == {"adv_05": 2}
        assert (await tell(http, {"id": "e1", "kind": "view", "user": "7", "item": 5}))["consumers"][0][
            "status"
        ] == "duplicate"

    run(check, tmp_path)


def test_what_an_event_names_that_there_is_not_is_told_with_what_there_is(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        told = await tell(
            http,
            {"id": "e1", "kind": "joined", "user": "7", "action": "join_club"},
            {"id": "e2", "kind": "category_search", "user": "7", "category": 77},
            {"id": "e3", "kind": "joined", "user": "7", "action": "club"},
        )
        assert [(one["status"], one["why"]) for one in told["consumers"]] == [
            ("refused", "action is 'join_club'; allowed is club"),
            ("refused", "category is 77; allowed is 0 to 19"),
            ("accepted", ""),
        ]
        for path, body, field, allowed in (
            (
                "/v1/events",
                {"consumers": [{"kind": "look"}]},
                "$.consumers[0].kind",
                "; allowed are brand_search, cart, ",
            ),
            (
                "/v1/items",
                {"items": [{"itm": 1}]},
                "$.items[0].itm",
                "; allowed are item, title, price_micros, count, url",
            ),
            ("/v1/actions", {"usr": "7"}, "$.usr", "; allowed are user, id, profile"),
            (
                "/v1/actions/events",
                {"events": [{"kind": "seen"}]},
                "$.events[0].kind",
                "; allowed are not_taken, taken, ",
            ),
        ):
            error = (await http.post(path, json=body)).json()["error"]
            assert error["field"] == field and allowed in error["message"]

    run(check, tmp_path)


def test_what_became_of_mails_slots_is_in_the_metrics(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        slot = Slot(user="7", message="m", slot=0, issued_ms=0, expires_ms=2**50)
        token = Signer(read_keys(tmp_path / "slots.key")).token("open", slot)
        assert (await http.get(f"/v1/slot/{token}.png")).status_code == 200
        assert (await http.get("/v1/slot/1abc.png")).status_code == 403
        text = (await http.get("/metrics")).text
        assert 'tribid_mail_slots_total{outcome="refused_forged"} 1.0' in text
        ended = [line for line in text.splitlines() if line.startswith("tribid_mail_slots_total")]
        assert sum(float(line.split()[1]) for line in ended) == 2.0

    run(check, tmp_path)


def test_what_happens_to_a_page_of_ads_moves_the_stage_of_its_user(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        page = (await http.post("/v1/rank", json={"request": 1, "user": 9})).json()
        first = page["slots"][0]
        for kind, marks in (("impression", 1), ("click", 3), ("conversion", 7)):
            event = {"id": f"a-{kind}", "kind": kind, "decision": page["id"], "slot": 0}
            for _ in range(2):
                assert (await http.post("/v1/events", json={"events": [event]})).status_code == 200
            profile = (await http.get("/v1/profile/9")).json()
            assert profile["marks"] == {first["advertiser"]: marks}
        assert [item for item, _ in profile["orders"]] == [first["ad"]]
        again = await http.post("/v1/rank", json={"request": 1, "user": 9})
        assert again.json() == page, "a page that is asked again is the same, though its user's marks have changed"

    run(check, tmp_path)


def test_a_page_is_decided_with_the_marks_of_the_profile(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await tell(
            http, *({"id": f"o{n}", "kind": "order", "user": "11", "item": item} for n, item in enumerate((3, 3)))
        )
        marks = (await http.get("/v1/profile/11")).json()["marks"]
        own = (await http.post("/v1/rank", json={"request": 5, "user": 11})).json()
        told = (
            await http.post("/v1/rank", json={"request": 5, "user": 11, "day": own["day"], "marks": marks})
        ).status_code
        assert told == 409, "the same page with other content"
        other = await LiveRanker.open(journey(), {"it": "truthful"})
        request = {"request": 5, "user": 11, "marks": marks, "tick": own["tick"], "day": own["day"]}
        decided = await other.rank(decode_request(json.dumps(request)))
        await other.close()
        assert [slot.pctr for slot in decided.slots] == [slot["pctr"] for slot in own["slots"]]

    run(check, tmp_path)


def exposures(brand: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{brand} {n}", "kind": "exposure", "user": "12", "brand": brand} for n in range(count)]


@pytest.mark.parametrize("clock", ["wall", "request"])
def test_a_brand_that_the_user_met_often_enough_today_is_no_candidate(clock: ClockKind, tmp_path: Path) -> None:
    cap = journey().world.fatigue.cap  # type: ignore[union-attr]
    assert cap is not None

    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        first = (await http.post("/v1/rank", json={"request": 5, "user": 11})).json()["slots"][0]["advertiser"]
        await tell(http, *exposures(first, cap - 1))
        asked = {"user": 12, "candidates": alone(first)}
        before = (await http.post("/v1/rank", json={"request": 6, **asked})).json()["slots"]
        await tell(http, *exposures(first, cap))
        after = (await http.post("/v1/rank", json={"request": 7, **asked})).json()["slots"]
        own = (await http.post("/v1/rank", json={"request": 8, "shown": {"adv_01": 1}, **asked})).json()["slots"]
        assert [len(slots) > 0 for slots in (before, after, own)] == [True, clock == "request", True], (
            "under the wall clock the cap holds, unless the request tells itself what was shown"
        )

    run(check, tmp_path, clock=clock)


def alone(brand: str) -> list[dict[str, Any]]:
    return [{"advertiser": brand, "pctr": 0.5, "pcvr": 0.5}]


def test_a_price_that_falls_sets_off_one_message_to_who_viewed_the_item(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await tell(http, {"id": "v", "kind": "view", "user": "7", "item": 30})
        now = (await http.get("/v1/items/30")).json()["price_micros"]
        for _ in range(2):
            changed = await http.post("/v1/items", json={"items": [{"item": 30, "price_micros": now // 2}]})
            assert changed.json()["items"][0]["price_micros"] == now // 2
        for _ in range(100):
            waiting = (await http.get("/v1/messages")).json()["messages"]
            if waiting:
                break
            await asyncio.sleep(0.02)
        assert [(one["user"], one["trigger"], one["item"]) for one in waiting] == [("7", "drop", 30)]
        acked = await http.post("/v1/messages:ack", json={"ids": [waiting[0]["id"]]})
        assert acked.json() == {"acknowledged": 1}

    run(check, tmp_path)


def test_a_brand_that_the_user_met_often_enough_today_sends_no_message(tmp_path: Path) -> None:
    cap = journey().world.fatigue.cap  # type: ignore[union-attr]
    assert cap is not None

    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await tell(http, *({"id": "v", "kind": "view", "user": user, "item": 3} for user in ("7", "8")))
        for user, met in (("7", cap), ("8", cap - 1)):
            shown = ({"id": f"e{n}", "kind": "exposure", "user": user, "item": 3} for n in range(met))
            await tell(http, *shown)
        now = (await http.get("/v1/items/3")).json()["price_micros"]
        await http.post("/v1/items", json={"items": [{"item": 3, "price_micros": now // 2}]})
        for _ in range(100):
            exports = [await kept.profiles.export(user) for user in ("7", "8")]
            settled = [len(json.loads(told)["settled"]) for told in exports if told is not None]
            if settled == [1, 1]:
                break
            await asyncio.sleep(0.02)
        assert settled == [1, 1], "the one by a message, the other by none"
        waiting = (await http.get("/v1/messages")).json()["messages"]
        assert [(one["user"], one["item"]) for one in waiting] == [("8", 3)]

    run(check, tmp_path)


def test_a_mails_slot_shows_what_its_user_viewed_and_its_click_leads_there(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await tell(http, {"id": "v", "kind": "view", "user": "7", "item": 33})
        signer = Signer(read_keys(tmp_path / "slots.key"))
        slot = Slot(user="7", message="m", slot=0, issued_ms=0, expires_ms=2**50)
        picture = await http.get(f"/v1/slot/{signer.token('open', slot)}.png")
        assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
        click = await http.get(f"/v1/slot/{signer.token('click', slot)}/click")
        assert click.status_code == 302 and click.headers["location"].endswith("/item/33")
        await http.post("/v1/items", json={"items": [{"item": 33, "count": 0}]})
        await http.get(f"/v1/slot/{signer.token('open', slot)}.png")
        moved = await http.get(f"/v1/slot/{signer.token('click', slot)}/click")
        assert not moved.headers["location"].endswith("/item/33"), "a sold-out item is shown no more"

    run(check, tmp_path)


def test_actions_are_proposed_by_the_profile_and_never_again_once_taken(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        listed = (await http.post("/v1/actions", json={"user": "7"})).json()
        assert [one["action"] for one in listed["actions"]] == ["club"]
        taken = {"events": [{"id": "t", "user": "7", "kind": "taken", "action": "club"}]}
        assert (await http.post("/v1/actions/events", json=taken)).json()["receipts"][0]["status"] == "accepted"
        assert (await http.post("/v1/actions", json={"user": "7"})).json()["actions"] == []

    run(check, tmp_path)


def test_an_erased_user_is_known_nowhere(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        await tell(http, {"id": "v", "kind": "view", "user": "somebody-7", "item": 33})
        assert (await http.delete("/v1/profile/somebody-7")).json() == {"erased": True}
        assert (await http.get("/v1/profile/somebody-7")).status_code == 404
        files = [file for file in (tmp_path / "profiles").rglob("*") if file.is_file()]
        assert files and not any(b"somebody-7" in file.read_bytes() for file in files)

    run(check, tmp_path)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "$.events"),
        ({"consumers": [{"id": "e", "kind": "loved", "user": "7"}]}, "$.consumers[0].kind"),
        ({"consumers": [{"id": "e", "kind": "view", "user": ""}]}, "$.consumers[0].user"),
        ({"consumers": [{"id": "e", "kind": "view", "user": "7", "item": -1}]}, "$.consumers[0].item"),
    ],
)
def test_a_wrong_event_is_refused_with_its_field(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        answer = await http.post("/v1/events", json=body)
        assert answer.status_code == 422 and field in answer.text

    run(check, tmp_path)


def test_slots_need_no_token_where_everything_else_does(tmp_path: Path) -> None:
    async def check(http: httpx.AsyncClient, kept: Consumers) -> None:
        for path in ("/v1/profile/7", "/v1/messages", "/v1/items/3", "/v1/actions"):
            assert (await http.get(path)).status_code == 401
        assert (await http.get("/v1/slot/1forged.png")).status_code == 403

    run(check, tmp_path, token="a-very-secret-token")


def test_a_service_without_consumers_says_so(tmp_path: Path) -> None:
    async def inner() -> None:
        live = await LiveRanker.open("tiny", {"it": "truthful"})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(live)), base_url="http://test") as http:
            answer = await http.post("/v1/events", json={"consumers": [{"id": "e", "kind": "view", "user": "7"}]})
            assert answer.status_code == 422 and "keeps no profiles" in answer.text
            assert (await http.get("/v1/profile/7")).status_code == 404
        await live.close()

    asyncio.run(inner())
