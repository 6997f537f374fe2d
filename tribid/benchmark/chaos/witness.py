"""``Witness``: everything that a server acknowledged to its clients, and everything it said that cannot be true."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tribid.ranker.messages import Decision, Event, Receipt

_SHOWN = 20
"""Problems that are kept in words; the rest are counted."""


class Sold(NamedTuple):
    """A slot that was sold: to which advertiser (its index), at what price."""

    ad: int
    price_micros: int


@dataclass(kw_only=True)
class Witness:
    """What clients know.

    ``pages`` were answered, by id, with their slots; ``bodies`` is what asked for them. ``asked`` are events that were
    sent and have no answer: they may have been recorded or not. ``known`` are events that the server said it has.
    ``clicked`` are the holds (``"DAY.REQUEST.SLOT"``) that a click was acknowledged for. ``problems`` are in words.
    """

    pages: dict[str, tuple[Sold, ...]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: dict[str, Event] = field(default_factory=dict)
    known: dict[str, Event] = field(default_factory=dict)
    clicked: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def see_page(self, decision: Decision, body: bytes) -> None:
        """A page was answered."""
        sold = tuple(Sold(slot.ad, slot.price_micros) for slot in decision.slots)
        if decision.id in self.pages and self.pages[decision.id] != sold:
            self.object(f"page {decision.id} was answered {self.pages[decision.id]}, and later {sold}")
            return  # what was promised first is what is owed
        self.pages[decision.id], self.bodies[decision.id] = sold, body

    def ask(self, events: Sequence[Event]) -> None:
        """Events are about to be sent."""
        self.asked.update((event.id, event) for event in events)

    def hear(self, events: Sequence[Event], receipts: Sequence[Receipt]) -> None:
        """They were answered."""
        if [event.id for event in events] != [receipt.id for receipt in receipts]:
            self.object(f"{len(events)} events were answered by other receipts")
            return
        for event, receipt in zip(events, receipts, strict=True):
            self._hear(event, receipt)
            self.asked.pop(event.id, None)

    def price_of(self, event: Event) -> int:
        """What the slot of an event costs."""
        return self.pages[event.decision][event.slot].price_micros

    def object(self, problem: str) -> None:
        """Something is wrong."""
        self.problem_count += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(problem)

    def _hear(self, event: Event, receipt: Receipt) -> None:
        if receipt.status not in ("accepted", "duplicate"):
            self.object(f"{event.kind} {event.id} of an answered page is {receipt.status}: {receipt.why}")
            return
        if receipt.status == "accepted":
            if event.id in self.known:
                self.object(f"{event.kind} {event.id} was acknowledged, and is accepted a second time")
            due = self.price_of(event) if event.kind == "click" else 0
            if receipt.charged_micros != due:
                self.object(f"{event.kind} {event.id} is charged {receipt.charged_micros} micros, not {due}")
            if event.kind == "click" and hold_of(event) in self.clicked:
                self.object(f"hold {hold_of(event)} is charged a second time, by {event.id}")
            self.known[event.id] = event
        elif event.id in self.asked:
            self.known[event.id] = event  # it had been recorded, or another of its kind had, before we could hear of it
        if event.kind == "click":
            self.clicked.add(hold_of(event))


def hold_of(event: Event) -> str:
    """The id of the hold that pays for an event's slot."""
    return f"{event.decision}.{event.slot}"
