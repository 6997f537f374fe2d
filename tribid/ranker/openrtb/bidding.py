"""From a decided page to a bid response: pure, no clock, no chance, no ledger.

The imps that can be bid for (banners and native ads, for one user each), in their order, are the page's slots from the top;
what there is more of either stays unanswered. The price is what a
thousand of the exchange's billed impressions earn, rounded down: the slot's price per click times the predicted click
rate, or the slot's price itself where the scenario charges by impression. A slot is bid for once in the open auction and
once for each deal that its advertiser may use; the exchange picks one of them.
"""

from collections.abc import Container
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec

from tribid.envs.scenario import Rules
from tribid.ranker.messages import Decision, Slot
from tribid.ranker.openrtb.config import BidderConfig
from tribid.ranker.openrtb.cpm import earned_per_mille, exact, in_currency, meets_floor
from tribid.ranker.openrtb.markup import markup_of
from tribid.ranker.openrtb.messages import Bid, BidRequest, BidResponse, Deal, Imp, SeatBid
from tribid.ranker.openrtb.roster import Roster, is_place
from tribid.ranker.openrtb.tickets import Kind, Signer, Ticket, auction_digest, notice_url

DEAL_PRICE = 3
"""The auction type in which a deal's floor is its price."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What bids are made with; ``exp_s`` is how long the money of a bid is held, in seconds; ``url`` is where it is told
    of, without a slash at its end.
    """

    config: BidderConfig
    roster: Roster
    rules: Rules
    signer: Signer
    exp_s: int
    url: str


class Offered(NamedTuple):
    """What an advertiser offers for an imp: per mille in the response's currency, under a deal or (None) in the open."""

    price: Decimal
    deal: Deal | None


class Answered(NamedTuple):
    """The response, or None where no slot is bid for; ``slots`` are those that are, whose money must stay held."""

    response: BidResponse | None
    slots: tuple[int, ...]


def places(request: BidRequest) -> list[Imp]:
    """The imps that can be bid for, in the order of the page."""
    return [imp for imp in request.imp if is_place(imp)]


def currency_of(config: BidderConfig, request: BidRequest) -> str | None:
    """The currency to bid in: the first of the request's that the config has; US dollars where the request names none."""
    return next((currency for currency in request.cur or ("USD",) if currency in config.rates), None)


def value_micros(desk: Desk, slot: Slot) -> int:
    """What a thousand billed impressions of a decided slot earn, in micros of the scenario's money, rounded down."""
    if desk.rules.charge == "impression":
        return earned_per_mille(slot.price_micros, 1.0)
    if desk.config.billed_on == "exposure":
        return earned_per_mille(slot.price_micros, slot.pctr)
    seen, clicked = exact(desk.rules.slot_effects[slot.slot]), Fraction(slot.pctr)
    return int(slot.price_micros * 1_000 * seen * clicked)


def offers(desk: Desk, currency: str, imp: Imp, slot: Slot) -> list[Offered]:
    """What the slot's advertiser offers for the imp, deals first; none where no floor is met or it does not fit."""
    if not desk.roster.fits(slot.ad, imp):
        return []
    rates, found = desk.config.rates, list[Offered]()
    rate = rates[currency]
    price = in_currency(value_micros(desk, slot), rate)
    if price <= 0:
        return []
    for deal in desk.roster.deals(slot.ad, imp):
        if not meets_floor(price, rate, deal.bidfloor, rates.get(deal.bidfloorcur)):
            continue
        if deal.at is None or deal.at in desk.config.auction_types:
            found.append(Offered(price, deal))
        elif deal.at == DEAL_PRICE and deal.bidfloorcur == currency and deal.bidfloor > 0:
            found.append(Offered(Decimal(repr(deal.bidfloor)), deal))
    is_private = imp.pmp is not None and imp.pmp.private_auction == 1
    if not is_private and meets_floor(price, rate, imp.bidfloor, rates.get(imp.bidfloorcur)):
        found.append(Offered(price, None))
    return found


def pairs(request: BidRequest, decision: Decision) -> list[tuple[Slot, Imp]]:
    """The page's slots beside the imps that they fill."""
    offered = places(request)
    return [(slot, offered[slot.slot]) for slot in decision.slots if slot.slot < len(offered)]


def answer(
    desk: Desk, request: BidRequest, decision: Decision, allowed: Container[int], currency: str, expires_ms: int
) -> Answered:
    """Bids for a decided page, of the advertisers ``allowed``; ``expires_ms`` is when the page's money is let go."""
    seats: dict[str, list[Bid]] = {}
    kept = []
    for slot, imp in pairs(request, decision):
        bids = _bids(desk, request, imp, decision, slot, currency, expires_ms) if slot.ad in allowed else []
        if bids:
            kept.append(slot.slot)
            seats.setdefault(desk.roster.seats[slot.ad], []).extend(bids)
    if not kept:
        return Answered(None, ())
    seatbid = tuple(SeatBid(tuple(bids), seat) for seat, bids in seats.items())
    return Answered(BidResponse(request.id, seatbid, bidid=decision.id, cur=currency), tuple(kept))


def _bids(
    desk: Desk, request: BidRequest, imp: Imp, decision: Decision, slot: Slot, currency: str, expires_ms: int
) -> list[Bid]:
    buyer = desk.roster.buyers[slot.ad]
    offered = offers(desk, currency, imp, slot)
    made = []
    for place, (price, deal) in enumerate(offered):
        ticket = Ticket(
            decision=decision.id, slot=slot.slot, bid=place, bids=len(offered), ad=slot.ad, price=str(price),
            currency=currency, auction=auction_digest(request.id), expires_ms=expires_ms, test=request.test == 1,
        )  # fmt: skip
        urls = _urls(desk, request.id, ticket)
        markup = markup_of(imp, slot.advertiser, buyer, urls["click"])
        if markup is None:
            return []
        creative = buyer.crid if slot.creative is None else f"{buyer.crid}-{slot.creative}"
        made.append(
            Bid(
                id=f"{ticket.hold}.{place}", impid=imp.id, price=price,
                nurl=urls["win"], burl=urls["billing"], lurl=urls["loss"], mtype=markup[0], adm=markup[1],
                adid=creative, crid=creative, cid=buyer.cid, adomain=buyer.adomain, bundle=buyer.bundle or "",
                cat=buyer.cat, cattax=buyer.cattax, attr=buyer.attr, language=buyer.language or "",
                dealid="" if deal is None else deal.id, w=buyer.w, h=buyer.h, exp=desk.exp_s,
            )
        )  # fmt: skip
    return made


def _urls(desk: Desk, auction_id: str, ticket: Ticket) -> dict[Kind, str]:
    """The bid's URLs; that of the click, which browsers see, does not tell the price."""
    silent = msgspec.structs.replace(ticket, price="")
    told: dict[Kind, Ticket] = {"win": ticket, "billing": ticket, "loss": ticket, "click": silent}
    return {kind: notice_url(desk.url, kind, desk.signer.token(kind, t), auction_id) for kind, t in told.items()}
