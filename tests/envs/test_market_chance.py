"""The market's chance: common random numbers, no tick that repeats another, and expectations that are the mean."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tribid.envs import market
from tribid.envs.market import MarketState, Tick
from tribid.envs.scenario import Scenario, load_scenario

AGENTS = 5
STAY = {"world__users__leave_base": 0.0, "world__users__leave_irrelevance": 0.0}


def tiny(**changes: Any) -> Scenario:
    return load_scenario("tiny").with_changes(**changes)


def rich(**changes: Any) -> Scenario:
    return tiny(generated__budget_share=1e6, **STAY, **changes)


def play(scenario: Scenario, multipliers: Any, seed: int = 0, day: int = 0) -> tuple[MarketState, list[Tick]]:
    state, ticks = market.reset(scenario, seed, day), []
    while not state.done:
        state, tick = market.step(state, multipliers)
        ticks.append(tick)
    return state, ticks


def outcomes(ticks: list[Tick]) -> dict[tuple[int, int], tuple[int, float, float, float]]:
    """Slot, exposed, clicked and converted of every (request, ad) that was shown."""
    found = {}
    for tick in ticks:
        slots = tick.slots
        for b, k in np.argwhere(slots.winner >= 0):
            place = (int(tick.requests.request[b]), int(slots.winner[b, k]))
            found[place] = (int(k), slots.exposed[b, k], slots.clicked[b, k], slots.converted[b, k])
    return found


# Common random numbers


@pytest.mark.parametrize("multiplier", [0.0, 0.3, 4.0])
def test_another_bid_of_one_advertiser_leaves_all_exogenous_draws_as_they_were(multiplier: float) -> None:
    changed = np.ones(AGENTS)
    changed[0] = multiplier
    differs = False
    for one, other in zip(play(tiny(), np.ones(AGENTS))[1], play(tiny(), changed)[1], strict=True):
        for part in ("requests", "truth", "predicted"):
            for a, b in zip(getattr(one, part), getattr(other, part), strict=True):
                assert np.array_equal(a, b)
        differs |= not np.array_equal(one.slots.winner, other.slots.winner)
    assert differs


@pytest.mark.parametrize("multiplier", [0.0, 0.3, 4.0])
def test_another_bid_of_one_advertiser_leaves_the_outcomes_of_the_same_request_and_ad_as_they_were(
    multiplier: float,
) -> None:
    changed = np.ones(AGENTS)
    changed[0] = multiplier
    seen = clicks = conversions = moved = 0
    for day in range(5):
        one, other = (outcomes(play(tiny(), bids, 0, day)[1]) for bids in (np.ones(AGENTS), changed))
        for place in one.keys() & other.keys():
            (slot, exposed, clicked, converted), (slot2, exposed2, clicked2, converted2) = one[place], other[place]
            if slot == slot2:
                assert exposed == exposed2
            elif slot < slot2:
                assert exposed >= exposed2  # the user looked as far down
            else:
                assert exposed <= exposed2
            if exposed and exposed2:
                assert clicked == clicked2
                assert converted == converted2
                seen += 1
                moved += slot != slot2
                clicks += int(clicked)
                conversions += int(converted)
    assert seen > 300
    assert moved > 20
    assert clicks > 20
    assert conversions > 0


def test_other_rules_meet_the_same_users() -> None:
    first = play(tiny(), np.ones(AGENTS))[1]
    for change in ({"rules__auction": "vcg"}, {"rules__reserve": 0.2}, {"rules__ocpc__strategy": "off"}):
        for one, other in zip(first, play(tiny(**change), np.ones(AGENTS))[1], strict=True):
            assert np.array_equal(one.requests.user, other.requests.user)
            assert np.array_equal(one.truth.ctr, other.truth.ctr)
            assert np.array_equal(one.predicted.ctr, other.predicted.ctr)


# No tick repeats another


@pytest.fixture(scope="module")
def converted() -> np.ndarray:
    """Conversions [T, B] of a bidder that wins every row, in ticks of equal length and with a true rate of 0.1."""
    count, ticks = 2500, 24
    scenario = load_scenario("auctionnet").with_changes(
        world__traffic__ticks=ticks,
        world__traffic__requests=count * ticks,
        world__traffic__curve=(1.0,) * ticks,
        world__mean_value=0.1,
        advertisers=[{"name": "attacker", "objective": "target_cpa", "target_cpa": 1, "budget": 1e9}],
    )
    _, played = play(scenario, [8.0])
    least = min(len(tick.requests.request) for tick in played)
    assert least > 0.5 * count
    assert all((tick.slots.winner[:, 0] == 0).mean() > 0.9 for tick in played)
    return np.stack([tick.slots.converted[:least, 0] for tick in played])


def test_bidding_on_the_rows_that_converted_in_the_last_tick_gains_nothing(converted: np.ndarray) -> None:
    # Public peers draw every tick from one constant seed: there this attack converts at a rate of 1 where 0.1 is true.
    chosen = converted[:-1] > 0
    got, base = converted[1:][chosen], converted[1:].mean(axis=1, keepdims=True)
    expected = np.broadcast_to(base, chosen.shape)[chosen].sum()
    assert 0.05 < converted.mean() < 0.2
    assert len(got) > 2000
    assert abs(got.sum() - expected) < 4 * np.sqrt(expected)


def test_conversions_on_the_same_row_of_different_ticks_are_uncorrelated(converted: np.ndarray) -> None:
    centred = converted - converted.mean(axis=1, keepdims=True)
    for lag in (1, 2, 3, 4, 8):
        products = (centred[:-lag] * centred[lag:]).ravel()
        assert abs(products.mean()) < 4 * products.std() / np.sqrt(len(products)), lag


def test_no_two_ticks_show_the_same_users_values_or_outcomes() -> None:
    _, ticks = play(rich(), np.ones(AGENTS))
    for i, one in enumerate(ticks):
        for other in ticks[i + 1 :]:
            n = min(len(one.requests.user), len(other.requests.user))
            assert not np.array_equal(one.requests.user[:n], other.requests.user[:n])
            assert not np.array_equal(one.predicted.ctr[:n], other.predicted.ctr[:n])
            assert not np.array_equal(one.slots.clicked[:n], other.slots.clicked[:n])


def test_requests_are_numbered_through_the_day_without_gap_or_repeat() -> None:
    _, ticks = play(tiny(), np.ones(AGENTS))
    numbers = np.concatenate([tick.requests.request for tick in ticks])
    assert np.array_equal(numbers, np.arange(len(numbers)))


# Outcomes follow the truth


def test_clicks_and_conversions_come_at_their_true_rates() -> None:
    clicks = conversions = 0.0
    click_rates, conversion_rates = [], []
    for day in range(40):
        for tick in play(rich(), np.ones(AGENTS), 0, day)[1]:
            b, k = np.nonzero(tick.slots.exposed)
            ctr = tick.truth.ctr[b, tick.slots.winner[b, k]].astype(np.float64)
            cvr = tick.truth.cvr[b, tick.slots.winner[b, k]].astype(np.float64)
            clicked = tick.slots.clicked[b, k]
            clicks += clicked.sum()
            conversions += tick.slots.converted[b, k].sum()
            click_rates.append(ctr)
            conversion_rates.append(cvr[clicked > 0])
    for events, parts in ((clicks, click_rates), (conversions, conversion_rates)):
        rates = np.concatenate(parts)
        assert abs(events - rates.sum()) < 4 * np.sqrt((rates * (1 - rates)).sum())
    assert conversions > 200


def _click_surprises(seed: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Clicked minus true rate in both slots of the requests whose both slots were seen [N, 2], and the requests [N]."""
    surprises, numbers = [], []
    scenario = rich(rules__slot_effects=(1.0, 1.0), rules__reserve=0.0)
    for day in range(days):
        for tick in play(scenario, np.ones(AGENTS), seed, day)[1]:
            full = (tick.slots.winner >= 0).all(axis=1)
            rates = np.take_along_axis(tick.truth.ctr[full], tick.slots.winner[full], axis=1).astype(np.float64)
            surprises.append((tick.slots.clicked[full] - rates) / np.sqrt(rates * (1 - rates)))
            numbers.append(tick.requests.request[full] + 10_000 * day)
    return np.concatenate(surprises), np.concatenate(numbers)


def test_whether_one_ad_of_a_page_is_clicked_tells_nothing_of_the_other_beyond_their_rates() -> None:
    surprises, _ = _click_surprises(0, 30)
    assert len(surprises) > 8000
    assert abs((surprises[:, 0] * surprises[:, 1]).mean()) < 4 / np.sqrt(len(surprises))


def test_the_same_request_of_the_next_day_is_another_story() -> None:
    surprises, numbers = _click_surprises(0, 30)
    of = dict(zip(numbers.tolist(), surprises[:, 0].tolist(), strict=True))
    products = np.array([here * of[number + 10_000] for number, here in of.items() if number + 10_000 in of])
    assert len(products) > 8000
    assert abs(products.mean()) < 4 / np.sqrt(len(products))


def test_a_slot_is_exposed_with_its_effect_and_only_if_the_one_above_is() -> None:
    scenario = rich(rules__slot_effects=(1.0, 0.7, 0.4))
    ticks = [tick for day in range(10) for tick in play(scenario, np.ones(AGENTS), 0, day)[1]]
    exposed = np.concatenate([tick.slots.exposed[(tick.slots.winner >= 0).all(axis=1)] for tick in ticks])
    assert (np.diff(exposed, axis=1) <= 0).all()
    assert exposed[:, 0].all()
    for place, effect in ((1, 0.7), (2, 0.4)):
        assert stats.binomtest(int(exposed[:, place].sum()), len(exposed), effect).pvalue > 1e-3


# Expectations


def test_the_expected_value_mode_is_the_mean_of_sampled_days() -> None:
    gaps = []
    expected, sampled = rich(rules__outcomes="expected"), rich()
    for day in range(100):
        means, drawn = (play(scenario, np.ones(AGENTS), 3, day)[0].total for scenario in (expected, sampled))
        # Without leaving and binding budgets both modes decide the same auctions.
        assert means.counts.wins.tolist() == drawn.counts.wins.tolist()
        gaps.append([
            means.counts.exposures - drawn.counts.exposures,
            means.counts.clicks - drawn.counts.clicks,
            means.counts.conversions - drawn.counts.conversions,
            (means.spend_micros - drawn.spend_micros) / 1e6,
        ])  # fmt: skip
    gap = np.array(gaps)
    error = gap.std(axis=0, ddof=1) / np.sqrt(len(gap))
    assert (error > 0).all()
    assert (np.abs(gap.mean(axis=0)) < 4 * error).all()


def test_expected_charges_are_the_expected_clicks_at_their_price_to_half_a_micro() -> None:
    for tick in play(rich(rules__outcomes="expected"), np.ones(AGENTS))[1]:
        slots = tick.slots
        assert np.abs(slots.charge_micros - slots.clicked * slots.price_micros).max() <= 0.5
        effect = np.array([1.0, 0.6])  # of the scenario tiny
        shown = slots.winner >= 0
        assert np.array_equal(slots.exposed[shown], np.broadcast_to(effect, shown.shape)[shown])
        ctr = np.take_along_axis(tick.truth.ctr, np.maximum(slots.winner, 0), axis=1).astype(np.float64)
        assert np.array_equal(slots.clicked[shown], (effect * ctr)[shown])


def test_twice_the_budget_never_lowers_what_a_sole_bidder_gets() -> None:
    # With rivals this need not hold: a budget that ends later can displace a better ad or raise a rival's price.
    got = []
    for budget in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        advertisers = [{"name": "a", "budget": budget, "objective": "max_clicks"}]
        scenario = tiny(advertisers=advertisers, rules__outcomes="expected", **STAY)
        got.append(play(scenario, [8.0])[0].total.counts.clicks[0])
    assert got == sorted(got)
    assert got[0] < got[2]
