"""``AnswerBook``: which bid requests were answered, so that the same one again gets the same answer and reserves once.

A page of the ranker is named by a number below 2**32 within a day; a bid request by a string. The number is drawn from a
hash of the request's content and of the time in units of a hold: a retry that reaches another process with the same ledger
finds the same page, while a request that comes back long after is a new one and never an old page whose money was let go.
A request meets a number that one of n requests before it on that day has with odds of
n / 2**32: once in 43,000 requests after 100,000. Numbers that this process gave out and still remembers are passed over,
and so are those that the ranker says were answered with other content; the next number is drawn from the same hash.
"""

import asyncio
import hashlib
import struct
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from tribid.ranker.openrtb.messages import BidRequest

_ATTEMPTS = 8


class Reply(NamedTuple):
    """What goes back over HTTP: the status, the body (JSON, or empty), and for operators why there is no bid."""

    status: int
    content: bytes = b""
    why: str = ""


@dataclass
class Entry:
    """A request that is being answered, or was: its numbers so far, and until when its money is held."""

    numbers: list[int]
    expires_ms: int
    reply: "asyncio.Task[Reply]"


class AnswerBook:
    """Answers by content, for twice as long as money is held; the oldest go first where there are more than ``most``."""

    def __init__(self, hold_ms: int, now_ms: Callable[[], int], *, most: int = 200_000) -> None:
        self._hold_ms, self._now_ms, self._most = hold_ms, now_ms, most
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._taken: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, key: bytes) -> Entry | None:
        """What is known of a request; what nobody can bill any more is forgotten first."""
        self._forget()
        return self._entries.get(key)

    def open(self, key: bytes, answer: Callable[[Iterator[int]], Awaitable[Reply]]) -> Entry:
        """Begin an answer, in a task of its own: who asked may go away, the answer is still booked.

        ``answer`` is given the numbers under which the page may be decided, the likeliest first. What fails is forgotten.
        """
        numbers: list[int] = []

        async def run() -> Reply:
            try:
                return await answer(self._numbers(key, numbers))
            except BaseException:
                self._drop(key)
                raise

        entry = Entry(numbers, self._now_ms() + self._hold_ms, asyncio.ensure_future(run()))
        self._entries[key] = entry
        return entry

    def is_over(self, entry: Entry) -> bool:
        """Whether the money that this answer promised was let go."""
        return self._now_ms() >= entry.expires_ms

    def _numbers(self, key: bytes, given: list[int]) -> Iterator[int]:
        window = self._now_ms() // self._hold_ms
        for attempt in range(_ATTEMPTS):
            drawn = hashlib.blake2b(key, digest_size=4, salt=struct.pack(">qq", window, attempt)).digest()
            number = int.from_bytes(drawn, "big")
            if self._taken.get(number, key) == key:
                self._taken[number] = key
                given.append(number)
                yield number

    def _forget(self) -> None:
        now = self._now_ms()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if len(self._entries) <= self._most and entry.expires_ms + self._hold_ms > now:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        for number in () if entry is None else entry.numbers:
            self._taken.pop(number, None)


def content_key(request: BidRequest) -> bytes:
    """Sixteen bytes of a hash of what is read of a request, but for the time that it leaves."""
    content = msgspec.json.encode(msgspec.structs.replace(request, tmax=None))
    return hashlib.blake2b(content, digest_size=16).digest()
