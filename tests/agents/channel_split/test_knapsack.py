from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.agents.channel_split.knapsack import (
    Menu,
    best_on_grid,
    chosen,
    cost_of,
    exact,
    greedy,
    hull,
    integer_part,
    menu,
    relaxed,
)


@st.composite
def menus(draw: st.DrawFn) -> tuple[Menu, int]:
    channels, levels = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    step = st.integers(1, 10 ** draw(st.integers(1, 9)))
    rows = [np.cumsum([0, *(draw(step) for _ in range(levels - 1))]) for _ in range(channels)]
    worth = [[draw(st.integers(-5, 100)) / 4 for _ in range(levels)] for _ in range(channels)]
    cost = np.array(rows, np.int64)
    return menu(cost, np.array(worth)), draw(st.integers(0, int(cost[:, -1].sum()) + 1))


def tried(offers: Menu, budget: int) -> float:
    """The best of all choices, one by one."""
    channels, levels = offers.value.shape
    choices = (np.array(levels_) for levels_ in product(range(levels), repeat=channels))
    return max(chosen(offers, level).value for level in choices if cost_of(offers, level) <= budget)


@settings(max_examples=40)
@given(menus())
def test_the_lp_bounds_the_optimum_which_bounds_the_greedys_integer_part(case):
    offers, budget = case
    bound, best, steep = (solve(offers, budget) for solve in (relaxed, exact, greedy))
    slack = 1e-6 * (1.0 + abs(bound.value))
    assert bound.value >= best.value - slack
    assert best.value >= integer_part(offers, steep).value - slack
    assert best.value == pytest.approx(tried(offers, budget), abs=slack)


@settings(max_examples=40)
@given(menus())
def test_greedy_along_the_hulls_is_the_lps_optimum(case):
    offers, budget = case
    steep = greedy(offers, budget)
    assert steep.value == pytest.approx(relaxed(offers, budget).value, abs=1e-6 * (1.0 + abs(steep.value)))
    mixed = ((steep.weight > 0) & (steep.weight < 1)).any(axis=1).sum()
    assert mixed <= 1
    assert steep.weight.sum(axis=1) == pytest.approx(1.0)


@settings(max_examples=40)
@given(menus())
def test_no_whole_choice_costs_one_micro_more_than_the_budget(case):
    offers, budget = case
    for choice in (exact(offers, budget), integer_part(offers, greedy(offers, budget))):
        assert cost_of(offers, choice.weight.argmax(axis=1)) <= budget
        assert set(choice.weight.ravel()) <= {0.0, 1.0}


def test_a_micro_too_few_among_a_trillion_is_not_overlooked():
    offers = menu(np.array([[0, 10**12], [0, 10**12]]), np.array([[0.0, 5.0], [0.0, 4.0]]))
    assert exact(offers, 2 * 10**12).value == 9.0
    assert exact(offers, 2 * 10**12 - 1).value == 5.0
    assert exact(offers, 10**12 - 1).value == 0.0


def test_a_worked_example():
    """Budget 3: the LP takes the second channel's 5 for 2 and half of the first one's 4 for 2; whole, the best is 5."""
    offers = menu(np.array([[0, 2], [0, 2]]), np.array([[0.0, 4.0], [0.0, 5.0]]))
    assert relaxed(offers, 3).value == pytest.approx(7.0)
    assert greedy(offers, 3).value == 7.0
    assert exact(offers, 3).value == 5.0
    assert integer_part(offers, greedy(offers, 3)).value == 5.0


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10_000))
def test_the_daily_solver_finds_the_optimum_of_equal_steps(channels, levels, seed):
    value = np.hstack([np.zeros((channels, 1)), np.random.default_rng(seed).normal(0.5, 1.0, (channels, levels))])
    level = best_on_grid(value)
    offers = menu(np.arange(levels + 1), value)
    assert level.sum() <= levels
    assert chosen(offers, level).value == pytest.approx(exact(offers, levels).value)


def test_a_hull_is_concave_and_rises():
    rng = np.random.default_rng(1)
    cost, value = np.cumsum(rng.integers(1, 9, 40)), rng.normal(size=40).cumsum()
    corners = hull(cost, value)
    slopes = np.diff(value[corners]) / np.diff(cost[corners])
    assert (slopes > 0).all() and (np.diff(slopes) < 0).all()
    assert value[corners[-1]] == value.max()


@pytest.mark.parametrize(
    ("cost", "value", "said"),
    [
        ([[1, 2]], [[0.0, 1.0]], "costs 0"), ([[0, 0]], [[0.0, 1.0]], "costs 0"), ([[0.0, 1.0]], [[0.0, 1.0]], "float64"),
        ([[0, 1]], [[0.0, np.nan]], "not finite"), ([0, 1, 2], [[0.0, 1.0]], "shape"),
    ],
)  # fmt: skip
def test_a_wrong_menu_is_refused(cost, value, said):
    with pytest.raises(ValueError, match=said):
        menu(np.array(cost), np.array(value))


def test_a_wrong_budget_is_refused():
    for solve in (relaxed, exact, greedy):
        with pytest.raises(ValueError, match="budget_micros is -1"):
            solve(menu(np.array([0, 1]), np.array([[0.0, 1.0]])), -1)
