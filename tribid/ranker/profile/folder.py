"""``ProfileFolder``: the files of a store in a folder: a lock, a salt, a snapshot, and journals that go on from it.

    lock                  locked by the process that has the store open
    salt                  32 random bytes: names users in everything that is no profile, and messages
    snapshot-NUMBER.bin   all records as they were when the journal of that number began, or a little later
    journal-NUMBER.log    what happened since, one frame for each write

A snapshot is written while the store goes on, so it may hold some of what its journal says; applying that again changes
nothing. Once it is whole, every file of a lower number goes. Erased data therefore go with the next snapshot.
"""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tribid.files import replacing, write_atomically
from tribid.ranker.exclusive import exclusive
from tribid.ranker.profile.book import BookEntry
from tribid.ranker.profile.counting import Erasure
from tribid.ranker.profile.errors import ProfileDamageError
from tribid.ranker.profile.frames import frame, frames
from tribid.ranker.profile.messages import StockMove
from tribid.ranker.profile.record import Record

FORMAT = 2  # 1: erasures without the ids of events
_NAMED = re.compile(r"(snapshot|journal)-([0-9]{8})\.(bin|log)")
_log = logging.getLogger("tribid.ranker.profile")


class Begin(Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame of every file."""

    kind: str
    number: int
    format: int = FORMAT


class Part(Struct, forbid_unknown_fields=True):
    """A part of a snapshot; the ``last`` one says that it is whole."""

    records: list[Record] = []
    erased: dict[str, Erasure] = {}
    moves: list[StockMove] = []
    unspread: list[StockMove] = []
    last: bool = False


_ENCODE = msgspec.msgpack.Encoder().encode
_BEGIN = msgspec.msgpack.Decoder(Begin).decode
_PART = msgspec.msgpack.Decoder(Part).decode
_WRITTEN = msgspec.msgpack.Decoder(list[list[BookEntry]]).decode


class ProfileFolder:
    """A store's folder, locked against every other process until ``close``."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.path = Path(os.path.realpath(path))
        if not create and not (self.path / "salt").is_file():
            raise ValueError(f"{self.path} holds no profiles; allowed is the folder of a store")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = exclusive(self.path / "lock", self.path, "one may have it open at a time")
        try:
            self._clean()
            self.salt = self._salt()
            snapshots, journals = self._numbers("snapshot"), self._numbers("journal")
            self.number = max([*snapshots[-1:], *journals[-1:]], default=0)
            self._snapshot = snapshots[-1] if snapshots else None
        except BaseException:
            self._lock.close()
            raise

    def parts(self) -> Iterator[Part]:
        """The newest snapshot; nothing where there is none yet."""
        if self._snapshot is None:
            return
        path = self._file("snapshot", self._snapshot)
        found = self._frames("snapshot", self._snapshot)
        is_whole = False
        for content in found:
            part = _decoded(_PART, content, path)
            is_whole = part.last
            yield part
        if not is_whole:
            raise ProfileDamageError(f"{path} is damaged: it ends too early; put the file back from a copy")

    def entries(self) -> Iterator[BookEntry]:
        """What the journals say since the snapshot, in order; a torn end of the last one is cut off."""
        first = self._snapshot or 1
        wanted = [number for number in self._numbers("journal") if number >= first]
        if wanted != list(range(first, first + len(wanted))) or (self._snapshot is not None and not wanted):
            raise ProfileDamageError(f"{self.path} is damaged: of its journals from {first} on some are missing")
        for number in wanted:
            path = self._file("journal", number)
            for content in self._frames("journal", number, may_be_torn=number == wanted[-1]):
                for written in _decoded(_WRITTEN, content, path):
                    yield from written

    def next_journal(self, again: bool = False) -> int:
        """Begin the next journal, or ``again`` the newest; an open file to add frames to, unbuffered."""
        number = self.number + (not again)
        path = self._file("journal", number)
        # The folder is locked, so nobody else has begun it; but a try that failed may have left something in its place.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            content = memoryview(frame(_ENCODE(Begin("journal", number))))
            while content:
                content = content[os.write(handle, content) :]
            os.fsync(handle)
            _flush_folder(self.path)
        except BaseException:
            os.close(handle)
            raise
        self.number = number
        return handle

    def write_snapshot(self, number: int, parts: Iterable[bytes]) -> int:
        """Write a snapshot, each part a frame, then let all older files go; its size in bytes."""
        path = self._file("snapshot", number)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            os.chmod(temporary, 0o600)
            file.write(frame(_ENCODE(Begin("snapshot", number))))
            for part in parts:
                file.write(frame(part))
            file.write(frame(_ENCODE(Part(last=True))))
            file.flush()
            size = file.tell()
        os.chmod(path, 0o600)
        self._snapshot = number
        self._clean()
        return size

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    def _salt(self) -> bytes:
        path = self.path / "salt"
        if not path.exists():
            if self._numbers("snapshot") or self._numbers("journal"):
                raise ProfileDamageError(f"{path} is gone, but there are profiles beside it; put it back from a copy")
            write_atomically(path, secrets.token_bytes(32))
            path.chmod(0o600)
        salt = path.read_bytes()
        if len(salt) != 32:
            raise ProfileDamageError(f"{path} has {len(salt)} bytes; allowed is 32")
        return salt

    def _clean(self) -> None:
        """Remove what the newest snapshot replaces, and what a killed writer left half written."""
        newest = max(self._numbers("snapshot"), default=0)
        for path in self.path.iterdir():
            found = _NAMED.fullmatch(path.name)
            if path.name.startswith((".snapshot-", ".salt.")) or (found and int(found[2]) < newest):
                path.unlink()
        _flush_folder(self.path)

    def _numbers(self, kind: str) -> list[int]:
        found = (_NAMED.fullmatch(path.name) for path in self.path.iterdir())
        return sorted(int(one[2]) for one in found if one is not None and one[1] == kind)

    def _file(self, kind: str, number: int) -> Path:
        return self.path / f"{kind}-{number:08d}.{'bin' if kind == 'snapshot' else 'log'}"

    def _frames(self, kind: str, number: int, *, may_be_torn: bool = False) -> Iterator[memoryview]:
        """The contents of a file's frames after the first, which must say that it is this file."""
        path = self._file(kind, number)
        data, end = path.read_bytes(), 0
        expected = frame(_ENCODE(Begin(kind, number)))
        for one in frames(data, path):
            if end == 0:
                told = _decoded(_BEGIN, one.content, path)
                if told != Begin(kind, number):
                    raise ProfileDamageError(
                        f"{path} begins as {told.kind} {told.number} of format {told.format}; allowed is {kind} {number} "
                        f"of format {FORMAT}"
                    )
            else:
                yield one.content
            end = one.end
        if end == len(data) and end:
            return
        if not may_be_torn or (end == 0 and len(data) > len(expected)):
            raise ProfileDamageError(f"{path} is damaged at byte {end}; put the file back from a copy")
        _log.warning("%s: the last %d bytes were never answered for and are cut off", path.name, len(data) - end)
        with open(path, "r+b") as file:
            file.truncate(end)
            if end == 0:
                file.write(expected)
            file.flush()
            os.fsync(file.fileno())


def _decoded(decode: Callable[[memoryview], Any], content: memoryview, path: Path) -> Any:
    try:
        return decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProfileDamageError(f"{path} is whole but holds what no store writes: {error}") from None


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
