"""The small exchange gives the specification's own figures, and a bidder's notices work through it."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ranker.openrtb.house import ask, imp, in_house
from tribid.ranker.openrtb.exchange import (
    BELOW_FLOOR,
    FIRST_PRICE,
    INVALID,
    LOST_TO_HIGHER,
    SECOND_PRICE,
    WON,
    clear,
    discounted,
    fill_in,
)

D = Decimal
BIDS = [D("1.00"), D("0.90"), D("0.80"), None]


@pytest.mark.parametrize(
    ("at", "price", "min_to_win"),
    [(FIRST_PRICE, "1.00", ["0.90", "1.00", "1.00"]), (SECOND_PRICE, "0.91", ["0.90", "0.91", "0.91"])],
    ids=["first price", "second price plus"],
)
def test_the_specifications_tables_of_the_least_price_to_win(at, price, min_to_win):
    told = clear(BIDS, D("0.85"), at=at)  # OpenRTB 2.6, 4.4.1: floor 0.85; bids 1.00, 0.90, 0.80 and an invalid one
    assert [one.price for one in told] == [D(price), None, None, None]
    assert [one.min_to_win for one in told] == [*map(D, min_to_win), None]
    assert [one.loss for one in told] == [WON, LOST_TO_HIGHER, BELOW_FLOOR, INVALID]


def test_the_specifications_example_of_a_discount():
    assert discounted(D("10"), D("20")) == (D("8.0"), D("20.0"), D("2.0"))  # OpenRTB 2.6, 7.16


def test_a_sole_bid_above_the_floor_wins_at_the_floor():
    assert clear([D("2")], D("0.5"))[0] == (WON, D("0.5"), D("0.5"))
    assert clear([D("2")], D("0.5"), at=FIRST_PRICE)[0] == (WON, D("2"), D("0.5"))


def test_without_a_bid_that_reaches_the_floor_nobody_wins():
    assert [one.loss for one in clear([D("0.1"), None], D("0.5"))] == [BELOW_FLOOR, INVALID]
    assert clear([], D("0.5")) == []


@given(
    st.lists(st.none() | st.decimals(0, 100, places=2), max_size=6),
    st.decimals(0, 50, places=2),
    st.sampled_from([FIRST_PRICE, SECOND_PRICE]),
)
def test_the_winner_bids_highest_and_pays_from_the_floor_to_its_bid(bids, floor, at):
    told = clear(bids, floor, at=at)
    winners = [b for b, one in enumerate(told) if one.loss == WON]
    valid = [bid for bid in bids if bid is not None and bid >= floor]
    assert len(winners) == (1 if valid else 0)
    for b in winners:
        assert bids[b] == max(valid)
        assert floor <= told[b].min_to_win <= bids[b]
        assert floor <= told[b].price <= bids[b]


def test_an_unknown_auction_type_is_refused():
    with pytest.raises(ValueError, match="at is 3"):
        clear([D(1)], D(0), at=3)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${AUCTION_PRICE}", "0.91"),
        ("a${AUCTION_PRICE}b${AUCTION_PRICE}", "a0.91b0.91"),
        ("x=${AUCTION_SEAT_ID}&y", "x=&y"),
        ("${OTHER} ${AUCTION_PRICE", "${OTHER} ${AUCTION_PRICE"),
    ],
)
def test_macros_are_filled_in_and_those_without_a_value_emptied(text, filled):
    assert fill_in(text, {"AUCTION_PRICE": D("0.91")}) == filled


def test_a_bid_goes_through_an_exchange_from_auction_to_billing():
    async def use(house):
        response = await house.bid(ask("a", imp("1"), imp("2")))
        before = house.free
        for bid in (bid for seat in response.seatbid for bid in seat.bid):
            rival = bid.price / 2 if bid.impid == "1" else bid.price * 2
            ours, _ = clear([bid.price, rival], D("0.01"))
            macros = {
                "AUCTION_ID": "a", "AUCTION_CURRENCY": "USD", "AUCTION_PRICE": ours.price,
                "AUCTION_LOSS": ours.loss, "AUCTION_MIN_TO_WIN": ours.min_to_win, "AUCTION_MULTIPLIER": 1,
            }  # fmt: skip
            urls = (bid.nurl, bid.burl) if ours.loss == WON else (bid.lurl,)
            for url in urls:
                assert (await house.call(fill_in(url, macros))).status_code == 204
        counts = house.bidder.notices.counts
        assert (counts["win"], counts["billing"], counts["loss.102"]) == (1, 1, 1)
        won = response.seatbid[0].bid[0].price
        assert counts["cost_micros.USD"] == math.ceil((won / 2 + D("0.01")) * 1000)
        return before, house.free

    before, after = in_house(use)
    assert after > before  # the lost slot's money came back
