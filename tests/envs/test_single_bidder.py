"""One learner among rivals in Gymnasium's API: a row of the multi-agent day, cut off at its end."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import tribid
from tribid.agents import BidderSpace, Lineup, make_bidder
from tribid.envs import feed_auction_v0
from tribid.envs.replay import replay_scenario
from tribid.envs.scenario import load_scenario
from tribid.envs.single_bidder import SingleBidder


def made(**arguments: Any) -> SingleBidder:
    assert tribid.__version__
    env = gymnasium.make("tribid/SingleBidder-v0", **({"scenario": "tiny", "rivals": "pid"} | arguments)).unwrapped
    assert isinstance(env, SingleBidder)
    return env


def play(env: SingleBidder, seed: int | None, actions: np.ndarray, **options: Any) -> list[tuple[Any, ...]]:
    transcript: list[tuple[Any, ...]] = [env.reset(seed=seed, options=options or None)]
    for action in actions:
        transcript.append(env.step(np.array([action], np.float32)))
    return transcript


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return all(
        np.array_equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, other, strict=True)
    )  # observations exactly, then reward, flags and info


# check_env warns of nothing here: a warning of it is an error.
@pytest.mark.parametrize("rivals", ["pid", "truthful", "random", "fixed:0.5"])
def test_gymnasiums_checker_passes(rivals: str) -> None:
    check_env(made(rivals=rivals), skip_render_check=True)


def test_gymnasiums_checker_passes_with_rendering() -> None:
    pytest.importorskip("matplotlib")
    env = gymnasium.make("tribid/SingleBidder-v0", scenario="tiny", rivals="pid", render_mode="rgb_array")
    check_env(env.unwrapped)


def test_gymnasium_wraps_and_steps_it_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("tribid/SingleBidder-v0", scenario="tiny")
        env.reset(seed=1)
        ended = False
        while not ended:
            *_, ended, _ = env.step(env.action_space.sample())
        env.close()


@pytest.mark.parametrize("name", ["pid", "dual_pacing", "truthful"])
@pytest.mark.parametrize("advertiser", [0, 3])
def test_a_day_is_the_bidders_row_of_the_multi_agent_day_with_the_same_rivals(name: str, advertiser: int) -> None:
    alone = made(rivals=name, advertiser=advertiser)
    together = feed_auction_v0.parallel_env(scenario="tiny")
    rivals = Lineup.of(make_bidder(name, BidderSpace.of("tiny")), 5)
    agent = f"adv_0{advertiser}"
    for day in range(2):
        seen, info = alone.reset(seed=6, options={"day": day})
        observations, infos = together.reset(seed=6, options={"day": day})
        states: dict[str, Any] = {}
        own = np.random.default_rng(day)
        total = 0.0
        while together.agents:
            assert np.array_equal(seen, observations[agent])
            assert info["left_micros"] == infos[agent]["left_micros"]
            crowd, states = rivals.act(np.stack(list(observations.values())), states)
            action = own.uniform(-1, 1, 1).astype(np.float32)
            crowd[advertiser] = action
            seen, reward, terminated, truncated, info = alone.step(action)
            observations, rewards, _, truncations, infos = together.step(dict(zip(together.agents, crowd, strict=True)))
            assert reward == rewards[agent]
            assert (terminated, truncated) == (False, truncations[agent])
            assert info["spend_micros"] == infos[agent]["spend_micros"]
            total += reward
        assert truncated
        assert np.array_equal(seen, observations[agent])
        assert total != 0


def test_a_day_is_determined_by_seed_and_actions_to_its_last_step() -> None:
    actions = np.linspace(-1, 1, 8)
    env = made()
    first = play(env, 5, actions)
    assert same(first, play(env, 5, actions))
    assert same(first, play(made(), 5, actions))
    assert not same(first, play(made(), 6, actions))
    assert not same(first, play(made(), 5, actions, day=1))
    assert not same(first, play(made(), 5, actions[::-1]))


def test_a_day_is_truncated_after_its_last_tick_and_never_terminates() -> None:
    transcript = play(made(), 0, np.zeros(8))
    assert [step[2:4] for step in transcript[1:]] == [(False, False)] * 7 + [(False, True)]
    env = made()
    play(env, 0, np.zeros(8))
    with pytest.raises(ValueError, match=r"the day has ended \(truncated\); call reset\(\) for another"):
        env.step(np.zeros(1, np.float32))


def test_a_reset_without_a_seed_opens_the_next_day() -> None:
    env = made()
    days = [env.reset(seed=4)[1]["day"], *(env.reset()[1]["day"] for _ in range(3))]
    assert days == [0, 1, 2, 3]
    assert env.reset(options={"day": 9})[1]["day"] == 9
    assert env.reset(seed=8)[1] == {
        "seed": 8, "day": 0, "tick": 0, "spend_micros": 0,
        "left_micros": int(env.market_state.advertisers.budget_micros[0]),
    }  # fmt: skip
    assert made().reset()[1]["seed"] != made().reset()[1]["seed"]


def test_a_refused_reset_does_not_spoil_the_environment() -> None:
    env = made()
    env.reset(seed=4)
    for arguments in ({"seed": -1}, {"seed": 4, "options": {"day": -1}}, {"options": {"day": "monday"}}):
        with pytest.raises(ValueError, match="allowed is a whole number"):
            env.reset(**arguments)
    info = env.reset()[1]
    assert (info["seed"], info["day"]) == (4, 1)


def test_an_advertiser_is_chosen_by_name_or_index() -> None:
    assert made(advertiser="adv_03").advertiser == made(advertiser=3).advertiser == 3
    for wrong in ("nobody", 5, -1, True):
        with pytest.raises(ValueError, match=r"advertiser is .*; allowed is an index from 0 to 4 or one of \('adv_00'"):
            made(advertiser=wrong)


def test_unknown_rivals_list_the_known() -> None:
    with pytest.raises(ValueError, match="no bidder named 'nobody'; choose off, random, truthful"):
        made(rivals="nobody")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.full(1, np.nan), r"action of adv_00 is nan; allowed is a number from -1 to 1"),
        (np.full(1, 2.0), r"action of adv_00 is 2\.0; allowed"),
        (np.zeros(2), r"action has shape \(2,\); allowed is \(1,\)"),
        (0.5, r"action has shape \(\); allowed is \(1,\)"),
        (np.array(["0"]), "actions are <U1"),
    ],
)
def test_malformed_actions_are_refused_by_value_and_range(action: Any, message: str) -> None:
    env = made()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.market_state.tick == 0


def test_segments_take_one_action_each() -> None:
    scenario = load_scenario("tiny").with_changes(rules__segments="state")
    env = made(scenario=scenario)
    assert env.action_space.shape == (2,)
    check_env(env, skip_render_check=True)


def test_a_replayed_log_is_an_environment_for_its_campaign(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(0, 2)},{rng.integers(1, 300)},{rng.uniform(0.01, 0.2):.4f}" for _ in range(200)]
    path = tmp_path / "log.csv"
    path.write_text("click,market_price_micros,pctr\n" + "\n".join(rows) + "\n")
    env = SingleBidder(replay_scenario(path, ticks=4))
    check_env(env, skip_render_check=True)
    transcript = play(env, 0, np.full(4, 0.5))
    budget = env.market_state.advertisers.budget_micros[0]
    spent = sum(step[4]["spend_micros"] for step in transcript[1:])
    assert 0 < spent <= budget


def test_text_shows_the_day_so_far() -> None:
    env = made(render_mode="ansi")
    with pytest.raises(ValueError, match="no day yet"):
        env.render()
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    assert "tick 1 of 8" in env.render()


def test_what_a_caller_writes_into_an_observation_changes_nothing_that_follows() -> None:
    class Imitator:
        """Rivals that bid by what stands in the first advertiser's observation."""

        def act(self, observations: np.ndarray, states: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
            return np.full((len(observations), 1), np.clip(observations[0].mean(), -1, 1), np.float32), {}

    env = made(rivals=Imitator())
    clean = play(env, 5, np.zeros(8))
    seen, _ = env.reset(seed=5)
    for later in clean[1:]:
        seen[:] = -1.0
        seen, reward, *_ = env.step(np.zeros(1, np.float32))
        assert np.array_equal(seen, later[0])
        assert reward == later[1]
