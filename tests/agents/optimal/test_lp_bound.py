"""The linear programme against the dual and against the known answer."""

import numpy as np
import pytest

from tribid.agents.hindsight import dual_bound, hindsight_bound
from tribid.agents.optimal.lp_bound import lp_bound

VALUES, PRICES = [10.0, 9, 8, 3, 2], [2.0, 3, 4, 1, 4]


def market_of(rng: np.random.Generator, requests: int, slots: int) -> tuple[np.ndarray, np.ndarray]:
    effect = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    steeper = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    value = rng.uniform(0.01, 1, size=(requests, 1)) * effect
    return value, rng.uniform(0.01, 1, size=(requests, 1)) * effect * steeper


def test_the_knapsack_of_the_known_answer() -> None:
    bound = lp_bound(VALUES, PRICES, 9.0)
    assert bound.value == pytest.approx(28, rel=1e-12)
    assert bound.budget_price == pytest.approx(2, rel=1e-12)
    assert bound.share[:, 0] == pytest.approx([1, 1, 0.75, 1, 0])


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("target", [None, 0.3, 0.6, 1.5])
def test_the_programme_and_the_dual_have_one_value(slots: int, target: float | None) -> None:
    rng = np.random.default_rng([7, slots, int(10 * (target or 0))])
    for _ in range(6):
        value, cost = market_of(rng, int(rng.integers(1, 250)), slots)
        budget = float(rng.uniform(0.02, 0.8) * cost[:, 0].sum())
        bound = lp_bound(value, cost, budget, excess=[] if target is None else [cost - target * value])
        dual = dual_bound(value, cost, budget, target_cost_per_value=target)
        assert bound.value == pytest.approx(dual.value, rel=1e-7)
        assert (bound.share * value).sum() == pytest.approx(bound.value, rel=1e-9)
        assert (bound.share * cost).sum() <= budget * (1 + 1e-9)
        assert (bound.share.sum(axis=1) <= 1 + 1e-9).all()
        if target is not None:
            assert (bound.share * (cost - target * value)).sum() <= 1e-8
            older = hindsight_bound(value, cost, budget, target_cost_per_value=target)
            assert bound.value == pytest.approx(older.value, rel=1e-6)


@pytest.mark.parametrize("slots", [1, 3])
def test_ties_and_worthless_slots_do_not_matter(slots: int) -> None:
    rng = np.random.default_rng(slots)
    for target in (None, 0.5):
        value = rng.integers(0, 3, size=(120, slots)).astype(float)
        cost = rng.integers(0, 3, size=(120, slots)) / 2.0
        excess = [] if target is None else [cost - target * value]
        bound = lp_bound(value, cost, 15.0, excess=excess)
        assert bound.value == pytest.approx(dual_bound(value, cost, 15.0, target_cost_per_value=target).value, rel=1e-7)


def test_the_prices_prove_the_bound() -> None:
    # Weak duality at the programme's own prices: mu B + sum of max(0, best slot at these prices) is the value again.
    rng = np.random.default_rng(3)
    for _ in range(10):
        value, cost = market_of(rng, 150, 3)
        first, second = cost - 0.5 * value, rng.uniform(-1, 1, size=value.shape)
        budget = 0.25 * cost[:, 0].sum()
        bound = lp_bound(value, cost, budget, excess=[first, second])
        net = value - bound.budget_price * cost - bound.prices[0] * first - bound.prices[1] * second
        proved = bound.budget_price * budget + np.maximum(net.max(axis=1), 0).sum()
        assert proved == pytest.approx(bound.value, rel=1e-9)


def test_no_more_requests_are_shared_than_constraints_bind() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        value, cost = market_of(rng, 200, 3)
        bound = lp_bound(value, cost, 0.2 * cost[:, 0].sum(), excess=[cost - 0.5 * value, cost - 0.4 * value[:, :1]])
        binding = (bound.budget_price > 1e-9) + (bound.prices > 1e-9).sum()
        shared = ((bound.share > 1e-7) & (bound.share < 1 - 1e-7)).any(axis=1).sum()
        assert shared <= binding


def test_units_of_money_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    value, cost = market_of(rng, 200, 2)
    budget = 0.2 * cost[:, 0].sum()
    units = lp_bound(value, cost, budget, excess=[cost - 0.5 * value])
    micros = lp_bound(value * 1e6, cost * 1e6, budget * 1e6, excess=[(cost - 0.5 * value) * 1e6])
    assert micros.value == pytest.approx(units.value * 1e6, rel=1e-9)
    assert micros.budget_price == pytest.approx(units.budget_price, rel=1e-6)
    assert micros.prices == pytest.approx(units.prices, rel=1e-6)


def test_edges_and_bad_input() -> None:
    assert lp_bound(np.zeros((0, 2)), np.zeros((0, 2)), 1.0).value == 0
    assert lp_bound([1.0, 2.0], [9.0, 9.0]).value == pytest.approx(3)
    assert lp_bound([0.0, 0.0], [1.0, 1.0], 1.0).value == 0
    assert lp_bound([1.0], [5.0], excess=[[1.0]]).value == pytest.approx(0, abs=1e-9)
    for bad in ({"value": [-1.0]}, {"cost": [np.nan]}, {"cost": [1.0, 2.0]}, {"budget": 0.0}, {"excess": [[np.inf]]}):
        with pytest.raises(ValueError, match="allowed"):
            lp_bound(**{"value": [1.0], "cost": [1.0], "budget": 1.0, **bad})
