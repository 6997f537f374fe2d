"""The OpenAPI document: exact schemas, made from the messages' own types, for the scenario that is served."""

from typing import Any

import msgspec

from tribid.envs.journey.config import JourneyWorld
from tribid.envs.worlds import FeedWorld
from tribid.ranker.actions.messages import ActionEvents, ActionList, ActionReceipts, ActionRequest, Catalogue
from tribid.ranker.actions.routes import Reloaded
from tribid.ranker.consumers.stock_routes import ItemChanges, ItemStates
from tribid.ranker.messages import Decision, Request
from tribid.ranker.open_time.routes import CLICK_ROUTE, PICTURE_ROUTE
from tribid.ranker.openrtb.router import NOTICE_PATHS
from tribid.ranker.profile.router import MAX_MESSAGES, Acknowledged, Acknowledgement, ErasedData, Messages, ShownProfile
from tribid.ranker.releases import Policies
from tribid.ranker.service.gate import PROBES
from tribid.ranker.service.operations import (
    ACTION_OPERATIONS,
    ASKING,
    CONSUMER_OPERATIONS,
    JSON,
    OPERATIONS,
    SLOT_OPERATIONS,
    Operation,
)
from tribid.ranker.service.serving import Serving
from tribid.ranker.service.wire import Activation, Decisions, EventBatch, Failure, Health, RankBatch, Receipts
from tribid.ranker.stock.item import StockItem

_REF = "#/components/schemas/{name}"
_TYPES = (Request, RankBatch, Decision, Decisions, EventBatch, Receipts, Activation, Policies, Health, Failure)
_CONSUMER_TYPES = (
    ShownProfile, ErasedData, Messages, Acknowledgement, Acknowledged, StockItem, ItemChanges, ItemStates, ActionRequest,
    ActionList, ActionEvents, ActionReceipts, Catalogue, Reloaded,
)  # fmt: skip
_NAMED_ADVERTISERS = 200

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


def document(base: dict[str, Any], serving: Serving) -> dict[str, Any]:
    """The whole document: ``base`` is FastAPI's, of the routes that it knows itself (OpenRTB's)."""
    types = _TYPES if serving.consumers is None else (*_TYPES, *_CONSUMER_TYPES)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    schemas = {name: _untupled(schema) for name, schema in schemas.items()}
    paths: dict[str, Any] = {}
    for operation in _operations(serving):
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
        for path in (*PROBES, *NOTICE_PATHS, PICTURE_ROUTE, CLICK_ROUTE):
            for operation in paths.get(path, {}).values():
                operation["security"] = []
    return found


def _untupled(schema: Any) -> Any:
    """``prefixItems`` as an array of a length, of any of its items: few makers of clients know the exact keyword."""
    if isinstance(schema, list):
        return [_untupled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _untupled(part) for name, part in schema.items()}
    places = found.pop("prefixItems", None)
    if places is not None:
        kinds = [place for n, place in enumerate(places) if place not in places[:n]]
        found["items"] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return found


def _gated(method: str, said: dict[str, Any]) -> dict[str, Any]:
    """An operation of another router, with what the gate in front of it may answer."""
    codes = ASKING if method == "get" else (*ASKING, "403", "408", "413")
    gate = {code: {"$ref": f"#/components/responses/{code}"} for code in codes}
    return {**said, "responses": gate | said["responses"]}


def _operation(said: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": said.summary, "operationId": said.path.strip("/"), "responses": {}}
    if said.description:
        found["description"] = said.description
    parameters = _PARAMETERS.get((said.method, said.path), [])
    if parameters:
        found["parameters"] = parameters
    if said.takes:
        found["requestBody"] = {"required": "Activation" not in said.takes, "content": {JSON: _schema(said.takes)}}
    if said.text:
        content = {said.text: _schema(said.gives) if said.gives else {}}
        found["responses"]["200"] = {"description": "Done.", "content": content}
    else:
        found["responses"]["302"] = {
            "description": "Go there.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    if said.path == "/readyz":
        found["responses"]["503"] = {"description": "Not now; `status` says why.", "content": content}
    for code in sorted(said.errors):
        found["responses"][code] = {"$ref": f"#/components/responses/{code}"}
    for code, words in said.refusals:
        found["responses"][code] = {"description": words}
    return found


def _parameter(where: str, name: str, schema: dict[str, Any], words: str) -> dict[str, Any]:
    needed = {"required": True} if where == "path" else {}
    return {"name": name, "in": where, "schema": schema, "description": words, **needed}


_NAME = _parameter("path", "name", {"type": "string", "minLength": 1}, "A release's name.")
_USER = _parameter(
    "path", "user", {"type": "string", "minLength": 1, "maxLength": 200}, "The user's id, as events name it."
)
_TOKEN = _parameter(
    "path", "token", {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"}, "Of a mail's slot."
)
_PARAMETERS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("post", "/v1/rank"): [_parameter("query", "explain", {"type": "boolean"}, "Say how long each stage took.")],
    ("post", "/v1/policies/{name}:activate"): [_NAME],
    ("get", "/v1/profile/{user}"): [_USER, _parameter("query", "export", {"type": "boolean"}, "All that is held.")],
    ("delete", "/v1/profile/{user}"): [_USER],
    ("get", "/v1/messages"): [
        _parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": MAX_MESSAGES}, "So many at most.")
    ],
    ("get", "/v1/items/{item}"): [_parameter("path", "item", {"type": "integer", "minimum": 0}, "The item's number.")],
    ("get", PICTURE_ROUTE): [_TOKEN],
    ("get", CLICK_ROUTE): [_TOKEN],
}


def _operations(serving: Serving) -> tuple[Operation, ...]:
    """Of the addresses that this service has."""
    kept = serving.consumers
    if kept is None:
        return OPERATIONS
    return (
        *OPERATIONS, *CONSUMER_OPERATIONS, *(() if kept.actions is None else ACTION_OPERATIONS),
        *(() if kept.slots is None else SLOT_OPERATIONS),
    )  # fmt: skip


def _schema(names: tuple[str, ...]) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(name=name)} for name in names]
    return {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}


def _error(code: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _ERRORS[code], "content": {JSON: _schema(("Failure",))}}
    if code in _ERROR_HEADERS:
        found["headers"] = {_ERROR_HEADERS[code]: {"schema": {"type": "string"}, "required": True}}
    return found


def _fit_scenes(fields: dict[str, Any], world: FeedWorld, names: tuple[str, ...]) -> None:
    """Narrow what a request tells of scenes and profiles to the journey's; another scenario has none of it."""
    if not isinstance(world, JourneyWorld):
        for name in ("scene", "category", "bought", "marks", "shown"):
            del fields[name]
        return
    fields["scene"] = {"anyOf": [{"enum": [scene.name for scene in world.scenes]}, {"type": "null"}], "default": None}
    for name in ("category", "bought"):
        for choice in fields[name]["anyOf"]:
            if choice.get("type") == "integer":
                choice["exclusiveMaximum"] = world.categories
    if len(names) <= _NAMED_ADVERTISERS:
        for name in ("marks", "shown"):
            fields[name]["propertyNames"] = {"enum": list(names)}


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
    _fit_scenes(schemas["Request"]["properties"], world, names)
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
