"""The AuctionNet market: the published advertisers, exposures, and score, without the released simulator's faults."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.market import Ledger, Tick
from tribid.envs.reward import score
from tribid.envs.scenario import MICROS, Scenario, load_scenario
from tribid.envs.settlement import new_counts


def small(**changes: Any) -> Scenario:
    """The published market with fewer requests."""
    return load_scenario("auctionnet").with_changes(**({"world__traffic__requests": 4800} | changes))


def play(scenario: Scenario, multipliers: np.ndarray, seed: int = 0, day: int = 0) -> list[Tick]:
    state, ticks = market.reset(scenario, seed, day), []
    while not state.done:
        state, tick = market.step(state, multipliers)
        ticks.append(tick)
    return ticks


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    return play(small(), np.ones(48))


# The released simulator's advertisers: AuctionNet, simul_bidding_env, 48 advertisers in 6 categories (Su et al., 2024).
@pytest.mark.parametrize(
    ("index", "budget", "target_cpa"), [(0, 2900, 100), (1, 4350, 70), (14, 4750, 60), (22, 4850, 60), (47, 2050, 120)]
)
def test_budgets_and_targets_are_the_published_ones(index: int, budget: int, target_cpa: int) -> None:
    a = market.reset(small(), 0).advertisers
    assert a.budget_micros[index] == budget * MICROS
    assert a.target_cpa_micros[index] == target_cpa * MICROS


def test_there_are_48_advertisers_in_6_categories_with_a_mean_budget_of_3125() -> None:
    scenario = small()
    assert len(scenario.advertisers) == 48
    assert np.bincount([advertiser.category for advertiser in scenario.advertisers]).tolist() == [8] * 6
    assert (
        np.mean([advertiser.budget for advertiser in scenario.advertisers]) == 3125
    )  # computed from the released table
    assert scenario.world.traffic.ticks == 48
    assert load_scenario("auctionnet").world.traffic.requests == 500_000


def test_slots_are_exposed_at_1_and_08_and_048_and_the_third_only_with_the_second(ticks: list[Tick]) -> None:
    full = np.concatenate([tick.slots.exposed[(tick.slots.winner >= 0).all(axis=1)] for tick in ticks])
    assert len(full) > 2000
    assert (np.diff(full, axis=1) <= 0).all()
    for place, rate in enumerate((1.0, 0.8, 0.48)):  # 1, 0.8 and 0.8 x 0.6 (Su et al., 2024, appendix)
        assert full[:, place].mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / len(full)))


def test_an_exposure_is_paid_for_and_a_slot_that_nobody_saw_is_not(ticks: list[Tick]) -> None:
    for tick in ticks:
        slots = tick.slots
        assert np.array_equal(slots.clicked, slots.exposed)
        assert np.array_equal(slots.charge_micros, np.where(slots.exposed > 0, slots.price_micros, 0))


def test_ads_rank_by_bid_and_each_pays_the_next_bid(ticks: list[Tick]) -> None:
    for tick in ticks[:8]:
        slots = tick.slots
        scores = np.concatenate([slots.score, slots.runner_up_score[:, None]], axis=1)
        shown = slots.winner >= 0
        assert np.array_equal(slots.price_micros[shown], np.maximum(scores[:, 1:], 100)[shown])


def test_an_ad_that_clears_at_the_reserve_is_sold() -> None:
    # Public peers leave such an impression unsold: a sole bidder above the reserve wins nothing there.
    alone = np.zeros(48)
    alone[5] = 1.0
    won = [tick.slots for tick in play(small(), alone)]
    prices = np.concatenate([slots.price_micros[slots.winner == 5] for slots in won])
    assert len(prices) > 4000
    assert set(prices.tolist()) == {100}  # the reserve, 0.0001
    assert all((slots.winner[:, 1:] == -1).all() for slots in won)


def test_values_centre_on_the_mean_and_are_capped_to_probabilities(ticks: list[Tick]) -> None:
    values = np.concatenate([tick.truth.cvr for tick in ticks])
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.mean(dtype=np.float64) == pytest.approx(5e-4, rel=0.25)
    assert all((tick.truth.ctr == 1).all() for tick in ticks)


def test_values_follow_their_category_and_change_with_the_window_of_four_ticks(ticks: list[Tick]) -> None:
    means = np.array([tick.truth.cvr.mean(axis=0, dtype=np.float64) for tick in ticks])
    windows = means.reshape(12, 4, 48).mean(axis=1)
    moves = np.diff(np.log(windows), axis=0)
    correlation = np.corrcoef(moves.T)
    same = np.equal.outer(np.arange(48) // 8, np.arange(48) // 8) & ~np.eye(48, dtype=bool)
    assert correlation[same].mean() > 0.8
    assert correlation[~same & ~np.eye(48, dtype=bool)].mean() < 0.3


@pytest.mark.parametrize(("effect", "low", "high"), [(0.0, -0.03, 0.03), (0.6, 0.5, 0.7)])
def test_values_of_a_request_are_as_correlated_as_the_scenario_says(effect: float, low: float, high: float) -> None:
    tick = play(small(world__shared_effect=effect, world__traffic__requests=48_000), np.zeros(48))[0]
    inside = np.corrcoef(tick.truth.cvr.astype(np.float64).T)[~np.eye(48, dtype=bool)]
    assert low < inside.mean() < high


def test_no_tick_repeats_anothers_values(ticks: list[Tick]) -> None:
    # The released simulator draws every tick from one constant seed.
    for one, other in pairwise(ticks):
        n = min(len(one.truth.cvr), len(other.truth.cvr))
        relative = [tick.truth.cvr[:n, :1] / tick.truth.cvr[:n, :1].mean() for tick in (one, other)]
        assert abs(np.corrcoef(relative[0].ravel(), relative[1].ravel())[0, 1]) < 5 / np.sqrt(n)


def test_a_days_requests_are_the_scenarios_to_rounding() -> None:
    world = market.reset(small(), 0).world
    for day in range(3):
        assert world.day(0, day).counts.sum() == pytest.approx(4800, abs=24)
    assert world.day(0, 0).counts.tolist() != world.day(0, 1).counts.tolist()


@pytest.mark.parametrize(
    ("spend", "target", "expected"),
    [
        (12_500, 100, 64.0),  # reward 100, CPA 125, target 100, exponent 2: AuctionNet, run_evaluate.py
        (10_000, 100, 100.0),
        (5_000, 100, 100.0),
        (20_000, 100, 25.0),
    ],
)
def test_a_missed_target_costs_the_published_penalty(spend: int, target: int, expected: float) -> None:
    # With a budget of one target, the money value over the budget is the number of conversions, AuctionNet's reward.
    scenario = small(
        advertisers=[{"name": "a", "objective": "target_cpa", "target_cpa": target, "budget": target}],
    )
    counts = new_counts(1)
    counts.conversions[:] = 100.0
    ledger = Ledger(counts, np.array([spend * MICROS]))
    assert score(market.reset(scenario, 0).advertisers, ledger, 2.0) == pytest.approx([expected], rel=1e-12)


def test_a_days_rewards_sum_to_the_days_score() -> None:
    from tribid.envs.reward import REWARDS

    scenario = small(world__mean_value=0.05)
    state = market.reset(scenario, 0)
    rewards = np.zeros(48)
    while not state.done:
        after, _ = market.step(state, np.full(48, 1.5))
        rewards += REWARDS["own"](state, after, scenario.reward)
        state = after
    total = score(state.advertisers, state.total, 2.0)
    assert rewards == pytest.approx(total, abs=1e-9)
    assert total.max() > 0
