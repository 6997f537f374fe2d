"""The ranker decides as the simulator does, explains its prices, and refuses what the scenario does not have."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tribid.agents.bidder import Lineup
from tribid.envs import market
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario
from tribid.ranker import Outcome, Ranker, Request, VisitEvent, decode_request


def _request_of(state: market.MarketState, tick: market.Tick, row: int) -> Request:
    feed, requests = state.world, tick.requests
    visits = int(requests.session.max()) + 1
    _, buying, _ = feed.visits(state.day, tick.number, visits)
    return Request(
        request=int(requests.request[row]),
        user=int(requests.user[row]),
        tick=tick.number,
        day=state.day.day,
        state="buying" if buying[requests.session[row]] else "browsing",
        segment=int(requests.segment[row]),
        buying=None if requests.buying is None else float(requests.buying[row]),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rules__segments": "cluster", "rules__squash": 0.7},
        {"rules__auction": "vcg", "rules__ocpc__strategy": "off"},
        {"rules__auction": "first_price", "world__prediction__knows_state": False},
        {"rules__ocpc__strategy": "conversion_rank"},
        {"rules__ocpc__strategy": "greedy", "rules__ocpc__index": "dynamic", "rules__ocpc__click_value": 0.3},
    ],
    ids=["gsp", "clusters", "vcg", "first_price", "conversion_rank", "dynamic"],
)
def test_ranker_decides_each_row_of_a_day_bit_for_bit_as_the_simulator(changes: dict[str, object]) -> None:
    scenario = load_scenario("tiny").with_changes(world__traffic__requests=1500, **changes)
    seed, state = 5, market.reset(scenario, 5)
    ranker = Ranker(scenario, "pid", seed=seed)
    decided = 0
    while not state.done:
        if state.tick:
            ranker.refresh(state)
        state, tick = market.step(state, ranker.multipliers)
        for row in np.flatnonzero(~tick.slots.skipped):
            decision = ranker.rank(_request_of(state, tick, row))
            shown = tick.slots.winner[row] >= 0
            assert [slot.ad for slot in decision.slots] == tick.slots.winner[row][shown].tolist()
            assert [slot.price_micros for slot in decision.slots] == tick.slots.price_micros[row][shown].tolist()
            assert [slot.score for slot in decision.slots] == tick.slots.score[row][shown].tolist()
            for slot in decision.slots:
                ranker.charge(slot.ad, int(tick.slots.charge_micros[row, slot.slot]))
            decided += 1
        np.testing.assert_array_equal(ranker.left_micros, state.left_micros)
    assert decided == state.total.counts.served[0] > 1000


DYNAMIC = {"rules__ocpc__strategy": "greedy", "rules__ocpc__index": "dynamic", "rules__ocpc__click_value": 2.0}


def test_what_a_state_model_says_overrides_the_belief_that_follows_from_the_state() -> None:
    scenario = load_scenario("tiny").with_changes(**DYNAMIC)
    ranker, f2 = Ranker(scenario), Ranker(scenario.with_changes(rules__ocpc__index="f2"))
    moved = 0
    for r in range(100):
        request = Request(request=r, user=r % 50, state="browsing")
        follows = float(ranker._world.beliefs[0])
        slots = {
            buying: ranker.rank(msgspec.structs.replace(request, buying=buying)).slots for buying in (follows, 0.0, 1.0)
        }
        assert slots[follows] == ranker.rank(request).slots
        assert slots[1.0] == f2.rank(request).slots
        moved += slots[0.0] != slots[1.0]
    assert moved > 10


def test_a_belief_changes_nothing_where_ranking_is_not_dynamic() -> None:
    ranker = Ranker("tiny", "truthful")
    request = Request(request=3, user=7, tick=2)
    assert ranker.rank(msgspec.structs.replace(request, buying=0.0)) == ranker.rank(request)


def test_the_same_request_gets_the_same_answer() -> None:
    ranker = Ranker("tiny", "truthful")
    request = Request(request=3, user=7, tick=2)
    assert ranker.rank(request) == ranker.rank(request) == Ranker("tiny", "truthful").rank(request)


def test_every_price_names_the_candidate_below_or_the_reserve() -> None:
    scenario = load_scenario("tiny")
    ranker = Ranker(scenario, "truthful")
    said = [slot for r in range(200) for slot in ranker.rank(Request(request=r, user=r % 50)).slots]
    assert {slot.why.split(" candidate")[0].split(" reserve")[0] for slot in said} <= {"priced by", "priced by the"}
    for slot in said:
        assert slot.price_micros <= slot.bid_micros
        assert slot.score == slot.bid_micros * slot.pctr
        assert (slot.price_micros == round(scenario.rules.reserve * 1e6)) == slot.why.startswith(
            "priced by the reserve"
        )


def test_nobody_is_shown_when_everybody_is_off() -> None:
    assert Ranker("tiny", "off").rank(Request(request=0, user=0)).slots == ()


def test_a_charge_beyond_the_budget_is_refused_and_changes_nothing() -> None:
    ranker = Ranker("tiny", "truthful")
    left = int(ranker.left_micros[0])
    with pytest.raises(ValueError, match=rf"charge to adv_00 is {left + 1} micros; allowed is 0 to the {left} left"):
        ranker.charge(0, left + 1)
    with pytest.raises(ValueError, match="-1 micros"):
        ranker.charge(0, -1)
    assert ranker.left_micros[0] == left


@pytest.mark.parametrize(
    ("ad", "amount", "told"),
    [(-1, 5, "ad is -1"), (99, 5, "ad is 99"), (0, 1.5, "amount_micros is 1.5"), (0, True, "amount_micros is True")],
)
def test_a_charge_to_nobody_or_of_no_whole_amount_is_refused(ad: int, amount: int, told: str) -> None:
    ranker = Ranker("tiny", "truthful")
    before = ranker.left_micros.copy()
    with pytest.raises(ValueError, match=told):
        ranker.charge(ad, amount)
    np.testing.assert_array_equal(ranker.left_micros, before)


def test_an_earlier_hour_is_answered_from_a_fresh_day() -> None:
    ranker, fresh = Ranker("tiny", "pid"), Ranker("tiny", "pid")
    request = Request(request=1, user=3)
    ranker.play_to(7)
    ranker.play_to(0)
    assert ranker.rank(request) == fresh.rank(request)


def test_an_advertiser_without_budget_is_not_shown() -> None:
    ranker = Ranker("tiny", "truthful")
    winner = ranker.rank(Request(request=0, user=0)).slots[0].ad
    ranker.charge(winner, int(ranker.left_micros[winner]))
    assert winner not in [slot.ad for slot in ranker.rank(Request(request=0, user=0)).slots]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "request: Input data was truncated"),
        ("[1]", "request: Expected `object`, got `array`"),
        ('{"user": 1}', "missing required field `request`"),
        ('{"request": -1, "user": 1}', r"Expected `int` >= 0 - at `\$.request`"),
        ('{"request": 1, "user": "x"}', r"Expected `int | null`, got `str` - at `\$.user`"),
        ('{"request": 1, "user": 1, "state": "asleep"}', r"'asleep'; allowed are browsing, buying - at `\$.state`"),
        ('{"request": 1, "user": 1, "budget": 3}', "unknown field `budget`; allowed are request, user, tick"),
        ('{"request": 1, "user": 1, "buying": 1.5}', r"Expected `float` <= 1.0 - at `\$.buying`"),
        ('{"request": 1, "user": 1, "buying": NaN}', "malformed"),
        ('{"request": NaN, "user": 1}', "malformed"),
        ('{"request": 1, "candidates": [{"advertiser": "a", "pctr": 2}]}', r"\$.candidates\[0\].pctr"),
        ("[" * 100_000, "request: "),
        (b"\xff", "request: "),
    ],
)
def test_a_malformed_request_gets_one_error_that_names_the_field(content: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode_request(content)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"user": 50}, r"\$.user is 50; allowed is 0 to 49"),
        ({"user": None}, r"\$.user is missing; allowed is 0 to 49, or none where every candidate brings pctr and pcvr"),
        ({"user": True}, r"\$.user is True"),
        ({"request": 2**32}, r"\$.request is 4294967296"),
        ({"tick": 8}, r"\$.tick is 8; allowed is 0 to 7"),
        ({"day": -1}, r"\$.day is -1"),
        ({"segment": 1}, r"\$.segment is 1; allowed is 0 to 0"),
        ({"state": "asleep"}, r"\$.state is 'asleep'"),
        ({"buying": float("nan")}, r"\$.buying is nan; allowed is 0 to 1"),
        ({"timeout_ms": float("nan")}, r"\$.timeout_ms is nan"),
        ({"timeout_ms": 0}, r"\$.timeout_ms is 0; allowed is above 0"),
        ({"events": (VisitEvent("view", seconds=float("nan")),)}, r"\$.events\[0\].seconds is nan"),
        ({"events": (VisitEvent("jump"),)}, r"\$.events\[0\].kind is 'jump'"),
        (
            {"outcome": Outcome(clicked=(True,) * 3)},
            r"\$.outcome.clicked has 3 entries; allowed is one for each of 2 slots",
        ),
        ({"outcome": Outcome(clicked=(1,))}, r"\$.outcome.clicked\[0\] is 1; allowed is true or false"),
    ],
)
def test_a_request_outside_the_scenario_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Ranker("tiny").rank(Request(**{"request": 0, "user": 0} | change))


def test_only_a_feed_can_be_ranked() -> None:
    with pytest.raises(ValueError, match="scenario auctionnet is no feed"):
        Ranker("auctionnet")


def test_a_lineup_drives_the_ranker_as_it_drives_the_market() -> None:
    from tribid.agents.bidder import BidderSpace
    from tribid.agents.registry import make_bidder

    scenario: Scenario = load_scenario("tiny")
    space = BidderSpace.of(scenario)
    lineup = Lineup(
        {"half": make_bidder("fixed:0.5", space), "off": make_bidder("off", space)}, ["half", "off"] * 2 + ["off"]
    )
    ranker = Ranker(scenario, lineup)
    actions, _ = lineup.act(observe(market.reset(scenario, 0)), {})
    np.testing.assert_allclose(ranker.multipliers[:, 0], [0.5, 0, 0.5, 0, 0], rtol=1e-6)
    assert len(actions) == 5
