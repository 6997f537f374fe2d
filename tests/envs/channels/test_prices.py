import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.channels.config import Channel
from tribid.envs.channels.prices import buy, unit_micros

MONEY = st.lists(st.integers(0, 10**12), min_size=1, max_size=6)


@given(
    MONEY,
    st.integers(0, 10**7),
    st.floats(0, 1000),
    st.floats(0, 100),
    st.sampled_from(["auction", "mille", "message"]),
)
def test_nobody_buys_more_than_the_money_or_the_supply_holds(money, supply, cost, rise, pricing):
    bought = buy(Channel(pricing=pricing, cost=cost, price_rise=rise), np.array(money, np.int64), supply)
    assert (bought.touches >= 0).all() and (bought.touches <= supply).all()
    assert all(int(n) * bought.price_micros <= m for n, m in zip(bought.touches, money, strict=True))
    assert bought.price_micros >= unit_micros(Channel(pricing=pricing, cost=cost))


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_rivals_money_never_lowers_the_price(money, supply):
    channel = Channel(pricing="auction", cost=5.0, price_rise=3.0)
    alone = buy(channel, np.array([10**7, 0]), supply)
    both = buy(channel, np.array([10**7, money]), supply)
    assert both.price_micros >= alone.price_micros and both.touches[0] <= alone.touches[0]


def test_each_next_coin_buys_fewer_exposures_of_an_auction_channel():
    channel = Channel(pricing="auction", cost=5.0, price_rise=3.0)
    bought = [int(buy(channel, np.array([money]), 100_000).touches[0]) for money in range(0, 10**9, 10**8)]
    steps = np.diff(bought)
    assert (steps > 0).all() and (np.diff(steps) < 0).all()


def test_other_channels_prices_stay_where_they_are():
    channel = Channel(pricing="mille", cost=2.0, price_rise=3.0)
    assert buy(channel, np.array([10**6, 10**9]), 10**6).price_micros == 2000
