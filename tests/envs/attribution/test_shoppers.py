import dataclasses

import numpy as np
import pytest

from tribid.envs.attribution.accounting import attributed
from tribid.envs.attribution.histories import of_histories, of_journey
from tribid.envs.attribution.shoppers import ShopperLaw, live
from tribid.envs.behaviour import KINDS, PastEvents
from tribid.envs.journey.memory import touches_of
from tribid.envs.stages import BEHAVIOURS, Event

LAW = ShopperLaw(pairs=600, days=20)


def test_the_same_seed_lives_the_same_life_and_a_pair_does_not_depend_on_how_many_others_there_are():
    one, again, fewer = live(LAW, 3), live(LAW, 3), live(dataclasses.replace(LAW, pairs=300), 3)
    np.testing.assert_array_equal(one.ads.time_hours, again.ads.time_hours)
    mine = one.behaviours.where(one.behaviours.user < 300)
    np.testing.assert_array_equal(mine.event, fewer.behaviours.event)
    assert set(one.behaviours.event.tolist()) == set(BEHAVIOURS)


def test_a_channel_without_effect_changes_no_order_when_it_is_switched_off():
    law = dataclasses.replace(LAW, effect=(0.0, 0.7, 0.4, 0.1))
    on, off = live(law, 1), live(law, 1, without=[0])
    np.testing.assert_array_equal(on.orders.user, off.orders.user)
    np.testing.assert_array_equal(on.orders.time_hours, off.orders.time_hours)
    assert (off.ads.channel != 0).all() and (on.ads.channel == 0).any()
    np.testing.assert_array_equal(on.behaviours.event, off.behaviours.event)


def test_a_channel_with_an_effect_loses_orders_when_it_is_switched_off():
    law = dataclasses.replace(LAW, effect=(0.0, 1.5, 0.0, 0.0))
    assert len(live(law, 1).orders) > len(live(law, 1, without=[1]).orders) + 20


def test_who_is_spared_meets_no_ad_and_everybody_else_lives_as_before():
    spared = np.arange(600) % 4 == 0
    one, other = live(LAW, 1), live(LAW, 1, spared=spared)
    assert not spared[other.ads.user].any() and spared[one.ads.user].any()
    for mine, theirs in ((one.ads, other.ads), (one.behaviours, other.behaviours)):
        kept = mine.where(~spared[mine.user])
        np.testing.assert_array_equal(kept.time_hours, theirs.where(~spared[theirs.user]).time_hours)
    assert len(live(LAW, 1, behaviours=False).behaviours) == 0
    np.testing.assert_array_equal(live(LAW, 1, behaviours=False).orders.user, one.orders.user)


def test_behaviours_show_who_orders():
    lived = live(ShopperLaw(pairs=2000, days=20, effect=(0.0,) * 4, lasting=1.0), 1)
    carts = np.bincount(lived.behaviours.of([Event.CART]).user, minlength=2000)
    bought = np.bincount(lived.orders.user, minlength=2000) > 0
    assert carts[bought].mean() > 1.3 * carts[~bought].mean()


def test_laws_that_are_none_are_refused():
    with pytest.raises(ValueError, match="need one number for each of feed, search, email, display"):
        ShopperLaw(effect=(0.1,))
    with pytest.raises(ValueError, match=r"lasting is 1\.5"):
        ShopperLaw(lasting=1.5)


def test_a_shops_histories_become_behaviour_and_orders_of_categories():
    kind = np.array([[KINDS.index(name) for name in ("view", "cart", "order")]], np.int8)
    past = PastEvents(
        np.array([[5, 6, 7]], np.int32), np.array([[1, 2, 2]], np.int32), kind,
        np.array([[2.0, 1.5, 1.0]], np.float32), np.array([3], np.int32),
    )  # fmt: skip
    touches, orders = of_histories(past, np.array([9]))
    assert touches.event.tolist() == [Event.VIEW, Event.CART] and touches.brand.tolist() == [1, 2]
    assert touches.time_hours.tolist() == [-48.0, -36.0] and orders.time_hours.tolist() == [-24.0]
    assert touches.user.tolist() == [9, 9] and orders.user.tolist() == [9] and orders.brand.tolist() == [2]


def test_a_journeys_log_is_credited_with_its_prices():
    log = touches_of([4, 4], [1, 1], [2.0, 3.0], [2, 0], [Event.CLICK, Event.ORDER])
    touches, orders = of_journey(log, np.array([10.0, 25.0]))
    told = attributed(touches, orders, brands=2, channels=4)
    assert told.value.tolist() == [[0.0] * 4, [0.0, 0.0, 25.0, 0.0]]
