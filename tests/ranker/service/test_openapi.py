"""The OpenAPI document is true: schemathesis finds nothing that it does not say, and nothing that breaks the service."""

import asyncio
import itertools
from collections import Counter
from typing import Any, NamedTuple

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import MAX_BATCH, Decision, Request
from tribid.ranker.service.app import make_app
from tribid.ranker.service.settings import Settings

schemathesis = pytest.importorskip("schemathesis")

OURS = (
    "POST /v1/rank", "POST /v1/events", "POST /v1/policies/{name}:activate", "POST /v1/policies:rollback",
    "GET /v1/policies", "GET /healthz", "GET /readyz", "GET /metrics", "GET /docs",
)  # fmt: skip
EXCHANGES = (
    "POST /openrtb2/auction", "GET /openrtb2/win", "POST /openrtb2/win", "GET /openrtb2/billing", "POST /openrtb2/billing",
    "GET /openrtb2/loss", "POST /openrtb2/loss", "GET /openrtb2/click",
)  # fmt: skip
SLOW_CASES = {
    "POST /v1/rank": 4_400, "POST /v1/events": 2_000, "POST /v1/policies/{name}:activate": 1_200,
    "POST /openrtb2/auction": 1_600, **dict.fromkeys(EXCHANGES[1:], 200),
}  # fmt: skip
"""Of the operations that take something: 10,600 in all. The others have next to nothing to vary."""


LEAST_SUCCESS = {
    "POST /v1/rank": 0.4, "POST /v1/events": 0.4, "POST /v1/policies/{name}:activate": 0.4, "POST /openrtb2/auction": 0.2,
}  # fmt: skip
"""The share of an operation's valid requests that must be answered 2xx: what is refused reaches little of the code."""


class Fuzzed(NamedTuple):
    """How many requests were answered with which status: all, and the valid ones alone; ``accepted`` events."""

    statuses: Counter[int]
    valid: Counter[int]
    accepted: int

    @property
    def success(self) -> float:
        return sum(count for status, count in self.valid.items() if status < 300) / self.valid.total()


async def _opened() -> tuple[LiveRanker, list[Decision]]:
    """A ranker under the wall clock, and pages that it has answered."""
    live = await LiveRanker.open("tiny", {"pid": "pid", "truthful": "truthful"}, clock="wall")
    return live, await live.rank_many([Request(request=2**31 + number, user=number % 50) for number in range(64)])


def _whole(value: Any) -> Any:
    """The same JSON, with 3.0 as 3: JSON Schema takes either for an integer, and msgspec the latter alone."""
    if isinstance(value, dict):
        return {name: _whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Grounded:
    """Makes valid bodies ones that a ranker can answer: what no schema says of one field by itself."""

    def __init__(self, live: LiveRanker, pages: list[Decision]) -> None:
        self._pages, self._new = [page for page in pages if page.slots], itertools.count()
        self._names, self._events = live.names, itertools.count()

    def __call__(self, label: str, body: Any) -> Any:
        body = _whole(body)
        if not isinstance(body, dict):
            return body
        if label == "POST /v1/rank":
            if "requests" in body:
                return {"requests": [self._request(one) for one in body["requests"]]}
            return self._request(body)
        if label == "POST /v1/events":
            told = body.get("events") or [{"id": f"one {next(self._new)}", "kind": "click", "slot": 0}]
            return {"events": [self._event(one) for one in told]}  # nobody keeps profiles here
        if label.endswith(":activate") and body.get("mode") != "split":
            return {name: value for name, value in body.items() if name != "percent"}
        return body

    def _request(self, one: dict[str, Any]) -> dict[str, Any]:
        number = next(self._new)
        found = {**one, "request": number, "user": number % 50 if one.get("user") is None else one["user"]}
        found.pop("day", None)
        found.pop("segment", None)
        for name in ("scene", "marks", "shown"):  # a journey's
            found.pop(name, None)
        if found.get("candidates"):
            offers = {offer["advertiser"]: offer for offer in found["candidates"]}
            if any(offer.get(rate) is None for offer in offers.values() for rate in ("pctr", "pcvr")):
                offers = {name: {"advertiser": name} for name in offers}
            found["candidates"] = list(offers.values())
        return found

    def _event(self, one: dict[str, Any]) -> dict[str, Any]:
        page = self._pages[next(self._events) % len(self._pages)]
        return {**one, "decision": page.id, "slot": one["slot"] % len(page.slots), "time_ms": None}


def fuzzed(label: str, cases: int, seed: int = 0, token: str | None = None) -> Fuzzed:
    """Send valid and invalid requests of one operation; how many were answered with which status.

    Of the valid ones three in four are grounded (see ``Grounded``). Fails on any 5xx but 503, and on every status, header,
    content type and body that the document does not announce.
    """
    live, pages = asyncio.run(_opened())
    grounded, accepted = Grounded(live, pages), 0
    app = make_app(live, settings=Settings(token=token))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    operation = next(found.ok() for found in schema.get_all_operations() if found.ok().label == label)
    statuses: Counter[int] = Counter()
    valid: Counter[int] = Counter()

    def sent(mode: Any) -> None:
        is_valid = mode is schemathesis.GenerationMode.POSITIVE

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases // 2, deadline=None, derandomize=False, database=None, print_blob=False,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), quarter=st.integers(0, 3))
        def send(case: Any, quarter: int) -> None:  # small numbers are drawn more often
            nonlocal accepted
            if is_valid and quarter < 3:
                case.body = grounded(label, case.body)
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            valid[answer.status_code] += is_valid
            accepted += label == "POST /v1/events" and '"accepted"' in answer.text
            case.validate_response(answer, checks=CHECKS)

        try:
            send()
        except Unsatisfiable:  # an operation that takes nothing has no invalid requests
            assert not is_valid

    for mode in schemathesis.GenerationMode:
        sent(mode)
    assert statuses
    return Fuzzed(statuses, valid, accepted)


def _checks() -> list[Any]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        not_a_server_error, checks.content_type_conformance, checks.response_headers_conformance,
        checks.response_schema_conformance, checks.status_code_conformance,
    ]  # fmt: skip


CHECKS = _checks()


@pytest.mark.parametrize("label", [*OURS, *EXCHANGES])
def test_a_few_requests_of_every_operation_are_answered_as_the_document_says(label: str) -> None:
    found = fuzzed(label, 12)
    assert max(found.statuses) < 500


@pytest.mark.parametrize("label", LEAST_SUCCESS)
def test_valid_requests_reach_the_code_behind_the_checks(label: str) -> None:
    found = fuzzed(label, 80, seed=9)
    assert found.success >= LEAST_SUCCESS[label], found.valid
    assert found.accepted > 0 or label != "POST /v1/events"


def test_the_document_is_true_where_a_token_is_asked_for() -> None:
    assert max(fuzzed("POST /v1/events", 6, token="a-very-secret-token").statuses) < 500


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(4))
@pytest.mark.parametrize("label", SLOW_CASES)
def test_ten_thousand_requests_meet_no_5xx_and_nothing_undocumented(label: str, piece: int) -> None:
    found = fuzzed(label, SLOW_CASES[label] // 4, seed=1 + piece)
    assert max(found.statuses) < 500
    assert found.statuses.total() >= SLOW_CASES[label] // 4 - 2
    assert found.success >= LEAST_SUCCESS.get(label, 0.0), found.valid


def test_the_document_has_every_address_and_the_limits_of_what_is_served() -> None:
    async def found() -> tuple[Any, LiveRanker]:
        live = await LiveRanker.open("tiny", {"pid": "pid"})
        return make_app(live, settings=Settings(token="a-very-secret-token")).openapi(), live

    document, live = asyncio.run(found())
    labels = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert labels == {*OURS, *EXCHANGES, "GET /openapi.json"}
    schemas = document["components"]["schemas"]
    assert schemas["Offer"]["properties"]["advertiser"]["enum"] == list(live.names)
    assert {"type": "integer", "minimum": 0, "exclusiveMaximum": 8} in schemas["Request"]["properties"]["tick"]["anyOf"]
    assert {told["maxItems"] for told in schemas["Outcome"]["properties"].values()} == {2}
    activate = document["paths"]["/v1/policies/{name}:activate"]["post"]["parameters"]
    assert [parameter["schema"]["enum"] for parameter in activate] == [["pid"]]
    for example in schemas["Request"]["examples"]:
        assert asyncio.run(live.rank(msgspec.convert(example, Request))).slots
    assert schemas["RankBatch"]["properties"]["requests"]["maxItems"] == MAX_BATCH
    assert document["security"] == [{"token": []}] and document["paths"]["/healthz"]["get"]["security"] == []
    assert document["paths"]["/openrtb2/win"]["get"]["security"] == []
