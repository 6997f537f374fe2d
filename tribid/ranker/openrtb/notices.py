"""``Notices``: what exchanges tell of a bid after it was made: won, billed, lost; and what browsers tell: clicked.

Each is idempotent. What moves money goes through the ranker's own events, which are idempotent and durable; what only this
process remembers (which of a slot's bids were lost) is forgotten when the money's hold ends.

    win       is counted; winning is not yet being billed
    billing   the impression happened: counts it, and charges the advertiser where impressions are charged
    loss      lets the slot's money go, once all its bids were lost; never after it was billed
    click     counts the click, charges it where clicks are charged, and sends the browser on to the advertiser

``AUDIT`` as a price (section 4.4: test renders) and auctions with ``test`` 1 move and count nothing.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from tribid.ranker.live_events import own_event_id
from tribid.ranker.messages import Event, Receipt
from tribid.ranker.openrtb.cpm import spent_micros
from tribid.ranker.openrtb.tickets import Ticket

AUDIT = "AUDIT"
WON = 0
"""The loss reason that says that the bid was won."""

MOST_BYTES = 64 << 20
"""Of memory for what was told of slots."""

_SLOT_BYTES = 512
"""What is remembered of a slot takes less than this, but for a bit of each of its bids in two numbers."""

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?")
_REASON = re.compile(r"[0-9]{1,5}")


class Settled(NamedTuple):
    """What a notice is answered: the HTTP status (204: taken, or taken before) and why, where it was not."""

    status: int
    why: str = ""


class Books(Protocol):
    """The part of the live ranker that notices use."""

    async def events(self, events: list[Event]) -> list[Receipt]:
        """See ``tribid.ranker.live.LiveRanker``."""
        ...

    async def release(self, holds: list[str]) -> int:
        """Give back what these holds still hold."""
        ...


@dataclass(slots=True)
class _Told:
    """What was told of a slot so far; ``lost`` and ``won`` have a bit for each of its bids, ``size`` is in bytes."""

    expires_ms: int
    size: int
    lost: int = 0
    won: int = 0
    is_billed: bool = False


class Notices:
    """The notices of one live ranker. ``counts`` is how many of each kind were taken, and ``cost_micros.CUR`` their cost.

    What was told of slots takes at most ``most_bytes`` of memory: beyond that the oldest are forgotten before their time.
    Then a repeated win is counted again, and a slot whose bids are not all known to be lost waits for its hold to end; money
    is not touched, for that goes by the ledger.
    """

    def __init__(self, books: Books, now_ms: Callable[[], int], *, most_bytes: int = MOST_BYTES) -> None:
        self.counts: Counter[str] = Counter()
        self._books, self._now_ms, self._most_bytes, self._bytes = books, now_ms, most_bytes, 0
        self._told: OrderedDict[str, _Told] = OrderedDict()

    async def win(self, ticket: Ticket, price: str) -> Settled:
        """A bid won; ``price`` is the clearing price per mille, or empty, or ``AUDIT``."""
        refused = self._refused(ticket, price)
        if refused is not None:
            return refused
        told = self._of(ticket)
        if not told.won >> ticket.bid & 1:
            told.won |= 1 << ticket.bid
            self.counts["win"] += 1
        return Settled(204)

    async def billing(self, ticket: Ticket, price: str, multiplier: str = "") -> Settled:
        """A bid's impression was billed at ``price`` per mille."""
        refused = self._refused(ticket, price)
        if refused is not None:
            return refused
        if _is_given(multiplier) and not _AMOUNT.fullmatch(multiplier):
            return Settled(400, "multiplier is no number")
        receipt = await self._event("impression", ticket)
        if receipt.status not in ("accepted", "duplicate"):
            return _refusal(receipt)
        told = self._of(ticket)
        if receipt.status == "accepted" and not told.is_billed:
            self.counts["billing"] += 1
            if _is_given(price):
                people = Decimal(multiplier) if _is_given(multiplier) else Decimal(1)
                self.counts[f"cost_micros.{ticket.currency}"] += spent_micros(Decimal(price), people)
        told.is_billed = True
        return Settled(204)

    async def loss(self, ticket: Ticket, reason: str) -> Settled:
        """A bid was lost for ``reason`` (a code of OpenRTB 3.0's list, or empty); 0 says that it was won."""
        if reason == AUDIT or ticket.test:
            return Settled(204)
        if _is_given(reason) and not _REASON.fullmatch(reason):
            return Settled(400, "loss is no reason code")
        if self._is_over(ticket):
            return _expired()
        if _is_given(reason) and int(reason) == WON:
            return Settled(204)
        told = self._of(ticket)
        if told.is_billed:
            return Settled(409, "the bid was billed before; what was billed cannot be lost")
        if not told.lost >> ticket.bid & 1:
            told.lost |= 1 << ticket.bid
            self.counts[f"loss.{int(reason) if _is_given(reason) else 'unknown'}"] += 1
        if told.lost.bit_count() == ticket.bids:
            await self._books.release([ticket.hold])
        return Settled(204)

    async def click(self, ticket: Ticket) -> Receipt | None:
        """An ad was clicked; None for a test, of which nothing is told to anybody."""
        if ticket.test:
            return None
        receipt = await self._event("click", ticket)
        if receipt.status == "accepted":
            self.counts["click"] += 1
        return receipt

    async def _event(self, kind: Literal["impression", "click"], ticket: Ticket) -> Receipt:
        name = own_event_id(kind, ticket.hold)
        return (await self._books.events([Event(id=name, kind=kind, decision=ticket.decision, slot=ticket.slot)]))[0]

    def _refused(self, ticket: Ticket, price: str) -> Settled | None:
        """Why a win or a billing goes no further: a test, a price that cannot be, or too late."""
        if price == AUDIT or ticket.test:
            return Settled(204)
        if _is_given(price):
            if not _AMOUNT.fullmatch(price):
                return Settled(400, "price is no amount")
            if Decimal(price) > Decimal(ticket.price):
                return Settled(400, f"price is above the bid, {ticket.price}")
        return _expired() if self._is_over(ticket) else None

    def _is_over(self, ticket: Ticket) -> bool:
        return self._now_ms() > ticket.expires_ms

    def _of(self, ticket: Ticket) -> _Told:
        """What was told of the ticket's slot; slots whose money is let go are forgotten."""
        now = self._now_ms()
        while self._told:
            oldest = next(iter(self._told.values()))
            if oldest.expires_ms >= now and self._bytes <= self._most_bytes:
                break
            self._bytes -= self._told.popitem(last=False)[1].size
        told = self._told.get(ticket.hold)
        if told is None:
            told = self._told[ticket.hold] = _Told(ticket.expires_ms, _SLOT_BYTES + ticket.bids // 4)
            self._bytes += told.size
        return told


def _is_given(value: str) -> bool:
    """Whether an exchange filled the macro in: one that it does not know it leaves as it is, or empties."""
    return bool(value) and not value.startswith("${")


def _expired() -> Settled:
    return Settled(410, "the bid's time is over and its money was let go")


def _refusal(receipt: Receipt) -> Settled:
    if receipt.status == "expired":
        return _expired()
    return Settled(404 if receipt.status == "unknown" else 409, receipt.why or f"the impression is {receipt.status}")
