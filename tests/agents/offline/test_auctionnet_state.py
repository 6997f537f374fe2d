from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tribid.agents.offline.auctionnet_state import STATE16_FIELDS, TickMeans, state16, tick_means
from tribid.envs.market import MarketState, Tick, reset, step
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import MICROS, load_scenario

AT = {name: place for place, (name, _) in enumerate(STATE16_FIELDS)}


class Given:
    """A platform whose predictions are handed in."""

    def __init__(self, ctr: Any, cvr: Any) -> None:
        self.ctr, self.cvr = ctr, cvr

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        shape = truth.ctr.shape
        return Rates(*(np.broadcast_to(np.float32(rate), shape).copy() for rate in (self.ctr, self.cvr)))


def auction_of_four(**changes: Any) -> MarketState:
    """Four advertisers of CPA target 100 in AuctionNet's market with two slots; a reserve of 0.01."""
    advertisers = [
        {"name": f"a{i}", "objective": "target_cpa", "target_cpa": 100.0, "budget": 1000.0} for i in range(4)
    ]
    scenario = load_scenario("auctionnet").with_changes(
        world__traffic={"ticks": 4, "requests": 40, "session_length": 1, "tick_noise": 0.0, "curve": [1, 1, 1, 1]},
        rules__slot_effects=(1.0, 0.5), rules__reserve=0.01, advertisers=advertisers, **changes,
    )  # fmt: skip
    return reset(scenario, 5, forecaster=Given(1.0, [0.004, 0.003, 0.002, 0.001]))


def play(state: MarketState, multipliers: list[list[float]]) -> tuple[list[Tick], np.ndarray]:
    ticks, left = [], []
    for multiplier in multipliers:
        left.append(state.left_micros / state.advertisers.budget_micros)
        state, tick = step(state, np.array(multiplier))
        ticks.append(tick)
    return ticks, np.array(left)


def test_a_tick_that_one_can_work_out_by_hand() -> None:
    """Bids are multiplier * 100 * value: 0.4, 0.6, 0.2 and 0.05; slots go to the second and the first."""
    ticks, _ = play(auction_of_four(), [[1.0, 2.0, 1.0, 0.5]])
    means, count = tick_means(ticks[0]), len(ticks[0].slots.winner)
    assert means.bid == pytest.approx([0.4, 0.6, 0.2, 0.05], rel=1e-5)
    assert means.pvalue == pytest.approx([0.004, 0.003, 0.002, 0.001], rel=1e-5)
    assert means.least_winning_cost == pytest.approx([0.2] * 4, abs=1e-6)
    assert means.xi.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert means.requests.tolist() == [count] * 4
    assert means.conversion * count == pytest.approx(ticks[0].ledger.counts.conversions)
    assert (means.pvalue_now, means.expected) == (pytest.approx(means.pvalue), pytest.approx(means.requests))


def test_where_nobody_is_left_the_least_winning_cost_is_the_reserve() -> None:
    ticks, _ = play(auction_of_four(), [[1.0, 2.0, 0.0, 0.0]])
    assert tick_means(ticks[0]).least_winning_cost == pytest.approx([0.01] * 4, abs=1e-9)


def test_a_bid_is_cut_to_the_cap_and_to_what_is_left() -> None:
    ticks, _ = play(auction_of_four(rules__max_bid=0.3), [[1.0, 2.0, 1.0, 0.5]])
    assert tick_means(ticks[0]).bid == pytest.approx([0.3, 0.3, 0.2, 0.05], rel=1e-5)
    poor = replace(auction_of_four(), left_micros=np.array([150_000, 10**9, 10**9, 10**9]))
    ticks, _ = play(poor, [[1.0, 2.0, 1.0, 0.5]])
    assert tick_means(ticks[0]).bid == pytest.approx([0.15, 0.6, 0.2, 0.05], rel=1e-5)


def test_where_clicks_are_paid_bids_and_costs_count_per_exposure() -> None:
    scenario = load_scenario("tiny").with_changes(rules__ocpc__strategy="off")
    state = reset(scenario, 3)
    _, tick = step(state, np.ones(5))
    came, advertisers = ~tick.slots.skipped, state.advertisers
    pctr, pcvr = (rate[came].astype(np.float64) for rate in tick.predicted)
    limit = np.minimum(advertisers.budget_micros, advertisers.cap_micros)
    asked = np.minimum(advertisers.bid_per_click + advertisers.bid_per_pcvr * pcvr, limit) * pctr / MICROS
    least = np.maximum(tick.slots.runner_up_score[came][:, None], 50_000 * pctr) / MICROS
    means = tick_means(tick)
    assert means.bid == pytest.approx(asked.mean(axis=0))
    assert means.least_winning_cost == pytest.approx(least.mean(axis=0))
    assert means.pvalue == pytest.approx((pctr * pcvr).mean(axis=0))
    assert means.requests.tolist() == [came.sum()] * 5
    assert means.expected.tolist() == [len(came)] * 5
    assert means.xi * came.sum() == pytest.approx(tick.ledger.counts.wins)


def test_winners_bid_the_least_winning_cost_at_least_and_losers_at_most() -> None:
    """Up to the micro, to which the market cuts bids."""
    ticks, _ = play(auction_of_four(), [[1.0, 1.0, 1.0, 1.0], [0.1, 1.0, 2.0, 8.0], [0.0, 0.5, 3.0, 0.1]])
    for tick in ticks:
        means = tick_means(tick)
        assert (means.bid[means.xi == 0] <= means.least_winning_cost[means.xi == 0] + 1e-6).all()
        assert (means.bid[means.xi == 1] >= means.least_winning_cost[means.xi == 1] - 1e-6).all()


def test_retrieval_counts_an_advertisers_own_requests() -> None:
    scenario = load_scenario("tiny").with_changes(
        world__retrieval={"candidates": 2, "cells": 3}, rules__ocpc__strategy="off"
    )
    _, tick = step(reset(scenario, 3), np.ones(5))
    means = tick_means(tick)
    for who in range(5):
        found, column = tick.requests.place_of(who)
        came = found & ~tick.slots.skipped
        assert means.requests[who] == came.sum()
        if came.any():
            value = tick.predicted.ctr[came, column[came]] * tick.predicted.cvr[came, column[came]]
            assert means.pvalue[who] == pytest.approx(value.mean())


def test_the_state_of_a_day_number_by_number() -> None:
    def tick(value: float, requests: float) -> TickMeans:
        return TickMeans(*(np.array([value + place]) for place in range(5)), *(np.array([requests]),) * 3)

    days = [tick(1.0, 10), tick(3.0, 20), tick(5.0, 30), tick(10.0, 40), tick(0.0, 50)]
    states = state16(days, np.linspace(1.0, 0.6, 5)[:, None])[:, 0]
    assert states.shape == (5, 16)
    assert states[0].tolist() == pytest.approx([1.0, 1.0, *[0.0] * 10, 10, 10, 0, 0])
    last = {name: float(states[4, place]) for name, place in AT.items()}
    assert last == pytest.approx(
        {
            "time_left": 0.2, "budget_left": 0.6,
            "bid_day": 4.75, "bid_last_three": 6.0,
            "least_winning_cost_day": 5.75, "pvalue_day": 6.75, "conversion_day": 7.75, "xi_day": 8.75,
            "least_winning_cost_last_three": 7.0, "pvalue_last_three": 8.0, "conversion_last_three": 9.0,
            "xi_last_three": 10.0, "pvalue_now": 50.0, "requests_now": 50.0, "requests_last_three": 90.0,
            "requests_day": 100.0,
        }
    )  # fmt: skip


def test_the_state_before_a_tick_does_not_know_what_comes_of_it() -> None:
    first, left = play(auction_of_four(), [[1.0] * 4, [1.0] * 4, [1.0, 8.0, 1.0, 1.0], [1.0] * 4])
    other, others_left = play(auction_of_four(), [[1.0] * 4, [1.0] * 4, [1.0, 0.1, 1.0, 1.0], [1.0] * 4])
    states, others = (
        state16([tick_means(tick) for tick in ticks], share) for ticks, share in ((first, left), (other, others_left))
    )
    assert np.array_equal(states[:3], others[:3])
    assert not np.array_equal(states[3], others[3])


def test_ticks_without_requests_count_in_no_mean() -> None:
    def tick(value: float, requests: float) -> TickMeans:
        return TickMeans(*(np.array([value]),) * 5, *(np.array([requests]),) * 3)

    states = state16([tick(2.0, 4), tick(0.0, 0), tick(4.0, 4), tick(0.0, 1)], np.ones((4, 1)))[:, 0]
    assert states[:, AT["bid_day"]].tolist() == [0.0, 2.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="2 ticks for budgets of 4"):
        state16([tick(2.0, 4)] * 2, np.ones((4, 1)))
