"""``Choices``: which item each slot of a message showed, so that opening again shows it, and a click leads to it.

Users and messages are kept as salted digests alone; the salt is drawn for each journal and lies in it.
A journal keeps the choices over a restart. Each record has a checksum; records after a damaged one are cut off. Records
are handed to the operating system at once, so a killed process loses none; a machine that loses power may lose the last
moments, after which a slot chooses anew and a click may be told again, under the id it had before.
"""

import errno
import hashlib
import logging
import os
import re
import secrets
import struct
import threading
import zlib
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tribid.files import replacing, write_atomically
from tribid.ranker.exclusive import exclusive
from tribid.ranker.open_time.tokens import Slot

_MAGIC: Final = b"tribid-choices-1"
_SALT: Final = 16
_HEADER: Final = len(_MAGIC) + 16 + _SALT
_BODY: Final = struct.Struct("<BBIQ16s")
_CHECK: Final = struct.Struct("<I")
_RECORD: Final = _BODY.size + _CHECK.size
_USER: Final = slice(14, 22)  # of a record: the first half of its mail's name
_SHOWN, _CLICKED = 1, 2
_SLACK = 16  # records per remembered mail at which the journal is written anew
_PIECE = 10_000  # records looked through at a stretch, so that other threads wait no longer
_log = logging.getLogger("tribid.ranker.open_time")


@dataclass(slots=True)
class Choice:
    """What a slot shows: an ``item`` since ``shown_ms``; ``clicked`` are the items whose click was counted."""

    item: int
    shown_ms: int
    clicked: set[int] = field(default_factory=set)


class Choices:
    """The slots of the last ``most`` mails that were opened. ``journal`` is a file, which ``identity`` (16 bytes, the
    stock's) ties to item numbers: choices among other items are forgotten. Its folder is made where there is none. For use
    by one thread; ``forget`` may be called from another one meanwhile. ``ValueError`` for a journal that cannot be kept, as
    where somebody else has it open: a file beside it is locked.
    """

    def __init__(self, *, most: int = 200_000, journal: str | Path | None = None, identity: bytes = bytes(16)) -> None:
        if most < 1 or len(identity) != 16:
            raise ValueError(f"most is {most}, identity has {len(identity)} bytes; allowed is 1 or more, and 16")
        self._most = most
        self._mails: OrderedDict[bytes, dict[int, Choice]] = OrderedDict()
        self._file: int | None = None
        self._next: int | None = None  # the file that is about to take the journal's place; records go to both
        self._lock, self._rewriting = threading.Lock(), threading.Lock()
        self._path = None if journal is None else Path(journal)
        self._kind, self._salt = _MAGIC + identity, secrets.token_bytes(_SALT)
        self._records, self._limit = 0, _SLACK * most
        with ExitStack() as stack:
            if self._path is not None:
                self._open(self._path, stack)
            self._held = stack.pop_all()

    def _open(self, path: Path, stack: ExitStack) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            target = Path(os.path.realpath(path))
            stack.callback(exclusive(target.with_name(f"{target.name}-lock"), path, "give each its own").close)
            self._restore(path)
            _remove_left(target)
            self._compact(path)
        except OSError as error:
            raise ValueError(f"choices cannot be kept in {path}: {error.strerror}") from None

    def of(self, slot: Slot) -> Choice | None:
        """What a slot shows; None where it was never opened, or so long ago that it was forgotten."""
        return self._mails.get(self._mail(slot), {}).get(slot.slot)

    def elsewhere(self, slot: Slot) -> set[int]:
        """The items that the mail's other slots show."""
        mail = self._mails.get(self._mail(slot), {})
        return {choice.item for number, choice in mail.items() if number != slot.slot}

    def show(self, slot: Slot, item: int, now_ms: int) -> Choice:
        """Remember that a slot shows an item from now on."""
        mail = self._mail(slot)
        with self._lock:
            choice = self._show(mail, slot.slot, item, now_ms)
            self._write(_SHOWN, slot.slot, item, now_ms, mail)
        return choice

    def click(self, slot: Slot, item: int, now_ms: int) -> None:
        """Remember that a slot's click on an item was counted."""
        mail = self._mail(slot)
        with self._lock:
            self._click(mail, slot.slot, item)
            self._write(_CLICKED, slot.slot, item, now_ms, mail)

    def forget(self, user: str) -> int:
        """Forget a user's choices of before this call, in the journal too; how many slots those were.

        ``OSError`` where the journal cannot be written anew: it goes on as it was, and asking again is what frees it.
        """
        digest, slots = self._digest(user.encode()), 0
        with self._rewriting:
            with self._lock:
                mails, end = list(self._mails), 0 if self._file is None else os.fstat(self._file).st_size
            found = [mail for mail in mails if mail.startswith(digest)]
            with self._lock:
                for mail in found:
                    slots += len(self._mails.pop(mail, ()))
            if self._path is not None:
                if self._file is None:
                    raise OSError("the choices are closed")
                self._take_out(self._path, digest, end)
        return slots

    def close(self) -> None:
        """Flush the journal to disk and let it go."""
        with self._rewriting, self._lock:
            if self._file is not None:
                os.fsync(self._file)
                os.close(self._file)
                self._file = None
            self._held.close()

    def _mail(self, slot: Slot) -> bytes:
        """A mail's name in memory and journal: 8 bytes of its user, 8 of its message."""
        user = self._digest(slot.user.encode())
        return user + self._digest(user + slot.message.encode())

    def _digest(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=8, salt=self._salt).digest()

    def _show(self, mail: bytes, number: int, item: int, now_ms: int) -> Choice:
        slots = self._mails.setdefault(mail, {})
        clicked = slots[number].clicked if number in slots else set()
        slots[number] = choice = Choice(item, now_ms, clicked)
        self._mails.move_to_end(mail)
        while len(self._mails) > self._most:
            self._mails.popitem(last=False)
        return choice

    def _click(self, mail: bytes, number: int, item: int) -> None:
        choice = self._mails.get(mail, {}).get(number)
        if choice is not None:
            choice.clicked.add(item)

    def _write(self, kind: int, number: int, item: int, now_ms: int, mail: bytes) -> None:
        if self._file is None or self._path is None:
            return
        record = _record(kind, number, item, now_ms, mail)
        for handle in (self._file, self._next):
            if handle is not None:
                _append(handle, record)
        self._records += 1
        if self._records > self._limit and self._rewriting.acquire(blocking=False):
            try:
                self._compact(self._path)
                self._limit = _SLACK * self._most
            except OSError as error:  # the record is written; a longer journal is no harm
                self._limit = self._records + self._most
                _log.warning("the journal of choices stays long: %s", error.strerror)
            finally:
                self._rewriting.release()

    def _restore(self, path: Path) -> None:
        content = path.read_bytes() if path.exists() else b""
        if content and not content.startswith(_MAGIC):
            raise ValueError(f"{path} is no journal of choices; name another file, or remove it")
        if len(content) < _HEADER or not content.startswith(self._kind):
            return
        self._salt = content[_HEADER - _SALT : _HEADER]
        for start in range(_HEADER, len(content) - _RECORD + 1, _RECORD):
            record = content[start : start + _RECORD]
            if _CHECK.unpack(record[_BODY.size :])[0] != zlib.crc32(record[: _BODY.size]):
                return
            kind, number, item, now_ms, mail = _BODY.unpack(record[: _BODY.size])
            if kind == _SHOWN:
                self._show(mail, number, item, now_ms)
            else:
                self._click(mail, number, item)

    def _compact(self, path: Path) -> None:
        """Write the journal anew, with what is remembered alone."""
        records = []
        for mail, slots in self._mails.items():
            for number, choice in slots.items():
                records.append(_record(_SHOWN, number, choice.item, choice.shown_ms, mail))
                records += [_record(_CLICKED, number, item, choice.shown_ms, mail) for item in sorted(choice.clicked)]
        try:
            write_atomically(path, self._kind + self._salt + b"".join(records))
        finally:
            self._reopen(path)

    def _take_out(self, path: Path, digest: bytes, end: int) -> None:
        """Write the journal anew without a user's records in its first ``end`` bytes; others go on writing meanwhile."""
        with open(path, "rb") as before:
            content = before.read(end)
            kept = _without(content, digest)
            if len(kept) == len(content):
                return
            try:
                with replacing(path) as temporary:
                    temporary.write_bytes(kept)
                    with self._lock:
                        self._next = os.open(temporary, os.O_WRONLY | os.O_APPEND)
                        _append(self._next, before.read())
            finally:
                with self._lock:
                    if self._next is not None:
                        os.close(self._next)
                        self._next = None
                    self._reopen(path)

    def _reopen(self, path: Path) -> None:
        """Go on with the file that is there now: the new one, or where that failed, the old."""
        if not path.exists():
            return
        before, self._file = self._file, os.open(path, os.O_WRONLY | os.O_APPEND)
        if before is not None:
            os.close(before)
        self._records = (os.fstat(self._file).st_size - _HEADER) // _RECORD


def _remove_left(target: Path) -> None:
    """Remove what processes that were killed while they wrote the journal anew (``tribid.files.replacing``) left beside it.

    Only files of exactly such a name that hold a journal's beginning, or less, go.
    """
    named = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}{re.escape(target.suffix)}")
    for left in target.parent.iterdir():
        if named.fullmatch(left.name) and left.is_file():
            with open(left, "rb") as file:
                is_ours = _MAGIC.startswith(file.read(len(_MAGIC)))
            if is_ours:
                left.unlink()


def _append(handle: int, content: bytes) -> None:
    written = os.write(handle, content)
    if written < len(content):  # the disk is full; half a record would hide those after it
        os.ftruncate(handle, os.fstat(handle).st_size - written)
        raise OSError(errno.ENOSPC, "no room for more choices")


def _without(content: bytes, digest: bytes) -> bytes:
    """A journal's content without the records of a user."""
    whole, user = (len(content) - _HEADER) // _RECORD, np.frombuffer(digest, np.uint8)
    kept = [content[:_HEADER]]
    for first in range(0, whole, _PIECE):
        count, start = min(_PIECE, whole - first), _HEADER + first * _RECORD
        rows = np.frombuffer(content, np.uint8, count * _RECORD, start).reshape(-1, _RECORD)
        kept.append(rows[(rows[:, _USER] != user).any(axis=1)].tobytes())
    return b"".join(kept)


def _record(kind: int, number: int, item: int, now_ms: int, mail: bytes) -> bytes:
    body = _BODY.pack(kind, number, item, now_ms, mail)
    return body + _CHECK.pack(zlib.crc32(body))
