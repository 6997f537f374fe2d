"""What happened to answered pages of ads, as events of their users' profiles."""

from collections.abc import Iterable
from typing import Literal

from tribid.ranker.live import Shown
from tribid.ranker.messages import Event, Receipt
from tribid.ranker.profile.messages import ConsumerEvent

_AS: dict[str, Literal["exposure", "click", "order"]] = {
    "impression": "exposure",
    "click": "click",
    "conversion": "order",
}


def consumer_events(happened: Iterable[tuple[Event, Receipt, Shown | None]]) -> list[ConsumerEvent]:
    """The profile's events of accepted ad events whose page is remembered and was for somebody.

    The advertised item of brand i is item i of the catalogue. The ids follow from page, slot and kind, so telling an event
    twice under two names counts once.
    """
    return [
        ConsumerEvent(
            id=f"page:{event.decision}.{event.slot}:{event.kind}", kind=_AS[event.kind], user=str(shown.user),
            item=shown.slot.ad, brand=shown.slot.advertiser, channel="feed", time_ms=event.time_ms,
        )
        for event, receipt, shown in happened
        if receipt.status == "accepted" and shown is not None
    ]  # fmt: skip
