"""The OpenAPI document: exact schemas, made from the messages' own types, for the scenario that is served."""

from typing import Any, NamedTuple

import msgspec

from tribid.envs.worlds import FeedWorld
from tribid.ranker.messages import Decision, Request
from tribid.ranker.openrtb.router import NOTICE_PATHS
from tribid.ranker.releases import Policies
from tribid.ranker.service.gate import PROBES
from tribid.ranker.service.serving import Serving
from tribid.ranker.service.wire import Activation, Decisions, EventBatch, Failure, Health, RankBatch, Receipts

_JSON = "application/json"
_REF = "#/components/schemas/{name}"
_TYPES = (Request, RankBatch, Decision, Decisions, EventBatch, Receipts, Activation, Policies, Health, Failure)
_NAMED_ADVERTISERS = 200

_PLAIN = ("400", "401", "405", "429")
_ASKING = (*_PLAIN, "503")
_BODY = (*_ASKING, "403", "408", "413", "415", "422")

_ERRORS = {
    "400": "The body is no JSON, or `Host` is not one of ours.",
    "401": "The token is missing or wrong.",
    "403": "A web page of another site asks (`Origin`).",
    "404": "There is nothing of this name.",
    "405": "This address does not allow this method.",
    "408": "The body did not come in time.",
    "409": "This request was answered before, with other content.",
    "413": "The body is too large.",
    "415": "The body is not said to be `application/json`.",
    "422": "The body is JSON that is not allowed; `field` says where.",
    "429": "Too many requests from this client.",
    "503": "The ranker is not open yet, or no longer.",
}
_ERROR_HEADERS = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}


class _Operation(NamedTuple):
    """One address and method: what it takes and gives, by the names of schemas, and the errors that it answers."""

    method: str
    path: str
    summary: str
    description: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    errors: tuple[str, ...] = _PLAIN
    text: str = _JSON


_OPERATIONS = (
    _Operation(
        "post", "/v1/rank", "Decide pages: who is shown, at what price, and why.",
        "One request, or several that are decided in order. The same (day, request) with the same content gets the same "
        "decision again and reserves no more money.",
        ("Request", "RankBatch"), ("Decision", "Decisions"), (*_BODY, "409"),
    ),
    _Operation(
        "post", "/v1/events", "Tell what happened to pages: impressions, clicks, conversions.",
        "Each event counts once, by its id; receipts say what became of each.",
        ("EventBatch",), ("Receipts",), _BODY,
    ),
    _Operation(
        "get", "/v1/policies", "Which releases of policies there are, and what each is used for.", "",
        (), ("Policies",), _ASKING,
    ),
    _Operation(
        "post", "/v1/policies/{name}:activate", "Put a release to use: active, in shadow, for a share of users, or off.",
        "Takes effect between two requests; none is dropped.", ("Activation",), ("Policies",), (*_BODY, "404"),
    ),
    _Operation(
        "post", "/v1/policies:rollback", "Make the release that was active before the active one again.",
        "", (), ("Policies",), _BODY,
    ),
    _Operation("get", "/healthz", "Whether the process lives.", "", (), ("Health",), ("400", "405")),
    _Operation(
        "get", "/readyz", "Whether it may be asked: policies loaded, ledger open, not shutting down.", "",
        (), ("Health",), ("400", "405"),
    ),
    _Operation("get", "/metrics", "Metrics in Prometheus' text format.", "", text="text/plain"),
    _Operation("get", "/openapi.json", "This document.", ""),
    _Operation("get", "/docs", "This document as a page.", "", text="text/html"),
)  # fmt: skip


def document(base: dict[str, Any], serving: Serving) -> dict[str, Any]:
    """The whole document: ``base`` is FastAPI's, of the routes that it knows itself (OpenRTB's)."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    paths: dict[str, Any] = {}
    for operation in _OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    _fit(schemas, paths, serving)
    components = dict(base.get("components", {}))
    components["schemas"] = dict(components.get("schemas", {})) | schemas
    components["responses"] = {code: _error(code) for code in _ERRORS}
    for path, methods in base.get("paths", {}).items():
        paths[path] = {method: _gated(method, said) for method, said in methods.items()}
    found = {**base, "paths": paths, "components": components}
    if serving.settings.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
        for path in (*PROBES, *NOTICE_PATHS):
            for operation in paths.get(path, {}).values():
                operation["security"] = []
    return found


def _gated(method: str, said: dict[str, Any]) -> dict[str, Any]:
    """An operation of another router, with what the gate in front of it may answer."""
    codes = _ASKING if method == "get" else (*_ASKING, "403", "408", "413")
    gate = {code: {"$ref": f"#/components/responses/{code}"} for code in codes}
    return {**said, "responses": gate | said["responses"]}


def _operation(said: _Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": said.summary, "operationId": said.path.strip("/"), "responses": {}}
    if said.description:
        found["description"] = said.description
    parameters = [_NAME] if "{name}" in said.path else [_EXPLAIN] if said.path == "/v1/rank" else []
    if parameters:
        found["parameters"] = parameters
    if said.takes:
        found["requestBody"] = {"required": "Activation" not in said.takes, "content": {_JSON: _schema(said.takes)}}
    content = {said.text: _schema(said.gives) if said.gives else {}}
    found["responses"]["200"] = {"description": "Done.", "content": content}
    if said.path == "/readyz":
        found["responses"]["503"] = {"description": "Not now; `status` says why.", "content": content}
    for code in sorted(said.errors):
        found["responses"][code] = {"$ref": f"#/components/responses/{code}"}
    return found


_EXPLAIN = {
    "name": "explain", "in": "query", "schema": {"type": "boolean"},
    "description": "Say how long each stage took.",
}  # fmt: skip
_NAME = {
    "name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
    "description": "A release's name.",
}  # fmt: skip


def _schema(names: tuple[str, ...]) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(name=name)} for name in names]
    return {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}


def _error(code: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _ERRORS[code], "content": {_JSON: _schema(("Failure",))}}
    if code in _ERROR_HEADERS:
        found["headers"] = {_ERROR_HEADERS[code]: {"schema": {"type": "string"}, "required": True}}
    return found


def _fit(schemas: dict[str, Any], paths: dict[str, Any], serving: Serving) -> None:
    """Narrow what a request may hold to what the scenario that is served has; nothing before it is open."""
    if serving.live is None:
        return
    world, names = serving.live.scenario.world, serving.live.names
    assert isinstance(world, FeedWorld)  # a ranker answers requests of no other
    for field, count in (("tick", world.traffic.ticks), ("user", world.users.count)):
        for choice in schemas["Request"]["properties"][field]["anyOf"]:
            if choice.get("type") == "integer":
                choice["exclusiveMaximum"] = count
    if len(names) <= _NAMED_ADVERTISERS:
        schemas["Offer"]["properties"]["advertiser"] = {"enum": list(names)}
    for told in schemas["Outcome"]["properties"].values():
        told["maxItems"] = len(serving.live.scenario.rules.slot_effects)
    schemas["Request"]["examples"] = [
        {"request": 1, "user": world.users.count - 1},
        {"request": 2, "candidates": [{"advertiser": name, "pctr": 0.05, "pcvr": 0.1} for name in names[:2]]},
    ]
    releases = [release.name for release in serving.live.policies().releases]
    activate = paths["/v1/policies/{name}:activate"]["post"]
    activate["parameters"] = [{**_NAME, "schema": {"type": "string", "enum": releases}}]
