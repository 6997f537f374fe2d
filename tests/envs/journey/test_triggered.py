"""Triggered messages in a journey: who is written to, when, once for a cause, and what caps and quiet hours hold back."""

from dataclasses import replace

import numpy as np
import pytest

from tribid.envs import market
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL
from tribid.envs.channels.config import DEFAULT_CHANNELS
from tribid.envs.channels.outreach import on_list
from tribid.envs.journey.memory import NOTHING
from tribid.envs.journey.triggered import TriggeredOutreach, put_off
from tribid.envs.platform import Platform
from tribid.envs.stages import Event
from tribid.envs.triggers import Trigger
from tribid.envs.world import build_world

CART = Trigger(name="cart", kind="cart_abandoned", wait_hours=4.0, quiet_from=0, quiet_to=0, channel="display")
ORDER = Trigger(name="order", kind="complementary", wait_hours=4.0, quiet_from=0, quiet_to=0, channel="display")


class Noted:
    """An outreach whose memories and messages are kept, tick by tick."""

    def __init__(self, inner):
        self.inner, self.told = inner, []

    def send(self, seed, day, tick, memory):
        sent = self.inner.send(seed, day, tick, memory)
        self.told.append((day, tick, memory, sent))
        return sent


@pytest.fixture(scope="module")
def mailing(scenario):
    reached = [channel.model_dump() | {"audience": 1.0} for channel in DEFAULT_CHANNELS]
    return scenario.with_changes(world__channels=reached, world__fatigue__cap=None, generated__budget_share=50.0)


def outreach_of(scenario, *triggers, **settings):
    world = build_world(scenario)
    return TriggeredOutreach(triggers, world.journey.channels, world.categories, world.n_ticks, **settings)


def played(scenario, *triggers, days=1, seed=3):
    noted, memory = Noted(outreach_of(scenario, *triggers)), None
    for day in range(days):
        state = market.reset(scenario, seed, day, platform=Platform(outreach=noted), memory=memory)
        while not state.done:
            state, _ = market.step(state, np.ones(len(state.advertisers)))
        memory = state.memory
    return noted.told, memory


def hour_of(scenario, day, tick):
    return 24.0 * (day + tick / scenario.world.traffic.ticks)


def test_a_cart_is_written_about_only_after_the_wait_and_only_while_nothing_was_ordered(mailing):
    told, _ = played(mailing, CART, days=2)
    assert sum(len(sent.user) for *_, sent in told) > 20
    for day, tick, memory, sent in told:
        waited = hour_of(mailing, day, tick) - memory.cart_hour[sent.user]
        assert (memory.cart[sent.user] != NOTHING).all()
        assert (waited >= CART.wait_hours - 1e-6).all()
        assert (waited < CART.wait_hours + 4.0 + 1e-6).all()  # the first tick after the wait
        assert not (memory.bought_hour[sent.user] > memory.cart_hour[sent.user]).any()


def test_the_brand_of_a_cart_sells_in_its_category_and_is_the_one_whose_item_was_put_in(mailing):
    told, _ = played(mailing, CART, days=2)
    category = build_world(mailing).categories.category
    known = 0
    for _, _, memory, sent in told:
        assert (category[sent.brand] == memory.cart[sent.user]).all()
        last = memory.cart_brand[sent.user]
        known += int((last >= 0).sum())
        assert (sent.brand[last >= 0] == last[last >= 0]).all()
    assert known > 5


def test_after_an_order_a_brand_of_a_category_that_goes_with_it_writes_once_the_wait_is_over(mailing):
    told, _ = played(mailing, ORDER, days=2)
    tables = build_world(mailing).categories
    assert sum(len(sent.user) for *_, sent in told) > 20
    for day, tick, memory, sent in told:
        assert tables.goes_with[memory.bought[sent.user], tables.category[sent.brand]].all()
        assert (hour_of(mailing, day, tick) - memory.bought_hour[sent.user] >= ORDER.wait_hours - 1e-6).all()


@pytest.mark.parametrize("trigger", [CART, ORDER], ids=["cart", "order"])
def test_every_cause_is_written_about_once_also_over_midnight(mailing, trigger):
    told, _ = played(mailing, trigger, days=2)
    causes = []
    for _, _, memory, sent in told:
        hour = memory.cart_hour if trigger is CART else memory.bought_hour
        causes += list(zip(sent.user.tolist(), hour[sent.user].tolist(), strict=True))
    assert len(causes) > 20
    assert len(set(causes)) == len(causes)


def test_nobody_without_a_cause_is_written_to(mailing):
    world = build_world(mailing)
    memory = world.opening(world.day(3, 0))
    users = len(memory.cart)
    bare = replace(
        memory, cart=np.full(users, NOTHING, np.int32), cart_hour=np.full(users, -np.inf),
        bought=np.full(users, NOTHING, np.int32), bought_hour=np.full(users, -np.inf),
    )  # fmt: skip
    outreach = outreach_of(mailing, CART, ORDER)
    assert all(len(outreach.send(3, 0, tick, bare).user) == 0 for tick in range(world.n_ticks))
    one = bare.cart.copy()
    one[7] = 0
    hours = bare.cart_hour.copy()
    hours[7] = -2.0
    carted = replace(bare, cart=one, cart_hour=hours, marks=np.full_like(memory.marks, 2))
    sent = [outreach.send(3, 0, tick, carted).user.tolist() for tick in range(world.n_ticks)]
    assert [who for ticks in sent for who in ticks] == [7]


def test_in_quiet_hours_nothing_is_sent_and_what_was_due_goes_out_after_them(mailing):
    quiet = CART.model_copy(update={"quiet_from": 7.0, "quiet_to": 15.0})
    told, _ = played(mailing, quiet, days=2)
    by_hour = {}
    for _, tick, _, sent in told:
        hour = 24.0 * tick / mailing.world.traffic.ticks
        by_hour[hour] = by_hour.get(hour, 0) + len(sent.user)
    assert by_hour[8.0] == by_hour[12.0] == 0
    free, _ = played(mailing, CART, days=2)
    assert sum(len(sent.user) for _, tick, _, sent in free if tick in (2, 3)) > 0
    assert by_hour[16.0] > 0


def test_quiet_hours_hold_by_the_users_clocks_and_never_all_day():
    assert put_off(Trigger(quiet_from=22, quiet_to=8), 24)[[21, 22, 23, 0, 7, 8]].tolist() == [0, 10, 9, 8, 1, 0]
    ahead = Trigger(quiet_from=22, quiet_to=8, utc_offset_hours=2.0)
    assert put_off(ahead, 24)[[19, 20, 5, 6]].tolist() == [0, 10, 1, 0]
    with pytest.raises(ValueError, match=r"quiet from 23 to 22\.5 o'clock are all 2 ticks"):
        put_off(Trigger(quiet_from=23, quiet_to=22.5), 2)


def test_a_user_gets_no_more_messages_a_day_than_the_cap_whatever_sets_them_off(mailing):
    twice = [one.model_copy(update={"name": f"{one.name}{k}"}) for one in (CART, ORDER) for k in range(2)]
    loose, _ = played(mailing, *(one.model_copy(update={"cap": 100}) for one in twice))
    tight, ended = played(mailing, *(one.model_copy(update={"cap": 1}) for one in twice))

    def most(told):
        return np.bincount(np.concatenate([sent.user for *_, sent in told])).max()

    assert most(loose) > 1
    assert most(tight) == 1
    wanted = np.bincount(np.concatenate([sent.user for *_, sent in tight]), minlength=len(ended.cart))
    assert ended.written.tolist() == wanted.tolist()


def test_the_higher_priority_is_sent_where_the_cap_leaves_room_for_one(mailing):
    low = CART.model_copy(update={"cap": 1, "channel": "email"})
    high = CART.model_copy(update={"name": "other", "cap": 1, "priority": 5})
    told, _ = played(mailing, low, high)
    channels = np.concatenate([sent.channel for *_, sent in told])
    assert len(channels) > 10
    assert (channels == DISPLAY).all()


def test_messages_too_late_for_their_window_are_not_sent(mailing):
    waiting = CART.model_copy(update={"quiet_from": 4.5, "quiet_to": 4.0})
    told, _ = played(mailing, waiting.model_copy(update={"window_hours": 6.0}), days=2)
    late, _ = played(mailing, waiting, days=2)
    assert 0 < sum(len(sent.user) for *_, sent in told) < sum(len(sent.user) for *_, sent in late)
    for day, tick, memory, sent in told:
        due = memory.cart_hour[sent.user] + CART.wait_hours
        assert (hour_of(mailing, day, tick) - due <= 6.0 + 1e-9).all()


def test_only_brands_on_whose_list_a_user_is_write(scenario):
    trigger = ORDER.model_copy(update={"channel": "email"})
    told, _ = played(scenario, trigger)
    channels = build_world(scenario).journey.channels
    for *_, sent in told:
        assert on_list(3, sent.user, sent.brand, EMAIL, channels).all()
    assert sum(len(sent.user) for *_, sent in told) > 10
    assert not on_list(3, np.arange(200), np.zeros(200, np.int64), EMAIL, channels).all()


def test_the_same_memory_gets_the_same_messages_and_opened_ones_are_touches(mailing):
    first, ended = played(mailing, CART, ORDER)
    again, _ = played(mailing, CART, ORDER)
    for one, other in zip(first, again, strict=True):
        assert all((a == b).all() for a, b in zip(one[3], other[3], strict=True))
    log = ended.touches
    ours = (log.channel == CHANNELS.index("display")) & (log.event == Event.EXPOSURE)
    wanted = {pair for *_, sent in first for pair in zip(sent.user.tolist(), sent.brand.tolist(), strict=True)}
    assert ours.any()
    assert set(zip(log.user[ours].tolist(), log.brand[ours].tolist(), strict=True)) <= wanted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel": "feed"}, "channel is feed; allowed in a journey are email, display"),
        ({"cap_days": 7}, "cap_days is 7; allowed in a journey is 1"),
        ({"kind": "price_drop"}, "allowed is one or more of"),
    ],
)
def test_triggers_that_a_journey_cannot_play_are_refused(mailing, changes, message):
    with pytest.raises(ValueError, match=message):
        outreach_of(mailing, CART.model_copy(update=changes))
