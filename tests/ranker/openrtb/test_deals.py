"""Deals: their own floors, seats and domains; private auctions; one imp may get a bid for each deal and one in the open."""

from decimal import Decimal

import pytest

from tests.ranker.openrtb.house import NAMES, ask, config_of, imp, in_house, read
from tribid.ranker.messages import Slot
from tribid.ranker.openrtb.bidding import offers
from tribid.ranker.openrtb.validate import check_bid_response

SLOT = Slot(
    slot=0, ad=2, advertiser="adv_02", bid_micros=900_000, price_micros=500_000, pctr=0.125, pcvr=0.1, multiplier=1.0,
    score=1.0, why="",
)  # fmt: skip
WORTH = Decimal("62.500000")
CONFIG = config_of(
    advertisers={"adv_02": {"deals": ["spring", "second"]}},
    seats={"adv_02": "north"},
    currencies={"USD": "1", "EUR": "0.5"},
)


def _offered(pmp, currency="USD", **place):
    """(price, deal's id or None) of each bid for an imp."""

    async def use(house):
        asked = read(ask("a", imp(pmp=pmp, **place))).imp[0]
        found = offers(house.bidder.desk, currency, asked, SLOT)
        return [(offer.price, None if offer.deal is None else offer.deal.id) for offer in found]

    return in_house(use, config=CONFIG)


OPEN = (WORTH, None)
DEAL = (WORTH, "spring")


@pytest.mark.parametrize(
    ("deal", "found"),
    [
        ({}, [DEAL, OPEN]),
        ({"bidfloor": 62.5}, [DEAL, OPEN]),
        ({"bidfloor": 62.500001}, [OPEN]),
        ({"bidfloor": 31.25, "bidfloorcur": "EUR"}, [DEAL, OPEN]),
        ({"bidfloor": 31.250001, "bidfloorcur": "EUR"}, [OPEN]),
        ({"bidfloor": 1, "bidfloorcur": "JPY"}, [OPEN]),
        ({"wseat": ["north"]}, [DEAL, OPEN]),
        ({"wseat": ["south"]}, [OPEN]),
        ({"wadomain": ["adv-02.example"]}, [DEAL, OPEN]),
        ({"wadomain": ["adv-03.example"]}, [OPEN]),
        ({"id": "unknown"}, [OPEN]),
        ({"at": 1}, [DEAL, OPEN]),
        ({"at": 3, "bidfloor": 40}, [(Decimal("40.0"), "spring"), OPEN]),
        ({"at": 3, "bidfloor": 62.500001}, [OPEN]),
        ({"at": 3, "bidfloor": 20, "bidfloorcur": "EUR"}, [OPEN]),
        ({"at": 777}, [OPEN]),
    ],
    ids=str,
)
def test_a_deal_is_used_where_its_own_terms_are_met(deal, found):
    assert _offered({"deals": [{"id": "spring", **deal}]}) == found


def test_a_deals_floor_is_in_dollars_unless_it_says_so_whatever_the_imps_is():
    deals = {"deals": [{"id": "spring", "bidfloor": 40}]}
    assert _offered(deals, "EUR", bidfloor=1, bidfloorcur="EUR") == [(WORTH / 2, "spring"), (WORTH / 2, None)]
    assert _offered({"deals": [{"id": "spring", "bidfloor": 63}]}, "EUR", bidfloorcur="EUR") == [(WORTH / 2, None)]


def test_every_deal_that_can_be_used_gets_a_bid():
    deals = {"deals": [{"id": "second"}, {"id": "spring"}, {"id": "unknown"}]}
    assert _offered(deals) == [(WORTH, "second"), (WORTH, "spring"), OPEN]


def test_a_private_auction_gets_bids_for_its_deals_only():
    assert _offered({"private_auction": 1, "deals": [{"id": "spring"}]}) == [DEAL]
    assert _offered({"private_auction": 1, "deals": [{"id": "unknown"}]}) == []
    assert _offered({"private_auction": 1}) == []


def test_the_imps_floor_does_not_bind_its_deals():
    assert _offered({"deals": [{"id": "spring"}]}, bidfloor=1e6) == [DEAL]


def test_in_a_private_auction_only_advertisers_with_a_deal_compete():
    async def use(house):
        request = ask("a", imp(pmp={"private_auction": 1, "deals": [{"id": "spring"}]}))
        response = await house.bid(request)
        assert [offer.advertiser for offer in house.front.ranked[0].candidates] == ["adv_02"]
        assert [bid.dealid for seat in response.seatbid for bid in seat.bid] == ["spring"]
        assert [seat.seat for seat in response.seatbid] == ["north"]
        assert check_bid_response(read(request), response) == []

    in_house(use, config=CONFIG)


def test_a_slots_money_stays_held_until_all_its_bids_are_lost():
    config = config_of(advertisers={name: {"deals": ["spring"]} for name in NAMES})

    async def use(house):
        before = house.free
        response = await house.bid(ask("a", imp(pmp={"deals": [{"id": "spring"}]})))
        deal, in_the_open = (bid for seat in response.seatbid for bid in seat.bid)
        assert (deal.dealid, in_the_open.dealid, deal.impid, in_the_open.impid) == ("spring", "", "1", "1")
        held = house.free
        for _ in range(2):
            assert (await house.call(deal.lurl)).status_code == 204
            assert house.free == held < before
        assert (await house.call(in_the_open.lurl)).status_code == 204
        assert house.free == before

    in_house(use, config=config)
