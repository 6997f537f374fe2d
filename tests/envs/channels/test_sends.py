import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL, FEED
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps, Channel, checked_channels
from tribid.envs.channels.sends import Sends, admitted, count_by, no_sends, occurrence, room, sends

USERS, BRANDS = 3, 2


@st.composite
def touches(draw: st.DrawFn) -> Sends:
    row = st.tuples(st.integers(0, USERS - 1), st.integers(0, BRANDS - 1), st.integers(0, len(CHANNELS) - 1))
    rows = draw(st.lists(row, max_size=40))
    return Sends(*(np.array([r[k] for r in rows], np.int64) for k in range(3)), np.zeros(len(rows), np.int64))


def one_by_one(wanted: Sends, shown: np.ndarray, caps: Caps) -> list[bool]:
    """The cap as one would keep it with a pencil."""
    counts, answer = shown.copy(), []
    for user, brand, channel, _ in zip(*wanted, strict=True):
        goes = counts[user, brand, channel] < caps.per_channel[channel]
        goes = goes and (caps.per_day is None or counts[user, brand].sum() < caps.per_day)
        counts[user, brand, channel] += goes
        answer.append(bool(goes))
    return answer


@given(touches(), st.integers(0, 2), st.none() | st.integers(0, 5), st.tuples(*[st.integers(0, 3)] * 4))
def test_the_cap_over_channels_is_kept_as_if_touches_went_out_one_by_one(wanted, start, per_day, per_channel):
    caps = Caps(per_day=per_day, per_channel=per_channel)
    shown = np.zeros((USERS, BRANDS, len(CHANNELS)), np.int16)
    shown[0, 0, EMAIL] = start
    goes = admitted(wanted, shown, caps)
    assert goes.tolist() == one_by_one(wanted, shown, caps)
    after = shown + count_by(shown.shape, wanted.take(goes))
    new = after > shown
    assert (after <= np.array(per_channel))[new].all()
    if per_day is not None:
        assert (after.sum(axis=2) <= per_day)[new.any(axis=2)].all()


def test_one_user_met_by_two_channels_in_one_tick_is_touched_once_under_a_cap_of_one():
    both = sends(np.array([1, 1]), brand=0, channel=np.array([FEED, DISPLAY]))
    for order, first in ((both, FEED), (both.take(np.array([1, 0])), DISPLAY)):
        goes = admitted(order, np.zeros((USERS, BRANDS, 4), np.int16), Caps(per_day=1))
        assert goes.tolist() == [True, False]
        assert order.take(goes).channel.tolist() == [first]


def test_brands_have_caps_of_their_own():
    both = sends(np.array([1, 1]), brand=np.array([0, 1]), channel=FEED)
    assert admitted(both, np.zeros((USERS, BRANDS, 4), np.int16), Caps(per_day=1)).all()


def test_counts_over_all_channels_are_enough_for_the_shared_cap():
    shown = np.full((USERS, BRANDS), 2, np.int16)
    twice = sends(np.array([0, 0]), brand=0, channel=np.array([EMAIL, DISPLAY]))
    assert admitted(twice, shown, Caps(per_day=3)).tolist() == [True, False]
    assert admitted(twice, shown, Caps(per_day=2)).tolist() == [False, False]
    assert admitted(twice.take(np.array([0, 0])), shown, Caps(per_day=9)).tolist() == [True, False]  # one mail a day


def test_there_is_room_exactly_where_one_more_touch_would_be_admitted():
    shown = np.random.default_rng(0).integers(0, 3, (USERS, BRANDS, 4)).astype(np.int16)
    caps = Caps(per_day=4, per_channel=(2, 2, 1, 3))
    user, brand, channel = (axis.ravel() for axis in np.indices(shown.shape))
    alone = [
        bool(admitted(sends(np.array([u]), int(b), int(c)), shown, caps)[0])
        for u, b, c in zip(user, brand, channel, strict=True)
    ]
    assert alone == (room(shown, caps).ravel() > 0).tolist()


def test_nothing_wanted_is_nothing_sent():
    assert len(admitted(no_sends(), np.zeros((1, 1, 4), np.int16), Caps())) == 0
    assert len(occurrence(np.zeros(0, np.int64))) == 0


def test_channels_come_one_of_each_in_one_order():
    assert tuple(channel.name for channel in checked_channels(DEFAULT_CHANNELS)) == CHANNELS
    with pytest.raises(ValueError, match="one of each in this order"):
        checked_channels(DEFAULT_CHANNELS[::-1])


def test_an_own_budget_without_own_money_is_refused():
    with pytest.raises(ValueError, match="paid_from own"):
        Channel(own_budget=3.0)
