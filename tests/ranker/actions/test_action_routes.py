import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from tests.ranker.actions.house import NOW_MS, SALT, Shelf, named, run, saved
from tribid.ranker.actions.journal import ActionJournal
from tribid.ranker.actions.messages import ActionList, Catalogue
from tribid.ranker.actions.ranker import ActionRanker
from tribid.ranker.actions.routes import action_routes
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.messages import Profile
from tribid.ranker.service.errors import ServiceError, service_error


async def _failure(request: Request, error: Exception) -> Response:
    answer = service_error(error)
    assert answer is not None
    return Response(answer.body(), answer.status, headers=answer.headers, media_type="application/json")


def app_of(ranker: ActionRanker) -> Starlette:
    kinds = (ServiceError, ValueError, msgspec.MsgspecError)
    return Starlette(routes=action_routes(ranker), exception_handlers=dict.fromkeys(kinds, _failure))


def call(ranker: ActionRanker, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()

    async def inner() -> httpx.Response:
        transport = httpx.ASGITransport(app_of(ranker))
        async with httpx.AsyncClient(transport=transport, base_url="http://ranker") as client:
            sent = {} if content is None else {"content-type": "application/json"}
            return await client.request(method, path, content=content, headers=sent | headers)

    answer: httpx.Response = run(inner())
    return answer


def test_a_user_is_answered_and_what_came_of_it_is_taken(tmp_path: Path) -> None:
    shelf = Shelf(Profile(user="ann"))
    journal = ActionJournal(tmp_path, ActionRanker(named("a")).reader.names, SALT)
    ranker = ActionRanker(named("a", "b", value=2.5), profiles=shelf, journal=journal, clock_ms=lambda: NOW_MS)
    answer = call(ranker, "POST", "/v1/actions", {"user": "ann", "id": "r1", "explain": True})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    told = msgspec.json.decode(answer.content, type=ActionList)
    assert {one.action for one in told.actions} == {"a", "b"} and told.id == "r1" and told.actions[0].value == 2.5
    events = [{"id": "e1", "user": "ann", "kind": "taken", "action": "a", "listing": "r1"}]
    receipts = call(ranker, "POST", "/v1/actions/events", {"events": events * 2})
    assert [one["status"] for one in receipts.json()["receipts"]] == ["accepted", "duplicate"]
    again = call(ranker, "POST", "/v1/actions", {"user": "ann", "explain": True}).json()
    assert [one["action"] for one in again["actions"]] == ["b"]
    assert again["left_out"] == [{"action": "a", "why": "the user took it, and it is not repeated yet"}]
    journal.close()


def test_the_catalogue_says_which_actions_have_a_model_and_a_reload_which_weights(tmp_path: Path) -> None:
    ranker = ActionRanker(named("a", "b"), categories=1, model=tmp_path / "model", epsilon=0.1)
    before = msgspec.json.decode(call(ranker, "GET", "/v1/actions").content, type=Catalogue)
    assert before.model == "" and not any(one.has_model for one in before.actions)
    saved(tmp_path / "model", {"a": (0.5,)})
    assert call(ranker, "POST", "/v1/actions:reload").json() == {"model": ranker.model} != {"model": ""}
    after = call(ranker, "GET", "/v1/actions").json()
    assert [one["has_model"] for one in after["actions"]] == [True, False] and after["epsilon"] == 0.1
    (tmp_path / "model" / "card.json").write_text("{}")
    failed = call(ranker, "POST", "/v1/actions:reload")
    assert failed.status_code == 409 and str(tmp_path) not in failed.text and ranker.model == after["model"]
    assert call(ranker, "POST", "/v1/actions:reload", {"folder": "/etc"}).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "$"),
        (b"{", 400, "$"),
        (b"\xff", 400, "$"),
        (b"[" * 50_000, 422, "$"),
        ({}, 422, "$"),
        ({"user": ""}, 422, "$.user"),
        ({"user": 7}, 422, "$.user"),
        ({"user": "u" * 201}, 422, "$.user"),
        ({"user": "u", "limit": 0}, 422, "$.limit"),
        ({"user": "u", "limit": 1001}, 422, "$.limit"),
        ({"user": "u", "limit": 2.5}, 422, "$.limit"),
        ({"user": "u", "at_ms": -1}, 422, "$.at_ms"),
        ({"user": "u", "weight_by_value": "yes"}, 422, "$.weight_by_value"),
        ({"user": "u", "features": {"country": 1}}, 422, "$.features.country"),
        ({"user": "u", "features": {"member": "yes"}}, 422, "$.features[...]"),
        (b'{"user": "u", "features": {"member": 1e999}}', 422, "$.features[...]"),
        ({"user": "u", "profile": {"user": "v"}}, 422, "$.profile.user"),
        ({"user": "u", "profile": {"user": "u", "viewed": [[1]]}}, 422, "$.profile.viewed[0]"),
        ({"user": "u", "surprise": 1}, 422, "$.surprise"),
    ],
)
def test_a_hostile_request_is_refused_by_field(body: Any, status: int, field: str) -> None:
    answer = call(ActionRanker(named("a"), categories=1), "POST", "/v1/actions", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ([], "$.events"),
        ([{"id": "e", "user": "u", "kind": "bought", "action": "a"}], "$.events[0].kind"),
        ([{"id": "e", "user": "u", "kind": "taken", "action": ""}], "$.events[0].action"),
        ([{"id": "e", "user": "u", "kind": "taken"}], "$.events[0]"),
        ([{"id": "e", "user": "u", "kind": "taken", "action": "a", "time_ms": 2**53}], "$.events[0].time_ms"),
        ([{"id": "e", "user": "u", "kind": "taken", "action": "a"}] * 1001, "$.events"),
    ],
)
def test_hostile_events_are_refused_by_field(events: list[Any], field: str) -> None:
    answer = call(ActionRanker(named("a")), "POST", "/v1/actions/events", {"events": events})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_only_json_is_read_and_no_other_sites_page_may_ask() -> None:
    ranker = ActionRanker(named("a"))
    body = json.dumps({"user": "u"}).encode()
    assert call(ranker, "POST", "/v1/actions", body, **{"content-type": "text/plain"}).status_code == 415
    assert call(ranker, "POST", "/v1/actions", body, origin="http://elsewhere.example").status_code == 403


def test_a_store_that_is_gone_is_a_503() -> None:
    class Gone(Shelf):
        async def profile(self, user: str) -> Profile | None:
            raise ProfilesUnavailableError

    answer = call(ActionRanker(named("a"), profiles=Gone()), "POST", "/v1/actions", {"user": "u"})
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
