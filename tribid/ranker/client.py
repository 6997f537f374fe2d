"""``Client`` and ``AsyncClient``: ask a ranker over HTTP, with the messages' own types."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import msgspec

from tribid.ranker.client_call import Call, RankerError, read
from tribid.ranker.consumers_client import AsyncConsumersClient, ConsumersClient
from tribid.ranker.messages import Decision, Event, Receipt, Request
from tribid.ranker.releases import Policies
from tribid.ranker.service.wire import Decisions, EventBatch, Health, RankBatch, Receipts

try:
    import httpx
except ImportError as missing:  # pragma: no cover
    raise ImportError("the ranker's client needs httpx: pip install 'tribid[serve]'") from missing

__all__ = ["AsyncClient", "Client", "RankerError"]

Mode = Literal["active", "shadow", "split", "off"]
T = TypeVar("T")


def _rank(request: Request, explain: bool) -> Call[Decision]:
    return Call("POST", _rank_path(explain), lambda answer: read(answer, Decision), msgspec.json.encode(request))


def _rank_many(requests: Sequence[Request], explain: bool) -> Call[list[Decision]]:
    body = msgspec.json.encode(RankBatch(tuple(requests)))
    return Call("POST", _rank_path(explain), lambda answer: list(read(answer, Decisions).decisions), body)


def _rank_path(explain: bool) -> str:
    return "/v1/rank?explain=true" if explain else "/v1/rank"


def _events(events: Sequence[Event]) -> Call[list[Receipt]]:
    body = msgspec.json.encode(EventBatch(tuple(events)))
    return Call("POST", "/v1/events", lambda answer: list(read(answer, Receipts).receipts), body)


def _activate(name: str, mode: Mode, percent: float | None) -> Call[Policies]:
    body = msgspec.json.encode({"mode": mode} | ({} if percent is None else {"percent": percent}))
    return Call("POST", f"/v1/policies/{quote(name, safe='')}:activate", _read_policies, body, again=False)


def _read_policies(response: httpx.Response) -> Policies:
    return read(response, Policies)


def _read_health(response: httpx.Response) -> str:
    """``ready``, or what a ranker that is not says: its 503 is no refusal."""
    if response.status_code != 503:
        return read(response, Health).status
    try:
        return msgspec.json.decode(response.content, type=Health).status
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RankerError(503, "", "the answer is no ranker's") from None


_POLICIES = Call("GET", "/v1/policies", _read_policies)
_ROLLBACK = Call("POST", "/v1/policies:rollback", _read_policies, again=False)
_READY = Call("GET", "/readyz", _read_health)
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)


def _waits(call: Call[T], retries: int) -> Iterator[float]:
    """How long to wait, in seconds, before each time that the call may be sent again; by chance, for not all at once."""
    return (random.uniform(0.05, 0.2) for _ in range(retries if call.again else 0))


def _settings(base_url: str, token: str | None, timeout_s: float) -> dict[str, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return {"base_url": base_url, "headers": headers, "timeout": timeout_s, "trust_env": False}


class Client(ConsumersClient):
    """Asks a ranker, one call after another; a context manager that keeps its connections.

    ``retries`` is how often a call is sent again when the connection broke: ``rank``, ``rank_many``, ``events`` and those of
    ``ConsumersClient``, which the ranker answers alike however often they come (the same ``request`` of a ``day``, the same
    event ``id``; ``change_items`` and ``actions`` with an ``id`` alone), and what only reads. Name the ``day`` in requests
    that may be sent again: without it, one that is repeated after midnight is another page. Time-outs, refusals,
    ``activate`` and ``rollback`` are not repeated. Between two tries pass 50 to 200 ms. ``transport`` is httpx's, for tests.
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
        return self._ask(_rank(request, explain))

    def rank_many(self, requests: Sequence[Request], *, explain: bool = False) -> list[Decision]:
        """Decide pages in this order; none is decided where one is refused."""
        return self._ask(_rank_many(requests, explain))

    def events(self, events: Sequence[Event]) -> list[Receipt]:
        """Tell what happened to pages; a receipt for each event, in order."""
        return self._ask(_events(events))

    def policies(self) -> Policies:
        """Which releases of policies there are, and what each is used for."""
        return self._ask(_POLICIES)

    def activate(self, name: str, *, mode: Mode = "active", percent: float | None = None) -> Policies:
        """Put a release to use; ``percent`` of the users with mode ``split``."""
        return self._ask(_activate(name, mode, percent))

    def rollback(self) -> Policies:
        """Make the release that was active before the active one again."""
        return self._ask(_ROLLBACK)

    def health(self) -> str:
        """``ready``, or why the ranker may not be asked."""
        return self._ask(_READY)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, call: Call[T]) -> T:
        waits = _waits(call, self._retries)
        while True:
            try:
                return call.read(self._http.request(**call.arguments()))
            except _LOST:
                wait_s = next(waits, None)
                if wait_s is None:
                    raise
            time.sleep(wait_s)


class AsyncClient(AsyncConsumersClient):
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
        """See ``Client.rank``; so are the others."""
        return await self._ask(_rank(request, explain))

    async def rank_many(self, requests: Sequence[Request], *, explain: bool = False) -> list[Decision]:
        """See ``Client``."""
        return await self._ask(_rank_many(requests, explain))

    async def events(self, events: Sequence[Event]) -> list[Receipt]:
        """See ``Client``."""
        return await self._ask(_events(events))

    async def policies(self) -> Policies:
        """See ``Client``."""
        return await self._ask(_POLICIES)

    async def activate(self, name: str, *, mode: Mode = "active", percent: float | None = None) -> Policies:
        """See ``Client``."""
        return await self._ask(_activate(name, mode, percent))

    async def rollback(self) -> Policies:
        """See ``Client``."""
        return await self._ask(_ROLLBACK)

    async def health(self) -> str:
        """See ``Client``."""
        return await self._ask(_READY)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _ask(self, call: Call[T]) -> T:
        waits = _waits(call, self._retries)
        while True:
            try:
                return call.read(await self._http.request(**call.arguments()))
            except _LOST:
                wait_s = next(waits, None)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
