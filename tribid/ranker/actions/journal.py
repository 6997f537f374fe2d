"""``ActionJournal``: appends what was proposed and what came of it to the log that ``tribid fit actions`` learns from."""

import asyncio
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tribid.files import replacing
from tribid.models.actions.log import FILES, Happened, Header, Listed, line_of, log_records

MIN_SALT, MAX_SALT = 16, 64
MAX_FILE_BYTES: Final = 64 << 20
"""A file that has grown to this size is closed and another begun."""


class ActionJournal:
    """Writes to files ``actions-*.jsonl`` of one folder; several processes may write to one folder, each to its own files.

    Every record is handed to the operating system when ``append`` returns, so a killed process loses nothing; ``commit``
    waits for the disk. After a failed write a new file is begun, so that a record that was cut off spoils no other.
    Users are written as keyed hashes; ``salt`` is written nowhere. ``lost`` counts records that could not be written.
    Use it from one thread.
    """

    def __init__(self, folder: str | Path, features: tuple[str, ...], salt: bytes) -> None:
        if not isinstance(salt, bytes) or not MIN_SALT <= len(salt) <= MAX_SALT:
            raise ValueError(f"salt has {len(salt)} bytes; allowed are {MIN_SALT} to {MAX_SALT}")
        self.folder, self.lost = Path(folder), 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._salt, self._header = salt, line_of(Header(features))
        self._file: int | None = None
        self._size = self._begun = 0
        self._path = self.folder

    def hashed(self, user: str) -> str:
        """What stands for a user in the log."""
        return hashlib.blake2b(user.encode(), key=self._salt, digest_size=16, person=b"tribid-actions").hexdigest()

    def append(self, records: Iterable[Listed | Happened]) -> None:
        """Write these records; ``OSError`` where that fails."""
        lines = [line_of(record) for record in records]
        try:
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

    async def commit(self) -> None:
        """Wait until what was appended is on the disk; ``OSError`` where it cannot be."""
        if self._file is not None:
            copy = os.dup(self._file)  # another file may be begun meanwhile
            try:
                await asyncio.to_thread(os.fsync, copy)
            finally:
                os.close(copy)

    def forget(self, user: str) -> int:
        """Take all records of a user out of this folder's files; how many there were. Other writers must be closed."""
        self._end()
        gone, hashed = 0, self.hashed(user)
        for path in sorted(self.folder.glob(FILES)):
            records = list(log_records(path))
            kept = [record for record in records if isinstance(record, Header) or record.user != hashed]
            if len(kept) < len(records):
                with replacing(path) as temporary:
                    temporary.write_bytes(b"".join(line_of(record) for record in kept))
                gone += len(records) - len(kept)
        return gone

    def close(self) -> None:
        """Put everything on the disk and let go of the file."""
        if self._file is not None:
            os.fsync(self._file)
        self._end()

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
