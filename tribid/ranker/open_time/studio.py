"""``Studio``: draws cards in a few threads, each card once, and keeps the pictures that were asked for last."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tribid.ranker.open_time.card import Card


class BusyError(Exception):
    """So many cards wait to be drawn that another would come too late."""


class Studio:
    """Gives the pictures of cards. ``draw`` is thread-safe; ``threads`` run it; at most ``waiting`` cards wait or are drawn.

    Equal cards are drawn once, however many ask. Up to ``cache_bytes`` of pictures are kept: a card names all that is
    drawn, so a kept picture is never out of date. What was asked for is drawn to its end even when nobody waits any more:
    whoever asks next has it at once.
    """

    def __init__(
        self, draw: Callable[[Card], bytes], *, threads: int = 2, waiting: int = 64, cache_bytes: int = 64 * 2**20
    ) -> None:
        for name, value in (("threads", threads), ("waiting", waiting), ("cache_bytes", cache_bytes)):
            if value < 1:
                raise ValueError(f"{name} is {value}; allowed is a number from 1")
        self._draw, self._waiting, self._most = draw, waiting, cache_bytes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tribid-slot")
        self._lock = threading.Lock()
        self._kept: OrderedDict[Card, bytes] = OrderedDict()
        self._bytes = 0
        self._drawing: dict[Card, Future[bytes]] = {}

    def kept(self, card: Card) -> bytes | None:
        """The card's picture, if it is kept."""
        with self._lock:
            found = self._kept.get(card)
            if found is not None:
                self._kept.move_to_end(card)
            return found

    async def picture(self, card: Card) -> bytes:
        """The card's picture, drawn if need be; ``BusyError`` where too many wait, and whatever drawing raises."""
        found = self.kept(card)
        if found is not None:
            return found
        # Shielded: a caller that waits no longer must not take the drawing away from others who do.
        return await asyncio.shield(asyncio.wrap_future(self._drawn(card)))

    def keep(self, card: Card) -> None:
        """Draw a card ahead of its being asked for, in the caller's thread."""
        self._remember(card, self._draw(card))

    def close(self) -> None:
        """End the threads; cards that still wait are not drawn."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _drawn(self, card: Card) -> "Future[bytes]":
        with self._lock:
            drawing = self._drawing.get(card)
            if drawing is not None:
                return drawing
            if len(self._drawing) >= self._waiting:
                raise BusyError(f"{self._waiting} cards wait to be drawn")
            drawing = self._drawing[card] = self._pool.submit(self._draw, card)
        drawing.add_done_callback(lambda done: self._finished(card, done))
        return drawing

    def _finished(self, card: Card, done: "Future[bytes]") -> None:
        drawn = None if done.cancelled() or done.exception() is not None else done.result()
        if drawn is not None:
            self._remember(card, drawn)
        with self._lock:
            del self._drawing[card]

    def _remember(self, card: Card, content: bytes) -> None:
        with self._lock:
            if card in self._kept:
                return
            self._kept[card] = content
            self._bytes += len(content)
            while self._bytes > self._most:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old)
