"""The batch for Stable-Baselines3: the rows are the multi-agent days, in order, and a day's end is a truncation."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from tribid.agents import BidderSpace, Lineup, make_bidder
from tribid.envs import feed_auction_v0
from tribid.envs.feed_auction_v0 import FeedAuction
from tribid.envs.scenario import load_scenario
from tribid.envs.vector import FeedAuctionVecEnv

AGENTS, TICKS = 5, 8  # of the scenario tiny


def parallel(seed: int, day: int = 0, **arguments: Any) -> tuple[FeedAuction, dict[str, np.ndarray]]:
    env = feed_auction_v0.parallel_env(**({"scenario": "tiny"} | arguments))
    return env, env.reset(seed=seed, options={"day": day})[0]


def stacked(observations: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(observations.values()))


def test_shapes_and_dtypes_are_those_of_stable_baselines() -> None:
    batch = FeedAuctionVecEnv("tiny", 3)
    assert (batch.num_envs, batch.num_markets) == (15, 3)
    seen = batch.reset()
    assert (seen.shape, seen.dtype) == ((15, 36), np.float32)
    seen, rewards, dones, infos = batch.step(np.zeros((15, 1), np.float32))
    assert (seen.shape, seen.dtype) == ((15, 36), np.float32)
    assert (rewards.shape, rewards.dtype) == ((15,), np.float32)
    assert (dones.shape, dones.dtype) == ((15,), np.bool_)
    assert infos == [{}] * 15
    assert all(batch.observation_space.contains(row) for row in seen)


@pytest.mark.parametrize("segments", ["none", "cluster"])
def test_rows_are_the_agents_of_market_after_market_and_get_their_rewards(segments: str) -> None:
    scenario = load_scenario("tiny").with_changes(rules__segments=segments)
    batch = FeedAuctionVecEnv(scenario, 2, seed=7)
    markets = [parallel(7 + m, scenario=scenario) for m in range(2)]
    seen = batch.reset()
    rng = np.random.default_rng(0)
    width = batch.action_space.shape[0]
    for _ in range(TICKS - 1):
        assert np.array_equal(seen, np.concatenate([stacked(observations) for _, observations in markets]))
        actions = rng.uniform(-1, 1, (10, width)).astype(np.float32)
        seen, rewards, dones, _ = batch.step(actions)
        for m, (env, _) in enumerate(markets):
            rows = actions[m * AGENTS : (m + 1) * AGENTS]
            observations, earned, *_ = env.step(dict(zip(env.agents, rows, strict=True)))
            markets[m] = (env, observations)
            assert rewards[m * AGENTS : (m + 1) * AGENTS].tolist() == [np.float32(r) for r in earned.values()]
        assert not dones.any()


def test_a_days_end_is_a_truncation_with_the_last_observation_and_the_next_day_follows() -> None:
    batch = FeedAuctionVecEnv("tiny", 2, seed=3)
    batch.reset()
    for day in range(2):
        markets = [parallel(3 + m, day)[0] for m in range(2)]
        total = np.zeros(10)
        for _ in range(TICKS):
            actions = np.full((10, 1), 0.25, np.float32)
            seen, rewards, dones, infos = batch.step(actions)
            total += rewards
            last = [stacked(env.step(dict(zip(env.agents, actions[:5], strict=True)))[0]) for env in markets]
        assert dones.all()
        for row, info in enumerate(infos):
            assert np.array_equal(info["terminal_observation"], np.concatenate(last)[row])
            assert info["TimeLimit.truncated"] is True
            assert info["episode"]["l"] == TICKS
            assert info["episode"]["r"] == pytest.approx(total[row], abs=1e-5)
        opened = np.concatenate([stacked(parallel(3 + m, day + 1)[1]) for m in range(2)])
        assert np.array_equal(seen, opened)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_number(threads: int) -> None:
    one, more = FeedAuctionVecEnv("tiny", 4, seed=1), FeedAuctionVecEnv("tiny", 4, seed=1, threads=threads)
    rng = np.random.default_rng(0)
    assert np.array_equal(one.reset(), more.reset())
    for _ in range(TICKS + 2):
        actions = rng.uniform(-1, 1, (4 * AGENTS, 1)).astype(np.float32)
        for mine, theirs in zip(one.step(actions)[:3], more.step(actions)[:3], strict=True):
            assert np.array_equal(mine, theirs)


def test_days_bound_the_days_before_a_seed_starts_again() -> None:
    batch = FeedAuctionVecEnv("tiny", 1, days=2)

    def results() -> np.ndarray:
        return np.concatenate([batch.step(np.zeros((AGENTS, 1), np.float32))[1] for _ in range(TICKS)])

    batch.reset()
    days = [results() for _ in range(5)]
    assert np.array_equal(days[0], days[2])
    assert np.array_equal(days[1], days[3])
    assert np.array_equal(days[0], days[4])
    assert not np.array_equal(days[0], days[1])


@pytest.mark.parametrize("rivals", ["pid", "dual_pacing"])
def test_learners_act_among_rivals_that_drive_everybody_else(rivals: str) -> None:
    crowd = Lineup.of(make_bidder(rivals, BidderSpace.of("tiny")), AGENTS)
    batch = FeedAuctionVecEnv("tiny", 2, learners=[3, 1], rivals=crowd, seed=2)
    assert batch.num_envs == 4
    seen = batch.reset()
    markets: list[Any] = [(*parallel(2 + m), {}) for m in range(2)]
    rng = np.random.default_rng(1)
    for tick in range(2 * TICKS):
        assert np.array_equal(seen, np.concatenate([stacked(observations)[[3, 1]] for _, observations, _ in markets]))
        actions = rng.uniform(-1, 1, (4, 1)).astype(np.float32)
        seen, rewards, dones, _ = batch.step(actions)
        for m, (env, observations, states) in enumerate(markets):
            chosen, states = crowd.act(stacked(observations), states)
            chosen[[3, 1]] = actions[2 * m : 2 * m + 2]
            observations, earned, *_ = env.step(dict(zip(env.possible_agents, chosen, strict=True)))
            assert rewards[2 * m : 2 * m + 2].tolist() == [np.float32(earned[f"adv_0{i}"]) for i in (3, 1)]
            if not env.agents:  # the next day: rivals start afresh
                observations, states = env.reset()[0], {}
            markets[m] = (env, observations, states)
        assert dones.all() == (tick % TICKS == TICKS - 1)


def test_rivals_bid_their_unit_bids_where_none_are_given() -> None:
    batch = FeedAuctionVecEnv("tiny", 1, learners=[2], seed=5)
    batch.reset()
    env, _ = parallel(5)
    own = np.full((1, 1), 0.7, np.float32)
    _, rewards, _, _ = batch.step(own)
    actions = {agent: np.zeros(1, np.float32) for agent in env.agents} | {"adv_02": own[0]}
    assert rewards.tolist() == [np.float32(env.step(actions)[1]["adv_02"])]


def test_a_seed_opens_day_0_of_that_seed_and_is_used_once() -> None:
    batch = FeedAuctionVecEnv("tiny", 2, seed=0)
    batch.reset()
    batch.seed(42)
    seen = batch.reset()
    assert np.array_equal(seen, np.concatenate([stacked(parallel(42 + m)[1]) for m in range(2)]))
    _, first, _, _ = batch.step(np.zeros((10, 1), np.float32))
    batch.reset()  # the next day of the same seed
    _, next_day, _, _ = batch.step(np.zeros((10, 1), np.float32))
    batch.seed(42)
    batch.reset()
    _, again, _, _ = batch.step(np.zeros((10, 1), np.float32))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next_day)


def test_a_batch_keeps_no_hold_on_what_it_returned() -> None:
    batch = FeedAuctionVecEnv("tiny", 1, seed=5)
    first = batch.reset()
    kept = first.copy()
    for _ in range(TICKS):
        batch.step(np.zeros((AGENTS, 1), np.float32))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_markets": 0}, "num_markets is 0; allowed is 1 or more"),
        ({"learners": []}, r"learners are \[\]; allowed are one or more indices from 0 to 4"),
        ({"learners": [5]}, r"learners are \[5\]; allowed"),
        ({"learners": [-1]}, r"learners are \[-1\]; allowed"),
        ({"learners": [2, 2]}, r"learners are \[2, 2\], days None; allowed is each learner once, days from 1"),
        ({"days": 0}, "days 0; allowed is each learner once, days from 1"),
        ({"threads": 0}, "threads is 0; allowed is 1 or more"),
        ({"seed": -1}, "seed is -1; allowed"),
    ],
)
def test_malformed_arguments_are_refused_by_value_and_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeedAuctionVecEnv("tiny", **arguments)


def test_actions_that_are_not_finite_are_refused() -> None:
    batch = FeedAuctionVecEnv("tiny", 2)
    batch.reset()
    actions = np.zeros((10, 1), np.float32)
    actions[7] = np.nan
    with pytest.raises(ValueError, match="action of row 7 is nan; allowed is a number from -1 to 1"):
        batch.step(actions)


def test_rows_have_no_attributes_methods_or_wrappers_of_their_own() -> None:
    batch = FeedAuctionVecEnv("tiny", 1)
    assert batch.env_is_wrapped(object) == [False] * AGENTS
    assert batch.get_attr("num_markets", [0, 2]) == [1, 1]
    for call in (lambda: batch.set_attr("x", 1), lambda: batch.env_method("render")):
        with pytest.raises(AttributeError, match="rows of FeedAuctionVecEnv"):
            call()


def test_ppo_learns_one_rollout_through_stable_baselines_own_wrapper() -> None:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    torch.set_num_threads(1)
    batch = VecMonitor(FeedAuctionVecEnv("tiny", 2))
    model = PPO("MlpPolicy", batch, n_steps=2 * TICKS, batch_size=40, n_epochs=1, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(2 * TICKS * 10)
    assert model.num_timesteps == 2 * TICKS * 10
    assert len(model.ep_info_buffer) == 20
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in model.policy.parameters())
