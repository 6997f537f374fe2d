"""The parts of OpenRTB 2.6 that are read and written, under the specification's own names.

Unknown fields and values are passed over, as section 2.6 of the specification demands; fields that are read and have a
wrong type are refused with their path (``$.imp[0].bidfloor``). Personal data is read only where bidding needs it.

Amounts of money come as JSON numbers; ``Decimal(repr(...))`` of one is exact (see ``tribid.ranker.openrtb.cpm``), and go
out as ``Decimal``. Booleans are the specification's 0 and 1.
"""

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_IMPS = 100

Amount = Annotated[float, Meta(ge=0, le=1e9)]
Flag = Annotated[int, Meta(ge=0, le=1)]
Identifier = Annotated[str, Meta(min_length=1, max_length=1_000)]
Names = Annotated[tuple[str, ...], Meta(max_length=100_000)]
Codes = Annotated[tuple[int, ...], Meta(max_length=1_000)]


class Format(Struct, frozen=True):
    """A size that a banner may have, in device-independent pixels."""

    w: int | None = None
    h: int | None = None


class Banner(Struct, frozen=True):
    """A banner's place: sizes (none: any), blocked creative attributes, accepted content types (none: any)."""

    format: Annotated[tuple[Format, ...], Meta(max_length=1_000)] = ()
    w: int | None = None
    h: int | None = None
    battr: Codes = ()
    mimes: Annotated[tuple[str, ...], Meta(max_length=1_000)] = ()


class Native(Struct, frozen=True):
    """A native ad's place; ``request`` is a Native Ad Specification payload, read only to make the ad (``markup``)."""

    request: str
    ver: str = ""
    battr: Codes = ()


class Timed(Struct, frozen=True):
    """A video's or an audio's place; nothing of it is bid for, so only what a validator needs is read."""

    battr: Codes = ()


class Deal(Struct, frozen=True):
    """A deal struck ahead; ``bidfloorcur`` is the deal's own, never the imp's. ``at`` 3: the floor is the price."""

    id: Identifier
    bidfloor: Amount = 0.0
    bidfloorcur: str = "USD"
    at: int | None = None
    wseat: Names = ()
    wadomain: Names = ()


class Pmp(Struct, frozen=True):
    """Deals of an imp; with ``private_auction`` 1 only bids for a deal are accepted."""

    private_auction: Flag = 0
    deals: Annotated[tuple[Deal, ...], Meta(max_length=1_000)] = ()


class Qty(Struct, frozen=True):
    """How many people see the imp (digital out of home)."""

    multiplier: Annotated[float, Meta(gt=0, le=1e9)] = 1.0


class Imp(Struct, frozen=True):
    """An impression on offer; ``bidfloor`` is per mille, in ``bidfloorcur``."""

    id: Identifier
    banner: Banner | None = None
    video: Timed | None = None
    audio: Timed | None = None
    native: Native | None = None
    pmp: Pmp | None = None
    bidfloor: Amount = 0.0
    bidfloorcur: str = "USD"
    secure: Flag | None = None
    exp: Annotated[int, Meta(ge=0)] | None = None
    qty: Qty | None = None


class Publication(Struct, frozen=True):
    """A site, an app or a screen (``dooh``): only that there is one is read."""

    id: str = ""


class Device(Struct, frozen=True):
    """The device; ``ifa`` names it to advertisers, unless ``dnt`` or ``lmt`` forbids that."""

    ifa: str = ""
    dnt: int = 0
    lmt: int = 0


class User(Struct, frozen=True):
    """The user under the exchange's (``id``) and the buyer's (``buyeruid``) names; ``consent`` is the TCF's string."""

    id: str = ""
    buyeruid: str = ""
    consent: str = ""


class Regs(Struct, frozen=True):
    """Regulations that hold for this request."""

    coppa: int = 0
    gdpr: int | None = None


class BidRequest(Struct, frozen=True):
    """One page on offer. At most one of ``site``, ``app``, ``dooh``; of ``wseat``, ``bseat``; of ``acat``, ``bcat``."""

    id: Identifier
    imp: Annotated[tuple[Imp, ...], Meta(min_length=1, max_length=MAX_IMPS)]
    site: Publication | None = None
    app: Publication | None = None
    dooh: Publication | None = None
    device: Device | None = None
    user: User | None = None
    regs: Regs | None = None
    test: Flag = 0
    at: int = 2
    tmax: Annotated[int, Meta(ge=-(2**31), lt=2**31)] | None = None
    wseat: Names = ()
    bseat: Names = ()
    cur: Annotated[tuple[str, ...], Meta(max_length=1_000)] = ()
    wlang: Names = ()
    wlangb: Names = ()
    acat: Names = ()
    bcat: Names = ()
    cattax: int = 1
    badv: Names = ()
    bapp: Names = ()


class Bid(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An offer for one imp; ``price`` is per mille. ``mtype``: 1 banner, 2 video, 3 audio, 4 native."""

    id: str
    impid: str
    price: Decimal
    nurl: str = ""
    burl: str = ""
    lurl: str = ""
    adm: str = ""
    adid: str = ""
    adomain: tuple[str, ...] = ()
    bundle: str = ""
    cid: str = ""
    crid: str = ""
    cat: tuple[str, ...] = ()
    cattax: int = 1
    attr: tuple[int, ...] = ()
    language: str = ""
    langb: str = ""
    dealid: str = ""
    w: int | None = None
    h: int | None = None
    exp: int | None = None
    mtype: int | None = None


class SeatBid(Struct, frozen=True, omit_defaults=True):
    """The bids of one buyer's seat; ``group`` 1 would tie them together, which is never asked for."""

    bid: tuple[Bid, ...]
    seat: str = ""
    group: int = 0


class BidResponse(Struct, frozen=True, omit_defaults=True):
    """The answer; without ``seatbid`` it is a no-bid, and ``nbr`` may say why. ``cur`` holds for every price."""

    id: str
    seatbid: tuple[SeatBid, ...] = ()
    bidid: str = ""
    cur: str = "USD"
    nbr: int | None = None


class _PricedBid(Struct, frozen=True):
    price: float


class _PricedSeat(Struct, frozen=True):
    bid: tuple[_PricedBid, ...]


class _Priced(Struct, frozen=True):
    """A response's prices as numbers: a ``Decimal`` would be read from a string, too, and the specification has none."""

    seatbid: tuple[_PricedSeat, ...] = ()


_requests = msgspec.json.Decoder(BidRequest)
_responses = msgspec.json.Decoder(BidResponse)
_prices = msgspec.json.Decoder(_Priced)
_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_bid_request(content: bytes | str) -> BidRequest:
    """A bid request from JSON; ``ValueError`` names the field and what is allowed, and repeats no value."""
    try:
        return _requests.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"bid request: {error}") from None


def decode_bid_response(content: bytes | str) -> BidResponse:
    """A bid response from JSON; ``ValueError`` names the field and what is allowed."""
    try:
        _prices.decode(content)
        return _responses.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"bid response: {error}") from None


def encode_bid_response(response: BidResponse) -> bytes:
    """JSON; prices are plain numbers with as many digits as they have.

    >>> encode_bid_response(BidResponse("7", (SeatBid((Bid(id="a", impid="1", price=Decimal("1.25")),)),)))
    b'{"id":"7","seatbid":[{"bid":[{"id":"a","impid":"1","price":1.25}]}]}'
    """
    return _encoder.encode(response)
