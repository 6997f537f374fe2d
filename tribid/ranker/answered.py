"""``Answered``: pages that were answered lately, so that a repeated request gets its answer again and pays once."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from tribid.ranker.ledger.interface import Hold
from tribid.ranker.messages import Decision, Request

MAX_PAGES = 200_000
_PIECE = 2_047
"""Bytes that are hashed at once: of more, hashlib lets go of the interpreter, and may wait for it longer than it hashes."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Decision).decode

# A page as it is kept: digest, expires_ms, slots, is_settled, the user (None: nobody), the decision's bytes.
# A plain tuple of plain values, for the garbage collector passes over those, and there are many.
_Kept = tuple[bytes, int, int, bool, int | None, bytes]


class Conflict(ValueError):  # noqa: N818 - it reads as what it is where it is caught
    """A (day, request) that was answered before: with different content, or before a restart and now differently."""


class Answer:
    """A page that is being worked on: what was asked (a digest), what was decided, and what was set aside for it.

    ``decision`` is None until it is decided; ``book`` is what is still to be done once the ledger has acknowledged
    ``holds``; ``is_settled`` tells that its outcome came with its request and was paid. ``user`` is whose page it is.
    """

    __slots__ = ("_waiting", "book", "decision", "digest", "expires_ms", "holds", "is_busy", "is_settled", "user")

    def __init__(self, digest: bytes, expires_ms: int, user: int | None) -> None:
        self.digest, self.expires_ms, self.user = digest, expires_ms, user
        self.decision: Decision | None = None
        self.holds: tuple[Hold, ...] = ()
        self.book: Callable[[], None] | None = None
        self.is_busy, self.is_settled = True, False
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until nobody works on this page any more."""
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._waiting)

    def finish(self) -> None:
        """Nobody works on this page any more; wakes those who wait."""
        self.is_busy = False
        if self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None


class Answered:
    """Pages by id, oldest first: each is kept until its hold ends, and at most ``most`` of them.

    Beyond that the oldest is forgotten early. Its events still settle, for the ledger knows its holds; asked again, it is
    decided again: the ledger takes that if it comes to the same holds, and else it is a conflict. A page that held nothing
    (no slot sold, or none paid by the outcome that came with it) is unknown to the ledger and decided anew.
    """

    def __init__(self, most: int = MAX_PAGES) -> None:
        self._most = most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._open: dict[str, Answer] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def open(self, page: str, digest: bytes, expires_ms: int, user: int | None) -> Answer:
        """Begin to work on a page."""
        answer = self._open[page] = Answer(digest, expires_ms, user)
        return answer

    def opened(self, page: str) -> Answer | None:
        """The page of this id if somebody works on it, or gave it up while the ledger was writing."""
        return self._open.get(page)

    def keep(self, page: str, answer: Answer) -> None:
        """A page has been decided and reserved. How long its stages took is of the first answer alone, and not kept."""
        assert answer.decision is not None
        decision = (
            msgspec.structs.replace(answer.decision, stage_ms={}) if answer.decision.stage_ms else answer.decision
        )
        self._open.pop(page, None)
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        slots = len(decision.slots)
        kept = (answer.digest, answer.expires_ms, slots, answer.is_settled, answer.user, _encode(decision))
        self._kept[page] = kept

    def drop(self, page: str) -> None:
        """Forget a page that came to nothing."""
        self._open.pop(page, None)

    def digest(self, page: str) -> bytes | None:
        """The digest of the request that this page answers; None where it is not remembered."""
        kept = self._kept.get(page)
        if kept is not None:
            return kept[0]
        answer = self._open.get(page)
        return None if answer is None else answer.digest

    def decision(self, page: str) -> Decision | None:
        """What was decided and reserved."""
        kept = self._kept.get(page)
        return None if kept is None else _decode(kept[5])

    def slots(self, page: str) -> tuple[int, bool] | None:
        """How many slots of a page were sold, and whether its outcome came with its request; None where it is unknown."""
        kept = self._kept.get(page)
        return None if kept is None else (kept[2], kept[3])

    def whose(self, page: str) -> tuple[int, int] | None:
        """The user that a page was for, and when its hold ends; None where it was nobody's, or is unknown."""
        kept = self._kept.get(page)
        return None if kept is None or kept[4] is None else (kept[4], kept[1])

    def expire(self, now_ms: int) -> None:
        """Forget pages whose holds have ended."""
        while self._kept:
            page, kept = next(iter(self._kept.items()))
            if kept[1] >= now_ms:
                break
            del self._kept[page]
        for page in [page for page, answer in self._open.items() if not answer.is_busy and answer.expires_ms < now_ms]:
            del self._open[page]


def digest_of(request: Request) -> bytes:
    """What names a request's content, 16 bytes; how much time it has is no part of that: a second try has less."""
    asked = request if request.timeout_ms is None else msgspec.structs.replace(request, timeout_ms=None)
    content, found = _encode(asked), hashlib.blake2b(digest_size=16)
    for start in range(0, len(content), _PIECE):
        found.update(content[start : start + _PIECE])
    return found.digest()
