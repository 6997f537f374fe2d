"""Web pages of other sites can make the service do nothing, whatever they send and call it."""

import asyncio
from typing import Any

import pytest

from tests.ranker.service.test_endpoints import PAGE, error_of
from tribid.ranker.service.settings import Settings

CHANGING = (
    ("/v1/rank", PAGE), ("/v1/events", {"events": [{"id": "e", "kind": "click", "decision": "0.1", "slot": 0}]}),
    ("/v1/policies/truthful:activate", {}), ("/v1/policies:rollback", {}),
    ("/openrtb2/auction", {"id": "a", "imp": [{"id": "1", "banner": {}}]}),
)  # fmt: skip


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://test.evil.example", "http://test:81", "test"]
)
@pytest.mark.parametrize(("path", "body"), CHANGING, ids=[path for path, _ in CHANGING])
def test_a_page_of_another_site_changes_nothing(ranker: Any, path: str, body: Any, origin: str) -> None:
    async def run() -> None:
        async with ranker() as http:
            await http.post("/v1/policies/truthful:activate", json={})
            before = (await http.get("/v1/policies")).content
            for content_type in ("application/json", "text/plain"):
                headers = {"origin": origin, "content-type": content_type}
                answer = await http.post(path, json=body, headers=headers)
                assert error_of(answer)[:2] == (403, "origin")
            assert error_of(await http.post(path, headers={"origin": origin}))[0] == 403
            assert (await http.get("/v1/policies")).content == before
            metrics = (await http.get("/metrics")).text
            assert (
                f'tribid_http_requests_total{{route="{path.replace("truthful", "{name}")}",status="403"}} 3.0'
                in metrics
            )

    asyncio.run(run())


@pytest.mark.parametrize(("path", "body"), CHANGING, ids=[path for path, _ in CHANGING])
def test_the_servers_own_pages_may_ask(ranker: Any, path: str, body: Any) -> None:
    async def run() -> None:
        async with ranker() as http:
            await http.post("/v1/policies/truthful:activate", json={})
            for host, origin in (("test", "http://test"), ("Bidder.example:8443", "https://bidder.example:8443")):
                answer = await http.post(path, json=body, headers={"host": host, "origin": origin})
                assert answer.status_code in (200, 204), answer.text

    asyncio.run(run())


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", None, 200), (b"{}", "application/json", 200), (b"", "application/json; charset=utf-8", 200),
        (b"", "text/plain", 415), (b"{}", "text/plain", 415), (b"{}", None, 415),
        (b"", "application/x-www-form-urlencoded", 415), (b"", "multipart/form-data; boundary=x", 415),
    ],
)  # fmt: skip
def test_rolling_back_takes_json_or_nothing(ranker: Any, content: bytes, kind: str | None, status: int) -> None:
    async def run() -> None:
        async with ranker() as http:
            await http.post("/v1/policies/truthful:activate", json={})
            headers = {} if kind is None else {"content-type": kind}
            answer = await http.post("/v1/policies:rollback", content=content, headers=headers)
            assert answer.status_code == status
            active = (await http.get("/v1/policies")).json()["active"]
            assert active == ("pid" if status == 200 else "truthful")

    asyncio.run(run())


def test_a_notice_is_taken_from_any_page_for_its_token_is_signed(ranker: Any) -> None:
    async def run() -> None:
        async with ranker(Settings(token="a-very-secret-token")) as http:
            answer = await http.post("/openrtb2/win?t=forged", headers={"origin": "https://publisher.example"})
            assert (
                answer.status_code == 403 and answer.headers["x-tribid-why"] == "the token is not one of this service"
            )

    asyncio.run(run())
