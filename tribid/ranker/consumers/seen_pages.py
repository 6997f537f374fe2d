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


_COUNTED = ("accepted", "duplicate")  # a duplicate may have been lost on the way to the profile; that counts it once


def consumer_events(happened: Iterable[tuple[Event, Receipt, Shown | None]], *, has_items: bool) -> list[ConsumerEvent]:
    """The profile's events of ad events that were counted, whose page is remembered and was for somebody.

    They are of the time at which the page was answered, so that a page from before an erasure makes no new profile. Their
    ids follow from page, slot and kind: told twice, also under two names, each counts once. ``has_items``: the advertised
    item of brand i is item i of the stock; without, conversions are left out, for only the shop knows what was ordered.
    """
    return [
        ConsumerEvent(
            id=f"page:{event.decision}.{event.slot}:{event.kind}", kind=_AS[event.kind], user=str(shown.user),
            item=shown.slot.ad if has_items else None, brand=shown.slot.advertiser, channel="feed",
            time_ms=shown.answered_ms,
        )
        for event, receipt, shown in happened
        if receipt.status in _COUNTED and shown is not None and (has_items or event.kind != "conversion")
    ]  # fmt: skip
