"""``LiveEvents``: impressions, clicks and conversions of answered pages, each counted once and paid once."""

import re
from collections.abc import Sequence

import numpy as np

from tribid.ranker.answered import Answered
from tribid.ranker.ledger.interface import Charge, Charged, Ledger
from tribid.ranker.live_books import LiveBooks
from tribid.ranker.messages import MAX_EVENTS, Event, Receipt

_PAGE = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
_KINDS = ("impression", "click", "conversion")
_OWN = "tribid:"


def own_event_id(kind: str, hold: str) -> str:
    """The id of an event that nobody named: the one of its kind for a hold, ``"DAY.REQUEST.SLOT"``.

    >>> own_event_id("click", "0.17.2")
    'tribid:click:0.17.2'
    """
    return f"{_OWN}{kind}:{hold}"


class LiveEvents:
    """Settles events with the ledger and counts them in the books.

    ``paid`` is the kind that costs the slot's price: ``click`` or ``impression``. Events may come late, twice and in any
    order; one of a page whose hold has ended is ``expired``.
    """

    def __init__(self, answered: Answered, ledger: Ledger, books: LiveBooks, *, paid: str) -> None:
        self._answered, self._ledger, self._books, self._paid = answered, ledger, books, paid

    def check(self, events: Sequence[Event]) -> None:
        """``ValueError`` for what a decoded event could not be."""
        if len(events) > MAX_EVENTS:
            raise ValueError(f"$.events has {len(events)} entries; allowed is at most {MAX_EVENTS}")
        for place, event in enumerate(events):
            at = f"$.events[{place}]"
            for name in ("id", "decision"):
                text = getattr(event, name)
                if not isinstance(text, str) or not 0 < len(text) <= 200 or "\0" in text or _is_broken(text):
                    raise ValueError(
                        f"{at}.{name} is {text!r:.80}; allowed are texts of 1 to 200 characters without NUL"
                    )
            if event.kind not in _KINDS:
                raise ValueError(f"{at}.kind is {event.kind!r:.80}; allowed is {', '.join(_KINDS)}")
            if event.id.startswith(_OWN) and event.id != own_event_id(event.kind, f"{event.decision}.{event.slot}"):
                raise ValueError(f"{at}.id is {event.id!r:.80}; allowed are ids that do not begin with {_OWN}")
            for name, limit in (("slot", 100), ("time_ms", 2**53)):
                value = getattr(event, name)
                if value is None and name == "time_ms":
                    continue
                if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < limit:
                    raise ValueError(f"{at}.{name} is {value!r:.80}; allowed is 0 to {limit - 1}")

    async def take(self, events: Sequence[Event], now_ms: int) -> list[Receipt]:
        """Record checked events, in order; an event from after ``now_ms`` counts as of now."""
        receipts = [self._turned_away(event) for event in events]
        charges = [
            Charge(
                event.id, event.kind, f"{event.decision}.{event.slot}",
                now_ms if event.time_ms is None else min(int(event.time_ms), now_ms),
                None if event.kind == self._paid else 0,
            )
            for event, receipt in zip(events, receipts, strict=True) if receipt is None
        ]  # fmt: skip
        charged = iter(await self._ledger.charge(charges) if charges else [])
        return [receipt or self._receipt(event, next(charged)) for event, receipt in zip(events, receipts, strict=True)]

    def _turned_away(self, event: Event) -> Receipt | None:
        """The answer to an event that the ledger need not be asked about."""
        if not _PAGE.fullmatch(event.decision):
            return Receipt(id=event.id, status="unknown", why=f"decision is {event.decision!r}; no page is named so")
        known = self._answered.slots(event.decision)
        if known is None:
            return None
        slots, is_settled = known
        if event.slot >= slots:
            return Receipt(id=event.id, status="unknown", why=f"slot is {event.slot}; the page has {slots}")
        if is_settled:
            return Receipt(
                id=event.id, status="refused", why="the page's outcome came with its request; allowed are none"
            )
        return None

    def _receipt(self, event: Event, charged: Charged) -> Receipt:
        if charged.status == "accepted":
            self._books.happened(charged.ad, event.kind)
        why = ""
        if charged.status == "refused":
            why = "id was used for another slot or kind of event; allowed is an id of its own for each event"
        return Receipt(id=event.id, status=charged.status, charged_micros=charged.charged_micros, why=why)


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
