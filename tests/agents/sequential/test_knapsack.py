from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.agents.sequential.knapsack import CprController, greedy


def best_by_trying_all(values: list[float], costs: list[float], budget: float) -> float:
    taken = np.array(list(product((0, 1), repeat=len(values))))
    fits = taken @ np.array(costs) <= budget * (1 + 1e-12)
    return float((taken @ np.array(values))[fits].max())


def test_the_published_example_takes_the_first_four_at_a_threshold_of_seven() -> None:
    choice = greedy([20, 18, 16, 14, 12, 10, 8], [2] * 7, 8)
    assert choice.taken.tolist() == [True] * 4 + [False] * 3
    assert (choice.value, choice.cost, choice.threshold) == (68.0, 8.0, 7.0)


items = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 10)), min_size=1, max_size=9)


@settings(max_examples=150, deadline=None)
@given(items=items, room=st.floats(1.0, 5.0))
def test_greedy_is_within_lambda_of_the_optimum_if_each_cost_is_at_most_the_rest_of_the_budget(
    items: list[tuple[float, float]], room: float
) -> None:
    values, costs = (list(part) for part in zip(*items, strict=True))
    budget = room * max(costs)
    lam = 1.0 - max(costs) / budget
    assert greedy(values, costs, budget).value >= lam * best_by_trying_all(values, costs, budget) - 1e-9


@settings(max_examples=60, deadline=None)
@given(items=items, budget=st.floats(0.0, 30.0))
def test_greedy_never_exceeds_the_budget_and_leaves_out_no_better_ratio(
    items: list[tuple[float, float]], budget: float
) -> None:
    values, costs = (np.array(part) for part in zip(*items, strict=True))
    choice = greedy(values, costs, budget)
    assert choice.cost <= budget * (1 + 1e-9)
    assert ((values / costs)[~choice.taken] <= choice.threshold).all()


def test_a_threshold_rises_where_too_much_was_spent_and_falls_where_too_little() -> None:
    controller = CprController(2.0)
    assert controller.update(1.5, 1.0) > 2.0
    assert CprController(2.0).update(0.5, 1.0) < 2.0
    assert CprController(2.0).update(1.0, 1.0) == 2.0


def test_a_step_is_the_published_formula() -> None:
    controller = CprController(4.0, a1=0.1, a2=0.2, n=2)
    controller.update(1.5, 1.0)
    first = 4.0 * (1 + 0.1 * 0.5 + 0.2 * 0.5)
    assert controller.threshold == pytest.approx(first)
    controller.update(0.9, 1.0)
    assert controller.threshold == pytest.approx(first * (1 + 0.1 * -0.1 + 0.2 * 0.2))
    controller.update(1.0, 1.0)  # the latest two alone: 0.9 and 1.0
    assert controller.threshold == pytest.approx(first * 1.03 * (1 + 0.2 * -0.05))


def test_it_settles_where_a_stationary_world_costs_the_budget() -> None:
    controller = CprController(30.0, a1=0.1, a2=0.1, n=5)
    for _ in range(400):
        controller.update(12.0 / controller.threshold, 1.0)  # what a world costs falls as the price rises
    assert controller.threshold == pytest.approx(12.0, rel=1e-3)


def test_one_odd_period_does_not_end_or_explode_the_threshold() -> None:
    controller = CprController(1.0, a1=5.0, a2=5.0)
    assert controller.update(0.0, 1.0) == 0.5
    assert controller.update(1e9, 1.0) == 1.0


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.inf])
def test_a_threshold_that_multiplying_cannot_move_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold is"):
        CprController(threshold)


def test_items_without_a_cost_are_refused() -> None:
    with pytest.raises(ValueError, match="costs above 0"):
        greedy([1.0], [0.0], 1.0)
