"""The next best action over HTTP, as routes for the ranker's service:

    POST /v1/actions            an ActionRequest; the actions to propose to a user
    POST /v1/actions/events     ActionEvents: what was viewed, not taken and taken; a receipt for each
    GET  /v1/actions            the catalogue, and which actions have a model
    POST /v1/actions:reload     use the model that is in the folder now

Errors are raised for the service to answer (``tribid.ranker.service.errors``).
"""

import logging
from typing import TYPE_CHECKING

import msgspec

from tribid.ranker.actions.messages import ActionEvents, ActionReceipts, ActionRequest
from tribid.ranker.actions.ranker import ActionRanker
from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.service.bodies import check_json_type
from tribid.ranker.service.errors import ServiceError
from tribid.refusals import JsonDecoder

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_log = logging.getLogger("tribid.ranker.actions")
_REQUEST = JsonDecoder(ActionRequest)
_EVENTS = JsonDecoder(ActionEvents)
_ENCODER = msgspec.json.Encoder()


class Reloaded(msgspec.Struct, frozen=True):
    """``model`` names the weights that are in use now, empty where there are none."""

    model: str


def action_routes(ranker: ActionRanker) -> "list[Route]":
    """The routes of an ``ActionRanker``, which the caller keeps."""
    try:
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError("serving actions needs FastAPI: pip install 'tribid[serve]'") from error

    def told(answer: object) -> Response:
        return Response(_ENCODER.encode(answer), media_type="application/json")

    async def answer(request: "Request") -> "Response":
        check_json_type(request.scope)
        wanted = _REQUEST.decode(await request.body())
        try:
            return told(await ranker.answer(wanted))
        except ProfilesUnavailableError:
            raise ServiceError(503, "", "profiles are not available", headers={"retry-after": "1"}) from None

    async def events(request: "Request") -> "Response":
        check_json_type(request.scope)
        batch = _EVENTS.decode(await request.body())
        try:
            receipts = await ranker.events(batch.events)
        except (OSError, ProfilesUnavailableError):
            raise ServiceError(
                503, "", "what happened cannot be kept now; tell it again", headers={"retry-after": "1"}
            ) from None
        return told(ActionReceipts(tuple(receipts)))

    async def catalogue(request: "Request") -> "Response":
        return told(ranker.catalogue())

    async def reload(request: "Request") -> "Response":
        if (await request.body()).strip() not in (b"", b"{}"):
            raise ServiceError(422, "$", "allowed is an empty body or {}")
        try:
            return told(Reloaded(await ranker.reload()))
        except (ValueError, OSError) as error:
            _log.warning("the model of actions stays as it is: %s", error)
            raise ServiceError(409, "model", "the model in use stays; the server's log says why") from None

    return [
        Route("/v1/actions", answer, methods=["POST"]),
        Route("/v1/actions", catalogue, methods=["GET"]),
        Route("/v1/actions/events", events, methods=["POST"]),
        Route("/v1/actions:reload", reload, methods=["POST"]),
    ]
