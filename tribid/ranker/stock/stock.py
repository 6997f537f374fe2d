"""``LiveStock``: the items of a shop as of now, read by many and changed by many, in one process."""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from tribid.ranker.stock.item import StockChange, StockItem

MAX_ITEMS = 1_000_000
Listener = Callable[[StockChange], None]
_log = logging.getLogger("tribid.ranker.stock")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class LiveStock:
    """Items by their number, from any thread or event loop; reading takes no lock.

    A reader sees an item whole, as it was before an update or after it, never half. What an update wrote is what every
    read sees that begins after the update returned. Counts never fall below zero: ``take`` takes all it was asked for or
    nothing. Every change has a version, one higher than the change before it; listeners are told of changes in that
    order, before the update that made them returns.
    """

    def __init__(self, items: Iterable[StockItem], *, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._items = list(items)
        if not 1 <= len(self._items) <= MAX_ITEMS:
            raise ValueError(f"the stock has {len(self._items)} items; allowed are 1 to {MAX_ITEMS}")
        self._now_ms = now_ms
        self._version = 0
        self._write = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._untold: deque[StockChange] = deque()
        self._tell = threading.Lock()
        self._teller: int | None = None
        urls = hashlib.blake2b(digest_size=16)
        for item in self._items:
            urls.update(item.url.encode("ascii") + b"\n")
        self.identity = urls.digest()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def version(self) -> int:
        """How many changes there were."""
        return self._version

    def item(self, number: int) -> StockItem:
        """The item as it stands; ``ValueError`` for a number that there is not."""
        if not 0 <= number < len(self._items):
            raise ValueError(f"item is {number}; allowed is 0 to {len(self._items) - 1}")
        return self._items[number]

    def is_available(self, number: int) -> bool:
        """Whether there is such an item and at least one of it."""
        return 0 <= number < len(self._items) and self._items[number].count > 0

    def update(self, number: int, **changed: Any) -> StockChange | None:
        """Change fields of an item, as in ``update(3, price_micros=9_900_000, count=0)``; None where nothing changes.

        ``ValueError`` names a field that an item has not, or a value that it may not have; then nothing is changed.
        """
        unknown = changed.keys() - set(StockItem.__struct_fields__)
        if unknown:
            raise ValueError(f"{min(unknown)} is no field of an item; choose {', '.join(StockItem.__struct_fields__)}")
        return self._change(number, lambda before: StockItem(**{**structs.asdict(before), **changed}))

    def take(self, number: int, count: int = 1) -> bool:
        """Take so many of an item, all or none; False where fewer are left."""
        if isinstance(count, bool) or count < 1:
            raise ValueError(f"count is {count}; allowed is a whole number from 1")

        def taken(before: StockItem) -> StockItem:
            return before if before.count < count else structs.replace(before, count=before.count - count)

        return self._change(number, taken) is not None

    def put_back(self, number: int, count: int = 1) -> StockItem:
        """Give back so many of an item, as when an order is cancelled; the item then."""
        if isinstance(count, bool) or count < 1:
            raise ValueError(f"count is {count}; allowed is a whole number from 1")
        change = self._change(number, lambda before: structs.replace(before, count=before.count + count))
        assert change is not None
        return change.after

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of every change from now on, in the thread that made it; the answer ends that.

        A listener has to be quick and must not wait for another thread, for updates wait for it. It may update the stock;
        what it raises is logged and harms neither the update nor other listeners.
        """
        with self._write:
            self._listeners = (*self._listeners, listener)

        def leave() -> None:
            with self._write:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return leave

    def _change(self, number: int, changed: Callable[[StockItem], StockItem]) -> StockChange | None:
        self.item(number)  # refuses a number that there is not
        with self._write:
            before = self._items[number]
            after = changed(before)
            if after == before:
                return None
            self._version += 1
            change = StockChange(number, before, after, self._now_ms(), self._version)
            self._items[number] = after
            self._untold.append(change)
        self._tell_all()
        return change

    def _tell_all(self) -> None:
        """Tell what is untold. One thread tells at a time, so that the order holds; a listener's own updates wait for it."""
        if self._teller == threading.get_ident():
            return
        with self._tell:
            self._teller = threading.get_ident()
            try:
                while self._untold:
                    change = self._untold.popleft()
                    for listener in self._listeners:
                        self._tell_one(listener, change)
            finally:
                self._teller = None

    def _tell_one(self, listener: Listener, change: StockChange) -> None:
        try:
            listener(change)
        except Exception as error:
            _log.error("%s in a listener to change %d", type(error).__name__, change.version)
