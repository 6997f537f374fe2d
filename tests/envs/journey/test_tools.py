"""What plays markets plays a journey, too: the AEC API, the vector environment, logs, streams, and single bidders."""

import gymnasium
import numpy as np
import polars as pl
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

from tribid.envs import feed_auction_v0, market
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.stream import stream_day


def test_pettingzoos_suites_pass_for_a_journey(scenario):
    parallel_api_test(feed_auction_v0.parallel_env(scenario=scenario), num_cycles=10)
    api_test(feed_auction_v0.env(scenario=scenario), num_cycles=120)
    parallel_seed_test(lambda: feed_auction_v0.parallel_env(scenario=scenario), num_cycles=8)


def test_the_vector_environment_plays_the_markets_days(scenario):
    pytest.importorskip("stable_baselines3")
    from tribid.envs.vector import FeedAuctionVecEnv

    venv = FeedAuctionVecEnv(scenario, num_markets=2, seed=5, threads=2)
    seen = venv.reset()
    alone = feed_auction_v0.parallel_env(scenario=scenario)
    alone.reset(seed=6)
    for _ in range(4):
        seen, _, _, _ = venv.step(np.zeros((80, 2), np.float32))
        observations, *_ = alone.step({agent: np.zeros(2, np.float32) for agent in alone.agents})
    assert np.array_equal(seen[40:], np.stack(list(observations.values())))


def test_a_single_bidder_plays_a_journey(scenario):
    import tribid

    assert tribid.__version__
    env = gymnasium.make("tribid/SingleBidder-v0", scenario=scenario)
    env.reset(seed=1)
    ended = False
    while not ended:
        _, reward, _, ended, _ = env.step(env.action_space.sample() * 0)
        assert np.isfinite(reward)


def test_a_log_of_a_journey_holds_what_users_remember(scenario, tmp_path):
    rows = write_log(LogPlan(scenario=scenario, days=1, seed=3, explore=0.0, candidates=True, pictures=False), tmp_path)
    shown = pl.read_parquet(tmp_path / "impressions.parquet")
    state = market.reset(scenario, 3)
    while not state.done:
        state, _ = market.step(state, np.ones(40))
    log = state.memory.touches
    from tribid.envs.stages import Event

    for column, event in (("click", Event.CLICK), ("cart", Event.CART), ("order", Event.ORDER)):
        assert shown[column].sum() == (log.event == event).sum()
    assert rows["impressions"] == (log.event == Event.EXPOSURE).sum()


def test_a_streamed_day_is_the_markets_day(scenario, tmp_path):
    streamed = stream_day(scenario, 3, log=tmp_path / "day.parquet")
    state = market.reset(scenario, 3)
    clicks = 0
    while not state.done:
        state, tick = market.step(state, np.ones(40))
        clicks += tick.slots.clicked.sum()
    assert np.array_equal(streamed.left_micros, state.left_micros)
    assert np.array_equal(streamed.memory.marks, state.memory.marks)
    assert pl.read_parquet(tmp_path / "day.parquet")["clicked"].sum() == clicks
