"""``make_app``: the ranker as an ASGI application."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tribid.ranker.consumers.consumers import Consumers
from tribid.ranker.live import Closed, LiveRanker
from tribid.ranker.openrtb.bidder import OpenRtbSettings
from tribid.ranker.openrtb.router import address_of, openrtb_router
from tribid.ranker.service.bodies import Receive, Scope, Send, check_json_type, check_origin
from tribid.ranker.service.docs_page import Caller, docs_page
from tribid.ranker.service.endpoints import Endpoints, health
from tribid.ranker.service.errors import ServiceError, own_fault, service_error
from tribid.ranker.service.gate import Application, Gate, is_sealed
from tribid.ranker.service.metrics import Metrics
from tribid.ranker.service.openapi import document
from tribid.ranker.service.serving import ConsumersOpener, Opener, Serving
from tribid.ranker.service.settings import Settings
from tribid.ranker.service.wire import Failure, Problem

try:
    from fastapi import FastAPI, Request, Response
    from prometheus_client.registry import Collector
    from starlette.exceptions import HTTPException
except ImportError as missing:  # pragma: no cover
    raise ImportError("the HTTP service needs FastAPI: pip install 'tribid[serve]'") from missing

_JSON = "application/json"
_READING = ("GET", "HEAD", "OPTIONS", "TRACE")
_LEASING = ("/v1/messages",)
"""Asked by GET, and yet changes something: what it hands out is not handed out again for a while."""

_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")
_PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


class _Service(FastAPI):
    """A FastAPI application behind the ``Gate``, with the OpenAPI document of the messages' own types."""

    serving: Serving
    metrics: Metrics
    endpoints: Endpoints

    def build_middleware_stack(self) -> Any:
        inner = super().build_middleware_stack()
        direct = {"/v1/rank": self.endpoints.rank, "/v1/events": self.endpoints.events}
        return Gate(_own_pages_only(inner), direct, self.serving.settings, self.metrics)

    def openapi(self) -> dict[str, Any]:
        return document(super().openapi(), self.serving)


def make_app(
    live: LiveRanker | Opener,
    *,
    settings: Settings | None = None,
    openrtb: OpenRtbSettings | None = None,
    consumers: Consumers | ConsumersOpener | None = None,
    collectors: Sequence[Collector] = (),
) -> FastAPI:
    """The ranker's HTTP service, for any ASGI server.

    ``live``: an open ranker, or an async function that opens one when the application starts; until it has, and after it
    failed, ``/readyz`` and all that needs the ranker answer 503. ``openrtb`` is how ad exchanges are met, ``consumers`` what
    is kept of consumers, or what opens that (None: nothing is kept), ``collectors`` are metrics of what is around the
    ranker. The application closes ranker and consumers when it ends. Under a server that sends no lifespan messages (as
    httpx's transport for tests) an open ranker is served as it is: its clock stands still, and nothing closes it.
    """
    settings = Settings() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await serving.start()
        yield
        await serving.stop()

    app = _Service(
        title="Tribid ranker", version=_version(), docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan,
        redirect_slashes=False, telemetry={"tracing": False, "metrics": False},
    )  # fmt: skip
    app.metrics = Metrics(settings, collectors)

    def attach(opened: LiveRanker, kept: Consumers | None) -> None:
        app.metrics.watch(opened, None if kept is None else kept.slots)
        app.include_router(openrtb_router(opened, openrtb))
        if kept is not None:
            app.router.routes.extend(kept.routes())

    app.serving = serving = Serving(live, settings, attach, consumers)
    app.endpoints = Endpoints(serving, app.metrics)
    _add_routes(app)
    app.add_exception_handler(HTTPException, _http_exception)
    for kind in (ServiceError, ValueError, Closed, RecursionError, msgspec.MsgspecError, Exception):
        app.add_exception_handler(kind, _own_exception)
    return app


def _add_routes(app: _Service) -> None:
    """The addresses that are asked seldom; those in ``build_middleware_stack`` bypass the routing."""

    async def healthz(request: Request) -> Response:
        return _json(health("ok"))

    async def readyz(request: Request) -> Response:
        why = app.serving.why_not_ready()
        return _json(health(why or "ready"), 503 if why else 200)

    async def metrics(request: Request) -> Response:
        return Response(app.metrics.text(), media_type=app.metrics.media_type)

    async def policies(request: Request) -> Response:
        return _json(await app.endpoints.policies())

    async def activate(request: Request) -> Response:
        check_json_type(request.scope)
        return _json(await app.endpoints.activate(request.path_params["name"], await request.body()))

    async def rollback(request: Request) -> Response:
        body = await request.body()
        if body or "content-type" in request.headers:
            check_json_type(request.scope)
        return _json(await app.endpoints.rollback(body))

    async def openapi(request: Request) -> Response:
        return _json(msgspec.json.encode(app.openapi()))

    async def docs(request: Request) -> Response:
        return Response(docs_page(app.openapi(), _caller(app, request)), media_type="text/html", headers=_PAGE_HEADERS)

    for path, endpoint in (
        ("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics), ("/openapi.json", openapi), ("/docs", docs),
        ("/v1/policies", policies),
    ):  # fmt: skip
        app.add_route(path, endpoint, methods=["GET"], include_in_schema=False)
    app.add_route("/v1/policies:rollback", rollback, methods=["POST"], include_in_schema=False)
    app.add_route("/v1/policies/{name}:activate", activate, methods=["POST"], include_in_schema=False)


def _own_pages_only(inner: Application) -> Application:
    """The application, asked to do nothing by web pages of other sites; what a signed token allows is not looked at.

    The addresses that the ``Gate`` answers itself are checked there, by ``check_json_type``.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and (scope["method"] not in _READING or scope["path"] in _LEASING)
        if changes and not is_sealed(scope["path"]):
            check_origin(scope)
        await inner(scope, receive, send)

    return guarded


def _caller(app: _Service, request: Request) -> Caller:
    """How whoever asks for the documentation reaches this server, by their own request."""
    host = request.headers.get("host", "")
    address = f"http://{host}" if _HOST.fullmatch(host) else address_of(request)
    names = [] if app.serving.live is None else [one.name for one in app.serving.live.policies().releases]
    return Caller(address, asks_token=app.serving.settings.token is not None, release=names[-1] if names else "NAME")


def _json(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type=_JSON)


async def _http_exception(request: Request, error: Exception) -> Response:
    """FastAPI's own errors (no such address, method not allowed) in the service's one shape.

    Addresses that are there only once the ranker is open are not ready before.
    """
    assert isinstance(error, HTTPException)
    serving: Serving = request.app.serving
    if error.status_code == 404 and serving.live is None:
        try:
            serving.ranker()
        except ServiceError as not_ready:
            return Response(not_ready.body(), not_ready.status, headers=not_ready.headers, media_type=_JSON)
    told = {404: "no such address; see /docs", 405: "this address does not allow this method"}
    failure = Failure(
        Problem("path" if error.status_code == 404 else "method", told.get(error.status_code, error.detail))
    )
    return Response(
        msgspec.json.encode(failure), error.status_code, headers=dict(error.headers or {}), media_type=_JSON
    )


async def _own_exception(request: Request, error: Exception) -> Response:
    answer = service_error(error) or own_fault()
    return Response(answer.body(), answer.status, headers=answer.headers, media_type=_JSON)


def _version() -> str:
    import tribid

    return tribid.__version__
