import gymnasium.utils.env_checker
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.agents.channel_split.bandit import SplitBandit
from tribid.agents.channel_split.features import FEATURE_NAMES, FEATURES
from tribid.agents.channel_split.fitted import FittedSplit
from tribid.agents.channel_split.knapsack import greedy, integer_part, relaxed
from tribid.agents.channel_split.play import clairvoyant, levels_of, play_curves, play_market
from tribid.agents.channel_split.split_env import ChannelSplit, shares_of
from tribid.agents.channel_split.splitter import FixedSplit, ReturnSplit, Seen, Splitter, whole
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.curves import Curves, drawn_curves
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.stages import STAGES

SMALL = ChannelWorldConfig(users=150, days=5, ticks=3, budget=1.0)
ONE_GOOD = Curves(tops=(0.5, 20.0, 0.5, 0.5), scales=(10.0, 10.0, 10.0, 10.0))
BUDGET = 20_000_000


def online(seed: int = 0) -> dict[str, Splitter]:
    return {
        "return": ReturnSplit(4),
        "thompson": SplitBandit(4, seed=seed),
        "ucb": SplitBandit(4, rule="ucb"),
        "fitted": FittedSplit(4, seed=seed),
        "joint": FittedSplit(4, joint=True, seed=seed),
    }


def seen(budget: int) -> Seen:
    return Seen(0, 10, budget, np.zeros(FEATURES, np.float32))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 10**15))
def test_shares_in_whole_micros_never_exceed_the_budget(parts, budget):
    share = np.array(parts) / max(sum(parts), 1e-300)
    money = whole(share, budget)
    assert (money >= 0).all() and money.sum() <= budget
    assert sum(parts) < 1e-9 or money.sum() >= budget * (1 - 1e-9) - len(parts)


@pytest.mark.parametrize("share", [[0.6, 0.6], [-0.1, 1.0], [np.nan, 0.1]])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(ValueError, match="sum to 1 or less"):
        whole(share, 10)


@pytest.mark.parametrize("name", list(online()))
@pytest.mark.parametrize("budget", [0, 1, 7, 99, 1_000_003])
def test_no_splitter_spends_one_micro_more_than_the_budget(name, budget):
    splitter, rng = online()[name], np.random.default_rng(0)
    for _ in range(12):
        split = splitter.split(seen(budget))
        assert split.dtype == np.int64 and (split >= 0).all() and split.sum() <= budget
        splitter.learn(split, rng.poisson(2.0, 4).astype(float))


@pytest.mark.parametrize("name", list(online()))
def test_every_method_finds_the_one_channel_that_sells(name):
    found = [play_curves(ONE_GOOD, online(seed)[name], seed, 40, BUDGET) for seed in range(2)]
    equal = ONE_GOOD.expected(np.full(4, 5.0)).sum()
    late = np.mean([days.orders[-10:].mean() for days in found])
    assert late > 1.15 * equal
    assert np.mean([days.split_micros[-10:, 1].mean() for days in found]) > 0.4 * BUDGET


@pytest.mark.parametrize("seed", range(5))
def test_nobody_beats_the_clairvoyant_on_known_curves_by_more_than_its_grid(seed):
    curves = drawn_curves(seed)
    best, fine = clairvoyant(curves, BUDGET), levels_of(curves, BUDGET, 1000)
    assert relaxed(fine, BUDGET).value >= best.value - 1e-6
    assert integer_part(fine, greedy(fine, BUDGET)).value == pytest.approx(best.value, rel=2e-3)
    for splitter in (FixedSplit.equal(4), *online(seed).values()):
        assert play_curves(curves, splitter, seed, 15, BUDGET).orders.max() <= relaxed(fine, BUDGET).value * 1.001


def test_return_split_follows_the_credit_it_is_given():
    """The same days credited to another channel move the money there."""
    for channel in (0, 3):
        splitter = ReturnSplit(4)
        for _ in range(30):
            splitter.learn(splitter.split(seen(1000)), 5.0 * np.eye(4)[channel])
        assert splitter.split(seen(1000)).argmax() == channel
        assert splitter.split(seen(1000)).min() >= 50


def test_the_bandits_belief_narrows_where_it_was():
    bandit = SplitBandit(2, steps=10)
    before = np.einsum("cij,cij->ci", *[bandit.posterior()[1]] * 2)
    bandit.split(seen(1000))
    for _ in range(20):
        bandit.learn(np.array([500, 0]), np.array([1.0, 0.0]))
    mean, root = bandit.posterior()
    after = np.einsum("cij,cij->ci", root, root)
    assert after[0, 4] < 0.02 * before[0, 4] and after[1] == pytest.approx(before[1])
    assert mean[0, 4] == pytest.approx(1.0, rel=0.05) and not mean[1].any()


def test_fitted_curves_rise_flatten_and_find_the_truth():
    curves, fitted, rng = Curves(), FittedSplit(4, forget=1.0), np.random.default_rng(0)
    joint = FittedSplit(4, joint=True, forget=1.0)
    for splitter in (fitted, joint):
        splitter.split(seen(BUDGET))
        for _ in range(60):
            split = whole(rng.dirichlet(np.ones(4)), BUDGET)
            splitter.learn(split, curves.expected(split / 1e6))
        at = np.linspace(0.0, 1.0, 21)
        told = splitter.curves(at)
        assert (np.diff(told) >= -1e-9).all() and (np.diff(told, n=2) <= 1e-9).all() and not told[:, 0].any()
        assert told == pytest.approx(curves.expected(at[:, None] * 20.0).T, rel=0.05, abs=0.15)


def test_a_market_played_by_a_splitter_counts_what_it_charged():
    days = play_market(SMALL, FixedSplit.equal(4), 2)
    assert days.split_micros.shape == (5, 4)
    assert (days.charged_micros <= days.split_micros).all() and days.charged_micros.any()
    assert days.credit.sum(axis=1) == pytest.approx(days.orders)
    last = play_market(SMALL, FixedSplit.equal(4), 2, credit="last")
    assert (last.orders == days.orders).all() and (last.credit == np.rint(last.credit)).all()
    with pytest.raises(ValueError, match="linear and last"):
        play_market(SMALL, FixedSplit.equal(4), 2, credit="first")


def test_the_environment_keeps_gymnasiums_contract():
    env = ChannelSplit(SMALL)
    gymnasium.utils.env_checker.check_env(env, skip_render_check=True)
    env.reset(seed=4)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(SMALL.days)]
    assert ends == [(False, False)] * (SMALL.days - 1) + [(False, True)]
    assert env.reset()[1]["seed"] == 5
    with pytest.raises(ValueError, match="reset"):
        ChannelSplit(SMALL).step(np.zeros(4, np.float32))


def test_the_environments_days_are_the_markets():
    env, total = ChannelSplit(SMALL), 0.0
    env.reset(seed=4)
    for _ in range(SMALL.days):
        total += env.step(np.zeros(4, np.float32))[4]["orders"]
    assert total == play_market(SMALL, FixedSplit.equal(4), 4).orders.sum()


def test_shares_give_nothing_to_a_channel_with_money_of_its_own():
    share = shares_of(np.ones(4, np.float32), np.array([True, False, True, True]))
    assert share.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SplitBandit(4, rule="greedy"), "thompson and ucb"), (lambda: SplitBandit(4, steps=0), "steps is 0"),
        (lambda: FittedSplit(4, explore=2), "explore is 2"), (lambda: ReturnSplit(4, least=0.5), "least 0.5"),
        (lambda: ChannelSplit(SMALL, scale=0), "scale is 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_split_over_other_channels_and_what_is_no_seed_are_refused_by_name():
    with pytest.raises(ValueError, match="allowed is a number for each of 4 channels: feed, search, email, display"):
        play_market(SMALL, FixedSplit.equal(3), seed=0)
    with pytest.raises(ValueError, match="seed is 'a'; allowed is a whole number from 0"):
        play_market(SMALL, FixedSplit.equal(4), seed="a")
    with pytest.raises(ValueError, match="micros of 0 or more for each of 4 channels"):
        play_curves(ONE_GOOD, FixedSplit.equal(3), 0, 2, BUDGET)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"config": "x"}, "config is 'x'; allowed is a ChannelWorldConfig, or None"),
        ({"scale": "x"}, "scale is 'x'; allowed is a finite number above 0"),
        ({"scale": 0}, "scale is 0; allowed is a finite number above 0"),
    ],
)
def test_a_wrong_argument_of_the_environment_is_named(wrong, told):
    with pytest.raises(ValueError, match=told):
        ChannelSplit(**wrong)


def test_the_environment_names_what_is_no_seed_and_no_action():
    env = ChannelSplit(SMALL)
    with pytest.raises(ValueError, match="seed is 'x'; allowed is a whole number from 0"):
        env.reset(seed="x")
    seen, info = env.reset(seed=np.int64(3))
    assert seen.shape == (len(FEATURE_NAMES),) and info == {"seed": 3}
    for action in ([0.0, 0.0], "x", [0.0, 0.0, 0.0, np.nan], None):
        with pytest.raises(ValueError, match="allowed are 4 numbers, one for each channel"):
            env.step(action)
    seen, _, _, _, info = env.step([0.0, 0.0, 0.0, 1.0])
    told = dict(zip(FEATURE_NAMES, seen.tolist(), strict=True))
    assert told["days_left"] == pytest.approx(0.8) and sum(told[f"stage_{stage}"] for stage in STAGES) == pytest.approx(
        1
    )
    charged = sum(told[f"charged_{channel}"] for channel in CHANNELS)
    assert charged == pytest.approx(info["charged_micros"] / 1e6, rel=1e-5) and told["charged_display"] > 0
