"""The consumers' addresses answer as the OpenAPI document says, whatever they are asked: no 5xx, nothing undocumented."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.ranker.consumers.house import KEY, journey
from tribid.ranker.consumers.config import ActionsConfig, ConsumersConfig, SlotsConfig
from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import LiveRanker
from tribid.ranker.service.app import make_app
from tribid.ranker.service.server import Door, Server
from tribid.ranker.service.settings import Settings

LABELS = (
    "GET /v1/profile/{user}", "DELETE /v1/profile/{user}", "GET /v1/messages", "POST /v1/messages:ack",
    "GET /v1/items/{item}", "POST /v1/items", "GET /v1/actions", "POST /v1/actions", "POST /v1/actions/events",
    "POST /v1/actions:reload", "GET /v1/slot/{token}.png", "GET /v1/slot/{token}/click", "POST /v1/events",
)  # fmt: skip
TAKES_NOTHING = {"GET /v1/actions", "POST /v1/actions:reload"}  # one request is all there is to send
CHECKS = [
    not_a_server_error, checks.content_type_conformance, checks.response_headers_conformance,
    checks.response_schema_conformance, checks.status_code_conformance,
]  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a small journey with profiles, slots and actions, on a port of its own in a thread."""
    folder = tmp_path_factory.mktemp("consumers")
    (folder / "slots.key").write_text(KEY)
    (folder / "salt").write_text(KEY)
    config = ConsumersConfig(
        profiles=str(folder / "profiles"), slots=SlotsConfig(key_file=folder / "slots.key"),
        actions=ActionsConfig(journal=folder / "log", salt_file=folder / "salt"),
    )  # fmt: skip
    scenario, settings = journey(), Settings(port=0)

    async def live() -> LiveRanker:
        return await LiveRanker.open(scenario, {"it": "truthful"})

    async def consumers() -> Consumers:
        return await Consumers.open(scenario, config)

    with Door(settings) as door:
        app: Any = make_app(live, settings=settings, consumers=consumers)
        ready = threading.Event()
        server = Server(app, app.serving, lambda opened: ready.set())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door.socket]}, daemon=True)
        thread.start()
        assert ready.wait(120)
        yield door.address
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def fuzzed(address: str, label: str, cases: int) -> Counter[int]:
    """Send valid and invalid requests of one operation; how many were answered with which status."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operation = next(found.ok() for found in schema.get_all_operations() if found.ok().label == label)
    statuses: Counter[int] = Counter()
    for mode in schemathesis.GenerationMode:

        @hypothesis.seed(7)
        @hypothesis.settings(
            max_examples=max(1, cases // 2), deadline=None, database=None, print_blob=False,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(allow_redirects=False)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        try:
            send()
        except Unsatisfiable:  # an operation that takes nothing has no invalid requests
            assert mode is not schemathesis.GenerationMode.POSITIVE
    return statuses


@pytest.mark.parametrize("label", LABELS)
def test_a_few_requests_of_each_consumer_address_are_answered_as_documented(address: str, label: str) -> None:
    assert max(fuzzed(address, label, 10)) < 500


@pytest.mark.slow
@pytest.mark.parametrize("label", LABELS)
def test_hundreds_of_requests_of_each_consumer_address_meet_no_5xx(address: str, label: str) -> None:
    statuses = fuzzed(address, label, 400)
    assert max(statuses) < 500 and statuses.total() > (0 if label in TAKES_NOTHING else 100)


def test_the_document_names_every_address_of_consumers(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    labels = {found.ok().label for found in schema.get_all_operations()}
    assert set(LABELS) <= labels


def test_a_profile_is_described_with_its_stages_and_taken_without_them(address: str) -> None:
    document = httpx.get(f"{address}/openapi.json", timeout=60).json()
    answer = document["paths"]["/v1/profile/{user}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/ShownProfile"}
    schemas = document["components"]["schemas"]
    assert "stages" not in schemas["Profile"]["properties"] and schemas["ShownProfile"]["required"] == [
        "user",
        "stages",
    ]
    stages = schemas["ShownProfile"]["properties"]["stages"]["additionalProperties"]
    assert set(stages["enum"]) == {"unaware", "aware", "interested", "purchased", "loyal"}


def test_pairs_are_arrays_of_a_length_that_any_maker_of_clients_reads(address: str) -> None:
    fields = httpx.get(f"{address}/openapi.json", timeout=60).json()["components"]["schemas"]["Profile"]["properties"]
    pair = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}}
    assert fields["orders"]["items"] == pair
    assert fields["sent"]["items"]["items"] == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
