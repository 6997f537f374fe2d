"""``check_bid_response``: everything that OpenRTB 2.6 asks of a bid response and that can be checked from outside.

It works from the request and the response alone, shares no code with the bidder but the message types and the meaning of
blocked domains and categories, and takes anybody's responses. google/openrtb's validator checks imp ids, blocked
advertisers and blocked attributes; this one also checks prices, floors, currencies, seats, deals, categories, formats,
languages, notices and no-bids.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from urllib.parse import urlsplit

from tribid.ranker.openrtb.cpm import exact
from tribid.ranker.openrtb.messages import (
    Bid,
    BidRequest,
    BidResponse,
    Deal,
    Imp,
    SeatBid,
    decode_bid_request,
    decode_bid_response,
)
from tribid.ranker.openrtb.roster import (
    are_categories_allowed,
    are_domains_allowed,
    categories_over,
    domains_over,
    is_size_allowed,
)

MACROS = frozenset(
    {
        "AUCTION_ID",
        "AUCTION_BID_ID",
        "AUCTION_IMP_ID",
        "AUCTION_SEAT_ID",
        "AUCTION_AD_ID",
        "AUCTION_PRICE",
        "AUCTION_CURRENCY",
        "AUCTION_MBR",
        "AUCTION_LOSS",
        "AUCTION_MIN_TO_WIN",
        "AUCTION_MULTIPLIER",
        "AUCTION_IMP_TS",
        "AUCTION_DISCOUNT_PCT",
        "AUCTION_DISCOUNT_CPM",
    }
)
"""What exchanges fill in, by section 4.4 and the discounts of section 7.16."""
_MACRO = re.compile(r"\$\{(AUCTION[^}:]*)(?::[^}]*)?\}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MEDIA = {1: "banner", 2: "video", 3: "audio", 4: "native"}
_NO_BID_REASONS = frozenset(range(18))


def check_bid_response(
    request: BidRequest | bytes | str,
    response: BidResponse | bytes | str,
    *,
    rates: Mapping[str, Decimal] | None = None,
    elapsed_ms: float | None = None,
) -> list[str]:
    """Everything that is wrong with a response to a request; empty where nothing is.

    ``rates`` (what one unit of some money is worth in each currency) lets floors in other currencies be compared; without
    it they are passed over. ``elapsed_ms`` is how long the answer took, as the exchange saw it. A response that is no
    JSON of the right types is one problem; a request that is not is a ``ValueError``. An empty content or ``{}`` is a
    no-bid, and right.

    >>> check_bid_response('{"id": "1", "imp": [{"id": "a"}]}', '{"id": "2"}')
    ["id is '2'; allowed is the request's, '1'"]
    """
    asked = request if isinstance(request, BidRequest) else decode_bid_request(request)
    try:
        told = _response(response)
    except ValueError as error:
        return [str(error)]
    if told is None:
        return []
    found = list(_check_whole(asked, told, elapsed_ms))
    seen: set[str] = set()
    for s, seat in enumerate(told.seatbid):
        where = f"seatbid[{s}]"
        found += [f"{where}: {problem}" for problem in _check_seat(asked, seat)]
        for b, bid in enumerate(seat.bid):
            problems = [
                *_check_bid(asked, told, seat, bid, rates),
                *(["its id stands twice"] if bid.id in seen else []),
            ]
            found += [f"{where}.bid[{b}]: {problem}" for problem in problems]
            seen.add(bid.id)
    return found


def _response(response: BidResponse | bytes | str) -> BidResponse | None:
    if isinstance(response, BidResponse):
        return response
    content = response.encode() if isinstance(response, str) else response
    return None if content.strip() in (b"", b"{}") else decode_bid_response(content)


def _check_whole(request: BidRequest, response: BidResponse, elapsed_ms: float | None) -> Iterator[str]:
    if response.id != request.id:
        yield f"id is {response.id!r}; allowed is the request's, {request.id!r}"
    if response.seatbid:
        allowed = request.cur or ("USD",)
        if not _CURRENCY.fullmatch(response.cur):
            yield f"cur is {response.cur!r}; allowed is an ISO-4217 code such as 'USD'"
        elif response.cur not in allowed:
            yield f"cur is {response.cur!r}; allowed is {', '.join(allowed)}"
        if response.nbr is not None:
            yield f"nbr is {response.nbr} beside bids; a reason for not bidding is allowed only without any"
        if elapsed_ms is not None and request.tmax is not None and elapsed_ms > request.tmax:
            yield f"the answer took {elapsed_ms:g} ms; allowed is tmax, {request.tmax} ms with the network"
    elif response.nbr is not None and response.nbr not in _NO_BID_REASONS and response.nbr < 500:
        yield f"nbr is {response.nbr}; allowed is 0 to 17, or an agreed code from 500 on"


def _check_seat(request: BidRequest, seat: SeatBid) -> Iterator[str]:
    if not seat.bid:
        yield "bid is empty; a seat has at least one bid"
    if seat.group not in (0, 1):
        yield f"group is {seat.group}; allowed is 0 or 1"
    if request.wseat and seat.seat not in request.wseat:
        yield f"seat is {seat.seat!r}; allowed is one of wseat, {', '.join(request.wseat[:10])}"
    if seat.seat in request.bseat:
        yield f"seat is {seat.seat!r}, which bseat blocks"


def _check_bid(
    request: BidRequest, response: BidResponse, seat: SeatBid, bid: Bid, rates: Mapping[str, Decimal] | None
) -> Iterator[str]:
    if not bid.id:
        yield "id is empty; a bid has one"
    imp = next((imp for imp in request.imp if imp.id == bid.impid), None)
    if imp is None:
        yield f"impid is {bid.impid!r}; allowed is {', '.join(repr(imp.id) for imp in request.imp[:10])}"
        return
    yield from _check_price(imp, response.cur, bid, rates)
    yield from _check_deal(imp, response.cur, seat, bid, rates)
    yield from _check_advertiser(request, bid)
    yield from _check_creative(request, imp, bid)
    yield from _check_notices(bid)


def _check_price(imp: Imp, currency: str, bid: Bid, rates: Mapping[str, Decimal] | None) -> Iterator[str]:
    if not _is_amount(bid.price) or (bid.price == 0 and not bid.dealid):
        yield f"price is {bid.price}; allowed is a number above 0 (0 for a deal)"
    elif not bid.dealid and _is_below(bid.price, currency, imp.bidfloor, imp.bidfloorcur, rates):
        yield f"price is {bid.price} {currency}; allowed is from bidfloor on, {imp.bidfloor} {imp.bidfloorcur}"


def _check_deal(imp: Imp, currency: str, seat: SeatBid, bid: Bid, rates: Mapping[str, Decimal] | None) -> Iterator[str]:
    deals = () if imp.pmp is None else imp.pmp.deals
    if not bid.dealid:
        if imp.pmp is not None and imp.pmp.private_auction:
            yield "dealid is missing; a private auction takes bids for its deals only"
        return
    deal = next((deal for deal in deals if deal.id == bid.dealid), None)
    if deal is None:
        yield f"dealid is {bid.dealid!r}; allowed is {', '.join(deal.id for deal in deals[:10]) or 'none'}"
        return
    yield from _check_terms(deal, currency, seat, bid, rates)


def _check_terms(
    deal: Deal, currency: str, seat: SeatBid, bid: Bid, rates: Mapping[str, Decimal] | None
) -> Iterator[str]:
    if not _is_amount(bid.price):
        return
    if _is_below(bid.price, currency, deal.bidfloor, deal.bidfloorcur, rates):
        yield f"price is {bid.price} {currency}; allowed is from the deal's floor on, {deal.bidfloor} {deal.bidfloorcur}"
    elif deal.at == 3 and deal.bidfloorcur == currency and Fraction(bid.price) != exact(deal.bidfloor):
        yield f"price is {bid.price}; allowed is the deal's agreed price, {deal.bidfloor}"
    if deal.wseat and seat.seat not in deal.wseat:
        yield f"seat is {seat.seat!r}; allowed for deal {deal.id!r} is {', '.join(deal.wseat[:10])}"
    if deal.wadomain and not (bid.adomain and are_domains_allowed(bid.adomain, deal.wadomain)):
        yield f"adomain is {list(bid.adomain)}; allowed for deal {deal.id!r} is {', '.join(deal.wadomain[:10])}"


def _check_advertiser(request: BidRequest, bid: Bid) -> Iterator[str]:
    blocked = {name.lower().strip(".") for name in request.badv}
    if blocked and not bid.adomain:
        yield "adomain is missing; badv blocks by it"
    for domain in bid.adomain:
        if not blocked.isdisjoint(domains_over(domain)):
            yield f"adomain {domain!r} is blocked by badv"
    if bid.bundle and bid.bundle in request.bapp:
        yield f"bundle {bid.bundle!r} is blocked by bapp"
    if bid.cat and (request.bcat or request.acat) and bid.cattax != request.cattax:
        yield f"cattax is {bid.cattax}; allowed is the request's, {request.cattax}, in which it blocks categories"
        return
    for category in bid.cat:
        if not set(request.bcat).isdisjoint(categories_over(category)):
            yield f"cat {category!r} is blocked by bcat"
    if request.acat and not are_categories_allowed(bid.cat, frozenset(request.acat)):
        yield f"cat is {list(bid.cat)}; allowed is only what acat lists"


def _check_creative(request: BidRequest, imp: Imp, bid: Bid) -> Iterator[str]:
    offered = [code for code, medium in _MEDIA.items() if getattr(imp, medium) is not None]
    if bid.mtype is not None and bid.mtype not in offered:
        yield f"mtype is {bid.mtype}; the imp offers {', '.join(_MEDIA[code] for code in offered) or 'nothing'}"
    kinds = [bid.mtype] if bid.mtype in offered else offered
    places = [getattr(imp, _MEDIA[kind]) for kind in kinds if kind is not None]
    blocked = set.intersection(*(set(place.battr) for place in places)) if places else set()
    for attribute in sorted(blocked.intersection(bid.attr)):
        yield f"attr {attribute} is blocked by battr"
    if kinds == [1] and imp.banner is not None and bid.w and not is_size_allowed(imp.banner, bid.w, bid.h):
        yield f"w and h are {bid.w} x {bid.h}, which is no size of the banner"
    if imp.secure == 1 and re.search(r"(?i)\bhttp:", bid.adm):
        yield "adm loads over http; the imp asks for https"
    if bid.language and bid.langb:
        yield "language and langb are both given; allowed is one of them"
    language = (bid.language or bid.langb.split("-")[0]).lower()
    listed = {name.lower() for name in (*request.wlang, *(tag.split("-")[0] for tag in request.wlangb))}
    if listed and language and language not in listed:
        yield f"language is {language!r}; allowed is {', '.join(sorted(listed)[:10])}"
    if bid.exp is not None and bid.exp <= 0:
        yield f"exp is {bid.exp}; allowed are seconds above 0"


def _check_notices(bid: Bid) -> Iterator[str]:
    for name, url in (("nurl", bid.nurl), ("burl", bid.burl), ("lurl", bid.lurl)):
        if url and not _is_web_address(url):
            yield f"{name} is no http or https URL"
    for name, text in (("nurl", bid.nurl), ("burl", bid.burl), ("lurl", bid.lurl), ("adm", bid.adm)):
        for macro in _MACRO.findall(text):
            if macro not in MACROS:
                yield f"{name} asks for ${{{macro}}}, which is no macro"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _is_amount(price: Decimal) -> bool:
    """Whether a price can be one: finite, not negative, below a billion, with at most 30 decimals."""
    digits = price.as_tuple().exponent
    return price.is_finite() and 0 <= price < 10**9 and isinstance(digits, int) and digits >= -30


def _is_below(
    price: Decimal, currency: str, floor: float, floor_currency: str, rates: Mapping[str, Decimal] | None
) -> bool:
    if currency == floor_currency:
        return Fraction(price) < exact(floor)
    if rates is None or currency not in rates or floor_currency not in rates:
        return False
    return Fraction(price) / Fraction(rates[currency]) < exact(floor) / Fraction(rates[floor_currency])
