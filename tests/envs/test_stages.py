"""Stages of consumers with brands: what leads to which, and that nothing ever falls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.stages import BEHAVIOURS, ENGAGED, ORDERED, SEEN, STAGES, Event, flow, mark_all, marked, stage_of

events = st.lists(st.sampled_from(list(Event)), max_size=12)


def stage_after(happened: list[Event]) -> int:
    marks = np.uint8(0)
    for event in happened:
        marks = marked(marks, event)
    return int(stage_of(marks))


@pytest.mark.parametrize(
    ("happened", "stage"),
    [
        ([], "unaware"),
        ([Event.EXPOSURE], "aware"),
        ([Event.CATEGORY_SEARCH], "aware"),
        ([Event.EXPOSURE, Event.CLICK], "interested"),
        ([Event.BRAND_SEARCH], "interested"),
        ([Event.SHARE], "interested"),
        ([Event.ORDER], "purchased"),
        ([Event.ORDER, Event.VIEW], "purchased"),
        ([Event.ORDER, Event.ORDER], "loyal"),
        ([Event.ORDER, Event.REVIEW], "loyal"),
        ([Event.SHARE, Event.ORDER], "loyal"),
    ],
)
def test_what_a_consumer_does_gives_its_stage(happened: list[Event], stage: str) -> None:
    assert STAGES[stage_after(happened)] == stage


@given(events, st.sampled_from(list(Event)), st.integers(0, 12))
def test_a_stage_never_falls_when_an_event_is_added_anywhere(happened: list[Event], more: Event, at: int) -> None:
    assert stage_after([*happened[:at], more, *happened[at:]]) >= stage_after(happened)


@given(events, st.randoms())
def test_the_order_of_events_does_not_matter(happened: list[Event], chance: object) -> None:
    shuffled = list(happened)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stage_after(shuffled) == stage_after(happened)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from(list(Event))), max_size=30))
def test_many_events_at_once_are_the_same_events_one_by_one(happened: list[tuple[int, int, Event]]) -> None:
    before = np.array([[0, SEEN], [ENGAGED, ORDERED], [ORDERED, 0]], np.uint8)
    one_by_one = before.copy()
    for user, brand, event in happened:
        one_by_one[user, brand] = marked(one_by_one[user, brand], event)
    user, brand, event = (np.array([row[k] for row in happened], np.int64) for k in range(3))
    assert np.array_equal(mark_all(before, user, brand, event), one_by_one)
    assert np.array_equal(before, [[0, SEEN], [ENGAGED, ORDERED], [ORDERED, 0]])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40))
def test_rows_of_a_flow_sum_to_one(pairs: list[tuple[int, int]]) -> None:
    before, after = (np.array([pair[k] for pair in pairs], np.int8) for k in range(2))
    moved = flow(before, after)
    assert moved.shape == (5, 5)
    np.testing.assert_allclose(moved.sum(axis=1), 1.0)
    for stage in range(5):
        here = after[before == stage]
        if len(here):
            np.testing.assert_allclose(moved[stage], np.bincount(here, minlength=5) / len(here))


def test_each_of_the_eight_behaviours_makes_a_consumer_at_least_interested() -> None:
    assert len(set(BEHAVIOURS)) == 8
    assert all(stage_after([behaviour]) >= STAGES.index("interested") for behaviour in BEHAVIOURS)
