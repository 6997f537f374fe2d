import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tribid.ranker.messages import MAX_BATCH, MAX_CANDIDATES, MAX_EVENTS
from tribid.ranker.service.settings import Settings

JSON = {"content-type": "application/json"}
OFFER = {"advertiser": "adv_00", "pctr": 0.1, "pcvr": 0.1}


def page(**more: Any) -> bytes:
    return json.dumps({"request": 1, "user": 3} | more).encode()


HOSTILE = {
    "no body": (b"", 400, "$", "no JSON"),
    "half a body": (b'{"request": 1', 400, "$", "no JSON"),
    "no JSON": (b"request=1", 400, "$", "no JSON"),
    "no UTF-8": (b'{"state": "\xff"}', 400, "$", "no JSON"),
    "two bodies": (b'{"request": 1} {"request": 2}', 400, "$", "no JSON"),
    "NaN": (b'{"request": 1, "user": 3, "buying": NaN}', 400, "$", "no JSON"),
    "Infinity": (b'{"request": 1, "user": 3, "timeout_ms": Infinity}', 400, "$", "no JSON"),
    "a number beyond floats": (b'{"request": 1, "user": 3, "buying": 1e999}', (400, 422), "$", "out of range"),
    "an integer beyond 64 bits": (b'{"request": 340282366920938463463374607431768211456}', 422, "$.request", ""),
    "a list": (b"[1, 2]", 422, "$", "Expected `object`, got `array`"),
    "null": (b"null", 422, "$", "Expected `object`, got `null`"),
    "nothing in it": (b"{}", 422, "$", "missing required field `request`"),
    "a text for a number": (page(user="3"), 422, "$.user", "Expected `int | null`, got `str`"),
    "a boolean for a number": (page(user=True), 422, "$.user", "got `bool`"),
    "half a user": (page(user=3.5), 422, "$.user", ""),
    "a negative request": (page(request=-1), 422, "$.request", "Expected `int` >= 0"),
    "an unknown field": (page(budget=3), 422, "$.budget", "unknown field `budget`; allowed are request, user"),
    "an unknown state": (page(state="asleep"), 422, "$.state", "value 'asleep'; allowed are browsing, buying"),
    "an unknown user": (page(user=50), 422, "$.user", "$.user is 50; allowed is 0 to 49"),
    "an unknown tick": (page(tick=8), 422, "$.tick", "$.tick is 8; allowed is 0 to 7"),
    "an unknown segment": (page(segment=9), 422, "$.segment", "$.segment is 9"),
    "a belief above 1": (page(buying=1.5), 422, "$.buying", "Expected `float` <= 1.0"),
    "no time": (page(timeout_ms=0), 422, "$.timeout_ms", "Expected `float` > 0.0"),
    "no candidates": (page(candidates=[]), 422, "$.candidates", "length >= 1"),
    "an unknown advertiser": (
        page(candidates=[OFFER, {**OFFER, "advertiser": "adv_99"}]), 422, "$.candidates[1].advertiser", "adv_99",
    ),
    "an advertiser twice": (page(candidates=[OFFER, OFFER]), 422, "$.candidates[1].advertiser", "adv_00"),
    "a rate above 1": (page(candidates=[{**OFFER, "pctr": 1.01}]), 422, "$.candidates[0].pctr", "<= 1.0"),
    "too many candidates": (
        page(candidates=[OFFER] * (MAX_CANDIDATES + 1)), 422, "$.candidates", f"<= {MAX_CANDIDATES}",
    ),
    "too many outcomes": (page(outcome={"clicked": [True] * 101}), 422, "$.outcome.clicked", "<= 100"),
    "an unknown visit event": (page(events=[{"kind": "steal"}]), 422, "$.events[0].kind", "steal"),
    "an empty batch": (b'{"requests": []}', 422, "$.requests", "length >= 1"),
    "a batch of a number": (b'{"requests": 3}', 422, "$.requests", "Expected `array`"),
    "a batch with more": (b'{"requests": [{"request": 1}], "more": 1}', 422, "$.more", "`more`; allowed is requests"),
    "one bad of a batch": (
        b'{"requests": [{"request": 1, "user": 3}, {"request": 2, "user": 77}]}', 422, "$.requests[1].user", "77",
    ),
    "two of one number": (
        b'{"requests": [{"request": 1, "user": 3}, {"request": 1, "user": 4}]}', 409, "$.requests[1].request", "",
    ),
    "too large a batch": (
        json.dumps({"requests": [{"request": 1}] * (MAX_BATCH + 1)}).encode(), 422, "$.requests", f"<= {MAX_BATCH}",
    ),
    "deep lists": (b'{"requests": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", (400, 422), "$", ""),
    "deep objects": (b'{"request": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", (400, 422), "$", ""),
    "deep where nothing is read": (b'{"x": ' + b"[" * 200_000, (400, 422), "$", ""),
    "nobody to show to": (b'{"request": 1}', 422, "$.user", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_bodies_get_4xx_that_name_the_field_and_change_nothing(ranker: Any, kind: str) -> None:
    body, status, field, part = HOSTILE[kind]

    async def run() -> None:
        async with ranker() as http:
            before = (await http.get("/metrics")).text.partition("tribid_day")[2]
            answer = await http.post("/v1/rank", content=body, headers=JSON)
            assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
            told = answer.json()["error"]
            assert told["field"].startswith(field) and part in told["message"]
            assert len(answer.content) < 2_000
            assert (await http.get("/metrics")).text.partition("tribid_day")[2] == before
            assert (await http.post("/v1/rank", content=page(), headers=JSON)).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ([], "$.events"),
        ([{"id": "", "kind": "click", "decision": "0.1", "slot": 0}], "$.events[0].id"),
        ([{"id": "a", "kind": "steal", "decision": "0.1", "slot": 0}], "$.events[0].kind"),
        ([{"id": "a", "kind": "click", "decision": "0.1", "slot": -1}], "$.events[0].slot"),
        ([{"id": "a", "kind": "click", "decision": "0.1", "slot": 0, "time_ms": 2**53}], "$.events[0].time_ms"),
        ([{"id": "a" * 201, "kind": "click", "decision": "0.1", "slot": 0}], "$.events[0].id"),
        ([{"id": "a", "kind": "click", "decision": "0.1", "slot": 0}] * (MAX_EVENTS + 1), "$.events"),
    ],
)
def test_hostile_events_get_4xx_that_name_the_field(ranker: Any, events: list[Any], field: str) -> None:
    async def run() -> None:
        async with ranker() as http:
            answer = await http.post("/v1/events", json={"events": events})
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)

    asyncio.run(run())


@pytest.mark.parametrize("decision", ["0.1", "x", "0.", "-1.1", "0.99999999999999999999", "0.1.0", "٣.٣", "0.1\x00"])
def test_an_event_of_no_page_is_unknown_whatever_its_page_is_called(ranker: Any, decision: str) -> None:
    async def run() -> None:
        async with ranker() as http:
            event = {"id": "a", "kind": "click", "decision": decision, "slot": 0}
            answer = await http.post("/v1/events", json={"events": [event]})
            assert answer.status_code in (200, 422)
            if answer.status_code == 200:
                assert answer.json()["receipts"][0]["status"] == "unknown"

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", None])
@pytest.mark.parametrize("path", ["/v1/rank", "/v1/events", "/v1/policies/pid:activate"])
def test_what_is_not_said_to_be_json_is_refused_so_that_no_web_page_can_send_it_unasked(
    ranker: Any, kind: str | None, path: str
) -> None:
    async def run() -> None:
        async with ranker() as http:
            answer = await http.post(path, content=page(), headers={} if kind is None else {"content-type": kind})
            assert (answer.status_code, answer.json()["error"]["field"]) == (415, "content-type")

    asyncio.run(run())


@pytest.mark.parametrize("query", ["explain=1", "explain=", "explain", "verbose=true", "%ff=1", "&&&", "a=1&" * 50])
def test_parameters_that_nobody_knows_are_refused(ranker: Any, query: str) -> None:
    async def run() -> None:
        async with ranker() as http:
            answer = await http.post(f"/v1/rank?{query}", content=page(), headers=JSON)
            assert answer.status_code == 422 and answer.json()["error"]["field"] in ("explain", "query")

    asyncio.run(run())


async def in_parts(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize(
    "path", ["/v1/rank", "/v1/events", "/v1/policies/pid:activate", "/openrtb2/auction", "/nowhere"]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_413_and_never_kept(ranker: Any, path: str, chunked: bool) -> None:
    async def run() -> None:
        async with ranker(Settings(max_body_bytes=2_000)) as http:
            body = page(events=[{"kind": "view"}] * 500)
            content: Any = in_parts(body, 700) if chunked else body
            answer = await http.post(path, content=content, headers=JSON)
            assert answer.status_code == 413
            assert "2000 bytes" in answer.json()["error"]["message"] and answer.headers["connection"] == "close"

    asyncio.run(run())


def test_a_body_of_exactly_the_limit_is_read(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(max_body_bytes=2_000)) as http:
            body = page().ljust(2_000)
            assert (await http.post("/v1/rank", content=in_parts(body, 300), headers=JSON)).status_code == 200
            assert (await http.post("/v1/rank", content=in_parts(body + b" ", 300), headers=JSON)).status_code == 413

    asyncio.run(run())


def test_a_hundred_thousand_candidates_are_refused_by_size_or_by_count(ranker: Any) -> None:
    async def run() -> None:
        crowd = page(candidates=[{"advertiser": "adv_00"}] * 100_000)
        async with ranker() as http:
            assert (await http.post("/v1/rank", content=crowd, headers=JSON)).status_code == 413
        async with ranker(Settings(max_body_bytes=len(crowd))) as http:
            answer = await http.post("/v1/rank", content=crowd, headers=JSON)
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$.candidates")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/rank", 405), ("DELETE", "/v1/events", 405), ("POST", "/v1/policies", 405), ("PUT", "/metrics", 405),
        ("GET", "/v1/policies:rollback", 405), ("TRACE", "/healthz", 405), ("GET", "/", 404), ("GET", "/v1/rank/", 404),
        ("POST", "/v1/policies/a/b:activate", 404), ("GET", "/../etc/passwd", 404), ("POST", "/v1/policies/:activate", 404),
    ],
)  # fmt: skip
def test_other_methods_and_addresses_are_refused_in_the_same_shape(
    ranker: Any, method: str, path: str, status: int
) -> None:
    async def run() -> None:
        async with ranker() as http:
            answer = await http.request(method, path, headers=JSON)
            assert answer.status_code == status and list(answer.json()) == ["error"]
            assert ("allow" in answer.headers) == (status == 405)

    asyncio.run(run())


def test_a_name_of_policies_may_hold_anything_and_is_only_not_found(ranker: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            for name in ("..", "%2e%2e", "a%00b", "%F0%9F%99%82", "x" * 5_000):
                answer = await http.post(f"/v1/policies/{name}:activate", json={})
                assert answer.status_code == 404 and len(answer.content) < 1_000

    asyncio.run(run())


def test_what_is_our_own_fault_is_500_without_a_word_of_what_was_sent_in_answer_or_log(
    ranker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from tribid.ranker.live import LiveRanker
    from tribid.ranker.service.app import make_app

    async def run() -> None:
        live = await LiveRanker.open("tiny", {"pid": "pid"})

        async def broken(request: Any, *, explain: bool = False) -> Any:
            raise KeyError(f"user {request.user}")

        live.rank = live.policies = broken  # type: ignore[method-assign, assignment]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(live)), base_url="http://test") as http:
            for answer in (
                await http.post("/v1/rank", content=page(user=41), headers=JSON),
                await http.get("/v1/policies"),
            ):
                assert (answer.status_code, answer.json()["error"]["field"]) == (500, "")
                assert "41" not in answer.text and "KeyError" not in answer.text

    asyncio.run(run())
    assert "KeyError while answering a request" in caplog.text and "41" not in caplog.text.replace("py:", "")
