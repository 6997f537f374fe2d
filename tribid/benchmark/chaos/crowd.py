"""Clients of a server that may vanish at any moment: each asks for pages, clicks, and notes what it was told."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from tribid.benchmark.chaos.witness import Witness
from tribid.ranker.messages import MAX_EVENTS, Decision, Event, Receipt

_PATIENCE_S = 240.0
"""A client waits so long: a first page may wait for kernels to be compiled."""


class Receipts(msgspec.Struct):
    """An answer to events."""

    receipts: tuple[Receipt, ...]


class GoneError(Exception):
    """The server does not answer any more."""


class Crowd:
    """Clients that share a witness; ``users`` of the scenario come, ``numbers`` counts pages and events over all lives."""

    def __init__(self, witness: Witness, users: int, seed: int) -> None:
        self.witness = witness
        self.pages: Iterator[int] = itertools.count()
        self._events: Iterator[int] = itertools.count()
        self._users = users
        self._rng = np.random.default_rng(seed)

    async def client(self, session: Any) -> None:
        """One client: pages, impressions, clicks, conversions and repeats, until the server is gone."""
        try:
            while True:
                decision = await self.page(session)
                if decision is not None and decision.slots:
                    await self.tell(session, self._reactions(decision))
        except GoneError:
            return

    async def page(self, session: Any, body: bytes | None = None) -> Decision | None:
        """Ask for the next page, or again for one; None where the server says that it cannot be answered again (409)."""
        new = body is None
        if body is None:
            body = b'{"request":%d,"user":%d}' % (next(self.pages), self._rng.integers(self._users))
        status, content = await self._post(session, "/v1/rank", body)
        if status == 409 and not new:
            return None
        if status != 200:
            self.witness.object(f"a page was answered {status}: {content[:300]!r}")
            return None
        decision = msgspec.json.decode(content, type=Decision)
        self.witness.see_page(decision, body)
        return decision

    async def tell(self, session: Any, events: Sequence[Event]) -> None:
        """Send events, in posts of at most ``MAX_EVENTS``."""
        for start in range(0, len(events), MAX_EVENTS):
            part = list(events[start : start + MAX_EVENTS])
            self.witness.ask([event for event in part if event.id not in self.witness.known])
            status, content = await self._post(session, "/v1/events", msgspec.json.encode({"events": part}))
            if status != 200:
                self.witness.object(f"events were answered {status}: {content[:300]!r}")
                continue
            self.witness.hear(part, msgspec.json.decode(content, type=Receipts).receipts)

    def click(self, page: str, slot: int) -> Event:
        """A new click."""
        return Event(id=f"event-{next(self._events)}", kind="click", decision=page, slot=slot)

    def _reactions(self, decision: Decision) -> list[Event]:
        """What a user does to a page: sees slots, clicks some, some of them twice; and an old event is sent again."""
        told: list[Event] = []
        for slot in range(len(decision.slots)):
            told.append(Event(id=f"event-{next(self._events)}", kind="impression", decision=decision.id, slot=slot))
            if self._rng.random() < 0.4:
                told.append(self.click(decision.id, slot))
                if self._rng.random() < 0.2:
                    told.append(self.click(decision.id, slot))  # a second click is another event, and free
                if self._rng.random() < 0.2:
                    conversion = Event(
                        id=f"event-{next(self._events)}", kind="conversion", decision=decision.id, slot=slot
                    )
                    told.append(conversion)
        if self.witness.known and self._rng.random() < 0.2:
            told.append(next(reversed(self.witness.known.values())))
        return told

    async def _post(self, session: Any, path: str, body: bytes) -> tuple[int, bytes]:
        import aiohttp

        try:
            async with session.post(path, data=body) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise GoneError from None


def session_of(url: str, clients: int) -> Any:
    """A session of so many connections to a server; needs aiohttp (``ImportError`` names the extra)."""
    try:
        import aiohttp
    except ImportError:
        raise ImportError("chaos needs aiohttp: pip install 'tribid[loadtest]'") from None
    return aiohttp.ClientSession(
        url, connector=aiohttp.TCPConnector(limit=clients), timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
