"""The OpenAPI document is true: schemathesis finds nothing that it does not say, and nothing that breaks the service."""

import asyncio
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis.errors import Unsatisfiable

from tribid.ranker.live import LiveRanker
from tribid.ranker.messages import MAX_BATCH
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


def fuzzed(label: str, cases: int, seed: int = 0, token: str | None = None) -> Counter[int]:
    """Send valid and invalid requests of one operation; how many were answered with which status.

    Fails on any 5xx but 503, and on every status, header, content type and body that the document does not announce.
    """
    live = asyncio.run(LiveRanker.open("tiny", {"pid": "pid", "truthful": "truthful"}))
    app = make_app(live, settings=Settings(token=token))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    operation = next(found.ok() for found in schema.get_all_operations() if found.ok().label == label)
    statuses: Counter[int] = Counter()
    for mode in schemathesis.GenerationMode:

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases // 2, deadline=None, derandomize=False, database=None, print_blob=False,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        try:
            send()
        except Unsatisfiable:  # an operation that takes nothing has no invalid requests
            assert mode is schemathesis.GenerationMode.NEGATIVE
    assert statuses
    return statuses


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
    statuses = fuzzed(label, 12)
    assert max(statuses) < 500


def test_the_document_is_true_where_a_token_is_asked_for() -> None:
    assert max(fuzzed("POST /v1/events", 6, token="a-very-secret-token")) < 500


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(4))
@pytest.mark.parametrize("label", SLOW_CASES)
def test_ten_thousand_requests_meet_no_5xx_and_nothing_undocumented(label: str, piece: int) -> None:
    statuses = fuzzed(label, SLOW_CASES[label] // 4, seed=1 + piece)
    assert max(statuses) < 500
    assert statuses.total() >= SLOW_CASES[label] // 4 - 2


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
    assert schemas["RankBatch"]["properties"]["requests"]["maxItems"] == MAX_BATCH
    assert document["security"] == [{"token": []}] and document["paths"]["/healthz"]["get"]["security"] == []
    assert document["paths"]["/openrtb2/win"]["get"]["security"] == []
