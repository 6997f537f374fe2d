"""The dynamic programme of RLB against every policy there is, and what must hold for any distribution of prices."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from tribid.agents.optimal.rlb import ValueFunction, linear_bid, mcpc_bid, smoothed_prices

EVEN = [Fraction(1, 10), Fraction(4, 10), Fraction(2, 10), Fraction(3, 10)]
THETA = Fraction(3, 8)


def policies(auctions: int, budget: int) -> Iterator[dict[tuple[int, int], int]]:
    """Every way to bid: one bid from 0 to b for each state of auctions and budget left."""
    states = [(n, b) for n in range(1, auctions + 1) for b in range(budget + 1)]
    for bids in product(*(range(b + 1) for _, b in states)):
        yield dict(zip(states, bids, strict=True))


def worth(policy: dict[tuple[int, int], int], prices: list[Fraction], n: int, b: int) -> Fraction:
    """The expected value of a policy from a state on, over every price that may come."""
    if n == 0:
        return Fraction(0)
    lost = worth(policy, prices, n - 1, b)
    total = (1 - sum(prices)) * lost
    for price, chance in enumerate(prices):
        wins = policy[n, b] >= price
        total += chance * (THETA + worth(policy, prices, n - 1, b - price) if wins else lost)
    return total


def solved(prices: list[Fraction] | np.ndarray, auctions: int, budget: int, theta: float = 0.375) -> ValueFunction:
    return ValueFunction.solve([float(p) for p in prices], auctions=auctions, budget=budget, mean_value=theta)


@pytest.mark.parametrize(("auctions", "budget"), [(1, 4), (2, 3), (3, 2)])
@pytest.mark.parametrize("prices", [EVEN, EVEN[:2], [Fraction(0), Fraction(0), Fraction(1)]])
def test_no_policy_is_worth_more_than_the_value_function(auctions: int, budget: int, prices: list[Fraction]) -> None:
    best = max(worth(policy, prices, auctions, budget) for policy in policies(auctions, budget))
    assert solved(prices, auctions, budget).table[auctions, budget] == pytest.approx(float(best), abs=1e-14)


def test_the_bids_of_the_value_function_are_a_best_policy() -> None:
    value = solved(EVEN, 3, 3)
    own = {(n, b): value.bid(float(THETA), n, b) for n in range(1, 4) for b in range(4)}
    for n, b in own:
        assert float(worth(own, EVEN, n, b)) == pytest.approx(value.table[n, b], abs=1e-14)


def test_a_worked_example_by_hand() -> None:
    # Prices 1 and 2 alike, value 1: with budget 2 a second auction adds 1/2 * 1/2, when the first was had for 1.
    value = ValueFunction.solve([0, 0.5, 0.5], auctions=2, budget=2, mean_value=1.0)
    assert value.table.tolist() == [[0, 0, 0], [0, 0.5, 1.0], [0, 0.75, 1.25]]
    # The first of two: 2 leaves nothing for the second, worth V(1, 2) = 1; bidding 1 leaves V(1, 1) = 1/2.
    assert [value.bid(theta, 2, 2) for theta in (0.49, 0.5, 0.99, 1.0)] == [0, 1, 1, 2]
    assert value.bid(0.0, 1, 2) == 2
    assert value.bid(9.0, 2, 0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_more_budget_and_more_auctions_are_never_worth_less(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = solved(rng.dirichlet(np.ones(40)), 60, 150, 0.01).table
    assert (np.diff(table, axis=1) >= -1e-15).all()
    assert (np.diff(table, axis=0) >= -1e-15).all()
    assert (table <= np.arange(61)[:, None] * 0.01 + 1e-12).all()
    assert (np.diff(table, axis=0) <= 0.01 + 1e-15).all()


@pytest.mark.parametrize("seed", range(5))
def test_budget_has_decreasing_returns_where_high_prices_are_rarer(seed: int) -> None:
    prices = -np.sort(-np.random.default_rng(seed).dirichlet(np.ones(30)))
    table = solved(prices, 50, 200, 0.01).table
    assert (np.diff(table, n=2, axis=1) <= 1e-14).all()


def test_returns_need_not_decrease_where_one_price_is_all_there_is() -> None:
    assert solved([Fraction(0), Fraction(0), Fraction(1)], 1, 2).table[1].tolist() == [0, 0, 0.375]


@pytest.mark.parametrize("seed", range(5))
def test_the_bid_is_the_highest_that_maximises_the_expected_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(12))
    value = solved(chance, 20, 40, 0.2)
    for _ in range(200):
        n, b, theta = int(rng.integers(1, 21)), int(rng.integers(0, 41)), float(rng.uniform(0, 0.6))
        after = value.table[n - 1]
        gain = [chance[d] * (theta + after[b - d] - after[b]) for d in range(min(b, 11) + 1)]
        expected = np.cumsum(gain)
        bid = value.bid(theta, n, b)
        assert expected[bid] == pytest.approx(expected.max(), abs=1e-14)
        assert bid <= min(b, value.most)
        if bid < min(b, value.most):
            assert theta + after[b - bid - 1] - after[b] < 0


def test_a_better_auction_is_never_bid_less_for() -> None:
    value = solved(np.random.default_rng(1).dirichlet(np.ones(30)), 40, 90, 0.1)
    for n, b in ((1, 90), (10, 50), (40, 90), (40, 3)):
        bids = [value.bid(theta, n, b) for theta in np.linspace(0, 0.5, 60)]
        assert bids == sorted(bids)


def test_a_price_above_the_budget_is_lost_and_a_free_one_is_won_when_broke() -> None:
    free = ValueFunction.solve([0.5, 0.0, 0.5], auctions=3, budget=1, mean_value=1.0)
    assert free.table.tolist() == [[0, 0], [0.5, 0.5], [1, 1], [1.5, 1.5]]
    published = ValueFunction.solve([0.5, 0.0, 0.5], auctions=3, budget=1, mean_value=1.0, free_when_broke=False)
    assert published.table[:, 0].tolist() == [0, 0, 0, 0]
    assert published.table[1:, 1].tolist() == [0.5, 1, 1.5]


def test_the_same_table_bit_for_bit_and_nobody_can_change_it() -> None:
    prices = np.random.default_rng(2).dirichlet(np.ones(50))
    first, second = solved(prices, 30, 80), solved(prices, 30, 80)
    assert first.table.tobytes() == second.table.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        first.table[0, 0] = 1.0


def test_smoothing_and_the_rules_beside_it() -> None:
    assert smoothed_prices([0, 4, 0, 0]).tolist() == [0.125, 0.625, 0.125, 0.125]
    assert mcpc_bid([0.3, 0.5, 0.9], cost=4, clicks=1).tolist() == [1, 2, 3]
    assert linear_bid([0.3, 0.5, 0.9], mean_value=0.25, base=2).tolist() == [2, 4, 7]


@pytest.mark.parametrize(
    "bad",
    [
        {"prices": [0.7, 0.4]}, {"prices": [[0.5, 0.5]]}, {"prices": []}, {"prices": [-0.1, 0.5]}, {"auctions": -1},
        {"auctions": 1.5}, {"budget": True}, {"mean_value": float("nan")}, {"mean_value": -1.0},
    ],
)  # fmt: skip
def test_what_is_no_programme_is_refused(bad: dict[str, object]) -> None:
    arguments = {"prices": [0.5, 0.5], "auctions": 2, "budget": 2, "mean_value": 1.0, **bad}
    with pytest.raises(ValueError, match="allowed"):
        ValueFunction.solve(arguments.pop("prices"), **arguments)  # type: ignore[arg-type]


def test_a_state_outside_the_table_and_an_empty_histogram_are_refused() -> None:
    value = solved(EVEN, 2, 3)
    for n, b in ((0, 1), (3, 1), (1, 4), (1, -1)):
        with pytest.raises(ValueError, match="allowed are 1 to 2 auctions and a budget of 0 to 3"):
            value.bid(0.5, n, b)
    with pytest.raises(ValueError, match="counter"):
        smoothed_prices([])
