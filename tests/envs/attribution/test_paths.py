import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.attribution.paths import build_paths
from tribid.envs.attribution.reference import paths_by_hand
from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.stages import Event


def touches(*rows: tuple[int, int, float, int]) -> Touches:
    """Rows of user, brand, hour, channel; all are clicks."""
    user, brand, hour, channel = (np.array(column) for column in zip(*rows, strict=True))
    return Touches(
        user=user, brand=brand, time_hours=hour.astype(float), channel=channel, event=np.full(len(rows), Event.CLICK)
    )


def orders(*rows: tuple[int, int, float]) -> Orders:
    """Rows of user, brand, hour; an order is worth ten times its place in the log, from 1."""
    if not rows:
        return Orders(user=[], brand=[], time_hours=[], value=[])
    user, brand, hour = (np.array(column) for column in zip(*rows, strict=True))
    return Orders(user=user, brand=brand, time_hours=hour.astype(float), value=10.0 * np.arange(1, len(rows) + 1))


@st.composite
def logs(draw):
    """Few users, brands and hours, so that paths are long and instants meet; rows in any order."""
    whole = st.integers(0, 2)
    hours = st.integers(0, 12)
    met = draw(st.lists(st.tuples(whole, whole, hours, whole), max_size=25))
    bought = draw(st.lists(st.tuples(whole, whole, hours), max_size=8))
    table = np.array(met, np.int64).reshape(-1, 4)
    made = Touches(
        user=table[:, 0], brand=table[:, 1], time_hours=table[:, 2] / 2.0, channel=table[:, 3], event=table[:, 3]
    )
    table = np.array(bought, np.int64).reshape(-1, 3)
    paid = Orders(user=table[:, 0], brand=table[:, 1], time_hours=table[:, 2] / 2.0, value=np.arange(len(table)) + 1.0)
    return made, paid, draw(st.sampled_from([0.5, 1.0, 2.25, np.inf]))


@settings(deadline=None, max_examples=200)
@given(logs())
def test_paths_are_those_that_one_builds_by_hand(log):
    met, bought, lookback = log
    found, by_hand = build_paths(met, bought, lookback_hours=lookback), paths_by_hand(met, bought, lookback)
    assert [found.touch[a:b].tolist() for a, b in zip(found.first[:-1], found.first[1:], strict=True)] == [
        path.touches for path in by_hand
    ]
    assert found.order.tolist() == [path.order for path in by_hand]
    np.testing.assert_array_equal(np.sort(found.touch), np.arange(len(met)))  # each touch once
    np.testing.assert_array_equal(np.sort(found.order[found.converted]), np.arange(len(bought)))  # each order once
    assert found.value.sum() == bought.value.sum()


def test_touches_after_an_order_start_a_new_path_and_an_order_without_touches_has_an_empty_one():
    paths = build_paths(touches((1, 0, 1, 0), (1, 0, 2, 1), (1, 0, 7, 0)), orders((1, 0, 5), (1, 0, 6)))
    assert paths.first.tolist() == [0, 2, 2, 3]
    assert paths.converted.tolist() == [True, True, False] and paths.direct.tolist() == [False, True, False]
    assert paths.end_hours.tolist() == [5.0, 6.0, 7.0] and paths.value.tolist() == [10.0, 20.0, 0.0]


def test_a_touch_of_the_orders_instant_comes_before_it_and_the_first_of_two_orders_has_it():
    paths = build_paths(touches((1, 0, 5, 0)), orders((1, 0, 5), (1, 0, 5)))
    assert paths.length.tolist() == [1, 0] and paths.order.tolist() == [0, 1]


def test_touches_older_than_the_window_are_a_path_that_did_not_convert():
    log = touches((1, 0, 0, 0), (1, 0, 4, 1), (1, 0, 10, 2))
    paths = build_paths(log, orders((1, 0, 10)), lookback_hours=6.0)
    assert paths.converted.tolist() == [False, True]
    assert paths.touch.tolist() == [0, 1, 2] and paths.first.tolist() == [0, 1, 3]  # 10 - 4 is within 6 hours, still


def test_paths_never_cross_users_or_brands():
    paths = build_paths(touches((1, 0, 1, 0), (1, 1, 2, 0), (2, 0, 3, 0)), orders((1, 0, 4)))
    assert paths.converted.tolist() == [True, False, False]
    assert paths.user.tolist() == [1, 1, 2] and paths.brand.tolist() == [0, 1, 0]


def test_an_empty_log_has_no_paths():
    nothing = Touches(user=[], brand=[], time_hours=[], channel=[], event=[])
    assert len(build_paths(nothing, orders())) == 0
    assert build_paths(nothing, orders((1, 0, 1))).direct.tolist() == [True]


def test_an_ad_shown_and_clicked_is_one_touch_once_merged_and_views_can_be_left_out():
    log = Touches(
        user=[1, 1, 2], brand=[0, 0, 0], time_hours=[1, 1, 1], channel=[0, 0, 0],
        event=[Event.CLICK, Event.EXPOSURE, Event.EXPOSURE],
    )  # fmt: skip
    assert log.merged().event.tolist() == [Event.CLICK, Event.EXPOSURE]
    assert log.of([Event.CLICK]).user.tolist() == [1]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"user": [-1]}, "user holds -1; allowed are whole numbers from 0"),
        ({"channel": [0.5]}, "channel is of type float64; allowed are whole numbers from 0"),
        ({"time_hours": [np.nan]}, "time_hours holds nan; allowed are finite numbers"),
        ({"brand": [0, 0]}, r"brand has shape \(2,\); allowed is one column like user"),
    ],
)
def test_a_column_that_is_none_is_refused_by_name(changed, told):
    columns = {"user": [1], "brand": [0], "time_hours": [1.0], "channel": [0], "event": [2]}
    with pytest.raises(ValueError, match=told):
        Touches(**(columns | changed))


def test_orders_of_negative_value_and_windows_of_no_length_are_refused():
    with pytest.raises(ValueError, match="value holds -1"):
        Orders(user=[1], brand=[0], time_hours=[1.0], value=[-1.0])
    with pytest.raises(ValueError, match="lookback_hours is 0"):
        build_paths(touches((1, 0, 1, 0)), orders(), lookback_hours=0)
