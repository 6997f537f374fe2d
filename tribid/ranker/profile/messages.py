"""What consumers do, what became of it, what is known of them, and what is to be sent to them: the profile's messages.

Decoding from JSON checks every field; an error names it (``$.consumers[3].item``) and what is allowed.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from tribid.envs.triggers import DAY_MS
from tribid.ranker.messages import Name

CHANNELS = ("feed", "search", "email", "display")

ChannelName = Literal["feed", "search", "email", "display"]
Kind = Literal[
    "exposure", "category_search", "click", "view", "favourite", "brand_search", "cart", "store_visit", "content", "share",
    "repeat_visit", "review", "order", "cart_removed", "open", "joined", "left",
]  # fmt: skip
Number = Annotated[int, Meta(ge=0, lt=2**31)]
TimeMs = Annotated[int, Meta(ge=0, lt=2**53)]
Status = Literal["accepted", "duplicate", "late", "refused"]


class ConsumerEvent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that a consumer did.

    ``id`` makes it idempotent among the user's events: the same one again is ``duplicate`` and changes nothing. ``item``
    is an index into the catalogue, ``brand`` an advertiser's name. ``favourite``, ``cart``, ``cart_removed`` and ``order``
    need an item. ``joined`` with an ``action`` says that the user took it, ``left`` that they gave it up; without an action
    they are about messages: ``left`` opts out of all of them, ``joined`` opts in again. ``open`` is the opening of a
    message. ``time_ms`` is when it happened (Unix milliseconds; now where it is left out, or lies ahead).
    """

    id: Name
    kind: Kind
    user: Name
    item: Number | None = None
    brand: Name | None = None
    category: Number | None = None
    action: Name | None = None
    channel: ChannelName | None = None
    time_ms: TimeMs | None = None


class ConsumerReceipt(Struct, frozen=True, kw_only=True):
    """What became of an event; ``triggered`` are the ids of the messages that it set off at once.

    ``accepted``: counted, once. ``duplicate``: this id was counted before. ``late``: older than the store's retention, or
    than the erasure of the user's data; not counted. ``refused``: not counted; ``why`` says what is allowed.
    """

    id: str
    status: Status
    why: str = ""
    triggered: tuple[str, ...] = ()


class Profile(Struct, kw_only=True):
    """What is known of a user. Times are Unix milliseconds, items indices into the catalogue, brands names.

    It does not depend on the order in which events came. ``version`` is how many were counted. ``marks`` are those of
    ``tribid.envs.stages``. ``viewed`` holds the 50 items viewed last, newest first, each once; ``favourites`` the 200
    newest; ``cart`` what is in it, ``removed`` what left it by removal or order, together the 200 newest; ``orders`` the 50
    newest. ``counts`` and
    ``last`` are, per brand, how often and when last (0: never) each of ``stages.BEHAVIOURS`` happened. ``sent`` are the
    newest 100 messages, as channel, trigger and time. ``actions`` are the actions taken and when; ``left`` those given up.
    ``refused``: the user opted out of messages, ``consent_ms`` when they last said so or the contrary. ``shown`` is how
    often each brand was before the user on ``shown_day`` (days since 1970, UTC), the newest day on which any was: exposures
    on every channel, and messages.
    """

    user: str
    version: int = 0
    first_ms: int = 0
    last_ms: int = 0
    marks: dict[str, int] = {}
    viewed: list[tuple[int, int]] = []
    favourites: dict[int, int] = {}
    cart: dict[int, int] = {}
    removed: dict[int, int] = {}
    orders: list[tuple[int, int]] = []
    counts: dict[str, list[int]] = {}
    last: dict[str, list[int]] = {}
    sent: list[tuple[str, str, int]] = []
    actions: dict[str, int] = {}
    left: dict[str, int] = {}
    refused: bool = False
    consent_ms: int = 0
    shown_day: int = 0
    shown: dict[str, int] = {}

    def shown_on(self, at_ms: int) -> dict[str, int]:
        """How often each brand was before the user on the day of a time; none where that is not the newest day."""
        return self.shown if at_ms // DAY_MS == self.shown_day else {}


class Message(Struct, frozen=True, kw_only=True):
    """A message to be sent, once: ``id`` stays the same however often its cause is told.

    ``item`` is what it is about, or None, and ``brand`` whose that is; ``priority`` and ``template`` are the trigger's.
    """

    id: str
    user: str
    trigger: str
    item: int | None
    channel: ChannelName
    created_ms: int
    template: str
    priority: int = 0
    brand: str | None = None


class StockMove(Struct, frozen=True, kw_only=True):
    """An item's price (micros) or number in stock changed at ``time_ms``.

    The same change told again has the same ``time_ms`` and ``version``, which tells changes of one millisecond apart.
    """

    item: Number
    before_micros: Annotated[int, Meta(ge=0)]
    after_micros: Annotated[int, Meta(ge=0)]
    before_count: Annotated[int, Meta(ge=0)]
    after_count: Annotated[int, Meta(ge=0)]
    time_ms: TimeMs
    version: Annotated[int, Meta(ge=0)] = 0

    @property
    def order(self) -> tuple[int, int]:
        """What orders the changes of an item."""
        return self.time_ms, self.version

    @property
    def matters(self) -> bool:
        """Whether the price changed, or whether there is any at all."""
        return self.before_micros != self.after_micros or (self.before_count > 0) != (self.after_count > 0)

    def since(self, last: "StockMove | None") -> "StockMove | None":
        """The change from what ``last``, the newest that is known, left the item at; None where that changes nothing.

        So a change is one change however many servers tell it, each by its own clock, and whatever a server that was
        started anew believes the item was before: a price that it did not change is the last that is known, not the one it
        began with. The newest is the one with the latest time, so that a server may tell late what others told before; the
        servers' clocks must therefore agree more closely than the time between two changes of an item. Where they do not,
        what every server is told in the same order may set off a message for each of two servers.

        >>> first = StockMove(item=1, before_micros=10, after_micros=8, before_count=5, after_count=5, time_ms=1)
        >>> again = StockMove(item=1, before_micros=10, after_micros=8, before_count=5, after_count=5, time_ms=2)
        >>> again.since(first) is None
        True
        """
        if last is None:
            return self if self.matters else None
        after_micros = last.after_micros if self.before_micros == self.after_micros else self.after_micros
        judged = structs.replace(
            self, before_micros=last.after_micros, after_micros=after_micros, before_count=last.after_count
        )
        return judged if judged.matters else None
