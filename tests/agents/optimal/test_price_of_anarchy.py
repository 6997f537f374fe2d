"""Two value maximisers with a target in two second-price auctions: an equilibrium that loses half of the welfare.

The tight instance for auto-bidders with a target cost (Aggarwal, Badanidiyuru and Mehta, "Autobidding with constraints",
2019; Theorem 3.3 of Aggarwal and others' survey of 2024). Values are (P, e) and (0, P - e) per query, and whoever has a
value of 1 may pay 1. The first bidder gets its first query for nothing, and the room that this leaves under its target
lets it pay more for the second query than it is worth: it bids P on both. The second bidder would have to pay P for what is
worth P - e to it, so it stays out. Welfare is P + e where 2P - e was possible.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from tribid.auctions import gsp


def outcomes(bids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and payment [profiles, bidders] for bids [profiles, bidders, queries]; each query is one second-price slot."""
    profiles, bidders, queries = bids.shape
    rows = bids.transpose(0, 2, 1).reshape(-1, bidders)
    outcome = gsp(rows, np.ones(rows.shape), [1.0])
    winner = outcome.winner.reshape(profiles, queries)
    price = outcome.price_micros.reshape(profiles, queries)
    mine = winner[:, None, :] == np.arange(bidders)[None, :, None]
    return (mine * values).sum(axis=2), (mine * price[:, None, :]).sum(axis=2)


def instance(high: int, eps: int) -> np.ndarray:
    return np.array([[high, eps], [0, high - eps]])


def stated(high: int) -> np.ndarray:
    return np.array([[high, high], [0, 0]])


def best_reply(profile: np.ndarray, bidder: int, replies: np.ndarray, values: np.ndarray) -> int:
    """The most value that a bidder can have within its target, over ``replies`` [R, queries]."""
    tried = np.repeat(profile[None], len(replies), axis=0)
    tried[:, bidder] = replies
    value, paid = outcomes(tried, values)
    return int(value[paid[:, bidder] <= value[:, bidder], bidder].max())


def liquid_welfare(values: np.ndarray, winners: tuple[int, ...]) -> int:
    """Targets are 1 and budgets do not bind, so the liquid welfare is the value."""
    return sum(int(values[who, query]) for query, who in enumerate(winners))


def optimum(values: np.ndarray) -> int:
    return max(liquid_welfare(values, who) for who in product(range(len(values)), repeat=values.shape[1]))


@pytest.mark.parametrize(("high", "eps"), [(12, 4), (20, 2), (40, 1)])
def test_no_bids_at_all_do_better_than_the_stated_ones(high: int, eps: int) -> None:
    values, profile = instance(high, eps), stated(high)
    every = np.array(list(product(range(2 * high + 2), repeat=2)))
    value, paid = outcomes(profile[None], values)
    assert value[0].tolist() == [high + eps, 0]
    assert paid[0].tolist() == [0, 0]
    for bidder in range(2):
        assert best_reply(profile, bidder, every, values) == value[0, bidder]


def test_it_stays_an_equilibrium_when_the_second_bids_its_value() -> None:
    values = instance(20, 2)
    profile = np.array([[20, 20], [0, 18]])
    every = np.array(list(product(range(42), repeat=2)))
    value, paid = outcomes(profile[None], values)
    assert (value[0].tolist(), paid[0].tolist()) == ([22, 0], [18, 0])
    for bidder in range(2):
        assert best_reply(profile, bidder, every, values) == value[0, bidder]


def test_bidding_the_own_values_gives_the_optimum() -> None:
    values = instance(20, 2)
    value, _ = outcomes(values[None], values)
    assert int(value[0].sum()) == optimum(values) == 38


def test_the_ratio_goes_to_two_in_exact_fractions() -> None:
    ratios = []
    for n in (2, 10, 1000, 10**6):
        values = instance(n, 1)
        value, _ = outcomes(stated(n)[None], values)
        ratio = Fraction(optimum(values), int(value[0].sum()))
        assert ratio == Fraction(2 * n - 1, n + 1)
        assert 2 - ratio <= Fraction(3, n + 1)
        ratios.append(ratio)
    assert ratios == sorted(ratios)
    assert ratios[-1] > 2 - Fraction(3, 10**6)


def test_uniform_multipliers_alone_reach_the_same_welfare() -> None:
    # An auto-bidder bids one multiplier times its values: (P - 1) * (P, 1) = (.., P - 1), which must exceed P - 1 to win.
    high = 30
    values = instance(high, 1)
    profile = np.array([[high * high, high], [0, high - 1]])
    value, paid = outcomes(profile[None], values)
    assert value[0].tolist() == [high + 1, 0]
    assert paid[0, 0] == high - 1 <= value[0, 0]
    for bidder in range(2):
        replies = np.arange(2 * high * high)[:, None] * values[bidder]
        assert best_reply(profile, bidder, replies, values) == value[0, bidder]


@pytest.mark.parametrize("seed", range(4))
def test_no_equilibrium_of_uniform_multipliers_loses_more_than_half(seed: int) -> None:
    """Every pair of multipliers from 1 (bidding less than the value helps nobody): where both reply best, 2 is the bound."""
    rng = np.random.default_rng(seed)
    values = instance(9, 1) if seed == 0 else rng.integers(0, 8, size=(2, 2))
    steps = 24
    pairs = np.array(list(product(range(1, steps + 1), repeat=2)))
    profiles = pairs[:, :, None] * values[None]
    value, paid = outcomes(profiles, values)
    good = np.where(paid <= value, value, -1).reshape(steps, steps, 2)
    best_first = good[:, :, 0].max(axis=0, keepdims=True)
    best_second = good[:, :, 1].max(axis=1, keepdims=True)
    kept = (good >= 0).all(axis=2)
    stable = kept & (good[:, :, 0] == best_first) & (good[:, :, 1] == best_second)
    welfare = value.sum(axis=1).reshape(steps, steps)
    assert stable.any()
    assert (2 * welfare[stable] >= optimum(values)).all()
    if seed == 0:
        assert Fraction(optimum(values), int(welfare[stable].min())) == Fraction(17, 10)
