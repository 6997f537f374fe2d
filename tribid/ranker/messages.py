"""What the ranker is asked and what it answers: the same types in process, over HTTP and in the client.

Decoding from JSON checks every field; ``ValueError`` names the field (``$.candidates[3].pctr``) and what is allowed. A
message that is built in Python is checked by the ranker where a wrong value could do harm.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tribid.refusals import JsonDecoder

MAX_CANDIDATES = 2_000
MAX_BATCH = 1_000
MAX_EVENTS = 1_000

Whole = Annotated[int, Meta(ge=0, lt=2**32 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class VisitEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that a visit did before this page; ``category`` is the item's, ``seconds`` how long it took."""

    kind: Literal["view", "search", "favourite", "cart", "review", "compare"]
    category: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0


class Offer(Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate that the caller brings: an advertiser by name and, where the caller predicts itself, its rates."""

    advertiser: Name
    pctr: Share | None = None
    pcvr: Share | None = None


class Outcome(Struct, frozen=True, forbid_unknown_fields=True):
    """What the user did with the page, slot by slot from the top, where that is known already: in a replay.

    Clicks are charged and everything else is released before the next request is decided, as in the simulator.
    """

    exposed: Annotated[tuple[bool, ...], Meta(max_length=100)] = ()
    clicked: Annotated[tuple[bool, ...], Meta(max_length=100)] = ()
    converted: Annotated[tuple[bool, ...], Meta(max_length=100)] = ()


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One page view.

    ``request`` is the request's number within ``day``: it names the draws of ties and of the stand-in forecaster's error,
    so the same request always gets the same answer. ``user`` is an index into the scenario's population; it may be left
    out where ``candidates`` bring both their rates. ``tick`` and ``day`` are the ranker's clock's where they are left out.
    ``state`` is the state of the visit, as the platform knows it. ``segment`` overrides the user segment that follows from
    user and state, and ``buying`` the belief that the visit means to buy; only dynamic ranking reads that. ``events`` are
    what the visit did before, for a shop's state model. ``candidates`` replaces retrieval. ``timeout_ms`` is the time that
    this answer may take; what runs short falls back. ``outcome`` is for replays.

    In a scenario of kind journey: ``scene`` is where the page is (the first that needs nothing where it is left out),
    ``category`` that of the cart or of the search that it is about, ``bought`` that of the user's recent order, ``marks``
    what the profile holds of the user and each brand (``tribid.envs.stages``; strangers are left out), ``shown`` the day's
    exposures to each brand so far.
    """

    request: Annotated[int, Meta(ge=0, lt=2**32)]
    user: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    tick: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    day: Whole | None = None
    state: Literal["browsing", "buying"] = "browsing"
    segment: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    buying: Share | None = None
    events: Annotated[tuple[VisitEvent, ...], Meta(max_length=1_000)] = ()
    candidates: Annotated[tuple[Offer, ...], Meta(min_length=1, max_length=MAX_CANDIDATES)] | None = None
    timeout_ms: Annotated[float, Meta(gt=0, le=60_000)] | None = None
    outcome: Outcome | None = None
    scene: Name | None = None
    category: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    bought: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    marks: dict[Name, Annotated[int, Meta(ge=0, lt=32)]] = {}
    shown: dict[Name, Annotated[int, Meta(ge=0, lt=2**15)]] = {}


class Slot(Struct, frozen=True, kw_only=True):
    """One slot's ad, why it costs what it costs, and, in a shop, which of its creatives to show.

    ``content`` is what to show of the brand (``show``, ``review``, ``trial``) where a journey's platform picks that for each
    consumer; None where nobody picked.
    """

    slot: int
    ad: int
    advertiser: str
    bid_micros: int
    price_micros: int
    pctr: float
    pcvr: float
    multiplier: float
    score: float
    why: str
    creative: int | None = None
    content: str | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """The page: slots from the top, what decided, which stages fell back, and how long each took.

    ``id`` names the page in events: ``"DAY.REQUEST"``. ``policy`` is ``"NAME@VERSION"``. ``fallbacks`` are names such as
    ``"predict:last_known"``; empty where every stage ran. ``stage_ms`` is empty unless asked for.
    """

    id: str
    request: int
    day: int
    tick: int
    scenario: str
    policy: str
    slots: tuple[Slot, ...]
    fallbacks: tuple[str, ...] = ()
    stage_ms: dict[str, float] = {}


class Event(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that happened to a slot of a page that was answered.

    ``id`` makes it idempotent: the same event again is answered ``duplicate`` and changes nothing; an id that was used for
    another slot or kind is ``refused``, and ids must not begin with ``tribid:``. ``decision`` is the page's ``id``.
    ``time_ms`` is when it happened (Unix milliseconds; now where it is left out).
    """

    id: Name
    kind: Literal["impression", "click", "conversion"]
    decision: Name
    slot: Annotated[int, Meta(ge=0, lt=100)]
    time_ms: Annotated[int, Meta(ge=0, lt=2**53)] | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """What became of an event; ``charged_micros`` is what its advertiser paid for it.

    ``accepted``: counted, once. ``duplicate``: this id, or this kind for this slot, was counted before. ``expired``: came
    after the page's hold ended; refused, nothing is charged. ``unknown``: no such page or slot. ``refused``: the page was
    answered, but not for this, or the id was used for another event (``why`` says what is allowed).
    """

    id: str
    status: Literal["accepted", "duplicate", "expired", "unknown", "refused"]
    charged_micros: int = 0
    why: str = ""


_REQUEST = JsonDecoder(Request)


def decode_request(content: str | bytes) -> Request:
    """A request from JSON; ``ValueError`` names the field and what is allowed."""
    try:
        return _REQUEST.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"request: {error}") from None
