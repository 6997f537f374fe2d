"""``JournalWriter``: a thread that writes down all that waits in one frame, makes it durable, then wakes all who waited."""

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

import msgspec

from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.frames import frame


class _Work(NamedTuple):
    """What is to be written (None: begin the next journal first), and what tells that it was."""

    content: msgspec.Raw | None
    done: asyncio.Future[None]


class JournalWriter:
    """Adds to journals, in order, from a thread of its own; use it from one event loop.

    ``begin`` opens the next journal. Once a write fails, everyone who waits gets ``ProfilesUnavailableError``, and so does
    everyone after: what was not written is never answered for.
    """

    def __init__(self, begin: Callable[[], int]) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._wanted: SimpleQueue[_Work | None] = SimpleQueue()  # None: end
        self._last: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._file = begin()
        self.size = 0
        self._thread = threading.Thread(target=self._run, name="tribid-profiles", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """``ProfilesUnavailableError`` where writing has failed."""
        if self._error is not None:
            raise ProfilesUnavailableError(f"the profiles cannot be written: {self._error}") from self._error

    def write(self, content: bytes) -> asyncio.Future[None]:
        """Have a list of entries (as msgpack) written; the future ends when it and all before it are durable."""
        return self._put(msgspec.Raw(content))

    def next_journal(self) -> asyncio.Future[None]:
        """Have all that follows written to the next journal."""
        return self._put(None)

    async def written(self) -> None:
        """Return when all that was given so far is durable."""
        self.check()
        if self._last is not None and not self._last.done():
            await asyncio.shield(self._last)
        self.check()

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        self._wanted.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def _put(self, content: msgspec.Raw | None) -> asyncio.Future[None]:
        self.check()
        self._last = self._loop.create_future()
        self._wanted.put(_Work(content, self._last))
        return self._last

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
                self._loop.call_soon_threadsafe(self._wake, [one.done for one in work], error)
            except RuntimeError:
                return  # the event loop is gone, and with it everyone who waited

    def _all_wanted(self, *found: _Work | None) -> list[_Work | None]:
        taken = list(found)
        while not self._wanted.empty():
            taken.append(self._wanted.get())
        return taken

    def _write_all(self, work: list[_Work]) -> None:
        batch: list[msgspec.Raw] = []
        for one in work:
            if one.content is not None:
                batch.append(one.content)
                continue
            self._add(batch)
            batch = []
            full, self._file = self._file, -1
            os.close(full)
            self._file = self._begin()
            self.size = 0
        self._add(batch)

    def _add(self, batch: list[msgspec.Raw]) -> None:
        if not batch:
            return
        content = memoryview(frame(msgspec.msgpack.encode(batch)))
        self.size += len(content)
        while content:
            content = content[os.write(self._file, content) :]
        os.fsync(self._file)

    def _wake(self, waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
        if error is not None:
            self._error = error
            waiting = waiting + [one.done for one in self._all_wanted() if one is not None]
        for done in waiting:
            if done.done():
                continue  # whoever waited was cancelled; what it asked for is written all the same
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(ProfilesUnavailableError(f"the profiles cannot be written: {error}"))
                done.exception()  # looked at: not everyone waits for what they had written
