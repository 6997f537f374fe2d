"""Notices: signed, idempotent, in any order, never too late; and what each does to the money."""

import asyncio
import base64
import gc
import tracemalloc

import pytest

from tests.ranker.openrtb.house import HOLD_MS, ask, config_of, imp, in_house
from tribid.envs.scenario import load_scenario
from tribid.ranker.openrtb.exchange import fill_in
from tribid.ranker.openrtb.notices import Notices
from tribid.ranker.openrtb.tickets import Ticket

BY_IMPRESSION = load_scenario("tiny").with_changes(rules__charge="impression", rules__ocpc__strategy="off")
CASES = pytest.mark.parametrize("scenario", ["tiny", BY_IMPRESSION], ids=["clicks", "impressions"])


async def _bid(house, name="a"):
    return (await house.bid(ask(name))).seatbid[0].bid[0]


async def _price(house):
    return (await house.front.live.rank(house.front.ranked[0])).slots[0].price_micros


def _click_url(bid):
    return bid.adm.split('href="')[1].split('"')[0].replace("&amp;", "&")


@CASES
def test_a_win_is_not_a_bill(scenario):
    async def use(house):
        bid = await _bid(house)
        held = house.free
        for method in ("GET", "POST", "GET"):
            answer = await house.call(fill_in(bid.nurl, {"AUCTION_PRICE": bid.price}), method=method)
            assert (answer.status_code, answer.content) == (204, b"")
        assert (house.free, house.spent) == (held, 0)
        assert house.bidder.notices.counts["win"] == 1

    in_house(use, scenario)


def test_where_clicks_are_charged_billing_counts_the_impression_and_a_click_pays():
    async def use(house):
        bid = await _bid(house)
        price = await _price(house)
        assert (await house.call(bid.burl)).status_code == 204
        assert house.spent == 0
        for told in ("accepted", "duplicate"):
            answer = await house.call(_click_url(bid))
            assert (answer.status_code, answer.headers["x-tribid-why"]) == (302, told)
            assert answer.headers["location"] == f"https://{bid.adomain[0]}/"
            assert house.spent == price

    in_house(use)


def test_where_impressions_are_charged_billing_pays_once():
    async def use(house):
        before = house.free
        bid = await _bid(house)
        price = await _price(house)
        answers = await asyncio.gather(*(house.call(fill_in(bid.burl, {"AUCTION_PRICE": bid.price})) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {204}
        assert (house.spent, before - house.free) == (price, price)
        assert house.bidder.notices.counts == {"billing": 1, "cost_micros.USD": price}
        assert (await house.call(_click_url(bid))).status_code == 302
        assert house.spent == price

    in_house(use, BY_IMPRESSION)


@CASES
def test_billing_without_a_win_notice_counts_and_a_win_after_it_changes_nothing(scenario):
    async def use(house):
        bid = await _bid(house)
        assert (await house.call(bid.burl)).status_code == 204
        spent = house.spent
        assert (await house.call(bid.nurl)).status_code == 204
        assert house.spent == spent

    in_house(use, scenario)


@CASES
@pytest.mark.parametrize("reason", ["102", "2", "9", "", "${AUCTION_LOSS}"])
def test_a_loss_lets_the_money_go_once(scenario, reason):
    async def use(house):
        before = house.free
        bid = await _bid(house)
        for _ in range(3):
            assert (await house.call(bid.lurl.replace("${AUCTION_LOSS}", reason))).status_code == 204
            assert house.free == before
        code = reason if reason.isdigit() else "unknown"
        assert house.bidder.notices.counts == {f"loss.{code}": 1}

    in_house(use, scenario)


def test_a_loss_with_reason_zero_says_that_the_bid_won():
    async def use(house):
        bid = await _bid(house)
        held = house.free
        assert (await house.call(fill_in(bid.lurl, {"AUCTION_LOSS": 0}))).status_code == 204
        assert house.free == held

    in_house(use)


@CASES
def test_a_won_bid_may_still_be_lost_but_a_billed_one_may_not(scenario):
    async def use(house):
        won, billed = await _bid(house, "won"), await _bid(house, "billed")
        held = house.free
        assert (await house.call(billed.burl)).status_code == 204
        refused = await house.call(fill_in(billed.lurl, {"AUCTION_LOSS": 2}))
        assert (refused.status_code, house.free) == (409, held)
        assert (await house.call(won.nurl)).status_code == 204
        assert (await house.call(fill_in(won.lurl, {"AUCTION_LOSS": 2}))).status_code == 204
        assert house.free > held

    in_house(use, scenario)


def test_where_impressions_are_charged_billing_after_a_loss_charges_nobody():
    async def use(house):
        before = house.free
        bid = await _bid(house)
        assert (await house.call(fill_in(bid.lurl, {"AUCTION_LOSS": 102}))).status_code == 204
        assert (await house.call(bid.burl)).status_code in (404, 409, 410)
        assert (house.free, house.spent) == (before, 0)

    in_house(use, BY_IMPRESSION)


@CASES
@pytest.mark.parametrize("kind", ["nurl", "burl", "lurl"])
def test_after_its_time_a_notice_is_refused_and_nothing_is_charged(scenario, kind):
    async def use(house):
        bid = await _bid(house)
        free = house.free
        house.now_ms += HOLD_MS + 1
        answer = await house.call(getattr(bid, kind))
        assert (answer.status_code, house.free, house.spent) == (410, free, 0)
        assert dict(house.bidder.notices.counts) == {}

    in_house(use, scenario)


def test_a_late_click_is_sent_on_and_charges_nobody():
    async def use(house):
        bid = await _bid(house)
        house.now_ms += HOLD_MS + 1
        answer = await house.call(_click_url(bid))
        assert (answer.status_code, house.spent) == (302, 0)
        assert answer.headers["x-tribid-why"] in ("expired", "unknown")

    in_house(use)


@CASES
def test_test_renders_count_nothing(scenario):
    async def use(house):
        bid = await _bid(house)
        held = house.free
        for url in (bid.nurl, bid.burl):
            assert (await house.call(fill_in(url, {"AUCTION_PRICE": "AUDIT"}))).status_code == 204
        assert (await house.call(fill_in(bid.lurl, {"AUCTION_LOSS": "AUDIT"}))).status_code == 204
        assert (house.free, house.spent, dict(house.bidder.notices.counts)) == (held, 0, {})

    in_house(use, scenario)


@CASES
@pytest.mark.parametrize(
    "price", ["-1", "nan", "1e3", "1.", ".5", "9" * 40, "0x10", "1,5", "%00", "٣", "1000000000000"], ids=str
)
def test_a_price_that_cannot_be_is_refused_and_nothing_is_charged(scenario, price):
    async def use(house):
        bid = await _bid(house)
        for url in (bid.nurl, bid.burl):
            assert (await house.call(url.replace("${AUCTION_PRICE}", price))).status_code == 400
        assert house.spent == 0

    in_house(use, scenario)


def test_a_price_above_the_bid_is_refused():
    async def use(house):
        bid = await _bid(house)
        answer = await house.call(fill_in(bid.burl, {"AUCTION_PRICE": bid.price * 2}))
        assert (answer.status_code, house.spent) == (400, 0)
        assert (await house.call(fill_in(bid.burl, {"AUCTION_PRICE": bid.price}))).status_code == 204

    in_house(use, BY_IMPRESSION)


def test_macros_that_an_exchange_leaves_as_they_are_or_empties_are_no_error():
    async def use(house):
        for name, fill in (("left", lambda url: url), ("emptied", lambda url: fill_in(url, {}))):
            bid = await _bid(house, name)
            for url in (bid.nurl, bid.burl):
                assert (await house.call(fill(url))).status_code == 204
        assert house.bidder.notices.counts == {"win": 2, "billing": 2}

    in_house(use)


@pytest.mark.parametrize(("value", "status"), [("x", 400), ("-1", 400), ("", 204)])
def test_a_strange_reason_or_multiplier_is_refused(value, status):
    async def use(house):
        bid = await _bid(house)
        assert (await house.call(bid.lurl.replace("${AUCTION_LOSS}", value or "102"))).status_code == status
        other = await _bid(house, "other")
        assert (await house.call(other.burl.replace("${AUCTION_MULTIPLIER}", value))).status_code == status

    in_house(use)


def test_a_notice_of_another_auction_is_refused():
    async def use(house):
        bid = await _bid(house)
        assert (await house.call(fill_in(bid.nurl, {"AUCTION_ID": "b"}))).status_code == 400
        assert (await house.call(fill_in(bid.nurl, {"AUCTION_ID": "a"}))).status_code == 204

    in_house(use)


def test_an_id_that_a_url_cannot_carry_is_not_asked_for():
    async def use(house):
        assert "${AUCTION_ID}" in (await _bid(house, "plain-1")).nurl
        assert "${AUCTION_ID}" not in (await _bid(house, "a&b#c d")).nurl

    in_house(use)


@CASES
def test_a_token_is_good_for_its_own_kind_of_notice_only(scenario):
    async def use(house):
        bid = await _bid(house)
        held = house.free
        token = bid.nurl.split("t=")[1].split("&")[0]
        for path in ("billing", "loss", "click"):
            assert (await house.call(f"/openrtb2/{path}?t={token}")).status_code == 403
        assert (house.free, house.spent) == (held, 0)

    in_house(use, scenario)


def test_forged_missing_and_oversized_tokens_are_refused():
    async def use(house):
        bid = await _bid(house)
        token = bid.burl.split("t=")[1].split("&")[0]
        content, signature = token.split(".")
        forged = [
            content, f"{content}.", f".{signature}", f"{content}.{signature[:-2]}AA", f"A{content}.{signature}",
            f"{token}=", "a" * 5_000, "%F0%9F%92%A9", f"{content[:-1]}.{signature}", "",
        ]  # fmt: skip
        for path in ("win", "billing", "loss", "click"):
            for one in forged:
                assert (await house.call(f"/openrtb2/{path}?t={one}")).status_code == 403, (path, one)
            assert (await house.call(f"/openrtb2/{path}")).status_code == 400
        assert house.spent == 0

    in_house(use)


def test_another_process_with_the_same_secret_reads_the_tokens_and_with_another_does_not():
    url = in_house(lambda house: _url(house))

    async def same(house):
        assert (await house.call(url)).status_code == 404  # understood; but its ledger knows no such page

    async def other(house):
        assert (await house.call(url)).status_code == 403

    in_house(same)
    in_house(other, secret=b"another secret..")


async def _url(house):
    return (await _bid(house)).burl


def test_when_the_ledger_is_gone_an_exchange_is_told_to_call_again_and_a_user_is_sent_on():
    async def use(house):
        bid = await _bid(house)
        await house.front.live.close()
        assert (await house.call(bid.burl)).status_code == 503
        answer = await house.call(_click_url(bid))
        assert (answer.status_code, answer.headers["x-tribid-why"]) == (302, "unavailable")

    in_house(use)


def test_a_click_does_not_tell_the_browser_what_was_bid():
    async def use(house):
        bid = await _bid(house)
        content = _click_url(bid).split("t=")[1].split(".")[0]
        assert str(bid.price).encode() not in base64.urlsafe_b64decode(content + "==")

    in_house(use)


def test_what_was_told_of_a_bid_is_forgotten_when_its_time_is_over():
    async def use(house):
        for n in range(5):
            await house.call((await _bid(house, f"a{n}")).nurl)
        assert len(house.bidder.notices._told) == 5
        house.now_ms += HOLD_MS + 1
        await house.call((await _bid(house, "later")).nurl)
        assert len(house.bidder.notices._told) == 1

    in_house(use)


def test_public_urls_are_those_of_the_config():
    async def use(house):
        bid = await _bid(house)
        for url in (bid.nurl, bid.burl, bid.lurl, _click_url(bid)):
            assert url.startswith("https://bidder.example/rtb/openrtb2/")

    in_house(use, config=config_of(public_url="https://bidder.example/rtb/"))


def test_two_imps_are_settled_apart():
    async def use(house):
        before = house.free
        response = await house.bid(ask("a", imp("1"), imp("2")))
        first, second = (bid for seat in response.seatbid for bid in seat.bid)
        assert (await house.call(first.burl)).status_code == 204
        assert (await house.call(fill_in(second.lurl, {"AUCTION_LOSS": 102}))).status_code == 204
        assert before - house.free == house.spent == await _price(house)

    in_house(use, BY_IMPRESSION)


def test_without_a_public_url_notices_lead_to_where_the_bid_request_came_in():
    async def use(house):
        house.client.base_url = "http://[::1]:4711"
        bid = await _bid(house)
        assert bid.burl.startswith("http://[::1]:4711/openrtb2/billing?t=")
        assert (await house.bidder.reply(b'{"id": "b", "imp": [{"id": "1", "banner": {}}]}')).content.count(
            b"http://127.0.0.1:8080/openrtb2/"
        ) == 4

    async def public(house):
        assert (await _bid(house)).burl.startswith("https://bidder.example/openrtb2/billing?t=")

    in_house(use)
    in_house(public, config=config_of(public_url="https://bidder.example/"))


def test_what_is_remembered_of_slots_is_bounded_in_bytes_and_fits_what_is_reckoned():
    def ticket(number, bid=0, bids=3):
        return Ticket(
            decision=f"0.{number}", slot=0, bid=bid, bids=bids, ad=0, price="1", currency="USD", auction="a",
            expires_ms=10**9,
        )  # fmt: skip

    async def run():
        kept = Notices(None, lambda: 0, most_bytes=64_000)
        await kept.win(ticket(-1), "")
        gc.collect()
        tracemalloc.start()
        for number in range(2_000):
            for bid in (0, 2, 0):
                assert (await kept.win(ticket(number, bid), "")).status == 204
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert kept.counts["win"] == 4_001
        assert 100 < len(kept._told) <= 126 and kept._bytes <= 64_000 + 600
        assert taken < 80_000

    asyncio.run(run())
