"""``Asks``: what a load sends for each of its requests, and how an answer is told from something else."""

import secrets
import time
from functools import cache
from math import gcd
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from tribid.benchmark.loadtest.clicks import Page
from tribid.benchmark.loadtest.load import Load
from tribid.benchmark.loadtest.pages import Pages
from tribid.ranker.open_time.card import Painter
from tribid.ranker.open_time.tokens import Signer, Slot
from tribid.ranker.profile.messages import ConsumerEvent, Profile

_DRAWN = 4_099
"""Users whose mails are opened in turn."""

_CLOCKS_MS = 1_000
"""Milliseconds by which the server's clock may be behind."""

_PNG = b"\x89PNG\r\n\x1a\n"
_LIFE_MS = 86_400_000
_PROFILE = msgspec.json.Decoder(Profile)


class Ask(NamedTuple):
    """One HTTP request; ``body`` None sends none."""

    method: str
    url: str
    body: bytes | None = None


class Asks(Protocol):
    """A load's requests, each of one or several steps that are sent one after another: its latency is theirs together."""

    def steps(self, request: int) -> tuple[Ask, ...]:
        """What is sent for request number ``request`` of the load."""
        ...

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """The pages in the last step's answer, if it holds any; ``ValueError`` where it is no answer to this request."""
        ...


class _Answer(msgspec.Struct):
    """The part of an answer that is read: of one page, or of a batch."""

    id: str = ""
    slots: tuple[msgspec.Raw, ...] = ()
    decisions: tuple[Page, ...] = ()


_ANSWER = msgspec.json.Decoder(_Answer)


class AskPages:
    """Pages of a ranker: ``POST /v1/rank``, ``load.batch`` of them at once."""

    def __init__(self, load: Load, pages: Pages) -> None:
        self._url, self._batch, self._pages = f"{load.base}/v1/rank", load.batch, pages

    def steps(self, request: int) -> tuple[Ask, ...]:
        """One POST."""
        return (Ask("POST", self._url, self._pages.body(request, self._batch)),)

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """Every page of the answer."""
        answer = _ANSWER.decode(content)
        return answer.decisions or (Page(answer.id, answer.slots),)


class AskSlots:
    """Pictures of mails' slots: each request opens one slot of a user's mail, ``per_mail`` of them after each other."""

    def __init__(self, load: Load, signer: Signer, *, users: int, now_ms: int, per_mail: int = 4) -> None:
        self._url, self._per_mail = f"{load.base}/v1/slot/", per_mail
        self._users = np.random.default_rng((load.seed, 2)).integers(users, size=_DRAWN).tolist()
        self._signer, self._name = signer, secrets.token_hex(6)
        self._now_ms = now_ms

    def steps(self, request: int) -> tuple[Ask, ...]:
        """One GET."""
        mail, place = divmod(request, self._per_mail)
        user = str(self._users[mail % _DRAWN])
        slot = Slot(
            user=user, message=f"load-{self._name}-{mail}", slot=place, issued_ms=self._now_ms,
            expires_ms=self._now_ms + _LIFE_MS,
        )  # fmt: skip
        return (Ask("GET", f"{self._url}{self._signer.token('open', slot)}.png"),)

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """No page; ``ValueError`` for what is no PNG, and for the picture that stands in for a slot that was not filled."""
        if not content.startswith(_PNG):
            raise ValueError("the answer is no PNG")
        if content == _fallback():
            raise ValueError("the answer is the fallback: the slot was not filled")
        return ()


class AskProfiles:
    """Events that are looked for at once: a consumer views an item, and then the profile is read, which has to hold it.

    No user views an item again before every user has viewed all, and what was viewed before the load began (``now_ms``)
    does not count: a profile that lacks the event fails the request.
    """

    def __init__(self, load: Load, *, users: int, items: int, now_ms: int | None = None) -> None:
        self._base, self._name, self._items = load.base, secrets.token_hex(6), items
        self._since_ms = (time.time_ns() // 1_000_000 if now_ms is None else now_ms) - _CLOCKS_MS
        self._pairs = users * items
        rng = np.random.default_rng((load.seed, 3))
        self._first, step = int(rng.integers(self._pairs)), int(rng.integers(self._pairs // 3, self._pairs // 2 + 1))
        while gcd(step, self._pairs) > 1:  # such steps meet every pair before any comes again
            step += 1
        self._step = step

    def steps(self, request: int) -> tuple[Ask, ...]:
        """A POST of one event, and a GET of its user's profile."""
        user, item = self._pair(request)
        event = ConsumerEvent(id=f"load-{self._name}-{request}", kind="view", user=str(user), item=item)
        body = msgspec.json.encode({"consumers": [event]})
        return Ask("POST", f"{self._base}/v1/events", body), Ask("GET", f"{self._base}/v1/profile/{user}")

    def read(self, request: int, content: bytes) -> tuple[Page, ...]:
        """No page; ``ValueError`` for a profile that does not hold the view."""
        user, item = self._pair(request)
        profile = _PROFILE.decode(content)
        if profile.user != str(user):
            raise ValueError("the profile is another user's")
        if not any(one == item and when_ms >= self._since_ms for one, when_ms in profile.viewed):
            raise ValueError("the profile does not hold the event")
        return ()

    def _pair(self, request: int) -> tuple[int, int]:
        """The user and the item of a request."""
        return divmod((self._first + request * self._step) % self._pairs, self._items)


@cache
def _fallback() -> bytes:
    return Painter().fallback()
