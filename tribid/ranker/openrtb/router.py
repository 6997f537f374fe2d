"""The bidder over HTTP, by OpenRTB 2.6, section 2.1: an ``APIRouter`` for any FastAPI application.

    POST     /openrtb2/auction    a bid request; 200 with a bid response, 204 for no bid, 400 without content if malformed
    GET|POST /openrtb2/win        the win notice (nurl)
    GET|POST /openrtb2/billing    the billing notice (burl)
    GET|POST /openrtb2/loss       the loss notice (lurl)
    GET      /openrtb2/click      a click, which is counted and sent on to the advertiser

Why a request is refused or not bid for stands in the header ``x-tribid-why``, since the specification wants no content.
Notices and clicks need no credentials: their tokens are signed. Where the service asks callers for credentials, it must
let these four through.
"""

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.live import Closed
from tribid.ranker.openrtb.answers import Reply
from tribid.ranker.openrtb.bidder import Live, OpenRtbBidder, OpenRtbSettings
from tribid.ranker.openrtb.messages import BidRequest, BidResponse
from tribid.ranker.openrtb.notices import Settled
from tribid.ranker.openrtb.tickets import ForgedError, Kind, Ticket

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.requests import Request
    from starlette.responses import Response

VERSION = "2.6"
NOTICE_PATHS = ("/openrtb2/win", "/openrtb2/billing", "/openrtb2/loss", "/openrtb2/click")
"""Called by exchanges and browsers, which have no credentials; each call carries a signed token."""

_WHY = "x-tribid-why"
_SETTLE: dict[Kind, Any] = {
    "win": lambda notices, ticket, query: notices.win(ticket, query("price")),
    "billing": lambda notices, ticket, query: notices.billing(ticket, query("price"), query("multiplier")),
    "loss": lambda notices, ticket, query: notices.loss(ticket, query("loss")),
}
"""How each notice is settled: ``query(name)`` is a parameter of its URL, empty where it has none."""


def openrtb_router(live: Live, settings: OpenRtbSettings | None = None) -> "APIRouter":
    """The routes of a bidder in front of a live ranker; see ``OpenRtbBidder``."""
    return router_of(OpenRtbBidder(live, settings))


def router_of(bidder: OpenRtbBidder) -> "APIRouter":
    """The routes of a bidder that the caller keeps, for its counts."""
    try:
        from fastapi import APIRouter
        from starlette.requests import Request
    except ImportError as error:
        raise ImportError("serving OpenRTB needs FastAPI: pip install 'tribid[serve]'") from error
    router = APIRouter(tags=["openrtb"])

    async def auction(request: Request) -> "Response":
        return _response(await _auction(bidder, request))

    async def click(request: Request) -> "Response":
        return await _click(bidder, request)

    routes: list[tuple[str, Any, list[str], dict[str, Any]]] = [
        ("auction", auction, ["POST"], _auction_docs()),
        ("click", click, ["GET"], _click_docs()),
    ]
    for kind, settle in _SETTLE.items():
        notice = _notice_handler(bidder, kind, settle)
        # The first route answers both methods; the others are there to be described, one operation each.
        routes.append((kind, notice, ["GET", "POST"], {"include_in_schema": False, "status_code": 204}))
        routes += [(kind, notice, [method], _notice_docs(kind, method)) for method in ("GET", "POST")]
    for path, handler, methods, docs in routes:
        # A closure's annotations name classes of this function, so FastAPI is given the class itself.
        handler.__annotations__.clear()
        handler.__annotations__["request"] = Request
        router.add_api_route(f"/openrtb2/{path}", handler, methods=methods, **docs)
    return router


async def _auction(bidder: OpenRtbBidder, request: "Request") -> Reply:
    began_s = bidder.settings.clock_s()
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Reply(415, why="Content-Type; allowed is application/json")
    version = request.headers.get("x-openrtb-version", VERSION)
    if version.partition(".")[0] != "2":
        return Reply(400, why="x-openrtb-version; allowed is 2.x")
    content = await _body(request, bidder.settings.max_body_bytes)
    if isinstance(content, Reply):
        return content
    return await bidder.reply(content, began_s, address_of(request))


async def _body(request: "Request", most: int) -> bytes | Reply:
    """The body, whose size the server bounds while it comes in; unpacked where it is gzip, never beyond ``most`` bytes."""
    content, is_whole = await request.body(), True
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        return Reply(415, why="Content-Encoding; allowed is gzip")
    if encoding == "gzip":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            content = unpacker.decompress(content, most + 1)
        except zlib.error:
            return Reply(400, why="the body is no gzip")
        is_whole = unpacker.eof
    if len(content) > most:
        return Reply(400, why=f"the body has more than {most} bytes")
    return content if is_whole else Reply(400, why="the body's gzip is cut off")


def address_of(request: "Request") -> str:
    """This machine's address on which a request came in, as the server says; empty where it says none."""
    server = request.scope.get("server")
    if not server or server[1] is None:  # a Unix socket has a path in place of a port
        return ""
    host, port = server
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _notice_handler(bidder: OpenRtbBidder, kind: Kind, settle: Any) -> Any:
    """An endpoint that reads the notice's ticket and lets it be settled."""

    async def notice(request: Any) -> "Response":
        settled = _ticket(bidder, request, kind)
        if isinstance(settled, Ticket):
            try:
                settled = await settle(bidder.notices, settled, lambda name: request.query_params.get(name, ""))
            except (Closed, LedgerUnavailableError):
                settled = Settled(503, "the ranker is not available; call again")
        return _response(Reply(settled.status, why=settled.why))

    return notice


async def _click(bidder: OpenRtbBidder, request: "Request") -> "Response":
    from starlette.responses import RedirectResponse

    ticket = _ticket(bidder, request, "click")
    if isinstance(ticket, Settled):
        return _response(Reply(ticket.status, why=ticket.why))
    try:
        receipt = await bidder.notices.click(ticket)
        status: str = "test" if receipt is None else receipt.status
    except (Closed, LedgerUnavailableError):
        status = "unavailable"  # the browser is sent on all the same
    headers = {"cache-control": "no-store", _WHY: status}
    return RedirectResponse(bidder.landing(ticket.ad), 302, headers)


def _ticket(bidder: OpenRtbBidder, request: "Request", kind: Kind) -> Ticket | Settled:
    """The notice's ticket; a token that was signed for something else is answered alike, whatever is wrong with it."""
    token = request.query_params.get("t")
    if token is None:
        return Settled(400, "t is missing; it is part of the URL that the bid gave")
    try:
        ticket = bidder.signer.read(kind, token)
    except ForgedError as error:
        return Settled(403, str(error))
    return ticket if ticket.is_of(request.query_params.get("id", "")) else Settled(400, "id is another auction's")


def _response(reply: Reply) -> "Response":
    from starlette.responses import Response

    headers = {"x-openrtb-version": VERSION, "cache-control": "no-store"}
    if reply.why:
        headers[_WHY] = "".join(letter if " " <= letter <= "~" else "?" for letter in reply.why)[:300]
    return Response(reply.content, reply.status, headers, "application/json" if reply.content else None)


def _auction_docs() -> dict[str, Any]:
    return {
        "summary": "Answer an OpenRTB 2.6 bid request",
        "responses": {
            200: _content("A bid response, or a no-bid with its reason", BidResponse),
            204: {"description": "No bid"},
            400: {"description": "The request is malformed; the header x-tribid-why says where"},
            415: {"description": "The content is no JSON, or packed by other means than gzip"},
        },
        "openapi_extra": {"requestBody": {"required": True, **_content(None, BidRequest)}},
        "status_code": 200,
    }


def _notice_docs(kind: Kind, method: str) -> dict[str, Any]:
    told = {
        204: "Taken, now or before", 400: "A macro's value cannot be", 403: "The token is not this service's",
        404: "The page is unknown", 409: "The bid was billed before", 410: "The bid's time is over",
        503: "The ranker is not available",
    }  # fmt: skip
    return {
        "summary": f"The {kind} notice of a bid",
        "operation_id": f"{kind}_{method.lower()}",
        "responses": {status: {"description": text} for status, text in told.items()},
        "openapi_extra": {"parameters": [_parameter("t")]},
        "status_code": 204,
    }


def _click_docs() -> dict[str, Any]:
    told = {302: "On to the advertiser", 400: "No token", 403: "The token is not this service's"}
    return {
        "summary": "A click on an ad; leads on to the advertiser",
        "responses": {status: {"description": text} for status, text in told.items()},
        "openapi_extra": {"parameters": [_parameter("t")]},
        "status_code": 302,
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}


def _content(description: str | None, kind: type) -> dict[str, Any]:
    """A JSON body's part of the OpenAPI document, its schema spelt out in place."""
    schema, parts = msgspec.json.schema_components([kind], ref_template="#/{name}")
    told = {} if description is None else {"description": description}
    return {**told, "content": {"application/json": {"schema": _spelt_out(schema[0], parts)}}}


def _spelt_out(schema: Any, parts: dict[str, Any]) -> Any:
    """A schema without references and titles; decimals, which msgspec describes as texts, as the numbers that are sent."""
    if isinstance(schema, list):
        return [_spelt_out(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {"type": "number"}
    if "$ref" in schema:
        return _spelt_out(parts[schema["$ref"].removeprefix("#/")], parts)
    return {name: _spelt_out(value, parts) for name, value in schema.items() if name != "title"}
