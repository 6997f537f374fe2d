"""``Clicker``: the users of a load, some of whom see and click what the answered pages show them."""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.samples import Clicks
from tribid.ranker.messages import MAX_EVENTS, Event, Receipt

_EVERY_S = 0.1
"""Events are collected for so long and posted together."""


class Page(msgspec.Struct):
    """An answered page: its id for events, and its slots."""

    id: str = ""
    slots: tuple[msgspec.Raw, ...] = ()


class _Receipts(msgspec.Struct):
    receipts: tuple[Receipt, ...]


class _Posted(NamedTuple):
    receipts: tuple[Receipt, ...]
    seconds: float


class Clicker:
    """Clicks a share of the pages: an impression and a click of one of its slots, posted in batches."""

    def __init__(self, load: Load, session: Any) -> None:
        self._load, self._session = load, session
        self._rng = np.random.default_rng((load.seed, 1))
        self._name = secrets.token_hex(6)
        self._made = 0
        self._waiting: list[Event] = []
        self._clicks = Clicks()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def see(self, pages: Iterable[Page]) -> None:
        """Pages that were just answered."""
        if not self._load.clicks:
            return
        for page in pages:
            if page.slots and self._rng.random() < self._load.clicks:
                slot = int(self._rng.integers(len(page.slots)))
                for kind in ("impression", "click"):
                    self._made += 1
                    self._waiting.append(
                        Event(id=f"load-{self._name}-{self._made}", kind=kind, decision=page.id, slot=slot)
                    )

    def start(self) -> None:
        """Post from now on, until ``finish``."""
        self._task = asyncio.create_task(self._run())

    async def finish(self) -> Clicks:
        """Post what is left, and say what became of everything."""
        self._ended.set()
        if self._task is not None:
            await self._task
        return self._clicks

    async def _run(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):  # it is time to post then
                await asyncio.wait_for(self._ended.wait(), _EVERY_S)
            await self._flush()

    async def _flush(self) -> None:
        while self._waiting:
            events, self._waiting = self._waiting[:MAX_EVENTS], self._waiting[MAX_EVENTS:]
            posted = await self._post(events)
            clicks = self._clicks
            clicks.posts += 1
            if posted is None:
                clicks.failed += 1
                continue
            clicks.took.append(posted.seconds)
            clicks.receipts = dict(Counter(clicks.receipts) + Counter(one.status for one in posted.receipts))
            clicks.charged_micros += sum(one.charged_micros for one in posted.receipts)

    async def _post(self, events: list[Event]) -> _Posted | None:
        import aiohttp

        body, began = msgspec.json.encode({"events": events}), time.perf_counter()
        try:
            async with self._session.post(self._load.events_url, data=body) as response:
                content = await response.read()
                if response.status != 200:
                    return None
            receipts = msgspec.json.decode(content, type=_Receipts).receipts
        except (TimeoutError, aiohttp.ClientError, OSError, msgspec.DecodeError):
            return None
        return _Posted(receipts, time.perf_counter() - began)
