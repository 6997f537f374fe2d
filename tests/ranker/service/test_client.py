import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tribid.ranker.client import AsyncClient, Client, RankerError
from tribid.ranker.messages import Event, Offer, Request


def test_the_client_asks_a_real_server_for_everything_with_the_rankers_own_types(server: Any) -> None:
    with server(token="a-very-secret-token") as running, Client(running.address, token="a-very-secret-token") as client:
        assert client.health() == "ready"
        decision = client.rank(Request(request=1, user=3))
        assert decision.id == "0.1" and decision.stage_ms == {}
        brought = tuple(Offer(advertiser=f"adv_0{ad}", pctr=0.1, pcvr=0.1) for ad in range(3))
        assert "auction" in client.rank(Request(request=2, candidates=brought), explain=True).stage_ms
        assert [one.request for one in client.rank_many([Request(request=9, user=1), Request(request=8, user=2)])] == [
            9,
            8,
        ]
        receipts = client.events([Event(id="e", kind="click", decision=decision.id, slot=0)] * 2)
        assert [receipt.status for receipt in receipts] == ["accepted", "duplicate"]
        assert receipts[0].charged_micros == decision.slots[0].price_micros
        assert client.activate("truthful", mode="split", percent=10).split == {"truthful": 10.0}
        assert client.activate("truthful").active == "truthful"
        assert client.rollback().active == client.policies().active == "pid"
        with pytest.raises(RankerError, match=r"422: \$\.user is 77; allowed is 0 to 49") as refused:
            client.rank(Request(request=5, user=77))
        assert (refused.value.status, refused.value.field) == (422, "$.user")
    with pytest.raises(httpx.ConnectError):
        Client(running.address, retries=0).health()


def test_many_calls_of_the_async_client_are_under_way_at_once(server: Any) -> None:
    async def run(address: str) -> None:
        async with AsyncClient(address) as client:
            decisions = await asyncio.gather(*(client.rank(Request(request=number, user=3)) for number in range(64)))
            assert [decision.request for decision in decisions] == list(range(64))
            assert len(await client.rank_many([Request(request=100, user=3)])) == 1
            event = Event(id="e", kind="impression", decision="0.1", slot=0)
            assert (await client.events([event]))[0].status == "accepted"
            assert (await client.activate("truthful", mode="shadow")).shadow == ("truthful",)
            assert (await client.policies()).active == "pid"
            with pytest.raises(RankerError, match="422: active is 'pid', which replaced none"):
                await client.rollback()
            assert await client.health() == "ready"

    with server() as running:
        asyncio.run(run(running.address))


class Failing:
    """A transport whose connection breaks a number of times."""

    def __init__(self, times: int, error: type[httpx.TransportError] = httpx.ReadError) -> None:
        self.left, self.calls, self._error = times, 0, error

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise self._error("broken")
        content: Any = {"receipts": []} if request.url.path == "/v1/events" else {"status": "ready"}
        if "policies" in request.url.path:
            content = {"active": "a", "previous": None, "shadow": [], "split": {}, "releases": []}
        return httpx.Response(200, content=json.dumps(content))


@pytest.mark.parametrize(
    ("call", "calls"),
    [
        (lambda client: client.events([]), 3),
        (lambda client: client.policies(), 3),
        (lambda client: client.health(), 3),
    ],
)
def test_calls_that_do_no_more_when_repeated_are_sent_again_when_the_connection_breaks(
    call: Callable[[Client], Any], calls: int
) -> None:
    failing = Failing(2)
    call(Client(transport=httpx.MockTransport(failing)))
    assert failing.calls == calls
    with pytest.raises(httpx.ReadError):
        call(Client(transport=httpx.MockTransport(Failing(3))))


@pytest.mark.parametrize("call", [lambda client: client.activate("a"), lambda client: client.rollback()])
def test_what_would_do_more_when_repeated_is_sent_once(call: Callable[[Client], Any]) -> None:
    failing = Failing(1)
    with pytest.raises(httpx.ReadError):
        call(Client(transport=httpx.MockTransport(failing)))
    assert failing.calls == 1


def test_between_two_tries_pass_50_to_200_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("tribid.ranker.client.time.sleep", waited.append)
    monkeypatch.setattr("tribid.ranker.client.asyncio.sleep", sleep)
    for times in range(20):
        Client(transport=httpx.MockTransport(Failing(2))).policies()
        with pytest.raises(httpx.ReadError):
            Client(transport=httpx.MockTransport(Failing(1)), retries=0).policies()
        assert len(waited) == 2 * times + 2
    assert all(0.05 <= seconds <= 0.2 for seconds in waited) and len(set(waited)) > 10
    waited.clear()

    async def run() -> None:
        async with AsyncClient(transport=httpx.MockTransport(Failing(2))) as client:
            assert (await client.policies()).active == "a"

    asyncio.run(run())
    assert len(waited) == 2 and all(0.05 <= seconds <= 0.2 for seconds in waited)


def test_a_time_out_is_not_repeated() -> None:
    failing = Failing(1, httpx.ReadTimeout)
    with pytest.raises(httpx.ReadTimeout):
        Client(transport=httpx.MockTransport(failing)).events([])
    assert failing.calls == 1


def test_an_answer_that_is_no_rankers_is_an_error_and_a_ranker_that_is_not_ready_says_why() -> None:
    def page(status: int, content: bytes) -> Client:
        return Client(transport=httpx.MockTransport(lambda request: httpx.Response(status, content=content)))

    for status, content in ((200, b"<html>"), (502, b"Bad Gateway"), (404, b'{"detail": "x"}'), (200, b"{}")):
        with pytest.raises(RankerError, match=f"{status}: the answer is no ranker's"):
            page(status, content).policies()
    assert page(503, b'{"status": "shutting down"}').health() == "shutting down"
    with pytest.raises(RankerError, match="no ranker's"):
        page(503, b"Service Unavailable").health()
