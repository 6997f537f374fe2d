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

MOST_BYTES = 64 << 20
"""Of memory for answers."""

_ENTRY_BYTES = 640
"""What is remembered of a request takes less than this beside the answer's own bytes."""

_ATTEMPTS = 8


class Reply(NamedTuple):
    """What goes back over HTTP: the status, the body (JSON, or empty), and for operators why there is no bid."""

    status: int
    content: bytes = b""
    why: str = ""


class NoBid(NamedTuple):
    """That there is nothing to offer, and why; ``nbr`` where the specification has a code for it."""

    why: str
    nbr: int | None = None


Answer = Reply | NoBid


@dataclass(slots=True)
class Entry:
    """A request that is being answered, or was: its numbers so far, until when its money is held, and the answer.

    ``made`` is the task that makes the answer, then the answer alone; ``size`` is in bytes.
    """

    numbers: list[int]
    expires_ms: int
    made: "asyncio.Task[Answer] | Answer"
    size: int = _ENTRY_BYTES

    async def answer(self) -> Answer:
        """The answer, when it is there; what failed in making it is raised."""
        return await asyncio.shield(self.made) if isinstance(self.made, asyncio.Task) else self.made


class AnswerBook:
    """Answers by content, for twice as long as money is held; of those without a bid only that and why.

    They take at most ``most_bytes`` of memory: beyond that the oldest are forgotten before their time. The same request is
    then a new one to this book; the ranker still knows its page, and what was let go of it is not billed.
    """

    def __init__(self, hold_ms: int, now_ms: Callable[[], int], *, most_bytes: int = MOST_BYTES) -> None:
        self._hold_ms, self._now_ms, self._most_bytes, self._bytes = hold_ms, now_ms, most_bytes, 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._taken: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, key: bytes) -> Entry | None:
        """What is known of a request; what nobody can bill any more is forgotten first."""
        self._forget()
        return self._entries.get(key)

    def open(self, key: bytes, answer: Callable[[Iterator[int]], Awaitable[Answer]]) -> Entry:
        """Begin an answer, in a task of its own: who asked may go away, the answer is still booked.

        ``answer`` is given the numbers under which the page may be decided, the likeliest first. What fails is forgotten.
        """
        numbers: list[int] = []

        async def run() -> Answer:
            try:
                told = await answer(self._numbers(key, numbers))
            except BaseException:
                if self._entries.get(key) is entry:
                    self._drop(key)
                raise
            entry.made = told
            if isinstance(told, Reply) and self._entries.get(key) is entry:
                entry.size += len(told.content)
                self._bytes += len(told.content)
            return told

        entry = Entry(numbers, self._now_ms() + self._hold_ms, asyncio.ensure_future(run()))
        self._entries[key] = entry
        self._bytes += entry.size
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
            if self._bytes <= self._most_bytes and entry.expires_ms + self._hold_ms > now:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._bytes -= entry.size
        for number in entry.numbers:
            self._taken.pop(number, None)


def content_key(request: BidRequest) -> bytes:
    """Sixteen bytes of a hash of what is read of a request, but for the time that it leaves."""
    content = msgspec.json.encode(msgspec.structs.replace(request, tmax=None))
    return hashlib.blake2b(content, digest_size=16).digest()
