"""``GroupCommit``: one thread that writes down all that waits in one transaction, then wakes all who waited."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from tribid.ranker.ledger.book import Entry
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.snapshot import Snapshot

Write = Callable[[list[Entry], Snapshot | None], None]


class _Work(NamedTuple):
    """What one caller wants written, and what wakes it."""

    entries: list[Entry]
    snapshot: Snapshot | None
    future: asyncio.Future[None]


class GroupCommit:
    """Gives entries to `write`, in order, from a thread of its own; use it from one event loop.

    `write` returns when the entries are durable and writes all or none of them. Once it raises, everyone who waits gets
    ``LedgerUnavailableError``, and so does everyone after: what it did not write is never acknowledged.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        # A queue and no lock of ours: whoever holds one when the interpreter switches threads lets the event loop wait.
        self._wanted: SimpleQueue[_Work | None] = SimpleQueue()  # None: end
        self._unwritten = 0  # callers whose entries are not known to be durable; touched by the event loop alone
        self._error: BaseException | None = None
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
        self._wanted.put(_Work(entries, snapshot, future))
        await future

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        self._wanted.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            found = self._all_wanted(self._wanted.get())
            work = [one for one in found if one is not None]
            is_last = len(work) < len(found)
            error: BaseException | None = None
            try:
                self._write_all(work)
            except BaseException as raised:
                error = raised
                is_last = True
            try:
                self._loop.call_soon_threadsafe(self._wake, [one.future for one in work], error)
            except RuntimeError:
                return  # the event loop is gone, and with it everyone who waited

    def _all_wanted(self, *found: _Work | None) -> list[_Work | None]:
        """These and everything that waits in the queue; only one thread at a time takes from it."""
        taken = list(found)
        while not self._wanted.empty():
            taken.append(self._wanted.get())
        return taken

    def _write_all(self, work: list[_Work]) -> None:
        entries = [entry for one in work for entry in one.entries]
        snapshots = [one.snapshot for one in work if one.snapshot is not None]
        if entries or snapshots:
            self._write(entries, snapshots[-1] if snapshots else None)

    def _wake(self, waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
        self._unwritten -= len(waiting)
        if error is not None:
            self._error = error
            waiting = waiting + [one.future for one in self._all_wanted() if one is not None]
        for future in waiting:
            if future.done():
                continue  # whoever waited was cancelled; what it asked for is written all the same
            if error is None:
                future.set_result(None)
            else:
                unavailable = LedgerUnavailableError(f"the ledger stopped, for it could not be written: {error}")
                unavailable.__cause__ = error
                future.set_exception(unavailable)
