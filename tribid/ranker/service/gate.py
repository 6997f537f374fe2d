"""``Gate``: what every request passes before it is routed: who asks, how often, how much; and how its answer is counted."""

import hashlib
import hmac
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

from tribid.ranker.open_time.routes import slot_route
from tribid.ranker.openrtb.router import NOTICE_PATHS
from tribid.ranker.service.bodies import HungUpError, Message, Receive, Scope, Send, check_json_type, header, read_body
from tribid.ranker.service.errors import ServiceError, own_fault, service_error
from tribid.ranker.service.metrics import Metrics
from tribid.ranker.service.rate_limit import RateLimit
from tribid.ranker.service.settings import Settings

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Direct = Callable[[bytes, bytes, float], Awaitable[bytes]]

ARRIVED = "tribid.arrived"
"""Key of an ASGI scope: when the request's first byte came, on the clock of ``perf_counter``; set here where it is not."""

PROBES = ("/healthz", "/readyz")
"""Asked by what keeps the process running, without a token."""

_ROUTES = frozenset(
    (
        *PROBES,
        "/metrics",
        "/openapi.json",
        "/docs",
        "/v1/policies",
        "/v1/policies:rollback",
        "/openrtb2/auction",
        "/v1/items",
        "/v1/messages",
        "/v1/messages:ack",
        "/v1/actions",
        "/v1/actions/events",
        "/v1/actions:reload",
        *NOTICE_PATHS,
    )
)
_NAMED_ROUTES = (("/v1/profile/", "/v1/profile/{user}"), ("/v1/items/", "/v1/items/{item}"))
_HUNG_UP = 499
_FRAMES = 8
_JSON = (b"content-type", b"application/json")
_log = logging.getLogger("tribid.ranker.service")


class Gate:
    """An ASGI application around another one.

    It checks ``Host``, rate and token, reads the body whole within its limits (what is inside gets it in one piece),
    answers the addresses of ``direct`` (JSON by POST) itself, without the inner application's routing, makes every error
    an answer of one shape, and counts and times each request. It logs what failed and where, never what was sent or by
    whom.
    """

    def __init__(self, app: Application, direct: Mapping[str, Direct], settings: Settings, metrics: Metrics) -> None:
        self._app, self._direct, self._settings, self._metrics = app, dict(direct), settings, metrics
        self._token = None if settings.token is None else _digest(b"Bearer " + settings.token.encode("ascii"))
        self._rate: RateLimit | None = None
        if settings.rate_per_s is not None:
            self._rate = RateLimit(settings.rate_per_s, burst=settings.burst, clients=settings.rate_clients)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request; lifespan messages pass through, WebSockets are refused."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        arrived: float = scope.setdefault(ARRIVED, perf_counter())
        path: str = scope["path"]
        direct = self._direct.get(path)
        counted = _Counted(send)
        try:
            self._admit(scope, path)
            if direct is not None:
                await self._answer(direct, scope, receive, counted, arrived)
            else:
                body = await read_body(scope, receive, self._settings) if scope["method"] != "GET" else b""
                await self._app(scope, _replayed(body, receive), counted)
        except HungUpError:
            counted.status = _HUNG_UP
        except Exception as error:
            await self._apologise(error, counted)
        finally:
            self._metrics.see_request(
                path if direct is not None else _route(path), counted.status, perf_counter() - arrived
            )

    def _admit(self, scope: Scope, path: str) -> None:
        """``ServiceError`` for a ``Host`` that is not ours (400), too many requests (429), and a wrong token (401)."""
        if self._settings.hosts and not _named(header(scope, b"host"), self._settings.hosts):
            raise ServiceError(400, "host", f"allowed is {' or '.join(self._settings.hosts)}", hang_up=True)
        if path in PROBES:
            return
        if self._rate is not None and scope.get("client"):
            wait_s = self._rate.wait_s(scope["client"][0])
            if wait_s > 0:
                raise ServiceError(
                    429, "", f"more than {self._rate.rate_per_s:g} requests a second; come again later",
                    headers={"retry-after": str(math.ceil(wait_s))},
                )  # fmt: skip
        if self._token is not None and not is_sealed(path):
            given = header(scope, b"authorization")
            if given is None or not hmac.compare_digest(_digest(given), self._token):
                raise ServiceError(
                    401,
                    "authorization",
                    "allowed is: Bearer TOKEN",
                    headers={"www-authenticate": "Bearer"},
                    hang_up=True,
                )

    async def _answer(self, direct: Direct, scope: Scope, receive: Receive, send: "_Counted", arrived: float) -> None:
        if scope["method"] != "POST":
            raise ServiceError(405, "method", "allowed is POST", headers={"allow": "POST"})
        check_json_type(scope)
        body = await read_body(scope, receive, self._settings)
        content = await direct(body, scope["query_string"], arrived)
        await send.answer(200, content, [])

    async def _apologise(self, error: Exception, send: "_Counted") -> None:
        answer = service_error(error)
        if answer is None:
            _log.error("%s while answering a request, at %s", type(error).__name__, _where(error))
            answer = own_fault()
        if send.status == 0:
            extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
            await send.answer(answer.status, answer.body(), extra)


class _Counted:
    """``send`` of ASGI that remembers the answer's status (0: none was begun)."""

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def answer(self, status: int, content: bytes, extra: list[tuple[bytes, bytes]]) -> None:
        """A whole JSON answer."""
        self.status = status
        length = (b"content-length", str(len(content)).encode("ascii"))
        await self._send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *extra]})
        await self._send({"type": "http.response.body", "body": content})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` of ASGI for a body that was read already: gives it once, then what the server still has to say."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def is_sealed(path: str) -> bool:
    """Whether an address is asked without credentials because what it allows is signed: OpenRTB's notices, mails' slots."""
    return path in NOTICE_PATHS or slot_route(path) is not None


def _named(host: bytes | None, allowed: tuple[str, ...]) -> bool:
    """Whether a ``Host`` header's name, without its port, is one of those that are allowed."""
    name = (host or b"").decode("latin-1").lower()
    if name.rpartition(":")[2].isdigit() and not name.endswith("]"):
        name = name.rpartition(":")[0]
    return name in allowed


def _route(path: str) -> str:
    """The address as it is declared, ``/v1/policies/{name}:activate``; ``other`` for all that are none of ours."""
    if path in _ROUTES:
        return path
    if path.startswith("/v1/policies/") and path.endswith(":activate"):
        return "/v1/policies/{name}:activate"
    for prefix, route in _NAMED_ROUTES:
        if path.startswith(prefix):
            return route
    return slot_route(path) or "other"


def _digest(text: bytes) -> bytes:
    """Of one length whatever the text, so that comparing takes one time."""
    return hashlib.sha256(text).digest()


def _where(error: BaseException) -> str:
    """The last calls that led to an error, innermost last, as file:line, without any value."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
