"""The Python client asks a service for all that it keeps of consumers, by asyncio and without."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ranker.consumers.house import open_service
from tribid.ranker.actions.messages import ActionEvent, ActionRequest
from tribid.ranker.client import AsyncClient, Client, RankerError
from tribid.ranker.consumers.config import ActionsConfig
from tribid.ranker.consumers.stock_routes import ItemChange
from tribid.ranker.messages import Request
from tribid.ranker.profile.messages import ConsumerEvent, Profile

VIEW = ConsumerEvent(id="v1", kind="view", user="42", item=7)


class Through(httpx.AsyncBaseTransport):
    """Sends by another client."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._http.send(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Across(httpx.BaseTransport):
    """Sends by a client of an event loop that runs in another thread."""

    def __init__(self, http: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._through, self._loop = Through(http), loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._through.handle_async_request(request), self._loop).result(30)


def with_async(check: Callable[[AsyncClient], Any], folder: Path, **config: Any) -> None:
    async def ask(http: httpx.AsyncClient, kept: Any) -> None:
        async with AsyncClient("http://test", transport=Through(http)) as client:
            await check(client)

    asyncio.run(open_service(ask, folder, **config))


def with_sync(check: Callable[[Client], None], folder: Path, **config: Any) -> None:
    async def ask(http: httpx.AsyncClient, kept: Any) -> None:
        with Client("http://test", transport=Across(http, asyncio.get_running_loop())) as client:
            await asyncio.to_thread(check, client)

    asyncio.run(open_service(ask, folder, **config))


def test_a_consumer_is_told_read_written_to_and_erased(tmp_path: Path) -> None:
    def check(client: Client) -> None:
        assert client.profile("42") is None
        assert [receipt.status for receipt in client.tell([VIEW, VIEW])] == ["accepted", "duplicate"]
        known = client.profile("42")
        assert isinstance(known, Profile) and [item for item, _ in known.viewed] == [7]
        before = client.item(7)
        [after] = client.change_items([ItemChange(item=7, price_micros=before.price_micros // 2)])
        assert (after.price_micros, after.count) == (before.price_micros // 2, before.count)
        messages: list[Any] = []
        while not messages:
            messages = client.messages(limit=10)
        assert [(one.user, one.item, one.trigger) for one in messages] == [("42", 7, "drop")]
        assert client.acknowledge([one.id for one in messages]) == 1
        assert client.acknowledge([one.id for one in messages]) == 0
        assert client.erase("42") and not client.erase("42")
        assert client.profile("42") is None

    with_sync(check, tmp_path)


def test_the_async_client_does_the_same_and_pages_meet_what_was_told(tmp_path: Path) -> None:
    async def check(client: AsyncClient) -> None:
        told = await asyncio.gather(*(client.tell([VIEW]) for _ in range(8)))
        assert sorted(receipts[0].status for receipts in told) == ["accepted"] + ["duplicate"] * 7
        assert (await client.rank(Request(request=0, user=42))).slots
        known, item = await client.profile("42"), await client.item(7)
        assert known is not None and known.version == 1 and item.count > 1
        assert [one.done for one in await client.change_items([ItemChange(item=7, take=1)], id="order-7")] == [True]
        again = await client.change_items([ItemChange(item=7, take=1)], id="order-7")
        assert again[0].count == item.count - 1 == (await client.item(7)).count
        assert await client.messages() == [] and await client.acknowledge(["none"]) == 0
        assert await client.erase("42") and await client.profile("42") is None

    with_async(check, tmp_path)


def test_actions_are_proposed_and_what_became_of_them_is_told(tmp_path: Path) -> None:
    seen = ActionEvent(id="a1", user="42", kind="viewed", action="club", listing="mail-7")

    def check(client: Client) -> None:
        proposed = client.actions(ActionRequest(user="42", id="mail-7", limit=3))
        assert (proposed.id, [one.action for one in proposed.actions]) == ("mail-7", ["club"])
        assert [receipt.status for receipt in client.tell_actions([seen, seen])] == ["accepted", "duplicate"]

    async def check_async(client: AsyncClient) -> None:
        assert (await client.actions(ActionRequest(user="42"))).actions[0].action == "club"
        assert (await client.tell_actions([seen]))[0].status == "accepted"

    for name in ("sync", "async"):
        (tmp_path / name).mkdir()
    with_sync(check, tmp_path / "sync", actions=ActionsConfig())
    with_async(check_async, tmp_path / "async", actions=ActionsConfig())


def test_refusals_name_the_field_and_names_of_any_kind_reach_their_own_profile(tmp_path: Path) -> None:
    def check(client: Client) -> None:
        for user in ("..", "a/b", "a b?export=true", "Zoë%2F", "#"):
            assert client.tell([ConsumerEvent(id="e", kind="view", user=user, item=1)])[0].status == "accepted"
            known = client.profile(user)
            assert known is not None and known.user == user
        with pytest.raises(RankerError, match="422: limit is '0'; allowed is 1 to 1000"):
            client.messages(limit=0)
        with pytest.raises(RankerError) as refused:
            client.item(9_999)
        assert (refused.value.status, refused.value.field) == (404, "item")
        with pytest.raises(RankerError) as refused:
            client.profile("")
        assert (refused.value.status, refused.value.field) == (422, "user")

    with_sync(check, tmp_path)


def test_a_service_without_profiles_refuses_and_is_not_taken_for_one_that_knows_nobody() -> None:
    gone = httpx.MockTransport(
        lambda request: httpx.Response(404, json={"error": {"field": "", "message": "no such address"}})
    )
    with pytest.raises(RankerError, match="404: no such address"):
        Client(transport=gone).profile("42")


@pytest.mark.parametrize(
    ("call", "calls"),
    [
        (lambda client: client.tell([VIEW]), 2),
        (lambda client: client.profile("42"), 2),
        (lambda client: client.change_items([ItemChange(item=1, take=1)], id="order"), 2),
        (lambda client: client.change_items([ItemChange(item=1, take=1)]), 1),
        (lambda client: client.actions(ActionRequest(user="42", id="mail")), 2),
        (lambda client: client.actions(ActionRequest(user="42")), 1),
    ],
)
def test_only_calls_that_do_no_more_when_repeated_are_sent_again(call: Callable[[Client], Any], calls: int) -> None:
    asked: list[httpx.Request] = []

    def broken(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadError("broken")

    with pytest.raises(httpx.ReadError):
        call(Client(retries=1, transport=httpx.MockTransport(broken)))
    assert len(asked) == calls
