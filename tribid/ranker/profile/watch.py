"""``Watch``: tells a profile store of changes of the stock and of the passing of time, while a service runs."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.interface import ProfileStore
from tribid.ranker.profile.messages import StockMove

MOST = 100_000
"""Changes that wait for a store that cannot be reached; of more, the oldest are dropped."""

_AT_ONCE = 100
_log = logging.getLogger("tribid.ranker.profile")


class Offered(Protocol):
    """An item's price (micros) and number."""

    @property
    def price_micros(self) -> int: ...
    @property
    def count(self) -> int: ...


class Change(Protocol):
    """An item before and after; ``version`` tells the changes of one millisecond apart."""

    @property
    def item(self) -> int: ...
    @property
    def before(self) -> Offered: ...
    @property
    def after(self) -> Offered: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def version(self) -> int: ...


class Stock(Protocol):
    """What ``tribid.ranker.stock.LiveStock`` is to a watch: it tells of changes, in any thread."""

    def subscribe(self, listener: Callable[..., None]) -> Callable[[], None]:
        """Tell a listener of every change from now on; the answer ends that."""
        ...


class Watch:
    """Tends a store every ``every_s`` seconds, and at once when the price of an item changes, or whether there is any.

    The first change of an item is told whatever it is, for what the store knows may differ from what this process began
    with; after it, a sale that leaves some is not. What the store cannot take, because Redis cannot be reached, waits and
    is told again.
    """

    def __init__(self, store: ProfileStore, stock: Stock | None = None, *, every_s: float = 1.0) -> None:
        if not 0.01 <= every_s <= 3600:
            raise ValueError(f"every_s is {every_s:g}; allowed is 0.01 to 3600")
        self._store, self._stock, self._every_s = store, stock, every_s
        self._untold: deque[StockMove] = deque(maxlen=MOST)
        self._met: set[int] = set()  # items of which the store is told what this process holds
        self._adding = threading.Lock()
        self._stirred, self._ends = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        if self._task is not None:
            raise ValueError("the watch has begun already")
        loop = asyncio.get_running_loop()
        self._met.clear()  # what changed while nobody listened was not told

        def changed(change: Change) -> None:
            move = move_of(change)
            if move is not None and (move.matters or move.item not in self._met):
                with self._adding:
                    self._met.add(move.item)
                    self._untold.append(move)
                loop.call_soon_threadsafe(self._stirred.set)

        if self._stock is not None:
            self._leave = self._stock.subscribe(changed)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Hear of no more changes, tell the store of those that wait, and end."""
        if self._task is None:
            return
        if self._leave is not None:
            self._leave()
        # Asked to end rather than cancelled: a cancellation is lost where it meets the end of what is waited for.
        self._ends.set()
        self._stirred.set()
        await self._task
        self._task = None
        await self._tell()

    async def _run(self) -> None:
        while not self._ends.is_set():
            await self._wait_for(self._stirred)
            self._stirred.clear()
            if not await self._tell():
                await self._wait_for(self._ends)

    async def _wait_for(self, event: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await event.wait()

    async def _tell(self) -> bool:
        """Tell the store what it has not been told; whether it could be."""
        try:
            while self._untold:
                await self._tell_some([self._untold.popleft() for _ in range(min(_AT_ONCE, len(self._untold)))])
            await self._store.tend()
        except ProfilesUnavailableError as error:
            _log.warning("profiles are not tended: %s", error)
            return False
        except Exception as error:  # one record that cannot be read must not end the watch for all
            _log.error("%s while profiles were tended", type(error).__name__)
            return False
        return True

    async def _tell_some(self, some: list[StockMove]) -> None:
        """Tell the store of changes that were taken from those that wait; they wait again if it cannot be told."""
        try:
            await self._store.moved(some)
        except BaseException:
            with self._adding:
                room = MOST - len(self._untold)
                self._untold.extendleft(reversed(some[-room:] if room else []))
            raise


def move_of(change: Change) -> StockMove | None:
    """The change as a store is told it; None where neither the price nor the number changed.

    Whether it matters is for the store to say, which knows what the item was before this process began.
    """
    before, after = change.before, change.after
    if (before.price_micros, before.count) == (after.price_micros, after.count):
        return None
    return StockMove(
        item=change.item, before_micros=before.price_micros, after_micros=after.price_micros, before_count=before.count,
        after_count=after.count, time_ms=change.time_ms, version=change.version,
    )  # fmt: skip
