import numpy as np
import pytest

from tribid.envs.channels.curves import Curves, drawn_curves


def test_more_money_never_brings_fewer_orders_on_the_same_day():
    curves = drawn_curves(3)
    for day in range(20):
        low, high = (curves.orders(9, day, np.full(4, money)) for money in (5.0, 10.0))
        assert (low <= high).all()


def test_days_orders_have_the_curves_mean():
    curves = Curves()
    mean = np.mean([curves.orders(1, day, np.full(4, 15.0)) for day in range(3000)], axis=0)
    assert mean == pytest.approx(curves.expected(np.full(4, 15.0)), rel=0.06)


def test_curves_rise_and_flatten():
    money = np.linspace(0.0, 40.0, 50)[:, None]
    orders = drawn_curves(4).expected(np.broadcast_to(money, (50, 4)))
    assert not orders[0].any()
    assert (np.diff(orders, axis=0) > 0).all() and (np.diff(orders, n=2, axis=0) < 1e-12).all()


def test_tops_without_scales_are_refused():
    with pytest.raises(ValueError, match="one for each of 1 tops"):
        Curves(tops=(1.0,))


def test_what_is_no_seed_or_day_is_named():
    with pytest.raises(ValueError, match="seed is 'x'; allowed is a whole number from 0"):
        drawn_curves("x")
    with pytest.raises(ValueError, match="seed is 'x'; allowed is a whole number from 0"):
        Curves().orders("x", 0, np.ones(4))
    with pytest.raises(ValueError, match="day is -1; allowed is a whole number from 0"):
        Curves().orders(0, -1, np.ones(4))
