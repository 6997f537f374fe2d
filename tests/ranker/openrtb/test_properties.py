"""Whatever a valid bid request says, the response passes the validator, holds what it promises and no more."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ranker.openrtb.house import HOLD_MS, NAMES, Front, config_of
from tribid.envs.scenario import load_scenario
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live import LiveRanker
from tribid.ranker.openrtb.bidder import OpenRtbBidder, OpenRtbSettings
from tribid.ranker.openrtb.messages import decode_bid_response
from tribid.ranker.openrtb.tickets import ForgedError, Signer, Ticket
from tribid.ranker.openrtb.validate import check_bid_response

DOMAINS = ["adv-00.example", "north.example", "example.org", "x.north.example"]
CATEGORIES = ["IAB2", "IAB2-3", "IAB5-1", "IAB9", "53"]
DEALS = ["d1", "d2", "d3"]
SEATS = ["north", "south", "elsewhere"]
CONFIG = config_of(
    public_url="https://bidder.example",
    currencies={"USD": "1", "EUR": "0.92", "JPY": "150.25"},
    seats={"adv_00": "north", "adv_01": "south"},
    seat="house",
    advertisers={
        "adv_00": {"cat": ["IAB2-3"], "language": "en", "deals": DEALS, "w": 300, "h": 250},
        "adv_01": {"cat": ["IAB5"], "attr": [1, 7], "deals": DEALS},
        "adv_02": {
            "adomain": ["shop.north.example"],
            "bundle": "com.shop",
            "language": "de",
            "deals": DEALS,
        },
        "adv_03": {"cat": ["53"], "cattax": 7, "landing": "http://adv-03.example/", "deals": DEALS},
        "adv_04": {"mime": "text/html", "attr": [3], "deals": DEALS},
    },
)
TINY = load_scenario("tiny")

floors = st.one_of(st.just(0), st.floats(0, 2_000), st.floats(0, 1e-3), st.decimals(0, 900, places=3).map(float))
currencies = st.sampled_from(["USD", "EUR", "JPY", "GBP"])


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), max_size=3, unique=True)


def fields(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


sizes = st.sampled_from([(300, 250), (320, 50), (728, 90)])
banners = fields(
    battr=some([1, 3, 7]), mimes=some(["text/html", "image/png"]), ext=st.just({"x": 1}),
    format=st.lists(sizes.map(lambda s: {"w": s[0], "h": s[1]}), max_size=2),
)  # fmt: skip
assets = st.lists(
    st.sampled_from(
        [
            {"title": {"len": 9}},
            {"img": {"type": 3, "wmin": 1}},
            {"data": {"type": 1, "len": 25}},
            {"video": {}},
            {"data": {"type": 9}},
        ]
    ),
    min_size=1,
    max_size=3,
).map(lambda found: [{"id": n, "required": n % 2, **asset} for n, asset in enumerate(found)])
natives = assets.map(lambda found: {"request": json.dumps({"ver": "1.2", "assets": found})})
deal_terms = {
    "bidfloor": st.just(0) | floors, "bidfloorcur": currencies, "at": st.sampled_from([1, 2, 3, 500]), "wseat": some(SEATS),
    "wadomain": some(DOMAINS),
}  # fmt: skip
ids = st.sampled_from(["d1", "d2", "d3", "d4"]).map(lambda name: {"id": name})
deals = ids | st.builds(lambda name, terms: name | terms, ids, fields(**deal_terms))
pmps = fields(private_auction=st.sampled_from([0, 1]), deals=st.lists(deals, max_size=3, unique_by=lambda d: d["id"]))
open_pmps = pmps.map(lambda pmp: {**pmp, "private_auction": 0})
imps = fields(
    banner=banners, native=natives, video=st.just({"mimes": ["video/mp4"]}), bidfloor=floors, bidfloorcur=currencies,
    secure=st.sampled_from([0, 1]), pmp=pmps | open_pmps, exp=st.integers(0, 4_000), qty=st.just({"multiplier": 3.5}),
)  # fmt: skip
lists = fields(
    wseat=some(SEATS), bseat=some(SEATS), badv=some(DOMAINS), bcat=some(CATEGORIES), acat=some(CATEGORIES),
    cattax=st.sampled_from([1, 7]), bapp=some(["com.shop"]), wlang=some(["en", "de"]),
)  # fmt: skip
wholes = fields(
    user=st.text(max_size=6).map(lambda name: {"id": name}), at=st.sampled_from([1, 2, 3, 501]),
    cur=some(["EUR", "JPY", "GBP"]), tmax=st.integers(-10, 400), site=st.just({"id": "s"}),
    regs=fields(coppa=st.sampled_from([0, 1])),
)  # fmt: skip
requests = st.builds(
    lambda name, places, *parts: {
        "id": name, "imp": [{**one, "id": str(n)} for n, one in enumerate(places)], **parts[0], **parts[1]
    },
    st.text(min_size=1, max_size=12),
    st.lists(imps, min_size=1, max_size=4),
    st.just({}) | lists,
    st.just({}) | st.just({"test": 1}) | wholes,
)  # fmt: skip


class Standing:
    """A house that stands for a whole test, since opening one for each example would take the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.now_ms = loop, 0
        self.ledger = MemoryLedger(NAMES)
        self.live = self.run(
            LiveRanker.open(TINY, {"base": "truthful"}, ledger=self.ledger, hold_ms=HOLD_MS, now_ms=self.now)
        )
        self.bidder = OpenRtbBidder(
            Front(self.live, self.ledger),
            OpenRtbSettings(config=CONFIG, hold_ms=HOLD_MS, now_ms=self.now, clock_s=lambda: 0.0),
        )

    def now(self) -> int:
        return self.now_ms

    def run(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    loop = asyncio.new_event_loop()
    house = Standing(loop)
    yield house
    house.run(house.live.close())
    loop.close()


def test_every_valid_request_gets_a_response_that_the_validator_finds_nothing_wrong_with(standing):
    reached: set[str] = set()

    @given(requests)
    @settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    def check(asked):
        reached.update(_check(standing, asked))

    check()
    assert reached >= {"banner", "native", "d1", "d2", "d3", "test"}


def _check(house: Standing, asked: dict[str, Any]) -> set[str]:
    """Ask, validate, and give back what was held; which kinds of bids there were."""
    content, is_test = json.dumps(asked).encode(), bool(asked.get("test"))
    house.now_ms += 3 * HOLD_MS
    before = house.ledger.free_micros().sum()
    reply = house.run(house.bidder.reply(content))
    assert reply.status in (200, 204), reply
    assert check_bid_response(content, reply.content, rates=CONFIG.currencies) == []
    held = before - house.ledger.free_micros().sum()
    bids = [bid for seat in decode_bid_response(reply.content).seatbid for bid in seat.bid] if reply.content else []
    slots = sorted({bid.id.rsplit(".", 1)[0] for bid in bids})
    assert (held > 0) == bool(slots and not is_test)
    assert house.run(house.ledger.release(slots)) == (0 if is_test else len(slots))
    assert house.ledger.free_micros().sum() == before
    assert house.run(house.bidder.reply(content)).content == reply.content
    return {bid.dealid or ("native" if bid.mtype == 4 else "banner") for bid in bids} | (
        {"test"} if bids and is_test else set()
    )


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.floats(),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "imp", "banner", "pmp", "user", "tmax", "x"]), x, max_size=4)
        ),
    ).map(lambda data: json.dumps(data).encode())
)
@settings(max_examples=300)
def test_whatever_else_comes_is_refused_and_reserves_nothing(standing, content):
    before = standing.ledger.free_micros().sum()
    reply = standing.run(standing.bidder.reply(content))
    assert reply.status in (200, 204, 400)
    assert reply.status != 400 or (reply.content == b"" and reply.why)
    assert standing.ledger.free_micros().sum() == before or reply.status == 200


TICKET = Ticket(
    decision="0.5", slot=0, bid=0, bids=1, ad=2, price="1.25", currency="USD", auction="ab", expires_ms=10, test=False
)


@given(st.integers(0, 200), st.characters(codec="ascii"), st.sampled_from(["win", "billing", "loss", "click"]))
def test_a_token_with_any_one_letter_changed_is_refused(place, letter, kind):
    signer = Signer(b"0123456789abcdef")
    token = signer.token(kind, TICKET)
    assert signer.read(kind, token) == TICKET
    changed = token[: place % len(token)] + letter + token[place % len(token) + 1 :]
    if changed != token:
        with pytest.raises(ForgedError):
            signer.read(kind, changed)


@given(st.text(max_size=100))
def test_no_text_is_a_token(text):
    with pytest.raises(ForgedError):
        Signer(b"0123456789abcdef").read("win", text)


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="the secret has 5 bytes; allowed are 16 or more"):
        Signer(b"short")
