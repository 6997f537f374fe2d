"""``ActionJournal``: appends what was proposed and what came of it to the log that ``tribid fit actions`` learns from."""

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tribid.files import replacing
from tribid.models.actions.log import FILES, Happened, Header, Listed, line_of, sorted_lines
from tribid.ranker.exclusive import exclusive

MIN_SALT, MAX_SALT = 16, 64
MAX_FILE_BYTES: Final = 64 << 20
"""A file that has grown to this size is closed and another begun."""
_WAIT_S: Final = 30.0
"""How long ``forget`` waits for what is under way."""
_log = logging.getLogger("tribid.ranker.actions")


class ActionJournal:
    """Writes to files ``actions-*.jsonl`` of one folder, which is locked until ``close``: one journal may have it open at

    a time (``ValueError``), so that ``forget`` replaces no file that another writes to. Reading needs no lock.

    Every record is handed to the operating system when ``append`` returns, so a killed process loses nothing; ``keep``
    waits for the disk. After a failed write a new file is begun, so that a record that was cut off spoils no other.
    Users are written as keyed hashes; ``salt`` is written nowhere. ``lost`` counts records that could not be written.
    Use it from one thread; ``forget`` may be called from another one meanwhile, and must be while anything is ``under_way``.
    """

    def __init__(self, folder: str | Path, features: tuple[str, ...], salt: bytes) -> None:
        if not isinstance(salt, bytes) or not MIN_SALT <= len(salt) <= MAX_SALT:
            raise ValueError(f"salt has {len(salt)} bytes; allowed are {MIN_SALT} to {MAX_SALT}")
        self.folder, self.lost = Path(folder), 0
        self._salt, self._header = salt, line_of(Header(features))
        self._file: int | None = None
        self._size = self._begun = 0
        self._path = self.folder
        self._write, self._rewriting = threading.Lock(), threading.Lock()
        self._under_way: set[threading.Event] = set()  # each is set at its end
        self._closed = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._folder_lock = exclusive(self.folder / "lock", self.folder, "give each its own")
            try:
                for left in self.folder.glob(f".{FILES}"):  # of a process that was killed while it forgot a user
                    left.unlink()
            except BaseException:
                self._folder_lock.close()
                raise
        except OSError as error:
            raise ValueError(f"the log of actions cannot be kept in {self.folder}: {error.strerror}") from None

    def hashed(self, user: str) -> str:
        """What stands for a user in the log."""
        return hashlib.blake2b(user.encode(), key=self._salt, digest_size=16, person=b"tribid-actions").hexdigest()

    def append(self, records: Iterable[Listed | Happened]) -> None:
        """Write these records; ``OSError`` where that fails."""
        lines = [line_of(record) for record in records]
        with self._write:
            self._append(lines)

    async def keep(self, records: Iterable[Listed | Happened]) -> None:
        """Write these records and wait until they are on the disk; ``OSError`` where they cannot be."""
        lines = [line_of(record) for record in records]
        with self._write:
            file = os.dup(self._append(lines))  # another file may be begun meanwhile
        try:
            await asyncio.to_thread(os.fsync, file)
        finally:
            os.close(file)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around the reading of what is known of users until the records that hold it are written: a ``forget`` that begins

        meanwhile waits for the end, so that it reaches those records, too.
        """
        ended = threading.Event()
        with self._write:
            self._under_way.add(ended)
        try:
            yield
        finally:
            with self._write:
                self._under_way.remove(ended)
            ended.set()

    def forget(self, user: str) -> int:
        """Take a user's records of before this call, or ``under_way`` at it, out of the folder's files; how many there were.

        Lines that cannot be read, and so may be theirs, go with them, and a warning says how many. ``OSError`` where a
        file cannot be written anew, which stays as it was, or where what is under way does not end: ask again to go on.
        """
        gone, hashed = 0, self.hashed(user)
        with self._write:
            under_way, until_s = tuple(self._under_way), time.monotonic() + _WAIT_S
        if not all(ended.wait(max(0.0, until_s - time.monotonic())) for ended in under_way):
            raise OSError(f"records were still under way after {_WAIT_S:g} s")
        with self._rewriting:
            with self._write:
                if self._closed:
                    raise OSError("the log of actions is closed")
                self._end()
                files = sorted(self.folder.glob(FILES))
            for path in files:
                found = Counter(kind for _, kind in sorted_lines(path, hashed))
                if found["theirs"] or found["unreadable"]:
                    with replacing(path) as temporary, open(temporary, "wb") as file:
                        file.writelines(line for line, kind in sorted_lines(path, hashed) if kind == "kept")
                if found["unreadable"]:
                    _log.warning("%d lines of %s could not be read and are gone", found["unreadable"], path.name)
                gone += found["theirs"]
        return gone

    def close(self) -> None:
        """Put everything on the disk and let go of the folder."""
        with self._rewriting, self._write:
            if self._closed:
                return
            try:
                if self._file is not None:
                    os.fsync(self._file)
            finally:
                self._closed = True
                self._end()
                self._folder_lock.close()

    def _append(self, lines: list[bytes]) -> int:
        """Write lines to the file, a new one where it is full; the file."""
        try:
            if self._closed:
                raise OSError("the log of actions is closed")
            if self._file is None or self._size > MAX_FILE_BYTES:
                self._begin()
            assert self._file is not None
            content = b"".join(lines)
            self._size += len(content)
            if os.write(self._file, content) != len(content):
                raise OSError("the disk is full")
        except OSError:
            self.lost += len(lines)
            self._end()
            raise
        return self._file

    def _begin(self) -> None:
        self._end()
        self._begun += 1
        name = f"actions-{time.time_ns() // 1_000_000:015d}-{os.getpid()}-{self._begun}.jsonl"
        self._path = self.folder / name
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size = len(self._header)
        if os.write(self._file, self._header) != len(self._header):
            raise OSError("the disk is full")

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
