from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.envs.attribution.test_paths import logs, orders, touches
from tribid.envs.attribution.credit import METHODS, credit, linear
from tribid.envs.attribution.paths import Paths, build_paths
from tribid.envs.attribution.reference import paths_by_hand, shapley_by_hand, shares_by_hand
from tribid.envs.attribution.shapley import dividends, shapley_values, subgame_values, worths
from tribid.envs.attribution.testing import check_attribution


def path_of(*channels: int) -> Paths:
    """One path with an order; its touches are a day apart and the last is at the order."""
    hours = 24.0 * np.arange(len(channels))
    rows = [(1, 0, float(hour), channel) for hour, channel in zip(hours, channels, strict=True)]
    return build_paths(touches(*rows), orders((1, 0, float(hours[-1]))))


@pytest.mark.parametrize(
    ("method", "shares"),
    [
        ("first", [1, 0, 0, 0]),
        ("last", [0, 0, 0, 1]),
        ("linear", [0.25] * 4),
        ("position", [0.4, 0.1, 0.1, 0.4]),
        ("shapley", [1 / 3, 1 / 6, 1 / 6, 1 / 3]),
    ],
)
def test_four_touches_of_three_channels_share_as_the_rule_says(method, shares):
    np.testing.assert_allclose(credit(path_of(0, 1, 1, 2), method), shares, rtol=0, atol=1e-15)


def test_time_decay_halves_with_every_half_life():
    np.testing.assert_allclose(credit(path_of(0, 0, 0), "time_decay", half_life_hours=24.0), np.array([1, 2, 4]) / 7)


def test_position_gives_two_touches_half_each_and_one_all():
    assert credit(path_of(0, 1), "position").tolist() == [0.5, 0.5]
    assert credit(path_of(0), "position").tolist() == [1.0]


@settings(deadline=None, max_examples=150)
@given(logs(), st.sampled_from(["first", "last", "linear", "time_decay", "position", "shapley"]))
def test_every_rule_shares_as_one_does_by_hand(log, method):
    met, bought, lookback = log
    shares = credit(build_paths(met, bought, lookback_hours=lookback), method)
    by_hand = [shares_by_hand(path, met, method) for path in paths_by_hand(met, bought, lookback)]
    np.testing.assert_allclose(shares, list(chain.from_iterable(by_hand)), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(logs(), st.sampled_from(sorted(METHODS)))
def test_credits_sum_to_the_conversions_and_to_their_value(log, method):
    met, bought, lookback = log
    paths = build_paths(met, bought, lookback_hours=lookback)
    shares = credit(paths, method)
    assert abs(shares.sum() + paths.direct.sum() - len(bought)) <= 1e-9
    value = (shares * paths.value[paths.path]).sum() + paths.value[paths.direct].sum()
    assert abs(value - bought.value.sum()) <= 1e-9
    assert (shares[~paths.credited] == 0).all()


@settings(deadline=None, max_examples=60)
@given(logs())
def test_linear_is_one_nth_and_one_touch_has_what_the_last_has(log):
    met, bought, lookback = log
    paths = build_paths(met, bought, lookback_hours=lookback)
    n = paths.length[paths.path]
    np.testing.assert_array_equal(credit(paths)[paths.credited], 1.0 / n[paths.credited])
    alone = n == 1
    for method in METHODS:
        np.testing.assert_array_equal(credit(paths, method)[alone], credit(paths, "last")[alone])


@pytest.mark.parametrize("method", METHODS)
def test_every_rule_passes_the_public_checker(method):
    check_attribution(method)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-5, 5, width=32), min_size=16, max_size=16))
def test_shapley_values_are_those_of_the_definition_and_undoing_dividends_gives_the_game(game):
    worth = np.array([0.0, *game[1:]])
    players = list(range(4))
    coalitions = chain.from_iterable(combinations(players, size) for size in range(5))
    by_set = {frozenset(members): worth[sum(1 << i for i in members)] for members in coalitions}
    by_hand = shapley_by_hand(by_set, players)
    np.testing.assert_allclose(shapley_values(worth), [by_hand[i] for i in players], atol=1e-9)
    np.testing.assert_allclose(worths(dividends(worth)), worth, atol=1e-9)
    some = shapley_by_hand(by_set, [0, 2, 3])
    np.testing.assert_allclose(subgame_values(worth)[0b1101], [some[0], 0.0, some[2], some[3]], atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(logs())
def test_shapley_credit_by_channel_is_the_exact_value_of_the_game_of_orders(log):
    """A coalition's worth, counted order by order, and the definition of the value, against shares of touches."""
    met, bought, lookback = log
    paths = build_paths(met, bought, lookback_hours=lookback)
    channels = [set(paths.channel[paths.path == p].tolist()) for p in np.flatnonzero(paths.converted & ~paths.direct)]
    players = [0, 1, 2]
    coalitions = chain.from_iterable(combinations(players, size) for size in range(4))
    worth = {frozenset(c): float(sum(on_path <= set(c) for on_path in channels)) for c in coalitions}
    value = shapley_by_hand(worth, players)
    by_channel = np.bincount(paths.channel, credit(paths, "shapley"), minlength=3)
    np.testing.assert_allclose(by_channel, [value[i] for i in players], atol=1e-9)


def test_shapley_rate_gives_little_to_a_channel_that_is_on_every_path_and_all_to_what_makes_the_difference():
    """Channel 0 meets all 200 users; of the 100 that channel 1 meets too half order, of the others nobody."""
    rows = [(user, 0, 0.0, 0) for user in range(200)] + [(user, 0, 1.0, 1) for user in range(100)]
    paths = build_paths(touches(*rows), orders(*((user, 0, 2.0) for user in range(50))))
    by_channel = np.bincount(paths.channel, credit(paths, "shapley_rate", prior_paths=0.001))
    assert by_channel.sum() == pytest.approx(50) and by_channel[1] > 0.6 * 50
    assert np.bincount(paths.channel, credit(paths, "last")).tolist() == [0.0, 50.0]
    assert np.bincount(paths.channel, credit(paths)).tolist() == [25.0, 25.0]


def test_a_rule_or_a_setting_that_is_not_known_is_refused_with_the_choices():
    paths = path_of(0, 1)
    with pytest.raises(ValueError, match="no rule of credit named 'median'; choose first, last, linear"):
        credit(paths, "median")
    with pytest.raises(ValueError, match="linear has no setting 'ends'; allowed are: none"):
        credit(paths, "linear", ends=0.2)
    with pytest.raises(ValueError, match=r"ends is 0\.6; allowed are numbers from 0 to 0\.5"):
        credit(paths, "position", ends=0.6)
    with pytest.raises(ValueError, match="half_life_hours is 0"):
        credit(paths, "time_decay", half_life_hours=0)
    with pytest.raises(ValueError, match="at most 12 for shapley_rate"):
        credit(path_of(*range(13)), "shapley_rate")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda paths: np.full(len(paths.touch), 1.0 / max(len(paths.touch), 1)), "the shares of path"),
        (lambda paths: 2.0 * linear(paths) - credit(paths, "shapley"), "shares are not negative"),
        (lambda paths: linear(paths)[:-1], "shares are one float for each of"),
        (lambda paths: linear(paths).astype(np.int64), "shares are one float for each of"),
        (lambda paths: np.where(paths.user[paths.path] % 2 == 0, linear(paths), credit(paths, "last")), "names of users"),
        (lambda paths: np.where(paths.value[paths.path] > 20, linear(paths), credit(paths, "last")), "values of orders"),
        (lambda paths: np.where(paths.end_hours[paths.path] > 40, linear(paths), credit(paths, "last")), "first hour"),
    ],
)  # fmt: skip
def test_the_checker_finds_a_rule_that_breaks_a_promise(broken, told):
    with pytest.raises(AssertionError, match=told):
        check_attribution(broken)


def test_the_checker_finds_a_rule_that_changes_its_paths_or_its_mind():
    def sorts(paths):
        paths.channel.sort()
        return linear(paths)

    calls = []

    def moody(paths):
        calls.append(None)
        return credit(paths, "first" if len(calls) % 2 else "last")

    with pytest.raises(AssertionError, match="paths are not changed"):
        check_attribution(sorts)
    with pytest.raises(AssertionError, match="the same paths give the same shares"):
        check_attribution(moody)
