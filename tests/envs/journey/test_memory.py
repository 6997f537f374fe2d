"""A journey's memory: what is latest, whatever is known first, and how much of it is kept."""

from dataclasses import replace

import numpy as np
import pytest

from tribid.envs.journey import world as journey_world
from tribid.envs.journey.memory import NOTHING, joined, remembered, touches_of
from tribid.envs.stages import Event
from tribid.envs.world import build_world


@pytest.fixture(scope="module")
def opened(scenario):
    """A world, and a morning on which nobody has bought anything yet."""
    world = build_world(scenario)
    morning = world.opening(world.day(3, 0))
    users = len(morning.bought)
    nobody, never = np.full(users, NOTHING, np.int32), np.full(users, -np.inf)
    return world, replace(morning, bought=nobody, cart=nobody, cart_brand=nobody, bought_hour=never, cart_hour=never)


def of_other_category(world):
    """Two brands of different categories."""
    category = world.categories.category
    return 0, int(np.flatnonzero(category != category[0])[0])


@pytest.mark.parametrize("event", [Event.ORDER, Event.CART])
def test_what_is_known_late_replaces_nothing_that_happened_after_it(opened, event):
    world, morning = opened
    one, other = of_other_category(world)
    category = world.categories.category
    noon = remembered(morning, touches_of([7], [one], [10.33], 0, event, 4), category)
    after = remembered(noon, touches_of([7, 8], [other, other], [10.08, 10.08], 2, event), category)
    what, when = (after.bought, after.bought_hour) if event == Event.ORDER else (after.cart, after.cart_hour)
    assert (what[7], when[7]) == (category[one], 10.33)
    assert (what[8], when[8]) == (category[other], 10.08)
    later = remembered(after, touches_of([7], [other], [11.0], 2, event), category)
    assert (later.bought if event == Event.ORDER else later.cart)[7] == category[other]


def test_the_log_is_in_order_of_time_whatever_is_known_first(opened):
    world, morning = opened
    category = world.categories.category
    memory = remembered(morning, touches_of([1, 2], [0, 0], [1.0, 3.0], 0, Event.EXPOSURE, 5), category)
    memory = remembered(memory, touches_of([3, 4], [0, 0], [2.0, 0.5], 2, Event.EXPOSURE), category)
    assert memory.touches.user.tolist() == [4, 1, 3, 2]
    assert memory.since(1.5).user.tolist() == [3, 2]


def test_a_carts_brand_is_kept_until_it_is_ordered_or_another_is_filled(opened):
    world, morning = opened
    one, other = of_other_category(world)
    category = world.categories.category
    filled = remembered(morning, touches_of([7, 8], [one, one], [1.0, 1.0], 0, Event.CART), category)
    assert filled.cart_brand[[6, 7, 8]].tolist() == [NOTHING, one, one]
    both = joined([touches_of(7, one, 2.0, 0, Event.ORDER), touches_of(8, other, 2.0, 0, Event.CART)])
    assert remembered(filled, both, category).cart_brand[[7, 8]].tolist() == [NOTHING, other]


def test_a_world_keeps_as_many_openings_as_fit_and_always_the_last(scenario, monkeypatch):
    world = build_world(scenario.with_changes(world__users__count=150))
    table = journey_world._PAIR_BYTES * 150 * len(world.advertisers)
    for room, kept in ((10 * table, 10), (3 * table + 1, 3), (1, 1)):
        monkeypatch.setattr(journey_world, "_KEPT_BYTES", room)
        for seed in range(20, 32):
            world.opening(world.day(seed, 0))
        assert list(world._opened) == [(seed, 0) for seed in range(32 - kept, 32)]


@pytest.mark.parametrize("together", [True, False])
def test_a_cart_that_was_ordered_is_gone_though_another_order_is_the_last_one(opened, together):
    world, morning = opened
    one, other = of_other_category(world)
    category = world.categories.category
    filled = remembered(morning, touches_of([7, 8], [one, one], [5.0, 5.4], 0, Event.CART), category)
    orders = [touches_of(7, one, 5.2, 2, Event.ORDER), touches_of([7, 8], [other, other], [5.6, 5.6], 0, Event.ORDER)]
    orders.append(touches_of(8, one, 5.3, 2, Event.ORDER))  # before that cart was filled again
    told = [joined(orders)] if together else [orders[1], joined([orders[0], orders[2]])]  # by e-mail, known later
    for touches in told:
        filled = remembered(filled, touches, category)
    assert filled.cart[[7, 8]].tolist() == [NOTHING, category[one]]
    assert filled.cart_hour[[7, 8]].tolist() == [-np.inf, 5.4] and filled.cart_brand[7] == NOTHING
    assert (filled.bought[[7, 8]] == category[other]).all()
