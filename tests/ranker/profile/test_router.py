"""Profiles over HTTP: what is answered, and what hostile callers are told."""

import asyncio
import json
from typing import get_args
from urllib.parse import quote

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from tests.ranker.profile.house import event, settings
from tribid.envs.stages import STAGES
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.journaled import JournaledProfiles
from tribid.ranker.profile.messages import ConsumerEvent, Profile
from tribid.ranker.profile.router import ProfileEndpoints, StageName, profile_routes
from tribid.ranker.profile.testing_triggers import NOON, Clock, drop
from tribid.ranker.service.app import _own_exception
from tribid.ranker.service.errors import ServiceError, service_error

JSON = {"content-type": "application/json"}


def ask(folder, use):
    async def run():
        store = await JournaledProfiles.open(folder, settings(Clock()))
        app = Starlette(
            routes=profile_routes(store),
            exception_handlers=dict.fromkeys((ServiceError, ValueError), _own_exception),
        )
        app.add_exception_handler(msgspec.MsgspecError, _own_exception)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
        try:
            return await use(store, client)
        finally:
            await client.aclose()
            await store.close()

    return asyncio.run(run())


def test_a_profile_is_shown_exported_and_erased(tmp_path):
    async def use(store, client):
        for user in ("ann", "a/b?c#d e%2Fé", "ann\n", "a\nb", "\n", "a\r\n/\u2028", ".", "..", "a/../b", "/"):
            await store.take([event("view", user, item=5, time_ms=NOON - 1)])
            path = f"/v1/profile/{quote(user, safe='').replace('.', '%2E')}"
            shown = await client.get(path)
            assert (shown.status_code, shown.json()["viewed"]) == (200, [[5, NOON - 1]]), shown.text
            assert shown.headers["cache-control"] == "no-store"
            exported = await client.get(path, params={"export": "true"})
            assert exported.json()["user"] == user and exported.json()["profile"]["viewed"] == [[5, NOON - 1]]
            erased = [(await client.delete(path)).json() for _ in range(2)]
            assert erased == [{"erased": True}, {"erased": False}]
            gone = await client.get(path)
            assert (gone.status_code, gone.json()["error"]["field"]) == (404, "user")

    ask(tmp_path, use)


def test_a_profile_is_answered_with_its_stages_and_kept_without(tmp_path):
    async def use(store, client):
        kinds = (("exposure", "a"), ("view", "b"), ("order", "c"), ("order", "d"), ("review", "d"))
        await store.take([event(kind, "ann", brand=brand, item=1) for kind, brand in kinds])
        stages = {"a": "aware", "b": "interested", "c": "purchased", "d": "loyal"}
        answer = await client.get("/v1/profile/ann")
        shown = answer.json()
        assert shown["stages"] == stages and shown["marks"]["b"] == 2 and shown["version"] == 5
        kept = await store.profile("ann")
        assert kept == msgspec.json.decode(answer.content, type=Profile) and not hasattr(kept, "stages")
        exported = (await client.get("/v1/profile/ann?export=true")).json()
        assert "stages" not in exported["profile"]
        await store.take([event("left", "bob")])
        assert (await client.get("/v1/profile/bob")).json()["stages"] == {}

    ask(tmp_path, use)


def test_the_names_of_stages_are_those_of_the_journey():
    assert get_args(StageName) == STAGES


def test_a_name_with_a_line_end_is_nobody_elses(tmp_path):
    async def use(store, client):
        await store.take([event("view", "7", item=5)])
        assert (await client.get("/v1/profile/7%0A")).status_code == 404
        assert (await client.delete("/v1/profile/7%0A")).json() == {"erased": False}
        assert (await client.get("/v1/profile/7")).status_code == 200

    ask(tmp_path, use)


def test_messages_are_handed_out_and_acknowledged(tmp_path):
    async def use(store, client):
        await store.take([event("view", user, item=5, time_ms=NOON - 1) for user in ("ann", "bob", "cy")])
        await store.moved([drop(5, NOON)])
        first = (await client.get("/v1/messages", params={"limit": 2})).json()["messages"]
        rest = (await client.get("/v1/messages")).json()["messages"]
        assert (
            len(first) == 2
            and len(rest) == 1
            and rest[0].keys() >= {"id", "user", "trigger", "item", "channel", "template"}
        )
        ids = [message["id"] for message in first]
        answer = await client.post("/v1/messages:ack", json={"ids": [*ids, "unknown"]})
        assert answer.json() == {"acknowledged": 2}

    ask(tmp_path, use)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/v1/profile/", None, 422, "user"),
        ("GET", "/v1/profile/" + "x" * 201, None, 422, "user"),
        ("GET", "/v1/profile/a%00b", None, 422, "user"),
        ("GET", "/v1/profile/ann?export=yes", None, 422, "export"),
        ("GET", "/v1/profile/ann?export=true&export=true", None, 422, "query"),
        ("GET", "/v1/profile/ann?other=1", None, 422, "query"),
        ("GET", "/v1/profile/ann?%ff", None, 422, "query"),
        ("DELETE", "/v1/profile/ann?export=true", None, 422, "query"),
        ("DELETE", "/v1/profile/a%00b", None, 422, "user"),
        ("GET", "/v1/messages?limit=0", None, 422, "limit"),
        ("GET", "/v1/messages?limit=1001", None, 422, "limit"),
        ("GET", "/v1/messages?limit=-1", None, 422, "limit"),
        ("GET", "/v1/messages?limit=%D9%A3", None, 422, "limit"),
        ("GET", "/v1/messages?limit=1e2", None, 422, "limit"),
        ("POST", "/v1/messages:ack", b"", 400, "$"),
        ("POST", "/v1/messages:ack", b"{", 400, "$"),
        ("POST", "/v1/messages:ack", b"\xff", 400, "$"),
        ("POST", "/v1/messages:ack", b"[" * 50_000, 4, "$"),
        ("POST", "/v1/messages:ack", b"{}", 422, "$"),
        ("POST", "/v1/messages:ack", b'{"ids": []}', 422, "$.ids"),
        ("POST", "/v1/messages:ack", b'{"ids": [5]}', 422, "$.ids[0]"),
        ("POST", "/v1/messages:ack", b'{"ids": [""]}', 422, "$.ids[0]"),
        ("POST", "/v1/messages:ack", b'{"ids": ["a"], "more": 1}', 422, "$.more"),
    ],
)
def test_hostile_input_is_answered_with_a_4xx_that_names_the_field(method, path, body, status, field, tmp_path):
    async def use(store, client):
        answer = await client.request(method, path, content=body, headers=JSON if body is not None else {})
        assert answer.status_code == status or (status == 4 and 400 <= answer.status_code < 500), answer.text
        assert answer.json()["error"]["field"] == field

    ask(tmp_path, use)


def test_an_acknowledgement_that_a_web_page_could_send_is_refused(tmp_path):
    async def use(store, client):
        plain = await client.post("/v1/messages:ack", content=b'{"ids": ["a"]}', headers={"content-type": "text/plain"})
        assert plain.status_code == 415
        other = await client.post("/v1/messages:ack", json={"ids": ["a"]}, headers={"origin": "http://evil.example"})
        assert other.status_code == 403

    ask(tmp_path, use)


def test_a_store_that_is_away_is_answered_with_503_and_a_damaged_one_with_500_that_tells_nothing(tmp_path):
    async def use(store, client):
        async def away(*given):
            raise ProfilesUnavailableError("redis://user:secret@host")

        for name in ("profile", "erase", "messages", "acknowledge", "export", "take"):
            setattr(store, name, away)
        answers = [
            await client.get("/v1/profile/ann"), await client.delete("/v1/profile/ann"), await client.get("/v1/messages"),
            await client.post("/v1/messages:ack", json={"ids": ["a"]}), await client.get("/v1/profile/ann?export=true"),
        ]  # fmt: skip
        assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "1")}
        assert not any("secret" in answer.text for answer in answers)
        with pytest.raises(ServiceError, match="not available"):
            await ProfileEndpoints(store).take([event("view")])

    ask(tmp_path, use)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "vue"}, "$.kind"), ({"item": -1}, "$.item"), ({"item": 2**31}, "$.item"), ({"item": True}, "$.item"),
        ({"item": 1.5}, "$.item"), ({"user": ""}, "$.user"), ({"user": 7}, "$.user"), ({"user": "x" * 201}, "$.user"),
        ({"time_ms": -1}, "$.time_ms"), ({"time_ms": 2**53}, "$.time_ms"), ({"channel": "fax"}, "$.channel"),
        ({"brand": ""}, "$.brand"), ({"surprise": 1}, "$.surprise"), ({"id": None}, "$.id"),
    ],
)  # fmt: skip
def test_a_malformed_event_names_its_field(change, field):
    told = {"id": "1", "kind": "view", "user": "ann"} | change
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(json.dumps(told), type=ConsumerEvent)
    assert service_error(raised.value).field == field


def test_an_acknowledgement_with_an_unknown_field_is_told_which_there_are(tmp_path):
    async def use(store, client):
        told = (await client.post("/v1/messages:ack", json={"idz": ["a"]})).json()["error"]
        assert told == {"field": "$.idz", "message": "Object contains unknown field `idz`; allowed is ids"}

    ask(tmp_path, use)


def test_events_are_taken_with_their_receipts(tmp_path):
    async def use(store, client):
        endpoints = ProfileEndpoints(store)
        assert await endpoints.take([]) == []
        receipts = await endpoints.take([event("view", name="1"), event("view", name="1"), event("cart", name="2")])
        assert [one.status for one in receipts] == ["accepted", "duplicate", "refused"]

    ask(tmp_path, use)
