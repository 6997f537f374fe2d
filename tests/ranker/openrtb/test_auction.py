"""POST /openrtb2/auction: what a bid response must meet, point by point of the specification."""

import asyncio
import json
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.envs.test_shop import SMALL
from tests.ranker.openrtb.house import HOLD_MS, NAMES, ask, config_of, imp, in_house, read
from tribid.envs.platform import Platform
from tribid.envs.scenario import load_scenario
from tribid.ranker.messages import Request, Slot
from tribid.ranker.openrtb.bidding import offers
from tribid.ranker.openrtb.messages import decode_bid_response
from tribid.ranker.openrtb.validate import check_bid_response

TWO = (imp("first"), imp("second"))


def bids_of(response):
    return [bid for seat in response.seatbid for bid in seat.bid]


def test_a_response_answers_the_request_and_bids_for_each_imp_that_a_slot_fills():
    async def use(house):
        request = ask("a-1", *TWO)
        response = await house.bid(request)
        assert response.id == "a-1"
        assert [bid.impid for bid in bids_of(response)] == ["first", "second"]
        assert all(bid.id and bid.price > 0 for bid in bids_of(response))
        assert len({bid.id for bid in bids_of(response)}) == 2
        assert check_bid_response(read(request), response) == []

    in_house(use)


def test_the_bid_is_what_a_thousand_impressions_earn_never_more():
    async def use(house):
        response = await house.bid(ask("a", *TWO))
        page = await house.front.live.rank(house.front.ranked[0])
        for slot, bid in zip(page.slots, bids_of(response), strict=True):
            earned = Fraction(slot.pctr) * slot.price_micros * 1_000
            assert 0 <= earned - Fraction(bid.price) * 10**6 < 1
            assert bid.id.startswith(f"{page.id}.{slot.slot}.")
        assert response.bidid == page.id

    in_house(use)


def test_where_deliveries_are_billed_a_lower_slot_is_worth_its_effect_times_as_much():
    def prices(billed_on):
        async def use(house):
            return [bid.price for bid in bids_of(await house.bid(ask("a", *TWO)))]

        return in_house(use, config=config_of(billed_on=billed_on))

    seen, delivered = prices("exposure"), prices("delivery")
    assert delivered[0] == seen[0]
    assert 0 <= seen[1] * Decimal("0.6") - delivered[1] < Decimal("0.000002")  # the market's second slot has effect 0.6


def test_where_impressions_are_charged_the_bid_is_the_slots_own_price():
    scenario = load_scenario("tiny").with_changes(rules__charge="impression", rules__ocpc__strategy="off")

    async def use(house):
        response = await house.bid(ask("a", *TWO))
        page = await house.front.live.rank(house.front.ranked[0])
        assert [bid.price for bid in bids_of(response)] == [Decimal(s.price_micros) / 1_000 for s in page.slots]

    in_house(use, scenario)


def test_prices_are_plain_json_numbers_with_six_decimals_at_most():
    async def use(house):
        content = (await house.post(ask("a"))).content
        text = content.split(b'"price":')[1].split(b",")[0].decode()
        assert Decimal(text).as_tuple().exponent == -6 and "E" not in text

    in_house(use)


SLOT = Slot(
    slot=0, ad=2, advertiser="adv_02", bid_micros=900_000, price_micros=500_000, pctr=0.125, pcvr=0.1, multiplier=1.0,
    score=1.0, why="",
)  # fmt: skip
WORTH = Decimal("62.500000")  # 0.50 a click, one click in eight impressions


def _offers(place, currency="USD", **config):
    async def use(house):
        return [offer.price for offer in offers(house.bidder.desk, currency, read(ask("a", place)).imp[0], SLOT)]

    return in_house(use, config=config_of(**config))


@pytest.mark.parametrize(
    ("floor", "met"), [(62.5, True), (62.500001, False), (62.499999, True), (1e9, False), (0, True)]
)
def test_a_floor_is_met_to_the_last_micro_or_the_imp_is_not_bid_for(floor, met):
    assert _offers(imp(bidfloor=floor)) == [WORTH] * met


@pytest.mark.parametrize(
    ("floor", "currency", "met"),
    [(31.25, "EUR", True), (31.250001, "EUR", False), (0.01, "JPY", False), (0, "JPY", True)],
)
def test_a_floor_in_another_currency_counts_at_the_rate_and_an_unknown_one_is_never_met(floor, currency, met):
    place = imp(bidfloor=floor, bidfloorcur=currency)
    assert _offers(place, currencies={"USD": "1", "EUR": "0.5"}) == [WORTH] * met


def test_a_bid_in_another_currency_is_the_same_bid_at_the_rate():
    assert _offers(imp(), "EUR", currencies={"EUR": "0.5"}) == [WORTH / 2]
    assert _offers(imp(), "EUR", currencies={"EUR": "0.333333"}) == [Decimal("20.833312")]


def test_a_floor_keeps_one_imp_empty_and_lets_its_money_go():
    async def use(house):
        before = house.free
        response = await house.bid(ask("a", imp("dear", bidfloor=1e6), imp("cheap")))
        page = await house.front.live.rank(house.front.ranked[0])
        assert [bid.impid for bid in bids_of(response)] == ["cheap"]
        assert before - house.free == page.slots[1].price_micros

    in_house(use)


def test_the_currency_is_the_first_in_common_and_dollars_where_none_is_named():
    config = config_of(currencies={"EUR": "0.5", "USD": "1"})

    async def use(house):
        dollars, euros = await house.bid(ask("none")), await house.bid(ask("both", cur=["GBP", "EUR", "USD"]))
        assert (dollars.cur, euros.cur) == ("USD", "EUR")
        assert "currency" in await house.why(ask("strange", cur=["JPY"]))

    in_house(use, config=config)


def test_without_dollars_in_the_config_a_request_that_names_no_currency_gets_no_bid():
    async def use(house):
        assert "currency" in await house.why(ask("a"))

    in_house(use, config=config_of(currencies={"EUR": "1"}))


def _seats_config():
    return config_of(seats={name: ("north" if n < 3 else "south") for n, name in enumerate(NAMES)})


@pytest.mark.parametrize(
    ("lists", "seats"),
    [
        ({"wseat": ["north"]}, {"north"}),
        ({"bseat": ["north"]}, {"south"}),
        ({"wseat": ["south", "other"]}, {"south"}),
        ({"wseat": ["north", "south"], "bseat": ["south"]}, {"north"}),
    ],
)
def test_only_seats_that_are_allowed_bid(lists, seats):
    async def use(house):
        for n in range(8):
            response = await house.bid(ask(f"a{n}", *TWO, user={"id": str(n)}, **lists))
            assert {seat.seat for seat in response.seatbid} <= seats
            assert all(seat.bid for seat in response.seatbid)
        assert {offer.advertiser for offer in house.front.ranked[0].candidates} < set(NAMES)

    in_house(use, config=_seats_config())


def test_each_seat_has_its_own_entry_with_its_own_bids():
    async def use(house):
        found = set()
        for n in range(20):
            response = await house.bid(ask(f"a{n}", *TWO, user={"id": str(n)}))
            seats = [seat.seat for seat in response.seatbid]
            assert len(set(seats)) == len(seats)
            found |= set(seats)
        assert found == {"north", "south"}

    in_house(use, config=_seats_config())


BLOCKS = {
    "adv_00": {"cat": ["IAB2-3"], "bundle": "com.shoes", "language": "en"},
    "adv_01": {"cat": ["IAB2"], "attr": [7], "language": "de"},
    "adv_02": {"cat": ["IAB5-1"], "adomain": ["shop.north.example"], "language": "en"},
    "adv_03": {"cat": ["IAB5"], "w": 300, "h": 250, "mime": "text/html"},
    "adv_04": {"cat": ["53"], "cattax": 7},
}
EVERYBODY = {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("lists", "left"),
    [
        ({"badv": ["adv-00.example"]}, EVERYBODY - {0}),
        ({"badv": ["NORTH.example"]}, EVERYBODY - {2}),
        ({"badv": ["north.example.com", "h.example"]}, EVERYBODY),
        ({"bcat": ["IAB2"]}, {2, 3}),
        ({"bcat": ["IAB2-3"]}, {1, 2, 3}),
        ({"acat": ["IAB5"]}, {2, 3}),
        ({"acat": ["IAB5-1", "IAB2"]}, {0, 1, 2}),
        ({"acat": ["53"], "cattax": 7}, {4}),
        ({"bcat": ["52"], "cattax": 7}, {4}),
        ({"bapp": ["com.shoes"]}, EVERYBODY - {0}),
        ({"wlang": ["en"]}, {0, 2, 3, 4}),
        ({"wlangb": ["de-AT"]}, {1, 3, 4}),
    ],
    ids=str,
)
def test_who_is_blocked_does_not_compete(lists, left):
    async def use(house):
        request = ask("a", *TWO, **lists)
        response = await house.bid(request)
        asked = house.front.ranked[0].candidates
        assert {NAMES.index(o.advertiser) for o in asked} == left if left != EVERYBODY else asked is None
        assert check_bid_response(read(request), response) == []

    in_house(use, config=config_of(advertisers=BLOCKS))


@pytest.mark.parametrize(
    ("place", "left"),
    [
        ({"banner": {"battr": [7, 8]}}, EVERYBODY - {1}),
        ({"banner": {"w": 300, "h": 250}}, EVERYBODY),
        ({"banner": {"format": [{"w": 320, "h": 50}]}}, EVERYBODY - {3}),
        ({"banner": {"mimes": ["image/png"]}}, set()),
        ({"banner": {}, "secure": 1}, set()),
    ],
    ids=str,
)
def test_an_ad_that_fits_no_imp_does_not_compete(place, left):
    async def use(house):
        request = ask("a", {"id": "1", **place})
        if not left:
            assert "blocked" in await house.why(request)
            return
        response = await house.bid(request)
        asked = house.front.ranked[0].candidates
        assert {NAMES.index(o.advertiser) for o in asked} == left if left != EVERYBODY else asked is None
        assert check_bid_response(read(request), response) == []

    in_house(use, config=config_of(advertisers=BLOCKS))


def test_secure_imps_are_bid_for_where_everything_is_https():
    async def use(house):
        request = ask("a", imp(secure=1))
        assert check_bid_response(read(request), await house.bid(request)) == []

    in_house(use, config=config_of(public_url="https://bidder.example"))


def test_when_everybody_is_blocked_nobody_is_asked():
    async def use(house):
        assert "blocked" in await house.why(ask("a", badv=[f"{name.replace('_', '-')}.example" for name in NAMES]))
        assert house.front.ranked == []

    in_house(use)


@pytest.mark.parametrize(
    "place", [{"video": {"mimes": ["video/mp4"]}}, {"audio": {}}, {}, {"banner": {}, "qty": {"multiplier": 12.5}}]
)
def test_what_cannot_be_bid_for_is_passed_over_and_the_rest_is_served_from_the_top(place):
    async def use(house):
        assert "imp" in await house.why(ask("alone", {"id": "x", **place}))
        before = house.free
        response = await house.bid(ask("mixed", {"id": "x", **place}, imp("banner")))
        page = await house.front.live.rank(house.front.ranked[0])
        assert [bid.impid for bid in bids_of(response)] == ["banner"]
        assert before - house.free == page.slots[0].price_micros

    in_house(use)


def test_more_imps_than_slots_stay_unanswered_and_fewer_hold_no_money_for_the_rest():
    async def use(house):
        many = await house.bid(ask("many", *(imp(str(n)) for n in range(5))))
        assert [bid.impid for bid in bids_of(many)] == ["0", "1"]
        before = house.free
        await house.bid(ask("one"))
        page = await house.front.live.rank(house.front.ranked[1])
        assert len(page.slots) == 2
        assert before - house.free == page.slots[0].price_micros

    in_house(use)


def test_a_native_imp_gets_the_assets_that_it_lists_and_none_where_one_is_missing():
    assets = '{"id":1,"required":1,"title":{"len":3}},{"id":2,"img":{"type":3}},{"id":3,"data":{"type":1}}'
    layout = '{"ver":"1.2","assets":[' + assets + ',{"id":4,"video":{}}]}'

    async def use(house):
        bid = bids_of(await house.bid(ask("a", {"id": "n", "native": {"request": layout}})))[0]
        told = json.loads(bid.adm)["native"]
        assert bid.mtype == 4
        assert [asset["id"] for asset in told["assets"]] == [1, 2, 3]
        assert told["assets"][0]["title"]["text"] == "adv"
        assert told["link"]["url"].startswith("http://127.0.0.1:8080/openrtb2/click?t=")
        for bad in (layout.replace('"id":4,', '"id":4,"required":1,'), "{", "[]", '{"assets":[]}', "[" * 50_000):
            assert "fits" in await house.why(ask(f"bad {bad[:20]}", {"id": "n", "native": {"request": bad}}))

    in_house(use)


@pytest.mark.parametrize(
    ("tmax", "elapsed_ms", "bids"),
    [(120, 0, True), (22, 0, True), (21, 0, False), (0, 0, False), (-5, 0, False), (120, 99, False)],
)
def test_too_little_time_is_answered_fifteen_and_the_rest_is_passed_on(tmax, elapsed_ms, bids):
    async def use(house):
        request = ask("a", tmax=tmax)
        if elapsed_ms:
            house.clock_s = elapsed_ms / 1_000
            reply = await house.bidder.reply(_bytes(request), received_s=0.0)
        else:
            reply = await house.bidder.reply(_bytes(request))
        response = decode_bid_response(reply.content)
        if bids:
            assert response.seatbid and house.front.ranked[0].timeout_ms == tmax - 20  # the network's share
        else:
            assert (reply.status, response.id, response.nbr, response.seatbid) == (200, "a", 15, ())
            assert house.front.ranked == []

    in_house(use)


def test_an_answer_that_came_too_late_promises_nothing():
    async def use(house):
        before, rank = house.free, house.front.rank

        async def slow(request: Request):
            decision = await rank(request)
            assert house.free < before
            house.clock_s = 0.1
            return decision

        house.front.rank = slow
        response = await house.bid(ask("a", *TWO, tmax=110))
        assert (response.nbr, response.seatbid) == (15, ())
        assert house.free == before

    in_house(use)


def test_without_tmax_the_ranker_takes_the_time_that_it_has():
    async def use(house):
        await house.bid(ask("a"))
        assert house.front.ranked[0].timeout_ms is None

    in_house(use)


@pytest.mark.parametrize(
    ("no_bid", "plain", "with_reason"),
    [("reason", (204, b""), 15), ("204", (204, b""), None), ("empty", (200, b"{}"), None)],
)
def test_a_no_bid_is_told_as_the_config_says(no_bid, plain, with_reason):
    async def use(house):
        answer = await house.post(ask("a", imp(bidfloor=1e6)))
        assert (answer.status_code, answer.content) == plain
        answer = await house.post(ask("b", tmax=1))
        if with_reason is None:
            assert (answer.status_code, answer.content) == plain
        else:
            assert answer.json() == {"id": "b", "nbr": with_reason}
        assert check_bid_response(read(ask("b", tmax=1)), answer.content) == []

    in_house(use, config=config_of(no_bid=no_bid))


@pytest.mark.parametrize(
    "wrong",
    [{"site": {}, "app": {}}, {"app": {}, "dooh": {"id": "screen"}}, {"imp": [imp("1"), imp("1")]}],
    ids=str,
)
def test_a_request_that_contradicts_itself_is_answered_invalid(wrong):
    async def use(house):
        response = await house.bid(ask("a") | wrong)
        assert (response.nbr, response.seatbid) == (2, ())
        assert house.front.ranked == []

    in_house(use)


@pytest.mark.parametrize("at", [1, 2])
def test_first_and_second_price_auctions_are_bid_for_alike(at):
    async def use(house):
        assert bids_of(await house.bid(ask("a", at=at)))
        assert "auction type" in await house.why(ask("b", at=501))

    in_house(use)


def test_an_exchanges_own_auction_type_is_bid_for_where_the_config_says_so():
    async def use(house):
        assert bids_of(await house.bid(ask("b", at=501)))

    in_house(use, config=config_of(auction_types=(1, 2, 501)))


def test_a_test_auction_is_answered_and_holds_no_money():
    async def use(house):
        before = house.free
        response = await house.bid(ask("a", *TWO, test=1))
        assert len(bids_of(response)) == 2
        assert house.free == before
        for bid in bids_of(response):
            for url in (bid.nurl, bid.burl, bid.lurl):
                assert (await house.call(url)).status_code == 204
            click = bid.adm.split('href="')[1].split('"')[0].replace("&amp;", "&")
            assert (await house.call(click)).headers["x-tribid-why"] == "test"
        assert (house.free, house.spent, dict(house.bidder.notices.counts)) == (before, 0, {})

    in_house(use)


def test_bids_last_as_long_as_their_money_is_held():
    async def use(house):
        assert {bid.exp for bid in bids_of(await house.bid(ask("a", *TWO)))} == {HOLD_MS // 1_000}

    in_house(use)


def test_the_same_request_again_gets_the_same_bytes_and_reserves_once():
    async def use(house):
        first = await house.post(ask("a", *TWO, tmax=300))
        held = house.free
        again = await house.post(ask("a", *TWO, tmax=250, ext={"retry": 1}))
        assert again.content == first.content
        assert house.free == held and len(house.front.ranked) == 1

    in_house(use)


def test_the_same_request_twice_at_once_reserves_once():
    async def use(house):
        before = house.free
        answers = await asyncio.gather(*(house.post(ask("a", *TWO)) for _ in range(8)))
        page = await house.front.live.rank(house.front.ranked[0])
        assert len({answer.content for answer in answers}) == 1
        assert before - house.free == sum(slot.price_micros for slot in page.slots)

    in_house(use)


def test_a_request_that_comes_back_after_its_bids_ended_is_not_bid_for():
    async def use(house):
        await house.bid(ask("a"))
        house.now_ms += HOLD_MS
        response = await house.bid(ask("a"))
        assert (response.nbr, response.seatbid) == (2, ())

    in_house(use)


def test_other_requests_are_other_pages():
    async def use(house):
        pages = {(await house.bid(ask(f"a{n}"))).bidid for n in range(20)}
        pages.add((await house.bid(ask("a1", imp("1"), imp("2")))).bidid)
        assert len(pages) == 21

    in_house(use)


@pytest.mark.parametrize(
    ("who", "user"),
    [
        ({"user": {"id": "12"}}, 12),
        ({"user": {"id": "x", "buyeruid": "13"}}, 13),
        ({"device": {"ifa": "14"}, "user": None}, 14),
    ],
    ids=str,
)
def test_a_number_within_the_population_is_that_user(who, user):
    async def use(house):
        await house.bid({**ask("a"), **who})
        assert house.front.ranked[0].user == user

    in_house(use)


def test_any_other_user_is_one_of_the_population_and_stays_the_same():
    async def use(house):
        for n, name in enumerate(["50", "cookie-1", "cookie-1", "ünï", "9" * 40]):
            await house.bid(ask(f"a{n}", user={"id": name}))
        users = [request.user for request in house.front.ranked]
        assert all(0 <= user < 50 for user in users)
        assert users[1] == users[2]

    in_house(use)


@pytest.mark.parametrize(
    "forbids",
    [{"regs": {"coppa": 1}}, {"regs": {"gdpr": 1}}, {"device": {"lmt": 1}}, {"device": {"dnt": 1}}],
    ids=str,
)
def test_where_people_must_not_be_told_apart_everybody_is_the_same(forbids):
    async def use(house):
        for n in range(3):
            await house.bid(ask(f"a{n}", user={"id": str(n)}, **forbids))
        consent = await house.bid(ask("b", user={"id": "9", "consent": "CP"}, regs={"gdpr": 1}))
        assert len({request.user for request in house.front.ranked[:3]}) == 1
        assert consent.seatbid and house.front.ranked[3].user == 9

    in_house(use)


def test_a_request_that_names_nobody_is_answered_eight_where_the_config_says_so():
    async def use(house):
        response = await house.bid({**ask("a"), "user": {}})
        assert (response.nbr, response.seatbid) == (8, ())

    in_house(use, config=config_of(unknown_user="no_bid"))


def test_a_closed_ranker_says_that_it_is_a_technical_error():
    async def use(house):
        await house.front.live.close()
        response = await house.bid(ask("a"))
        assert (response.nbr, response.seatbid) == (1, ())

    in_house(use)


def test_no_personal_data_leaves_or_is_logged(caplog):
    secret = "person-4711"

    async def use(house):
        request = ask(
            "a", *TWO, user={"id": secret, "buyeruid": secret, "consent": secret, "ext": {"eids": [secret]}},
            device={"ifa": secret, "ip": secret, "ua": secret}, regs={"gdpr": 0},
        )  # fmt: skip
        answer = await house.post(request)
        malformed = await house.post({**request, "tmax": secret})
        for one in (answer, malformed):
            assert secret not in one.text + str(one.headers)
        assert malformed.status_code == 400

    with caplog.at_level(0):
        in_house(use)
    assert secret not in caplog.text


def _bytes(request):
    return json.dumps(request).encode()


def test_where_too_many_are_left_to_name_them_the_page_is_retrieved_and_blocked_ads_leave_holes(monkeypatch):
    monkeypatch.setattr("tribid.ranker.openrtb.bidder.MAX_CANDIDATES", 2)

    async def use(house):
        seen = 0
        for n in range(20):
            before = house.free
            request = ask(f"a{n}", *TWO, user={"id": str(n)}, badv=["adv-02.example"])
            answer = await house.post(request)
            page = await house.front.live.rank(house.front.ranked[-1])
            assert house.front.ranked[-1].candidates is None
            assert check_bid_response(read(request), answer.content) == []
            assert before - house.free == sum(slot.price_micros for slot in page.slots if slot.ad != 2)
            seen += any(slot.ad == 2 for slot in page.slots)
        assert seen > 5

    in_house(use)


def test_a_shops_bids_name_the_creative_that_was_picked():
    scenario = load_scenario("shop").with_changes(**SMALL)

    class Picker:
        def pick(self, seed, requests):
            return (requests.candidates % 5).astype("int8")

    async def use(house):
        request = ask("a", imp("1"), imp("2"), badv=["adv-00.example"])
        response = await house.bid(request)
        for bid in bids_of(response):
            assert bid.crid == f"{bid.cid}-{int(bid.cid.removeprefix('adv_')) % 5}"
        assert check_bid_response(read(request), response) == []

    in_house(use, scenario, platform=Platform(picker=Picker()))


def test_requests_do_not_wait_for_one_another():
    async def use(house):
        answers = await asyncio.gather(*(house.post(ask(f"a{n}", user={"id": str(n)})) for n in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert house.bidder.counts["bid"] == 40

    in_house(use)


def test_many_exchanges_at_once_never_promise_more_than_the_budgets():
    scenario = load_scenario("tiny").with_changes(generated__budget_share=0.005)

    async def use(house):
        budget = house.free
        answers = await asyncio.gather(*(house.post(ask(f"a{n}", *TWO, user={"id": str(n)})) for n in range(200)))
        assert {answer.status_code for answer in answers} == {200, 204}
        assert (house.front.ledger.free_micros() >= 0).all()
        for answer in answers:
            for bid in bids_of(decode_bid_response(answer.content)) if answer.content else ():
                await house.call(bid.adm.split('href="')[1].split('"')[0].replace("&amp;", "&"))
        assert 0 < house.spent <= budget and house.free + house.spent == budget

    in_house(use, scenario)
