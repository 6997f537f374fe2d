"""MAAB (WSDM 2022): temperature credit and the bar."""

import numpy as np
import pytest

from tribid.auctions import passes_bar, shared_reward, temperature_credit


@pytest.mark.parametrize("temperature", [0.0, 1e-9, 0.1, 1.0, 50.0, float("inf")])
def test_weights_sum_to_one(temperature):
    bids = np.random.default_rng(0).uniform(0, 5, (100, 7))
    assert temperature_credit(bids, temperature).sum(axis=-1) == pytest.approx(np.ones(100))


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 0.5, float("inf")])
def test_equal_bids_share_equally(temperature):
    assert temperature_credit([2.0] * 4, temperature).tolist() == [0.25] * 4


def test_credit_is_a_softmax_between_winner_takes_all_and_equal_shares():
    bids = np.array([1.0, 2.0, 4.0])
    expected = np.exp(bids / 2) / np.exp(bids / 2).sum()
    assert temperature_credit(bids, 2.0) == pytest.approx(expected)
    assert temperature_credit(bids, 1e-6).tolist() == temperature_credit(bids, 0.0).tolist() == [0, 0, 1]
    assert temperature_credit(bids, 1e9) == pytest.approx(np.full(3, 1 / 3))


def test_reward_is_zero_below_the_bar():
    bids = [1.0, 2.0, 3.0]
    assert passes_bar(bids, 2.0).tolist() == [False, True, True]
    assert shared_reward(bids, 9.0, float("inf"), bar_bid=2.0) == pytest.approx([0, 3, 3])


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_temperature_is_checked(temperature):
    with pytest.raises(ValueError, match="temperature is"):
        temperature_credit([1.0], temperature)


def test_nobody_cannot_share():
    with pytest.raises(ValueError, match="at least one bidder"):
        temperature_credit([], 1.0)
