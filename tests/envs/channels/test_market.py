from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.attribution.credit import last, linear
from tribid.envs.attribution.paths import build_paths
from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL, FEED, SEARCH
from tribid.envs.channels.config import DEFAULT_CHANNELS, Caps
from tribid.envs.channels.delivery import joined
from tribid.envs.channels.market import ChannelState, DayRecord, budget_micros, open_world, play_day
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.stages import Event

SMALL = ChannelWorldConfig(users=150, days=4, ticks=3, budget=1.0)


def days(config: ChannelWorldConfig, split: np.ndarray, seed: int = 0) -> tuple[list[ChannelState], list[DayRecord]]:
    states, records = [open_world(config, seed)], []
    while not states[-1].done:
        state, record = play_day(states[-1], split)
        states.append(state)
        records.append(record)
    return states, records


def split_of(*shares: float, config: ChannelWorldConfig = SMALL) -> np.ndarray:
    row = np.floor(np.array(shares) * budget_micros(config)).astype(np.int64)
    return np.tile(row, (config.brands, 1))


EQUAL = split_of(0.25, 0.25, 0.25, 0.25)


def by_click() -> ChannelWorldConfig:
    """E-mail and display that cost by the click."""
    channels = list(DEFAULT_CHANNELS)
    for channel in (EMAIL, DISPLAY):
        channels[channel] = channels[channel].model_copy(update={"pricing": "click", "cost": 0.01})
    return SMALL.model_copy(
        update={"channels": tuple(channels), "response": SMALL.response.model_copy(update={"ctr": 0.2})}
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 250_000), min_size=4, max_size=4), st.integers(0, 3), st.booleans())
def test_no_brand_spends_one_micro_more_than_each_channel_was_given(row, seed, clicks):
    split = np.tile(np.array(row, np.int64), (2, 1))
    config = by_click() if clicks else SMALL
    _, records = days(config, split, seed)
    for record in records:
        price = np.zeros_like(split)
        np.add.at(price, (record.log.sent.brand, record.log.sent.channel), record.log.price_micros)
        assert (price == record.charged_micros).all()
        assert (record.charged_micros - record.released_micros <= split).all()
        if not clicks:
            assert not record.released_micros.any()


@pytest.mark.parametrize("clicks", [False, True])
def test_money_that_is_taken_whole_is_charged_nearly_whole(clicks):
    tight = (by_click() if clicks else SMALL).model_copy(update={"budget": 0.05})
    _, records = days(tight, split_of(0.0, 0.0, 0.0, 1.0, config=tight))
    charged = sum((record.charged_micros - record.released_micros)[:, DISPLAY] for record in records)
    assert (charged <= 4 * budget_micros(tight)).all()
    assert clicks or (charged > 0.9 * 4 * budget_micros(tight)).all()


def test_click_priced_touches_cost_their_clicks_in_the_end():
    config = by_click().model_copy(update={"days": 40})
    state, charged, released, clicks = open_world(config, 3), 0, 0, 0
    for day in range(40):
        split = split_of(0, 0, 0.5, 0.5) if day < 5 else np.zeros((2, 4), np.int64)
        state, record = play_day(state, split)
        charged += record.charged_micros.sum()
        released += record.released_micros.sum()
        clicks += record.clicks.sum()
    waiting = int(state.outbox.pending.price_micros.sum())
    assert clicks > 0
    assert charged - released - waiting == clicks * 10_000


@pytest.mark.parametrize("caps", [Caps(per_day=1, per_channel=(1, 1, 1, 1)), Caps(per_day=2), Caps(per_day=0)])
def test_the_log_of_touches_never_exceeds_the_cap_over_channels(caps):
    rich = SMALL.model_copy(update={"caps": caps, "budget": 100.0})
    _, records = days(rich, split_of(0.25, 0.25, 0.25, 0.25, config=rich))
    crowded = 0
    for record in records:
        sent = record.log.sent
        counts = np.zeros(rich.shape, np.int64)
        np.add.at(counts, (sent.user, sent.brand, sent.channel), 1)
        assert (counts.sum(axis=2) <= caps.per_day).all()
        assert (counts <= np.array(caps.per_channel)).all()
        crowded += int(record.blocked.sum())
        assert (np.diff(record.log.sent_hour) >= 0).all()
    assert crowded > 0 or caps.per_day == 0  # channels did meet users in one tick


def test_caps_apart_let_through_what_one_cap_stops():
    most = {}
    for name, caps in (
        ("one", Caps(per_day=1, per_channel=(1,) * 4)),
        ("each", Caps(per_day=None, per_channel=(1,) * 4)),
    ):
        rich = SMALL.model_copy(update={"caps": caps, "budget": 100.0})
        _, records = days(rich, split_of(0.25, 0.25, 0.25, 0.25, config=rich))
        sent = records[0].log.sent
        most[name] = int(np.bincount(sent.user * 2 + sent.brand).max())
    assert most["one"] == 1 and 1 < most["each"] <= 4


def test_unsubscribed_users_are_sent_nothing_more():
    angry = tuple(channel.model_copy(update={"unsubscribe": 0.3}) for channel in DEFAULT_CHANNELS)
    config = SMALL.model_copy(update={"channels": angry, "days": 6})
    states, records = days(config, EQUAL)
    assert records[0].unsubscribed.sum() > 0
    for before, record, after in zip(states[:-1], records, states[1:], strict=True):
        sent = record.log.sent
        assert not before.outbox.gone[sent.user, sent.brand, sent.channel].any()
        assert (after.outbox.gone >= before.outbox.gone).all()
        fresh = (after.outbox.gone & ~before.outbox.gone).sum(axis=0)
        assert (fresh == record.unsubscribed).all()


def test_only_those_on_the_list_are_mailed():
    states, records = days(SMALL, EQUAL)
    for record in records:
        sent = record.log.sent
        assert states[0].people.reachable[sent.user, sent.brand, sent.channel].all()
        assert (sent.channel == EMAIL).any()


def test_equal_seeds_and_splits_give_equal_days_and_other_seeds_do_not():
    (_, one), (_, same), (_, other) = (days(SMALL, EQUAL, seed) for seed in (1, 1, 2))
    for first, second in zip(one, same, strict=True):
        assert (first.clicks == second.clicks).all() and (first.log.open_hour == second.log.open_hour).all()
    assert any((first.touches != second.touches).any() for first, second in zip(one, other, strict=True))


def test_a_brands_split_leaves_the_others_touches_outside_the_auctions_as_they_were():
    changed = EQUAL.copy()
    changed[0] = split_of(0.0, 0.0, 0.0, 1.0)[0]
    (_, one), (_, other) = days(SMALL, EQUAL), days(SMALL, changed)
    for channel in (EMAIL, DISPLAY):
        pairs = []
        for record in (one[0], other[0]):
            mine = (record.log.sent.brand == 1) & (record.log.sent.channel == channel) & (record.log.sent_hour < 8.0)
            pairs.append((record.log.sent.user[mine], record.log.open_hour[mine], record.log.draws[mine]))
        assert len(pairs[0][0]) > 0
        for mine, theirs in zip(*pairs, strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("channel", range(len(CHANNELS)))
def test_all_money_in_one_channel_buys_opened_touches_at_a_falling_marginal_return(channel):
    big = ChannelWorldConfig(users=600, days=3, ticks=3, budget=24.0, prices=(30.0,))
    opened = []
    for money in (0, 2, 6, 24):
        split = np.zeros((1, 4), np.int64)
        split[0, channel] = money * 1_000_000
        opened.append(sum(int(record.opened.sum()) for record in days(big, split)[1]))
    marginal = np.diff(opened) / np.diff([0, 2, 6, 24])
    assert marginal[0] > 0 and (np.diff(marginal) <= 0).all() and marginal[2] < marginal[0]


def test_feed_makes_consumers_that_search_can_find():
    """Complement: money in the feed brings search more touches than search has alone."""
    big = ChannelWorldConfig(users=600, days=6, ticks=3, budget=8.0, prices=(30.0,))
    touches = {}
    for name, shares in (("search", (0.0, 0.5, 0.0, 0.0)), ("both", (0.5, 0.5, 0.0, 0.0))):
        _, records = days(big, split_of(*shares, config=big))
        touches[name] = sum(int(record.touches[0, SEARCH]) for record in records[1:])
    assert touches["both"] > 1.2 * touches["search"]


def test_two_channels_cannibalise_under_one_cap_and_profile():
    """Feed and display together reach fewer opened touches than the two apart: the cap is one."""
    big = ChannelWorldConfig(users=300, days=3, ticks=3, budget=50.0, prices=(30.0,), caps=Caps(per_day=2))
    opened = {}
    for name, shares in (("feed", (0.5, 0, 0, 0)), ("display", (0, 0, 0, 0.5)), ("both", (0.5, 0, 0, 0.5))):
        _, records = days(big, split_of(*shares, config=big))
        opened[name] = sum(int(record.touches.sum()) for record in records)
    assert max(opened["feed"], opened["display"]) <= opened["both"] < 0.9 * (opened["feed"] + opened["display"])


def test_credits_of_both_kinds_sum_to_the_orders():
    eager = SMALL.model_copy(update={"response": SMALL.response.model_copy(update={"ctr": 0.3, "cvr": 0.5})})
    _, records = days(eager, EQUAL)
    orders = sum(record.orders.sum() for record in records)
    assert orders > 10 and orders == int(orders)
    for record in records:
        assert record.linear.sum(axis=1) == pytest.approx(record.orders.sum(axis=1))
        assert (record.value_micros == record.orders.sum(axis=1) * 30_000_000).all()
    assert any((record.linear != record.orders).any() for record in records)


def test_credits_are_those_of_the_attribution_of_the_log():
    eager = SMALL.model_copy(update={"response": SMALL.response.model_copy(update={"ctr": 0.3, "cvr": 0.5})})
    _, records = days(eager, EQUAL)
    log, sold = joined([record.log for record in records]), joined([record.sold for record in records])
    seen = log.take(log.open_hour < eager.days * 24.0)
    touches = Touches(
        user=seen.sent.user, brand=seen.sent.brand, time_hours=seen.open_hour, channel=seen.sent.channel,
        event=np.full(len(seen.open_hour), int(Event.EXPOSURE)),
    )  # fmt: skip
    orders = Orders(
        user=sold.sent.user, brand=sold.sent.brand, time_hours=sold.open_hour, value=np.ones(len(sold.open_hour))
    )
    paths = build_paths(touches, orders)
    assert len(orders) > 10 and not paths.direct.any()
    for method, mine in ((linear, "linear"), (last, "orders")):
        theirs = np.zeros((2, 4))
        np.add.at(theirs, (paths.brand[paths.path], paths.channel), method(paths))
        assert theirs == pytest.approx(sum(getattr(record, mine) for record in records))


def test_stages_never_fall():
    states, _ = days(SMALL, EQUAL)
    for before, after in pairwise(states):
        assert (after.memory.stage >= before.memory.stage).all()
    assert (states[-1].memory.stage > 0).any()


def test_a_channel_with_an_own_budget_takes_none_of_the_brands():
    channels = list(DEFAULT_CHANNELS)
    channels[EMAIL] = channels[EMAIL].model_copy(update={"paid_from": "own", "own_budget": 0.02})
    config = SMALL.model_copy(update={"channels": tuple(channels)})
    _, records = days(config, split_of(0.0, 0.0, 0.0, 0.0))
    assert all(0 < record.charged_micros[0, EMAIL] <= 20_000 for record in records[:1])
    with pytest.raises(ValueError, match="own budget"):
        play_day(open_world(config, 0), EQUAL)


def test_a_capacity_is_shared_by_all_brands():
    channels = list(DEFAULT_CHANNELS)
    channels[FEED] = channels[FEED].model_copy(update={"capacity": 7})
    config = SMALL.model_copy(update={"channels": tuple(channels)})
    _, records = days(config, EQUAL)
    assert all(record.touches[:, FEED].sum() == 7 for record in records)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (EQUAL * 2, "up to 1000000 each"), (-EQUAL, "0 or more"), (EQUAL[:1], r"\(2, 4\)"), (EQUAL * 1.0, "float64"),
    ],
)  # fmt: skip
def test_a_wrong_split_is_refused(split, said):
    with pytest.raises(ValueError, match=said):
        play_day(open_world(SMALL, 0), split)


def test_a_world_that_has_ended_is_refused():
    with pytest.raises(ValueError, match="has ended after 4 days"):
        play_day(days(SMALL, EQUAL)[0][-1], EQUAL)
    with pytest.raises(ValueError, match="seed is -1"):
        open_world(SMALL, -1)
    with pytest.raises(ValueError, match="seed is 'a'; allowed is a whole number from 0 to 9223372036854775807"):
        open_world(SMALL, "a")
    with pytest.raises(ValueError, match="config is 'x'; allowed is a ChannelWorldConfig"):
        open_world("x", 0)
