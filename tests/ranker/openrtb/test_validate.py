"""check_bid_response finds each way in which a response can be wrong, and nothing in one that is right."""

import copy
import json
from decimal import Decimal

import pytest

from tribid.ranker.openrtb import check_bid_response

REQUEST = {
    "id": "r",
    "imp": [
        {
            "id": "1",
            "banner": {"w": 300, "h": 250, "format": [{"w": 320, "h": 50}], "battr": [3]},
            "bidfloor": 0.5,
            "secure": 1,
            "pmp": {
                "deals": [
                    {"id": "d1", "bidfloor": 2, "wseat": ["north"], "wadomain": ["shoes.example"]},
                    {"id": "d3", "bidfloor": 4, "at": 3},
                    {"id": "eur", "bidfloor": 2, "bidfloorcur": "EUR"},
                ]
            },
        },
        {"id": "2", "native": {"request": "{}"}, "video": {"battr": [5]}, "bidfloor": 1, "bidfloorcur": "EUR"},
        {"id": "3", "banner": {}, "pmp": {"private_auction": 1, "deals": [{"id": "d1"}]}},
    ],
    "cur": ["USD", "GBP"],
    "bseat": ["south"],
    "badv": ["Bad.example"],
    "bcat": ["IAB7"],
    "bapp": ["com.bad"],
    "wlang": ["en"],
    "tmax": 120,
}
BID = {
    "id": "b1", "impid": "1", "price": 1.25, "adomain": ["shoes.example"], "cat": ["IAB18-4"], "attr": [1], "w": 300,
    "h": 250, "mtype": 1, "nurl": "https://x.example/?p=${AUCTION_PRICE}&q=${AUCTION_PRICE:B64}",
    "burl": "https://x.example/", "lurl": "https://x.example/?l=${AUCTION_LOSS}", "adm": "<a href='https://x.example'>",
    "exp": 60, "language": "en", "crid": "c",
}  # fmt: skip
RESPONSE = {"id": "r", "seatbid": [{"seat": "north", "bid": [BID]}], "cur": "USD"}


def problems(bid=None, seat=None, whole=None, request=None, **options):
    told = copy.deepcopy(RESPONSE)
    told["seatbid"][0]["bid"][0] |= bid or {}
    told["seatbid"][0] |= seat or {}
    told |= whole or {}
    return check_bid_response(json.dumps(REQUEST | (request or {})), json.dumps(told), **options)


def test_a_right_response_has_no_problem():
    assert problems() == []
    assert problems({"dealid": "d1", "price": 2}) == []
    assert problems({"dealid": "d3", "price": 4}) == []
    assert problems({"dealid": "d1", "impid": "3", "price": 0}) == []


@pytest.mark.parametrize(
    "nothing",
    [
        b"",
        "",
        " {} ",
        b"{}",
        '{"id": "r"}',
        '{"id": "r", "seatbid": []}',
        '{"id": "r", "nbr": 15}',
        '{"id": "r", "nbr": 600}',
    ],
)
def test_every_form_of_a_no_bid_is_right(nothing):
    assert check_bid_response(json.dumps(REQUEST), nothing) == []


@pytest.mark.parametrize(
    ("bid", "told"),
    [
        ({"impid": "9"}, "impid is '9'; allowed is '1', '2', '3'"),
        ({"id": ""}, "id is empty"),
        ({"price": 0}, "price is 0"),
        ({"price": -1}, "price is -1"),
        ({"price": 1e300}, "price is 1"),
        ({"price": 0.499999}, r"price is 0.499999 USD; allowed is from bidfloor on, 0.5 USD"),
        ({"dealid": "d1", "price": 1.999999}, "from the deal's floor on"),
        ({"dealid": "d3", "price": 5}, "agreed price"),
        ({"dealid": "nope"}, "dealid is 'nope'; allowed is d1, d3, eur"),
        ({"impid": "3"}, "dealid is missing; a private auction"),
        ({"dealid": "d1", "price": 2, "adomain": ["hats.example"]}, "allowed for deal 'd1' is shoes.example"),
        ({"dealid": "d1", "price": 2, "adomain": []}, "allowed for deal 'd1' is shoes.example"),
        ({"adomain": ["bad.example"]}, "adomain 'bad.example' is blocked"),
        ({"adomain": ["shop.BAD.example"]}, "is blocked by badv"),
        ({"adomain": []}, "adomain is missing"),
        ({"bundle": "com.bad"}, "bundle 'com.bad' is blocked"),
        ({"cat": ["IAB7"]}, "cat 'IAB7' is blocked"),
        ({"cat": ["IAB7-3"]}, "cat 'IAB7-3' is blocked"),
        ({"cattax": 7}, "cattax is 7"),
        ({"attr": [1, 3]}, "attr 3 is blocked by battr"),
        ({"mtype": 2}, "mtype is 2; the imp offers banner"),
        ({"mtype": 9}, "mtype is 9"),
        ({"w": 728, "h": 90}, "728 x 90, which is no size"),
        ({"adm": "<img src='http://x.example/'>"}, "adm loads over http"),
        ({"language": "de"}, "language is 'de'; allowed is en"),
        ({"language": "", "langb": "de-AT"}, "language is 'de'"),
        ({"langb": "en-GB"}, "language and langb"),
        ({"exp": 0}, "exp is 0"),
        ({"nurl": "ftp://x.example"}, "nurl is no http or https URL"),
        ({"burl": "x.example"}, "burl is no http"),
        ({"lurl": "https://["}, "lurl is no http"),
        ({"nurl": "https://x.example/?${AUCTION_PRIZE}"}, r"AUCTION_PRIZE}, which is no macro"),
        ({"adm": "${AUCTION_WINNER}"}, "adm asks for"),
        ({"impid": "2", "mtype": 2, "attr": [5], "price": 3}, "attr 5 is blocked"),
    ],
    ids=str,
)
def test_each_wrong_bid_is_named_with_its_place(bid, told):
    found = problems(bid)
    assert any(told in problem for problem in found), found
    assert all(problem.startswith("seatbid[0].bid[0]: ") for problem in found)


@pytest.mark.parametrize(
    ("seat", "told"),
    [
        ({"seat": "south"}, "which bseat blocks"),
        ({"bid": []}, "bid is empty"),
        ({"group": 2}, "group is 2"),
        ({"bid": [BID, BID]}, "its id stands twice"),
        ({"seat": "other", "bid": [BID | {"dealid": "d1", "price": 2}]}, "allowed for deal 'd1' is north"),
    ],
    ids=str,
)
def test_each_wrong_seat_is_named(seat, told):
    assert any(told in problem for problem in problems(seat=seat))


@pytest.mark.parametrize(
    ("whole", "told"),
    [
        ({"id": "other"}, "id is 'other'; allowed is the request's, 'r'"),
        ({"cur": "EUR"}, "cur is 'EUR'; allowed is USD, GBP"),
        ({"cur": "usd"}, "ISO-4217"),
        ({"nbr": 2}, "nbr is 2 beside bids"),
        ({"seatbid": [], "nbr": 99}, "nbr is 99; allowed is 0 to 17"),
        ({"seatbid": [], "nbr": -1}, "nbr is -1"),
    ],
    ids=str,
)
def test_each_wrong_whole_is_named(whole, told):
    assert any(told in problem for problem in problems(whole=whole))


def test_dollars_are_meant_where_nobody_names_a_currency():
    request = {key: value for key, value in REQUEST.items() if key != "cur"}
    response = {key: value for key, value in RESPONSE.items() if key != "cur"}
    assert check_bid_response(json.dumps(request), json.dumps(response)) == []
    told = check_bid_response(json.dumps(request), json.dumps(response | {"cur": "GBP"}))
    assert told == ["cur is 'GBP'; allowed is USD"]


@pytest.mark.parametrize(
    ("lists", "bid", "told"),
    [
        ({"wseat": ["east"]}, {}, "seat is 'north'; allowed is one of wseat, east"),
        ({"acat": ["IAB2"], "bcat": []}, {}, "allowed is only what acat lists"),
        ({"acat": ["IAB2"], "bcat": []}, {"cat": []}, "allowed is only what acat lists"),
        ({"acat": ["IAB18"], "bcat": []}, {}, None),
        ({"wlang": [], "wlangb": ["de-CH"]}, {}, "language is 'en'"),
    ],
    ids=str,
)
def test_lists_of_what_is_allowed_are_checked(lists, bid, told):
    found = problems(bid, request=lists)
    assert found == [] if told is None else any(told in problem for problem in found)


def test_floors_in_other_currencies_are_checked_where_rates_are_known():
    bid = {"impid": "2", "price": 1.08, "mtype": 4}
    rates = {"USD": Decimal("1.1"), "EUR": Decimal(1)}
    assert problems(bid) == []
    assert any("bidfloor" in problem for problem in problems(bid, rates=rates))
    assert problems(bid | {"price": 1.1}, rates=rates) == []
    deal = {"dealid": "eur", "price": 2.1}
    assert problems(deal) == []
    assert any("deal's floor" in problem for problem in problems(deal, rates=rates))


def test_an_answer_slower_than_tmax_is_told():
    assert problems(elapsed_ms=120) == []
    assert any("allowed is tmax, 120 ms" in problem for problem in problems(elapsed_ms=121))


@pytest.mark.parametrize(
    "broken",
    [
        "[]", "{", '{"seatbid": []}', '{"id": 5}', '{"id": "r", "seatbid": [{}]}', "NaN", b"\xff\xfe", "[" * 100_000,
        '{"id": "r", "seatbid": [{"bid": [{"id": "b", "impid": "1"}]}]}',
        '{"id": "r", "seatbid": [{"bid": [{"id": "b", "impid": "1", "price": "1.25"}]}]}',
        '{"id": "r", "seatbid": [{"bid": [{"id": "b", "impid": "1", "price": 1e999999999}]}]}',
        '{"id": "r", "seatbid": [{"bid": [{"id": "b", "impid": "1", "price": NaN}]}]}',
        '{"id": "r", "seatbid": [{"bid": [{"id": "b", "impid": "1", "price": 1, "attr": "x"}]}]}',
    ],
    ids=lambda text: str(text[:60]),
)  # fmt: skip
def test_what_is_no_bid_response_is_one_problem(broken):
    (problem,) = check_bid_response(json.dumps(REQUEST), broken)
    assert problem.startswith("bid response: ")


def test_a_price_of_endless_decimals_costs_no_time():
    tiny = json.dumps(RESPONSE).replace('"price": 1.25', '"price": 1e-999999999')
    assert any("price is" in problem for problem in check_bid_response(json.dumps(REQUEST), tiny))


def test_a_request_that_is_none_is_the_callers_mistake():
    with pytest.raises(ValueError, match="bid request: "):
        check_bid_response("{}", "{}")


def test_unknown_fields_are_no_problem():
    assert problems({"ext": {"x": 1}, "novel": [1]}, {"ext": {}}, {"ext": {}, "customdata": "x"}) == []
