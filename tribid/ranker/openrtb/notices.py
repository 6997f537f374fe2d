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
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from tribid.ranker.messages import Event, Receipt
from tribid.ranker.openrtb.cpm import spent_micros
from tribid.ranker.openrtb.tickets import Ticket

AUDIT = "AUDIT"
WON = 0
"""The loss reason that says that the bid was won."""
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


@dataclass
class _Told:
    """What was told of a slot so far; ``lost`` are the places of its lost bids."""

    expires_ms: int
    lost: set[int] = field(default_factory=set)
    won: set[int] = field(default_factory=set)
    is_billed: bool = False


class Notices:
    """The notices of one live ranker. ``counts`` is how many of each kind were taken, and ``cost_micros.CUR`` their cost."""

    def __init__(self, books: Books, now_ms: Callable[[], int], *, remembered: int = 1_000_000) -> None:
        self.counts: Counter[str] = Counter()
        self._books, self._now_ms, self._remembered = books, now_ms, remembered
        self._told: OrderedDict[str, _Told] = OrderedDict()

    async def win(self, ticket: Ticket, price: str) -> Settled:
        """A bid won; ``price`` is the clearing price per mille, or empty, or ``AUDIT``."""
        refused = self._refused(ticket, price)
        if refused is not None:
            return refused
        told = self._of(ticket)
        if ticket.bid not in told.won:
            told.won.add(ticket.bid)
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
        if ticket.bid not in told.lost:
            told.lost.add(ticket.bid)
            self.counts[f"loss.{int(reason) if _is_given(reason) else 'unknown'}"] += 1
        if len(told.lost) == ticket.bids:
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
        name = f"openrtb.{kind}.{ticket.hold}"
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
            if oldest.expires_ms >= now and len(self._told) < self._remembered:
                break
            self._told.popitem(last=False)
        return self._told.setdefault(ticket.hold, _Told(ticket.expires_ms))


def _is_given(value: str) -> bool:
    """Whether an exchange filled the macro in: one that it does not know it leaves as it is, or empties."""
    return bool(value) and not value.startswith("${")


def _expired() -> Settled:
    return Settled(410, "the bid's time is over and its money was let go")


def _refusal(receipt: Receipt) -> Settled:
    if receipt.status == "expired":
        return _expired()
    return Settled(404 if receipt.status == "unknown" else 409, receipt.why or f"the impression is {receipt.status}")
