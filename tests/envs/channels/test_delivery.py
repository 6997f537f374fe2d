import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.channels.channel import CHANNELS, EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS, Channel
from tribid.envs.channels.delivery import Odds, delay_hours, deliver, dispatch, joined, no_messages, respond
from tribid.envs.channels.outbox import empty_outbox
from tribid.envs.channels.sends import Sends, sends

RNG = np.random.default_rng(0)


def many(count: int = 400, users: int = 50) -> Sends:
    user, brand, channel = (RNG.integers(0, most, count) for most in (users, 3, len(CHANNELS)))
    return Sends(user, brand, channel, np.zeros(count, np.int64))


def odds(count: int, chance: float = 0.5) -> Odds:
    return Odds(*(np.full(count, chance) for _ in range(3)))


@given(st.sampled_from(["none", "exponential", "lognormal"]), st.floats(0.1, 50), st.floats(0.1, 3))
def test_a_message_is_never_opened_before_it_was_sent(law, mean, spread):
    channels = tuple(
        Channel(name=c.name, delay=law, delay_hours=mean, delay_spread=spread, open_rate=0.7) for c in DEFAULT_CHANNELS
    )
    sent_hour = np.linspace(0.0, 30.0, 400)
    messages = dispatch(3, 1, 2, many(), sent_hour, channels)
    opened = np.isfinite(messages.open_hour)
    assert 0.5 < opened.mean() < 0.9
    assert (messages.open_hour >= sent_hour).all()
    assert (messages.open_hour[opened] == sent_hour[opened]).all() == (law == "none")


@pytest.mark.parametrize("law", ["exponential", "lognormal"])
def test_delays_have_the_channels_mean(law):
    channel = Channel(delay=law, delay_hours=5.0, delay_spread=0.8)
    delays = delay_hours(channel, (np.arange(100_000) + 0.5) / 100_000)
    assert delays.mean() == pytest.approx(5.0, rel=5e-3)
    assert (np.diff(delays) >= 0).all()


def test_the_fate_of_a_touch_is_its_own_whatever_else_is_sent():
    wanted = sends(np.arange(50), brand=1, channel=EMAIL)
    hour = np.zeros(50)
    alone = dispatch(7, 2, 3, wanted, hour, DEFAULT_CHANNELS)
    others = many()
    others = others.take(~((others.brand == 1) & (others.channel == EMAIL)))
    crowd = Sends(*(np.concatenate(pair) for pair in zip(others, wanted, strict=True)))
    among = dispatch(7, 2, 3, crowd, np.zeros(len(crowd.user)), DEFAULT_CHANNELS).take(np.arange(50) + len(others.user))
    assert (among.open_hour == alone.open_hour).all()
    assert (among.draws == alone.draws).all()


@pytest.mark.parametrize("change", [{"seed": 8}, {"day": 3}, {"tick": 4}])
def test_another_seed_day_or_tick_has_other_chances(change):
    wanted = sends(np.arange(50), brand=1, channel=EMAIL)
    usual = {"seed": 7, "day": 2, "tick": 3}
    one, other = (
        dispatch(**(usual | given_), wanted=wanted, sent_hour=np.zeros(50), channels=DEFAULT_CHANNELS)
        for given_ in ({}, change)
    )
    assert (one.draws != other.draws).all()


def test_the_same_touch_twice_in_a_tick_has_two_fates():
    twice = dispatch(7, 0, 0, sends(np.array([5, 5]), 0, EMAIL), np.zeros(2), DEFAULT_CHANNELS)
    assert (twice.draws[0] != twice.draws[1]).all()


def test_nobody_clicks_what_was_not_opened_and_nobody_orders_without_a_click():
    messages = dispatch(1, 0, 0, many(2000), np.zeros(2000), DEFAULT_CHANNELS)
    found = deliver(messages, odds(2000))
    clicked, ordered, left = found.response
    assert 0 < found.opened.sum() < 2000
    assert not (clicked & ~found.opened).any() and not (left & ~found.opened).any()
    assert not (ordered & ~clicked).any() and ordered.any()


def test_higher_chances_never_lose_a_click():
    messages = dispatch(1, 0, 0, many(2000), np.zeros(2000), DEFAULT_CHANNELS)
    low, high = (deliver(messages, odds(2000, chance)).response.clicked for chance in (0.2, 0.4))
    assert (low <= high).all() and low.sum() < high.sum()


def test_two_channels_cannot_both_sell_one_brand_to_one_user_at_once():
    both = sends(np.array([4, 4, 4]), brand=np.array([0, 0, 1]), channel=np.array([0, 1, 0]))
    always = tuple(Channel(name=name) for name in CHANNELS)
    messages = dispatch(1, 0, 0, both, np.array([3.0, 2.0, 5.0]), always)
    assert respond(messages, odds(3, 1.0)).ordered.tolist() == [False, True, True]


def test_an_outbox_gives_each_message_once_and_at_its_hour():
    messages = dispatch(1, 0, 0, many(), np.zeros(400), DEFAULT_CHANNELS)
    outbox = empty_outbox((50, 3, 4)).posted(messages)
    seen = []
    for hour in (0.0, 1.0, 5.0, 24.0, np.inf):
        outbox, due = outbox.due(hour)
        assert (due.open_hour < hour).all() and (np.diff(due.open_hour) >= 0).all()
        seen.append(due)
    assert len(outbox.pending.sent.user) == 0
    assert sorted(joined(seen).open_hour) == sorted(messages.open_hour[np.isfinite(messages.open_hour)])


def test_who_unsubscribes_is_sent_nothing_of_that_brand_and_channel():
    outbox = empty_outbox((50, 3, 4))
    one = dispatch(1, 0, 0, sends(np.array([9]), 2, EMAIL), np.zeros(1), DEFAULT_CHANNELS)
    after = outbox.heard(one, np.array([True]))
    again = sends(np.array([9, 9, 9, 8]), brand=np.array([2, 1, 2, 2]), channel=np.array([EMAIL, EMAIL, 0, EMAIL]))
    assert after.allows(again).tolist() == [False, True, True, True]
    assert outbox.allows(again).all()


def test_numbers_that_counters_lack_are_refused():
    with pytest.raises(ValueError, match="tick 10000"):
        dispatch(0, 0, 10_000, many(), np.zeros(400), DEFAULT_CHANNELS)
    with pytest.raises(ValueError, match="brand 99999999"):
        dispatch(0, 0, 0, sends(np.array([1]), 99_999_999, 0), np.zeros(1), DEFAULT_CHANNELS)
    assert len(dispatch(0, 0, 0, no_messages().sent, np.zeros(0), DEFAULT_CHANNELS).draws) == 0
