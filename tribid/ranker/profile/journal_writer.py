"""``JournalWriter``: a thread that writes down all that waits in one frame, makes it durable, then wakes all who waited."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

import msgspec

from tribid.ranker.profile.errors import ProfilesUnavailableError
from tribid.ranker.profile.frames import frame

_NOTHING = msgspec.Raw()


class _Work(NamedTuple):
    """What is to be written (None: begin the next journal first), and what tells that it was."""

    content: msgspec.Raw | None
    done: asyncio.Future[None]


class JournalWriter:
    """Adds to journals, in order, from a thread of its own; use it from one event loop.

    ``begin`` opens the next journal; told that it is ``again``, the newest one, which holds nothing yet. Where a write
    fails, everyone who waits gets ``ProfilesUnavailableError``: what was not written is never answered for. But whoever
    asked has changed itself already, so it is kept, and goes before all else into a new journal at the next write or
    ``retry``; what was begun of it is cut off the old one.
    """

    def __init__(self, begin: Callable[[bool], int]) -> None:
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._wanted: SimpleQueue[_Work | None] = SimpleQueue()  # None: end
        self._last: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._unwritten: list[msgspec.Raw] = []
        self._is_torn = False
        self._file = -1
        self._next(again=False)
        self._thread = threading.Thread(target=self._run, name="tribid-profiles", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why nothing can be written; empty where it can."""
        return "" if self._error is None else _told(self._error)

    def check(self) -> None:
        """``ProfilesUnavailableError`` where the last write failed."""
        if self._error is not None:
            raise ProfilesUnavailableError(_told(self._error)) from self._error

    def write(self, content: bytes) -> asyncio.Future[None]:
        """Have a list of entries (as msgpack) written; the future ends when it and all before it are durable."""
        return self._put(msgspec.Raw(content))

    def next_journal(self) -> asyncio.Future[None]:
        """Have all that follows written to the next journal."""
        return self._put(None)

    async def written(self) -> None:
        """Return when all that was given so far is durable."""
        if self._last is not None and not self._last.done():
            await asyncio.shield(self._last)
        self.check()

    async def retry(self) -> None:
        """Write what could not be written; ``ProfilesUnavailableError`` where it still cannot be."""
        await asyncio.shield(self._put(_NOTHING))

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        self._wanted.put(None)
        await asyncio.to_thread(self._thread.join)
        self._close_file()

    def _put(self, content: msgspec.Raw | None) -> asyncio.Future[None]:
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
        left = deque(one.content for one in work)
        try:
            if self._is_torn:
                self._mend()
            while left:
                content = left.popleft()
                if content is None:
                    self._add()
                    self._next(again=False)
                elif content is not _NOTHING:
                    self._unwritten.append(content)
            self._add()
        except BaseException:
            self._is_torn = True
            self._unwritten += [content for content in left if content is not None and content is not _NOTHING]
            raise

    def _mend(self) -> None:
        """Cut a write that failed off its journal, then begin a new one: a file that failed once is not trusted again."""
        if self._file != -1 and not self._is_empty:
            os.ftruncate(self._file, self._durable)
            os.fsync(self._file)
        self._next(again=self._is_empty)
        self._is_torn = False

    def _next(self, *, again: bool) -> None:
        self._close_file()
        self._file = self._begin(again)
        self._is_empty, self._durable = True, os.fstat(self._file).st_size
        self.size = 0

    def _close_file(self) -> None:
        if self._file != -1:
            full, self._file = self._file, -1
            os.close(full)

    def _add(self) -> None:
        """Make all that is not written yet durable, as one frame."""
        if not self._unwritten:
            return
        content = memoryview(frame(msgspec.msgpack.encode(self._unwritten)))
        length = len(content)
        while content:
            content = content[os.write(self._file, content) :]
        os.fsync(self._file)
        self._is_empty = False
        self._durable += length
        self.size += length
        self._unwritten = []

    def _wake(self, waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
        self._error = error
        for done in waiting:
            if done.done():
                continue  # whoever waited was cancelled; what it asked for is written all the same
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(ProfilesUnavailableError(_told(error)))
                done.exception()  # looked at: not everyone waits for what they had written


def _told(error: BaseException) -> str:
    return f"the profiles cannot be written: {getattr(error, 'strerror', None) or type(error).__name__}"
