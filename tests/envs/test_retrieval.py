"""Retrieval: a request's candidates are its user's cell's best ads, and everything else goes on among them."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.hindsight import dual_bound, slot_options
from tribid.agents.registry import make_bidder
from tribid.envs import market
from tribid.envs.chance import finalise64, first64, mix64, strides64
from tribid.envs.feed import Feed
from tribid.envs.market import MarketState, Tick
from tribid.envs.observation import observe
from tribid.envs.platform import Requests
from tribid.envs.scenario import Scenario, load_scenario, scenario_names
from tribid.envs.shelves import cells_of, shelves_of
from tribid.envs.world import build_world
from tribid.evaluation.day import play_day
from tribid.ranker import Ranker, Request

ADS, CELLS, CANDIDATES = 12, 3, 4


def shelved(candidates: int = CANDIDATES, cells: int = CELLS, count: int = ADS, **changes: Any) -> Scenario:
    """The scenario tiny with ``count`` ads, of whom each request has but a few."""
    return load_scenario("tiny").with_changes(
        generated__count=count, world__retrieval={"candidates": candidates, "cells": cells}, **changes
    )


def unshelved(scenario: Scenario) -> Scenario:
    return scenario.with_changes(world__retrieval=None)


def world_of(scenario: Scenario) -> Feed:
    world = build_world(scenario)
    assert isinstance(world, Feed)
    return world


def play(scenario: Scenario, seed: int = 0) -> tuple[MarketState, list[Tick]]:
    state, ticks = market.reset(scenario, seed), []
    while not state.done:
        state, tick = market.step(state, np.ones(len(state.advertisers)))
        ticks.append(tick)
    return state, ticks


def candidates_of(requests: Requests) -> NDArray[np.int32]:
    assert requests.candidates is not None
    return requests.candidates


# Shelves


@given(
    cells=st.integers(1, 5), ads=st.integers(1, 40), weight=st.sampled_from([0.0, 0.8]), seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)  # fmt: skip
def test_a_shelf_holds_the_ads_with_the_highest_odds_in_their_own_order(
    cells: int, ads: int, weight: float, seed: int, data: st.DataObject
) -> None:
    rng, count = np.random.default_rng(seed), data.draw(st.integers(1, ads))
    centres, interests = cells_of(seed, cells, 6), rng.normal(size=(6, ads)).astype(np.float32)
    level = rng.choice([-3.0, -2.5, -2.0], ads).astype(np.float32)
    for centre, shelf in zip(centres, shelves_of(centres, interests, level, weight, count), strict=True):
        odds = level + weight * (centre @ interests)
        assert (np.diff(shelf) > 0).all()
        left_out = np.setdiff1d(np.arange(ads), shelf)
        for ad in left_out:
            assert (odds[shelf] >= odds[ad]).all()
            assert (shelf[odds[shelf] == odds[ad]] < ad).all()


def test_cells_are_unit_vectors_that_differ_and_follow_the_seed() -> None:
    centres = cells_of(3, 5, 6)
    assert (centres.shape, centres.dtype) == ((5, 6), np.float32)
    assert np.linalg.norm(centres, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert len(np.unique(centres, axis=0)) == 5
    assert np.array_equal(centres, cells_of(3, 5, 6)) and not np.array_equal(centres, cells_of(4, 5, 6))
    assert np.array_equal(centres[:2], cells_of(3, 2, 6))


@pytest.mark.parametrize(("candidates", "cells", "count"), [(4, 3, 12), (1, 8, 5), (70, 2, 90)])
def test_every_requests_candidates_are_those_of_its_users_cell(candidates: int, cells: int, count: int) -> None:
    world = world_of(shelved(candidates, cells, count))
    centres = cells_of(world.config.seed, cells, world.config.users.interests)
    shelves = shelves_of(
        centres, world.ads.interests, world.ads.ctr, world.config.rates.interest_ctr, candidates
    )  # fmt: skip
    cell = (world.users.interests @ centres.T).argmax(axis=1)
    met = set()
    for tick in range(world.n_ticks):
        requests, truth = world.arrivals(world.day(0, 0), tick)
        assert np.array_equal(candidates_of(requests), shelves[cell[requests.user]])
        assert truth.ctr.shape == truth.cvr.shape == (len(requests.request), candidates)
        met |= set(cell[requests.user].tolist())
    assert len(met) > 1


def test_an_ad_is_shared_out_as_users_see_it() -> None:
    world = world_of(shelved())
    listed = world.candidates(np.arange(world.config.users.count))
    assert listed is not None
    seen = np.bincount(listed.ravel(), minlength=ADS)
    assert (seen == 0).any()
    assert world.share_of_requests() == pytest.approx(np.maximum(seen, 1) / world.config.users.count)
    assert world_of(unshelved(shelved())).share_of_requests().tolist() == [1.0] * ADS


# Rates of candidates


def test_candidates_have_the_rates_and_predictions_that_they_have_among_everybody() -> None:
    for state in (True, False):
        few = market.reset(shelved(world__prediction__knows_state=state), 3)
        everybody = market.reset(unshelved(few.scenario), 3)
        _, one = market.step(few, np.ones(ADS))
        _, other = market.step(everybody, np.ones(ADS))
        assert np.array_equal(one.requests.user, other.requests.user)
        for mine, theirs in zip((*one.truth, *one.predicted), (*other.truth, *other.predicted), strict=True):
            assert np.array_equal(mine, np.take_along_axis(theirs, candidates_of(one.requests).astype(int), axis=1))


@njit
def _hashes(key: Any, request: Any, strides: Any, by_stride: Any, plain: Any) -> None:
    start = first64(key, request)
    for i in range(strides.shape[0]):
        by_stride[i], plain[i] = finalise64(start + strides[i]), mix64(key, request, i)


@given(key=st.integers(0, 2**64 - 1), request=st.integers(0, 2**40), ads=st.integers(1, 300))
def test_a_stride_for_each_ad_draws_what_its_number_draws(key: int, request: int, ads: int) -> None:
    by_stride, plain = np.empty(ads, np.uint64), np.empty(ads, np.uint64)
    _hashes(np.uint64(key), np.int64(request), strides64(ads), by_stride, plain)
    assert np.array_equal(by_stride, plain)
    assert len(np.unique(plain)) == ads


# The market among candidates


@settings(max_examples=30)
@given(
    candidates=st.integers(1, 11), cells=st.integers(1, 6), auction=st.sampled_from(["gsp", "vcg", "first_price"]),
    segments=st.sampled_from(["none", "state", "cluster"]),
)  # fmt: skip
def test_winners_and_runners_up_are_candidates_of_their_requests(
    candidates: int, cells: int, auction: str, segments: str
) -> None:
    scenario = shelved(
        candidates, cells, rules__auction=auction, rules__segments=segments, world__traffic__ticks=2,
        world__prediction__knows_state=False,
    )  # fmt: skip
    state, ticks = play(scenario)
    sold = 0
    for tick in ticks:
        listed = np.concatenate([candidates_of(tick.requests), np.full((len(tick.slots.winner), 1), -1)], axis=1)
        for who in (*tick.slots.winner.T, tick.slots.runner_up):
            assert (listed == who[:, None]).any(axis=1).all()
        sold += int((tick.slots.winner >= 0).sum())
        assert (tick.slots.winner[:, candidates:] == -1).all()
    assert sold == state.total.counts.wins.sum() > 0
    assert (state.left_micros >= 0).all()


def test_who_is_on_no_shelf_is_served_nothing_and_sees_finite_numbers() -> None:
    state, _ = play(shelved())
    nowhere = np.flatnonzero(world_of(shelved()).share_of_requests() * 50 <= 1)
    alone = [i for i in nowhere if not any((candidates_of(t.requests) == i).any() for t in play(shelved())[1])]
    assert alone
    counts = state.total.counts
    assert all(column[alone].sum() == 0 for column in counts)
    assert (state.left_micros[alone] == state.advertisers.budget_micros[alone]).all()
    assert np.isfinite(observe(state)).all()


@pytest.mark.parametrize("candidates", [ADS, ADS + 1, 1000])
def test_as_many_candidates_as_advertisers_mean_everybody(candidates: int) -> None:
    scenario = shelved(candidates)
    few, everybody = play(scenario), play(unshelved(scenario))
    assert np.array_equal(few[0].left_micros, everybody[0].left_micros)
    for one, other in zip(few[1], everybody[1], strict=True):
        assert one.requests.candidates is None
        for mine, theirs in zip((*one.slots, *one.ledger.counts), (*other.slots, *other.ledger.counts), strict=True):
            assert np.array_equal(mine, theirs)


def test_fewer_candidates_compete_less() -> None:
    revenue = [play(shelved(candidates, rules__reserve=0.0))[0].total.spend_micros.sum() for candidates in (1, ADS)]
    assert revenue[0] == 0 < revenue[1]


# Requests


def test_a_place_is_the_column_of_a_candidate() -> None:
    _, ticks = play(shelved())
    requests = ticks[0].requests
    listed = candidates_of(requests)
    for advertiser in range(ADS):
        is_own, place = requests.place_of(advertiser)
        assert np.array_equal(is_own, (listed == advertiser).any(axis=1))
        assert (listed[is_own, place[is_own]] == advertiser).all() and (place[~is_own] == 0).all()
    everywhere, place = play(unshelved(shelved()))[1][0].requests.place_of(7)
    assert everywhere.all() and (place == 7).all()


@pytest.mark.parametrize("scenario", [shelved(), unshelved(shelved())], ids=["some", "everybody"])
def test_rows_of_requests_are_the_requests_as_they_came(scenario: Scenario) -> None:
    requests = play(scenario)[1][1].requests
    part = requests.rows(slice(3, 9))
    assert (part.day, part.tick) == (requests.day, requests.tick) == (0, 1)
    for mine, theirs in zip(part[2:], requests[2:], strict=True):
        assert mine is theirs is None or np.array_equal(mine, theirs[3:9])
    assert (part.candidates is None) == (requests.candidates is None)


# Scenarios


def test_scenarios_without_retrieval_keep_the_hash_that_they_had_before_there_was_any() -> None:
    for name in scenario_names():
        scenario = load_scenario(name)
        content = scenario.model_dump(mode="json", exclude={"name", "description"})
        if content["world"].pop("retrieval", None) is not None:
            continue
        assert content["rules"]["ocpc"].pop("click_value") == 1.0  # as young as it, and as absent where nobody sets it
        assert content["reward"].pop("attribution") is None  # younger still
        assert content["generated"].pop("least_budget") == 0.01  # and this
        assert scenario.hash == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    assert unshelved(load_scenario("tiny")).hash == load_scenario("tiny").hash
    assert Scenario(name="a").hash == "9a0f2f48e88fc2d9"


def test_each_number_of_retrieval_changes_the_hash() -> None:
    tiny = load_scenario("tiny")
    kinds = [{"candidates": 4, "cells": 3}, {"candidates": 5, "cells": 3}, {"candidates": 4, "cells": 4}, {}, None]
    assert len({tiny.with_changes(world__retrieval=kind).hash for kind in kinds}) == len(kinds)
    assert tiny.with_changes(world__retrieval={}).world.retrieval.model_dump() == {"candidates": 200, "cells": 64}


@pytest.mark.parametrize(
    ("retrieval", "told"),
    [
        ({"candidates": 0}, "world.retrieval.candidates: 0 is not allowed"),
        ({"cells": 0}, "world.retrieval.cells: 0 is not allowed"),
        ({"candidates": True}, "candidates is True"),
        ({"best": 3}, "world.retrieval.best"),
    ],
)
def test_malformed_retrieval_is_named(retrieval: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load_scenario("tiny").with_changes(world__retrieval=retrieval)


# Those who use the market


def test_the_ranker_answers_with_the_page_that_the_market_shows() -> None:
    scenario = shelved(
        generated__budget_share=1e6, world__users__state_accuracy=1.0, world__users__leave_base=0.0,
        world__users__leave_irrelevance=0.0, rules__segments="state",
    )  # fmt: skip
    ranker, state = Ranker(scenario, seed=5), market.reset(scenario, 5)
    _, tick = market.step(state, ranker.multipliers)
    for b in range(len(tick.requests.request)):
        user, segment = int(tick.requests.user[b]), int(tick.requests.segment[b])
        request = Request(request=int(tick.requests.request[b]), user=user, state=("browsing", "buying")[segment])
        page, shown = ranker.rank(request).slots, tick.slots.winner[b] >= 0
        assert [slot.ad for slot in page] == tick.slots.winner[b][shown].tolist()
        assert [slot.price_micros for slot in page] == tick.slots.price_micros[b][shown].tolist()
        assert [slot.score for slot in page] == tick.slots.score[b][shown].tolist()
        for slot in page:
            _, place = tick.requests.place_of(slot.ad)
            assert slot.pctr == tick.predicted.ctr[b, place[b]] and slot.pcvr == tick.predicted.cvr[b, place[b]]
            assert slot.score == slot.pctr * slot.bid_micros
            assert slot.price_micros <= slot.bid_micros


def test_an_ad_that_is_no_candidate_is_offered_nothing() -> None:
    state, ticks = play(shelved())
    offered = np.zeros((len(ticks), ADS), np.int64)
    for t, tick in enumerate(ticks):
        came = candidates_of(tick.requests)[~tick.slots.skipped]
        for advertiser in range(ADS):
            value, cost = slot_options(state, tick, advertiser)
            assert value.shape == cost.shape == ((came == advertiser).sum(), 2)
            offered[t, advertiser] = len(value)
    assert (offered.sum(axis=0) == 0).any() and (offered.sum(axis=0) > 0).any()
    assert dual_bound(np.zeros((0, 2)), np.zeros((0, 2)), 1.0).value == 0.0


def test_what_a_candidate_was_offered_is_worth_its_own_rates() -> None:
    state, ticks = play(shelved())
    tick, a = ticks[0], state.advertisers
    for advertiser in range(ADS):
        is_own, place = tick.requests.place_of(advertiser)
        row = np.flatnonzero(is_own & ~tick.slots.skipped)
        value, _ = slot_options(state, tick, advertiser)
        ctr, cvr = (rate[row, place[row]].astype(np.float64) for rate in tick.truth)
        worth = ctr * (a.click_worth[advertiser] + a.conversion_worth[advertiser] * cvr)
        assert value == pytest.approx(worth[:, None] * [1.0, 0.6])


def test_no_candidate_wins_more_than_its_bound_in_hindsight() -> None:
    scenario = shelved(rules__outcomes="expected", rules__ocpc__strategy="off")
    lineup = Lineup.of(make_bidder("fixed:1.2", BidderSpace.of(scenario)), ADS)
    day = play_day(scenario, lineup, 3, hindsight_for=range(ADS))
    counts = day.total.counts
    won = day.advertisers.money_value(counts.clicks, counts.conversions)
    assert np.isfinite(day.hindsight).all()
    assert (won <= day.hindsight * (1 + 1e-6) + 1e-6).all()
    assert (day.hindsight[counts.served == 0] == 0).all() and (won > 0).sum() > CANDIDATES
    assert day.filled == counts.wins.sum() and day.revenue_micros > 0
