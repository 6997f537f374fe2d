"""The tick's programme against every policy, against the dual, and by hand; and the bidders fitted on training days."""

from itertools import product

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.hindsight import dual_bound
from tribid.agents.optimal.curves import Curves, purchases
from tribid.agents.optimal.rlb_pacing import RlbPacing, budget_programme, fit_rlb, target_price
from tribid.agents.registry import make_bidder
from tribid.agents.testing import play
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

GRID = np.append(0.0, np.geomspace(8 / 256, 8, 300))


def made(value: np.ndarray, spend: np.ndarray, targeted: bool = False) -> Curves:
    """Curves of the multipliers 0, 1, 2 from value and spend [days, ticks, 3]."""
    left = 1.0 - np.arange(value.shape[1]) / value.shape[1]
    return Curves(multipliers=np.arange(3.0), value=value, spend=spend, traffic_left=left, targeted=targeted)


def market(seed: int, ticks: int = 6, each: int = 300) -> tuple[Curves, np.ndarray, np.ndarray]:
    """One day of impressions with one slot each, and what they are worth and cost [ticks * each]."""
    rng = np.random.default_rng(seed)
    value, cost = rng.uniform(0.1, 1, size=(2, ticks, each))
    value, cost = value * 5 / value.sum(), cost * 3 / cost.sum()
    totals = [purchases(v[:, None], c[:, None], np.ones(each), GRID) for v, c in zip(value, cost, strict=True)]
    won, spent = (np.stack(part)[None] for part in zip(*totals, strict=True))
    left = 1.0 - np.arange(ticks) / ticks
    curves = Curves(multipliers=GRID, value=won, spend=spent, traffic_left=left, targeted=False)
    return curves, value.ravel(), cost.ravel()


def test_money_is_kept_for_a_tick_where_it_buys_more() -> None:
    # Tick 0: 0.1 for 0.2, or 0.3 for 0.8. Tick 1: 0.5 for 0.5, or 0.55 for 1. By hand: multiplier 1 twice, 0.6 in all;
    # the greedy 0.3 first leaves 0.2, which buys 2/5 of 0.5 and makes 0.5.
    curves = made(np.array([[[0, 0.1, 0.3], [0, 0.5, 0.55]]]), np.array([[[0, 0.2, 0.8], [0, 0.5, 1.0]]]))
    programme = budget_programme(curves, budgets=101)
    assert programme.objective[0, -1] == pytest.approx(0.6)
    assert programme.multiplier[:, -1].tolist() == [1.0, 2.0]
    assert programme.multiplier[1, 80] == 1.0
    assert programme.spend[0, -1] == pytest.approx(0.7)


@pytest.mark.parametrize("seed", range(4))
def test_no_policy_expects_more(seed: int) -> None:
    # Two days, two ticks, budgets in quarters: all 3 * 3^5 policies over every pair of days.
    rng = np.random.default_rng(seed)
    spend = np.sort(rng.integers(0, 5, size=(2, 2, 3)), axis=2) / 4.0
    value = np.sort(rng.uniform(size=(2, 2, 3)), axis=2)
    spend[:, :, 0] = value[:, :, 0] = 0.0
    best = 0.0
    for first, *second in product(range(3), repeat=6):
        total = 0.0
        for one, two in product(range(2), repeat=2):
            after = 1.0 - spend[one, 0, first]
            choice = second[round(4 * after)]
            share = min(1.0, after / max(spend[two, 1, choice], 1e-9))
            total += value[one, 0, first] + share * value[two, 1, choice]
        best = max(best, total / 4)
    assert budget_programme(made(value, spend), budgets=5).objective[0, -1] == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_on_a_known_day_it_comes_close_to_the_linear_programme_and_never_above(seed: int) -> None:
    curves, value, cost = market(seed)
    programme = budget_programme(curves)
    for place in (64, 128, 256):
        budget = float(programme.budgets[place])
        bound = dual_bound(value, cost, budget)
        assert 0.985 * bound.value <= programme.objective[0, place] <= bound.value * (1 + 1e-9)
        assert programme.multiplier[0, place] * bound.budget_price == pytest.approx(1.0, abs=0.12)


def test_the_multiplier_is_one_over_what_a_unit_of_budget_is_worth() -> None:
    curves, _, _ = market(7)
    programme = budget_programme(curves)
    wide = 6
    slope = (programme.objective[:, 2 * wide :] - programme.objective[:, : -2 * wide]) / (2 * wide / 256)
    middle = programme.budgets[wide:-wide]
    ratios = []
    for tick in range(5):
        for place in range(40, 240, 4):
            multiplier = programme.multiplier[tick, place]
            spent = np.interp(multiplier, curves.multipliers, curves.spend[0, tick])
            if multiplier < 8.0:
                ratios.append(multiplier * np.interp(programme.budgets[place] - spent, middle, slope[tick + 1]))
    assert len(ratios) > 150
    assert abs(np.median(ratios) - 1.0) < 0.03
    assert np.quantile(np.abs(np.array(ratios) - 1.0), 0.9) < 0.15


def test_more_budget_is_worth_more_with_decreasing_returns() -> None:
    programme = budget_programme(market(8)[0])
    assert (np.diff(programme.objective, axis=1) >= -1e-12).all()
    assert (np.diff(programme.objective, axis=0) <= 1e-12).all()
    assert (np.diff(programme.objective[:, ::16], n=2, axis=1) <= 1e-6).all()
    assert (programme.spend[0] <= programme.budgets + 1e-9).all()


def test_a_target_price_keeps_the_target_and_is_0_where_it_is_met_anyway() -> None:
    # Multiplier 2 wins more but costs more than it is worth in all; multiplier 1 is worth what it costs and a little.
    value, spend = np.array([[[0, 0.25, 0.4]] * 2]), np.array([[[0, 0.2, 0.5]] * 2])
    loose, strict = made(value, spend, targeted=False), made(value, spend, targeted=True)
    assert target_price(loose, budgets=65) == 0
    assert budget_programme(strict).room < 0
    price = target_price(strict, budgets=65)
    assert price > 0
    assert budget_programme(strict, target_price=price).room >= 0
    assert budget_programme(strict, target_price=0.9 * price).room < 0
    bidder = RlbPacing(strict, space=BidderSpace(n_ticks=2))
    assert bidder.target_price == price
    assert bidder.table[:, -1].tolist() == [1.0, 1.0]
    cheap = made(2 * value, spend, targeted=True)
    assert target_price(cheap, budgets=65) == 0


def test_fitted_bidders_beat_the_unit_bid_and_are_the_same_bits_again() -> None:
    tiny = load_scenario("tiny")
    space, who = BidderSpace.of(tiny), [0, 2, 4]
    rivals = Lineup({"pid": make_bidder("pid", space)}, ["pid"] * 5)
    fitted, again = (fit_rlb(tiny, [0, 1, 2], advertisers=who, rivals=rivals) for _ in range(2))
    for one, other in zip(fitted, again, strict=True):
        assert isinstance(one, RlbPacing) and isinstance(other, RlbPacing)
        assert one.table.tobytes() == other.table.tobytes()
    means = []
    for bidders in (fitted, [make_bidder("truthful", space)] * 3):
        own = {f"own {i}": bidder for i, bidder in zip(who, bidders, strict=True)}
        lineup = Lineup({**rivals.bidders, **own}, [f"own {i}" if i in who else "pid" for i in range(5)])
        days = [play(tiny, seed, lineup)[0] for seed in range(50, 62)]
        means.append(np.mean([score(day.advertisers, day.total, 2.0)[who] for day in days]))
    assert means[0] > means[1]
