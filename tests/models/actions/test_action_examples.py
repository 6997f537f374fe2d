import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.models.actions.examples import (
    DAY_MS,
    NOT_TAKEN,
    TAKEN,
    VIEWED,
    ActionEvents,
    ActionExamples,
    enough,
    examples_of,
)

UNTIL = 100 * DAY_MS


def events(rows: list[tuple[int, int, int, float]]) -> ActionEvents:
    """From (user, action, kind, days before the present); a row's one feature is its place."""
    user, action, kind, ago = (np.array(column) for column in zip(*rows, strict=True))
    return ActionEvents(
        user.astype(np.int64), action.astype(np.int64), kind.astype(np.int8),
        UNTIL - np.round(ago * DAY_MS).astype(np.int64), np.arange(len(rows), dtype=np.float32)[:, None],
    )  # fmt: skip


def labels(*rows: tuple[int, float]) -> list[float]:
    """The labels of the episodes of one user and action, from (kind, days before the present)."""
    return examples_of(events([(0, 0, kind, ago) for kind, ago in rows]), 1, until_ms=UNTIL).label.tolist()


def test_a_view_that_is_not_followed_by_taken_in_14_days_is_a_no() -> None:
    assert labels((VIEWED, 30)) == [0]
    assert labels((VIEWED, 30), (TAKEN, 16.001)) == [1]
    assert labels((VIEWED, 30), (TAKEN, 16)) == [0, 1]  # the fifteenth day begins another episode
    assert labels((VIEWED, 14)) == [0]
    assert labels((VIEWED, 13.999)) == []  # nobody knows yet


def test_young_views_say_nothing_even_where_the_action_was_taken() -> None:
    found = examples_of(events([(0, 0, VIEWED, 5), (0, 0, TAKEN, 4), (1, 0, VIEWED, 5)]), 1, until_ms=UNTIL)
    assert len(found.label) == 0 and found.young.tolist() == [2] and found.counts.tolist() == [[2, 0, 1]]


def test_however_often_an_action_is_viewed_it_is_one_no() -> None:
    assert labels(*((VIEWED, 30 - day) for day in range(13))) == [0]
    assert labels((VIEWED, 40), (VIEWED, 30), (VIEWED, 27), (VIEWED, 26)) == [0, 0]


def test_a_refusal_is_an_answer_at_once_and_a_later_taking_is_the_last_word() -> None:
    assert labels((NOT_TAKEN, 1)) == [0]
    assert labels((TAKEN, 1)) == [1]
    assert labels((VIEWED, 20), (NOT_TAKEN, 19)) == [0]
    assert labels((VIEWED, 20), (NOT_TAKEN, 19), (TAKEN, 18)) == [1]


def test_after_a_taking_another_episode_begins() -> None:
    assert labels((VIEWED, 30), (TAKEN, 29), (VIEWED, 28)) == [1, 0]
    assert labels((TAKEN, 3), (TAKEN, 2)) == [1, 1]


def test_only_six_weeks_count_but_older_events_say_where_episodes_begin() -> None:
    assert labels((VIEWED, 42)) == [] and labels((VIEWED, 41.999)) == [0]
    found = examples_of(events([(0, 0, VIEWED, 45), (0, 0, VIEWED, 40), (0, 0, TAKEN, 33)]), 1, until_ms=UNTIL)
    assert found.label.tolist() == [] and found.counts.tolist() == [[1, 0, 1]]  # one episode, begun before the window
    assert examples_of(events([(0, 0, TAKEN, -1)]), 1, until_ms=UNTIL).counts.tolist() == [[0, 0, 0]]


def test_features_are_those_of_the_first_event() -> None:
    found = examples_of(events([(0, 0, TAKEN, 29), (0, 0, VIEWED, 30)]), 1, until_ms=UNTIL)
    assert found.features.tolist() == [[1.0]] and found.start_ms.tolist() == [UNTIL - 30 * DAY_MS]


def test_an_action_needs_50_taken_and_50_others() -> None:
    rows = [(user, 0, TAKEN, 20.0) for user in range(50)] + [(user, 0, NOT_TAKEN, 20.0) for user in range(100, 130)]
    rows += [(user, 0, VIEWED, 20.0) for user in range(200, 220)]
    counts = examples_of(events(rows), 1, until_ms=UNTIL).counts
    assert counts.tolist() == [[20, 30, 50]] and enough(counts).tolist() == [True]
    for lacking in (rows[1:], rows[:-1], [*rows[:-1], (220, 0, VIEWED, 43.0)]):
        assert enough(examples_of(events(lacking), 1, until_ms=UNTIL).counts).tolist() == [False]


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2), st.integers(0, 500).map(lambda tenth: tenth / 10)),
    min_size=1, max_size=40, unique=True,
)  # fmt: skip


def _key(found: ActionExamples) -> list[tuple[float, ...]]:
    return sorted(
        zip(found.user.tolist(), found.action.tolist(), found.start_ms.tolist(), found.label.tolist(), strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_the_log_does_not_matter(rows: list[tuple[int, int, int, float]], shuffler: object) -> None:
    mixed = list(rows)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (examples_of(events(given), 2, until_ms=UNTIL) for given in (rows, mixed))
    assert _key(one) == _key(other)
    np.testing.assert_array_equal(one.counts, other.counts)


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_episodes_of_a_user_and_action_never_overlap_and_each_taking_counts_once(
    rows: list[tuple[int, int, int, float]],
) -> None:
    found = examples_of(events(rows), 2, until_ms=UNTIL + 14 * DAY_MS, window_days=100)
    takings = [row for row in rows if row[2] == TAKEN]
    assert int(found.label.sum()) == len(takings)
    for user in range(3):
        for action in range(2):
            mine = (found.user == user) & (found.action == action)
            order = np.argsort(found.start_ms[mine], kind="stable")
            start, label = found.start_ms[mine][order], found.label[mine][order]
            gaps = np.diff(start)
            assert ((gaps >= 14 * DAY_MS) | (label[:-1] == 1)).all()


def test_shapes_and_indices_that_do_not_fit_are_refused() -> None:
    good = events([(0, 0, 0, 1.0)])
    for change, message in (
        ({"action": np.array([1])}, "action holds 1 to 1; allowed is 0 to 0"),
        ({"kind": np.array([3], np.int8)}, "kind holds 3"),
        ({"user": np.array([0, 1])}, r"action has shape \(1,\); allowed is one for each of 2 events"),
        ({"features": np.array([[np.nan]], np.float32)}, "features hold what is no finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            examples_of(good._replace(**change), 1, until_ms=UNTIL)
    with pytest.raises(ValueError, match="period_days is 50 and window_days 42"):
        examples_of(good, 1, until_ms=UNTIL, period_days=50)
