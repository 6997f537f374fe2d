"""Faults put into the bidder on purpose are found by the validator: the property over random requests can fail."""

import pytest

from tests.ranker.openrtb.house import NAMES, ask, config_of, imp, in_house, read
from tribid.ranker.openrtb import bidder, bidding
from tribid.ranker.openrtb.roster import Roster
from tribid.ranker.openrtb.validate import check_bid_response

CONFIG = config_of(
    advertisers={name: {"cat": ["IAB2"], "attr": [4], "deals": ["spring"], "w": 300, "h": 250} for name in NAMES}
)
ANY = frozenset(range(len(NAMES)))


def _all_deals(self, ad, place):
    return [] if place.pmp is None else list(place.pmp.deals)


@pytest.mark.parametrize(
    ("owner", "name", "fault", "request_", "told"),
    [
        (bidding, "meets_floor", lambda *_: True, ask("a", imp(bidfloor=1e6)), "allowed is from bidfloor on"),
        (bidding, "in_currency", lambda *_: bidding.Decimal(-1), ask("a"), None),
        (bidder, "currency_of", lambda *_: "USD", ask("a", cur=["EUR"]), "cur is 'USD'"),
        (Roster, "allowed", lambda *_: ANY, ask("a", badv=["example"]), "is blocked by badv"),
        (Roster, "allowed", lambda *_: ANY, ask("a", bcat=["IAB2"]), "is blocked by bcat"),
        (Roster, "allowed", lambda *_: ANY, ask("a", acat=["IAB9"]), "only what acat lists"),
        (Roster, "allowed", lambda *_: ANY, ask("a", wseat=["other"]), "allowed is one of wseat"),
        (Roster, "allowed", lambda *_: ANY, ask("a", bseat=["tribid"]), "which bseat blocks"),
        (Roster, "fits", lambda *_: True, ask("a", imp(banner={"battr": [4]})), "attr 4 is blocked"),
        (Roster, "fits", lambda *_: True, ask("a", imp(banner={"w": 1, "h": 1})), "which is no size"),
        (Roster, "fits", lambda *_: True, ask("a", imp(secure=1)), "adm loads over http"),
        (Roster, "deals", _all_deals, ask("a", imp(pmp={"deals": [{"id": "spring", "wseat": ["x"]}]})), "is x"),
        (Roster, "deals", _all_deals, ask("a", imp(pmp={"deals": [{"id": "d", "wadomain": ["x"]}]})), "is x"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_the_bidder_breaks_is_found(monkeypatch, owner, name, fault, request_, told):
    async def use(house):
        unbroken = await house.post(request_)
        assert check_bid_response(read(request_), unbroken.content) == []
        monkeypatch.setattr(owner, name, fault)
        broken = await house.post({**request_, "id": "b"})
        found = check_bid_response(read({**request_, "id": "b"}), broken.content)
        if told is None:
            assert (broken.status_code, found) == (204, [])  # a price that cannot be is never sent
        else:
            assert any(told in problem for problem in found), (broken.status_code, found)

    in_house(use, config=CONFIG)
