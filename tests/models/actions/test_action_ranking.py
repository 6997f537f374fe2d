import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.models.actions.ranking import chances, exploring, name_ranks, proposal, ranked


def test_equal_propensities_put_the_higher_value_first_and_equal_values_the_name() -> None:
    names = ("newsletter", "club", "app", "shoes")
    propensity, value = np.array([0.4, 0.4, 0.4, 0.9]), np.array([1.0, 5.0, 1.0, 0.0])
    order = ranked(propensity, value, name_ranks(names), np.arange(4))
    assert [names[one] for one in order] == ["shoes", "club", "app", "newsletter"]


def test_propensity_times_value_can_turn_the_order() -> None:
    names, propensity, value = ("app", "club"), np.array([0.6, 0.2]), np.array([1.0, 5.0])
    assert ranked(propensity, value, name_ranks(names), np.arange(2)).tolist() == [0, 1]
    assert ranked(propensity * value, value, name_ranks(names), np.arange(2)).tolist() == [1, 0]  # 1.0 above 0.6


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([1.0, 2.0])), min_size=1, max_size=12))
def test_the_order_falls_by_score_then_value_then_rises_by_name(rows: list[tuple[float, float]]) -> None:
    score, value = (np.array(column) for column in zip(*rows, strict=True))
    names = tuple(f"n{len(rows) - place:02d}" for place in range(len(rows)))
    order = ranked(score, value, name_ranks(names), np.arange(len(rows))).tolist()
    assert order == sorted(range(len(rows)), key=lambda one: (-score[one], -value[one], names[one]))


def test_an_answer_explores_as_often_as_it_says_and_with_the_chances_that_it_says() -> None:
    order, known = np.array([3, 0, 2, 1, 4]), np.array([True, True, False, True, False])
    count, limit, epsilon = 8_000, 3, 0.3
    listed, first, explored = np.zeros(5), np.zeros(5), 0
    told_listed, told_first = np.zeros(5), np.zeros(5)
    for key in range(count):
        answer = proposal(order, known, limit=limit, epsilon=epsilon, key=key)
        listed[answer.action] += 1
        first[answer.action[0]] += 1
        explored += bool(answer.explored.any())
        told_listed[answer.action], told_first[answer.action] = answer.chance, answer.first_chance
    margin = 4.5 * np.sqrt(0.25 / count)
    np.testing.assert_allclose(listed / count, told_listed, atol=margin)
    np.testing.assert_allclose(first / count, told_first, atol=margin)
    assert abs(explored / count - epsilon) < margin
    assert told_first.min() > 0 and told_first[[2, 4]].min() > told_first[[0, 1]].max()


def test_without_any_model_the_whole_order_is_drawn() -> None:
    order, known = np.arange(4), np.zeros(4, np.bool_)
    answers = [proposal(order, known, limit=2, epsilon=0.0, key=key) for key in range(2000)]
    heads = np.bincount([int(answer.action[0]) for answer in answers], minlength=4) / 2000
    np.testing.assert_allclose(heads, 0.25, atol=0.05)
    assert all(answer.explored.all() and len(set(answer.action.tolist())) == 2 for answer in answers)
    assert answers[0].chance.tolist() == [0.5, 0.5] and answers[0].first_chance.tolist() == [0.25, 0.25]


def test_the_same_key_gives_the_same_answer_and_no_epsilon_the_plain_order() -> None:
    order, known = np.array([2, 1, 0]), np.array([True, False, True])
    one, other = (proposal(order, known, limit=3, epsilon=0.5, key=9) for _ in range(2))
    assert one.action.tolist() == other.action.tolist()
    assert proposal(order, known, limit=3, epsilon=0.0, key=9).action.tolist() == [2, 1, 0]


def test_nobody_to_propose_is_an_empty_answer() -> None:
    assert not len(proposal(np.zeros(0, np.int64), np.zeros(3, np.bool_), limit=3, epsilon=0.5, key=1).action)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**12 - 1))
def test_chances_add_up_to_the_places_that_there_are(n: int, limit: int, epsilon: float, bits: int) -> None:
    known = np.array([bool(bits >> place & 1) for place in range(n)])
    share, size = exploring(known), min(n, limit)
    listed, first = chances(share, size, epsilon)
    assert share.sum() == pytest.approx(1.0) and share.min() > 0
    assert listed.sum() == pytest.approx(size) and first.sum() == pytest.approx(1.0)
    assert (listed >= first - 1e-12).all() and listed.max() <= 1.0
