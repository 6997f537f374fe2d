"""``Client`` and ``AsyncClient``: ask a ranker over HTTP, with the messages' own types."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote

import msgspec

from tribid.ranker.messages import Decision, Event, Receipt, Request
from tribid.ranker.releases import Policies
from tribid.ranker.service.wire import Decisions, EventBatch, Failure, Health, RankBatch, Receipts

try:
    import httpx
except ImportError as missing:  # pragma: no cover
    raise ImportError("the ranker's client needs httpx: pip install 'tribid[serve]'") from missing

Mode = Literal["active", "shadow", "split", "off"]
T = TypeVar("T")


class RankerError(Exception):
    """The ranker refused, or gave no answer that it could have meant.

    ``status`` is HTTP's, ``field`` what is at fault (``$.requests[3].tick``; empty where it is nothing in particular),
    ``message`` what is allowed. What is wrong with the connection is raised as ``httpx.TransportError``.
    """

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(f"{status}: {message}" + (f" ({field})" if field and field not in message else ""))
        self.status, self.field, self.message = status, field, message


class _Call(NamedTuple):
    """One call, ready to be sent; ``again``: sending it twice does no more than sending it once."""

    method: str
    path: str
    body: bytes | None = None
    again: bool = True

    def arguments(self) -> dict[str, Any]:
        """What httpx's ``request`` takes."""
        headers = {} if self.body is None else {"content-type": "application/json"}
        return {"method": self.method, "url": self.path, "content": self.body, "headers": headers}


def _rank(request: Request, explain: bool) -> _Call:
    return _Call("POST", "/v1/rank?explain=true" if explain else "/v1/rank", msgspec.json.encode(request))


def _rank_many(requests: Sequence[Request], explain: bool) -> _Call:
    body = msgspec.json.encode(RankBatch(tuple(requests)))
    return _Call("POST", "/v1/rank?explain=true" if explain else "/v1/rank", body)


def _events(events: Sequence[Event]) -> _Call:
    return _Call("POST", "/v1/events", msgspec.json.encode(EventBatch(tuple(events))))


def _activate(name: str, mode: Mode, percent: float | None) -> _Call:
    body = msgspec.json.encode({"mode": mode} | ({} if percent is None else {"percent": percent}))
    return _Call("POST", f"/v1/policies/{quote(name, safe='')}:activate", body, again=False)


_POLICIES = _Call("GET", "/v1/policies")
_ROLLBACK = _Call("POST", "/v1/policies:rollback", again=False)
_READY = _Call("GET", "/readyz")
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)


def _read(response: httpx.Response, kind: type[T]) -> T:
    """The answer's content; ``RankerError`` for a refusal, and for an answer that is none of a ranker's."""
    try:
        if response.is_success:
            return msgspec.json.decode(response.content, type=kind)
        told = msgspec.json.decode(response.content, type=Failure).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RankerError(response.status_code, "", "the answer is no ranker's") from None
    raise RankerError(response.status_code, told.field, told.message)


def _settings(base_url: str, token: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s, "trust_env": False}


class Client:
    """Asks a ranker, one call after another; a context manager that keeps its connections.

    ``retries`` is how often a call is sent again when the connection broke: ``rank``, ``rank_many`` and ``events``, which
    the ranker answers alike however often they come (the same ``request`` of a ``day``, the same event ``id``), and what
    only reads. Name the ``day`` in requests that may be sent again: without it, one that is repeated after midnight is
    another page. Time-outs, refusals, ``activate`` and ``rollback`` are not repeated. ``transport`` is httpx's, for tests.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        token: str | None = None,
        timeout: float = 5.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(transport=transport, **_settings(base_url, token, timeout))
        self._retries = retries

    def rank(self, request: Request, *, explain: bool = False) -> Decision:
        """Decide one page; with ``explain``, the decision says how long each stage took."""
        return _read(self._send(_rank(request, explain)), Decision)

    def rank_many(self, requests: Sequence[Request], *, explain: bool = False) -> list[Decision]:
        """Decide pages in this order; none is decided where one is refused."""
        return list(_read(self._send(_rank_many(requests, explain)), Decisions).decisions)

    def events(self, events: Sequence[Event]) -> list[Receipt]:
        """Tell what happened to pages; a receipt for each event, in order."""
        return list(_read(self._send(_events(events)), Receipts).receipts)

    def policies(self) -> Policies:
        """Which releases of policies there are, and what each is used for."""
        return _read(self._send(_POLICIES), Policies)

    def activate(self, name: str, *, mode: Mode = "active", percent: float | None = None) -> Policies:
        """Put a release to use; ``percent`` of the users with mode ``split``."""
        return _read(self._send(_activate(name, mode, percent)), Policies)

    def rollback(self) -> Policies:
        """Make the release that was active before the active one again."""
        return _read(self._send(_ROLLBACK), Policies)

    def health(self) -> str:
        """``ready``, or why the ranker may not be asked."""
        response = self._send(_READY)
        return _read(response, Health).status if response.status_code != 503 else _why(response)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, call: _Call) -> httpx.Response:
        for left in range(self._retries if call.again else 0, -1, -1):
            try:
                return self._http.request(**call.arguments())
            except _LOST:
                if left == 0:
                    raise
        raise AssertionError("unreachable")


class AsyncClient:
    """``Client`` for asyncio: the same methods, awaited; many calls may be under way at once."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        token: str | None = None,
        timeout: float = 5.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(transport=transport, **_settings(base_url, token, timeout))
        self._retries = retries

    async def rank(self, request: Request, *, explain: bool = False) -> Decision:
        """Decide one page; with ``explain``, the decision says how long each stage took."""
        return _read(await self._send(_rank(request, explain)), Decision)

    async def rank_many(self, requests: Sequence[Request], *, explain: bool = False) -> list[Decision]:
        """Decide pages in this order; none is decided where one is refused."""
        return list(_read(await self._send(_rank_many(requests, explain)), Decisions).decisions)

    async def events(self, events: Sequence[Event]) -> list[Receipt]:
        """Tell what happened to pages; a receipt for each event, in order."""
        return list(_read(await self._send(_events(events)), Receipts).receipts)

    async def policies(self) -> Policies:
        """Which releases of policies there are, and what each is used for."""
        return _read(await self._send(_POLICIES), Policies)

    async def activate(self, name: str, *, mode: Mode = "active", percent: float | None = None) -> Policies:
        """Put a release to use; ``percent`` of the users with mode ``split``."""
        return _read(await self._send(_activate(name, mode, percent)), Policies)

    async def rollback(self) -> Policies:
        """Make the release that was active before the active one again."""
        return _read(await self._send(_ROLLBACK), Policies)

    async def health(self) -> str:
        """``ready``, or why the ranker may not be asked."""
        response = await self._send(_READY)
        return _read(response, Health).status if response.status_code != 503 else _why(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _send(self, call: _Call) -> httpx.Response:
        for left in range(self._retries if call.again else 0, -1, -1):
            try:
                return await self._http.request(**call.arguments())
            except _LOST:
                if left == 0:
                    raise
        raise AssertionError("unreachable")


def _why(response: httpx.Response) -> str:
    """What a ranker that is not ready says."""
    try:
        return msgspec.json.decode(response.content, type=Health).status
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RankerError(response.status_code, "", "the answer is no ranker's") from None
