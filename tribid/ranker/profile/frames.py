"""Frames: checksummed pieces of a file that is only added to, and what a torn end is as opposed to damage.

A frame is the bytes ``MARK``, the length of its content and the CRC-32 of length and content (both 32 bits,
little-endian), and the content. One write is one frame. A frame that cannot be read is a torn end, left by a write that a
crash cut short, if no whole frame comes after it; where one does, the file was damaged.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tribid.ranker.profile.errors import ProfileDamageError

MARK = b"\xf4TBp"
MAX_FRAME = 2**30

_HEAD = struct.Struct("<II")
_START = len(MARK) + _HEAD.size


class Frame(NamedTuple):
    """A frame's content and where it ends in the file, in bytes."""

    content: memoryview
    end: int


def frame(content: bytes) -> bytes:
    """The content as it is written.

    >>> [bytes(one.content) for one in frames(frame(b"a") + frame(b"bc"), "journal")]
    [b'a', b'bc']
    """
    if len(content) > MAX_FRAME:
        raise ValueError(f"a frame has {len(content)} bytes; allowed is at most {MAX_FRAME}")
    length = len(content).to_bytes(4, "little")
    return MARK + _HEAD.pack(len(content), zlib.crc32(content, zlib.crc32(length))) + content


def frames(data: bytes, name: str | Path) -> Iterator[Frame]:
    """The frames from the start up to the end or up to a torn end; ``ProfileDamageError`` says where a file is damaged."""
    view, at = memoryview(data), 0
    while at < len(data):
        found = _frame_at(view, at)
        if found is None:
            _check_torn(view, data, at, name)
            return
        yield found
        at = found.end


def _frame_at(view: memoryview, at: int) -> Frame | None:
    if len(view) - at < _START or view[at : at + len(MARK)] != MARK:
        return None
    length, checksum = _HEAD.unpack_from(view, at + len(MARK))
    end = at + _START + length
    if length > MAX_FRAME or end > len(view):
        return None
    content = view[at + _START : end]
    if zlib.crc32(content, zlib.crc32(length.to_bytes(4, "little"))) != checksum:
        return None
    return Frame(content, end)


def _check_torn(view: memoryview, data: bytes, at: int, name: str | Path) -> None:
    later = data.find(MARK, at + 1)
    while later != -1:
        if _frame_at(view, later) is not None:
            raise ProfileDamageError(
                f"{name} is damaged at byte {at}: what is there cannot be read, but byte {later} after it can; "
                "put the file back from a copy"
            )
        later = data.find(MARK, later + 1)
