"""``GroupCommit``: one thread that writes down all that waits in one transaction, then wakes all who waited."""

import asyncio
import threading
from collections.abc import Callable

from tribid.ranker.ledger.book import Entry
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.snapshot import Snapshot

Write = Callable[[list[Entry], Snapshot | None], None]


class GroupCommit:
    """Gives entries to `write`, in order, from a thread of its own; use it from one event loop.

    `write` returns when the entries are durable and writes all or none of them. Once it raises, everyone who waits gets
    ``LedgerUnavailableError``, and so does everyone after: what it did not write is never acknowledged.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Condition()
        self._entries: list[Entry] = []
        self._snapshot: Snapshot | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._unwritten = 0  # transactions begun or to be begun; touched by the event loop alone
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="tribid-ledger", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """``LedgerUnavailableError`` where writing has failed."""
        if self._error is not None:
            raise LedgerUnavailableError(
                f"the ledger stopped, for it could not be written: {self._error}"
            ) from self._error

    async def written(self, entries: list[Entry], snapshot: Snapshot | None = None) -> None:
        """Return when these entries, and all given before, are durable."""
        self.check()
        if not entries and snapshot is None and not self._unwritten:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._unwritten += 1
        with self._wanted:
            self._entries += entries
            self._snapshot = snapshot or self._snapshot
            self._waiting.append(future)
            self._wanted.notify()
        await future

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        with self._wanted:
            self._closing = True
            self._wanted.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            with self._wanted:
                while not self._waiting and not self._closing:
                    self._wanted.wait()
                if not self._waiting:
                    return
                entries, snapshot, waiting = self._entries, self._snapshot, self._waiting
                self._entries, self._snapshot, self._waiting = [], None, []
            error: BaseException | None = None
            try:
                if entries or snapshot is not None:
                    self._write(entries, snapshot)
            except BaseException as raised:
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._wake, waiting, error)
            except RuntimeError:
                return  # the event loop is gone, and with it everyone who waited
            if error is not None:
                return

    def _wake(self, waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
        self._unwritten -= len(waiting)
        if error is not None:
            self._error = error
            with self._wanted:
                waiting = waiting + self._waiting
                self._entries, self._waiting = [], []
        for future in waiting:
            if future.done():
                continue  # whoever waited was cancelled; what it asked for is written all the same
            if error is None:
                future.set_result(None)
            else:
                unavailable = LedgerUnavailableError(f"the ledger stopped, for it could not be written: {error}")
                unavailable.__cause__ = error
                future.set_exception(unavailable)
