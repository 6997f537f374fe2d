"""The PettingZoo environment: PettingZoo's own suites in both APIs, and what its card promises."""

import warnings
from typing import Any

import numpy as np
import pettingzoo
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test
from pettingzoo.test.state_test import state_test

import tribid
from tribid.envs import feed_auction_v0, market
from tribid.envs.action import to_multiplier
from tribid.envs.feed_auction_v0 import FeedAuction
from tribid.envs.observation import field_index, fields
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import load_scenario

NAMES = ["adv_00", "adv_01", "adv_02", "adv_03", "adv_04"]


def parallel(**arguments: Any) -> FeedAuction:
    return feed_auction_v0.parallel_env(**({"scenario": "tiny"} | arguments))


def zeros(env: FeedAuction, value: float = 0.0) -> dict[str, np.ndarray]:
    return {agent: np.full(env.action_space(agent).shape, value, np.float32) for agent in env.agents}


# PettingZoo's suites; a warning of theirs is an error here


def test_parallel_api_suite_passes() -> None:
    parallel_api_test(parallel(), num_cycles=50)


def test_aec_api_suite_passes() -> None:
    api_test(feed_auction_v0.env(scenario="tiny"), num_cycles=200)


def test_aec_api_suite_passes_for_raw_env() -> None:
    api_test(feed_auction_v0.raw_env(scenario="tiny"), num_cycles=50)


def test_seed_suites_pass() -> None:
    parallel_seed_test(parallel, num_cycles=50)
    seed_test(lambda: feed_auction_v0.env(scenario="tiny"), num_cycles=50)


def test_state_suite_passes() -> None:
    state_test(feed_auction_v0.env(scenario="tiny"), parallel(), num_cycles=20)


def test_render_suite_passes() -> None:
    pytest.importorskip("matplotlib")

    def make(render_mode: str) -> Any:
        # The suite opens the mode "human" once without looking at metadata["render_modes"].
        return feed_auction_v0.env(scenario="tiny", render_mode=None if render_mode == "human" else render_mode)

    render_test(make)


@pytest.mark.parametrize("segments", ["state", "cluster"])
def test_both_api_suites_pass_with_an_action_per_segment(segments: str) -> None:
    scenario = load_scenario("tiny").with_changes(rules__segments=segments)
    parallel_api_test(parallel(scenario=scenario), num_cycles=20)
    api_test(feed_auction_v0.env(scenario=scenario), num_cycles=50)


def test_registered_ids_make_both_apis() -> None:
    assert tribid.__version__
    made = pettingzoo.make("parallel", "tribid/feed_auction-v0", scenario="tiny")
    assert isinstance(made.unwrapped, FeedAuction)
    turn_based = pettingzoo.make("aec", "tribid/feed_auction-v0", scenario="tiny")
    turn_based.reset(seed=0)
    made.reset(seed=0)
    assert turn_based.agents == made.agents == NAMES


def test_agents_that_act_in_turn_play_the_same_day_as_agents_that_act_at_once() -> None:
    at_once, in_turn = parallel(), feed_auction_v0.env(scenario="tiny")
    observations, _ = at_once.reset(seed=3)
    in_turn.reset(seed=3)
    rng = np.random.default_rng(0)
    total = dict.fromkeys(NAMES, 0.0)
    while at_once.agents:
        actions = {agent: rng.uniform(-1, 1, 1).astype(np.float32) for agent in NAMES}
        for agent in NAMES:
            assert in_turn.agent_selection == agent
            seen, _, terminated, truncated, _ = in_turn.last()
            assert np.array_equal(seen, observations[agent])
            assert not terminated
            assert not truncated
            in_turn.step(actions[agent])
        observations, rewards, _, _, _ = at_once.step(actions)
        for agent in NAMES:
            assert in_turn.rewards[agent] == rewards[agent]
            total[agent] += rewards[agent]
    assert all(in_turn.truncations.values())
    assert any(total.values())


# The card


def test_observations_have_the_documented_fields() -> None:
    assert len(fields()) == 36
    for segments, count in (("none", 1), ("state", 2), ("cluster", 3)):
        env = parallel(scenario=load_scenario("tiny").with_changes(rules__segments=segments))
        observations, _ = env.reset(seed=0)
        assert observations["adv_00"].shape == env.observation_space("adv_00").shape == (len(fields(count)),)
        assert env.action_space("adv_00").shape == (count,)
        assert len(fields(count)) == 35 + count
    described = fields(3)
    assert len({field.name for field in described}) == len(described)
    assert all(field.meaning and field.low < field.high for field in described)


def test_observation_fields_say_what_their_names_say() -> None:
    env = parallel()
    observations, _ = env.reset(seed=0)
    opening = observations["adv_03"]
    for name, value in (("time_left", 1), ("budget_left", 1), ("objective_target_cpa", 1), ("objective_max_gmv", 0)):
        assert opening[field_index(name)] == value
    env.step(zeros(env, 0.5))
    observations, _, _, _, infos = env.step(zeros(env, 0.5))
    for i, agent in enumerate(NAMES):
        seen, state = observations[agent], env.market_state
        budget = state.advertisers.budget_micros[i]
        assert seen[field_index("time_left")] == np.float32(6 / 8)
        assert seen[field_index("budget_left")] == np.float32(infos[agent]["left_micros"] / budget)
        assert seen[field_index("last_action_0")] == np.float32(0.5)
        assert seen[field_index("clicks_last_tick")] == np.float32(np.log10(1 + infos[agent]["clicks"]) / 5)
        ledger = state.recent[0].counts
        assert seen[field_index("win_rate_last_tick")] == np.float32(ledger.wins[i] / ledger.served[i])
        assert seen[field_index("clicks_day")] == np.float32(np.log10(1 + state.total.counts.clicks[i]) / 5)


@pytest.mark.parametrize(
    ("feedback", "hidden"),
    [
        ("none", ("win_rate", "price", "gap")),
        ("win_lose", ("price", "gap")),
        ("price", ("gap",)),
        ("min_to_win", ()),
    ],
)
def test_feedback_hides_what_the_scenario_does_not_tell(feedback: str, hidden: tuple[str, ...]) -> None:
    env = parallel(scenario=load_scenario("tiny").with_changes(rules__feedback=feedback))
    env.reset(seed=0)
    observations = env.step(zeros(env))[0]
    for name in ("win_rate", "price", "gap"):
        for window in ("last_tick", "last_three", "day"):
            told = [float(seen[field_index(f"{name}_{window}")]) for seen in observations.values()]
            assert any(told) == (name not in hidden)


def test_no_bidder_sees_anothers_current_action() -> None:
    one, other = parallel(), parallel()
    for env in (one, other):
        env.reset(seed=0)
    actions = zeros(one)
    before = one.step(actions)[0]
    quiet = {agent: np.full(1, -1, np.float32) if agent == "adv_01" else action for agent, action in actions.items()}
    after = other.step(quiet)[0]
    place = field_index("last_action_0")
    for agent in NAMES:
        assert before[agent][place] == 0
        assert after[agent][place] == (-1 if agent == "adv_01" else 0)


def test_an_advertiser_that_has_run_out_stays_with_a_flag_and_wins_nothing() -> None:
    env = parallel()
    env.reset(seed=0)
    out: set[str] = set()
    while env.agents:
        observations, rewards, _, _, infos = env.step(zeros(env, 1.0))
        assert set(observations) == set(rewards) == set(infos) == set(NAMES)
        for agent in out:
            assert infos[agent]["wins"] == infos[agent]["spend_micros"] == 0
            assert infos[agent]["exhausted"] is True
        out |= {agent for agent in NAMES if infos[agent]["exhausted"]}
        assert all((infos[agent]["left_micros"] < 50_000) == infos[agent]["exhausted"] for agent in NAMES)
    assert out


def test_infos_are_the_ledger_of_the_tick() -> None:
    env = parallel()
    _, infos = env.reset(seed=0)
    budget = market.reset(load_scenario("tiny"), 0).advertisers.budget_micros
    assert [infos[agent]["left_micros"] for agent in NAMES] == budget.tolist()
    spent = dict.fromkeys(NAMES, 0)
    while env.agents:
        infos = env.step(zeros(env))[4]
        ledger = env.market_state.recent[0]
        for i, agent in enumerate(NAMES):
            spent[agent] += infos[agent]["spend_micros"]
            assert infos[agent]["spend_micros"] == ledger.spend_micros[i]
            assert infos[agent]["clicks"] == ledger.counts.clicks[i]
            assert infos[agent]["left_micros"] == budget[i] - spent[agent]


def test_a_reset_without_a_seed_opens_the_next_day() -> None:
    env = parallel()
    days = [env.reset(seed=4)[1]["adv_00"]["day"], *(env.reset()[1]["adv_00"]["day"] for _ in range(3))]
    assert days == [0, 1, 2, 3]
    assert env.reset(options={"day": 9})[1]["adv_00"]["day"] == 9
    assert env.reset()[1]["adv_00"]["day"] == 10
    assert env.reset(seed=4)[1]["adv_00"]["day"] == 0
    assert env.reset(seed=4, options={"day": 2})[1]["adv_00"] == {
        "seed": 4, "day": 2, "tick": 0, "exhausted": False,
        "left_micros": int(env.market_state.advertisers.budget_micros[0]),
    }  # fmt: skip


def test_environments_that_were_never_seeded_play_different_days() -> None:
    seeds = {parallel().reset()[1]["adv_00"]["seed"] for _ in range(5)}
    assert len(seeds) == 5


def test_a_refused_reset_does_not_spoil_the_environment() -> None:
    env = parallel()
    first = env.reset(seed=4)[0]
    for arguments in ({"seed": -1}, {"seed": 4, "options": {"day": -1}}, {"options": {"day": "monday"}}):
        with pytest.raises(ValueError, match="allowed is a whole number"):
            env.reset(**arguments)
    assert env.reset()[1]["adv_00"]["seed"] == 4
    assert np.array_equal(env.reset(seed=4)[0]["adv_00"], first["adv_00"])


def test_the_day_ends_with_a_truncation_of_everybody_after_the_last_tick() -> None:
    env = parallel()
    env.reset(seed=0)
    for tick in range(8):
        _, _, terminations, truncations, infos = env.step(zeros(env))
        assert set(terminations.values()) == {False}
        assert set(truncations.values()) == {tick == 7}
        assert infos["adv_00"]["tick"] == tick + 1
    assert env.agents == []
    with pytest.raises(ValueError, match=r"the day has ended .* call reset\(\) for another"):
        env.step({})


def test_rewards_are_the_scenarios_part_of_the_market_step() -> None:
    for part in sorted(set(REWARDS) - {"attributed"}):  # that one needs a journey
        scenario = load_scenario("tiny").with_changes(reward__part=part)
        env = parallel(scenario=scenario)
        env.reset(seed=2)
        before = env.market_state
        rewards = env.step(zeros(env, 0.3))[1]
        after, _ = market.step(before, np.full(5, to_multiplier(np.float32(0.3), 8.0)))
        wanted = REWARDS[part](before, after, scenario.reward)
        assert [rewards[agent] for agent in NAMES] == wanted.tolist()
        assert all(type(reward) is float for reward in rewards.values())


def test_credit_is_a_reward_only_where_there_are_touches_to_credit() -> None:
    with pytest.raises(ValueError, match=r"reward\.part is 'attributed'; a feed world has no touches"):
        load_scenario("tiny").with_changes(reward__part="attributed")


def test_state_holds_every_observation_every_spend_and_the_revenue() -> None:
    env = parallel()
    env.reset(seed=0)
    observations = env.step(zeros(env))[0]
    state = env.state()
    assert state.shape == (5 * 36 + 5 + 1,)
    assert np.array_equal(state[: 5 * 36], np.concatenate([observations[agent] for agent in NAMES]))
    spend, budget = env.market_state.total.spend_micros, env.market_state.advertisers.budget_micros
    assert np.array_equal(state[-6:-1], (spend / budget).astype(np.float32))
    assert state[-1] == np.float32(spend.sum() / budget.sum())


def test_text_and_picture_show_the_day_so_far() -> None:
    pytest.importorskip("matplotlib")
    env, painted = parallel(render_mode="ansi"), parallel(render_mode="rgb_array")
    pictures = []
    for shown in (env, painted):
        shown.reset(seed=0)
    for _ in range(2):
        text, picture = env.render(), painted.render()
        assert isinstance(text, str)
        assert all(name in text for name in NAMES)
        assert isinstance(picture, np.ndarray)
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        pictures.append(picture)
        for shown in (env, painted):
            shown.step(zeros(shown))
    assert "tick 2 of 8" in str(env.render())
    assert not np.array_equal(*pictures)
    assert parallel().render() is None


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adv_01": np.full(1, np.nan, np.float32)}, r"action of adv_01 is nan; allowed is a number from -1 to 1"),
        ({"adv_02": np.full(1, 1.01)}, r"action of adv_02 is 1\.01; allowed"),
        ({"adv_02": np.full(1, -np.inf)}, r"action of adv_02 is -inf; allowed"),
        ({"adv_03": np.zeros(2)}, r"action of adv_03 has shape \(2,\); allowed is \(1,\)"),
        ({"adv_03": 0.0}, r"action of adv_03 has shape \(\); allowed is \(1,\)"),
        ({"adv_04": np.array(["1"])}, r"actions are <U\d+ of shape"),
        ({"nobody": np.zeros(1)}, r"name unknown \['nobody'\]"),
    ],
)
def test_malformed_actions_are_refused_by_name_value_and_range(change: dict[str, Any], message: str) -> None:
    env = parallel()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(zeros(env) | change)
    assert env.market_state.tick == 0


def test_a_step_without_everybodys_action_names_who_is_missing() -> None:
    env = parallel()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions lack \['adv_00'\]"):
        env.step({agent: action for agent, action in zeros(env).items() if agent != "adv_00"})


def test_an_environment_that_was_not_reset_says_so() -> None:
    env = parallel()
    for call in (lambda: env.step({}), env.state, lambda: parallel(render_mode="ansi").render()):
        with pytest.raises(ValueError, match=r"the environment has no day yet; call reset\(\) first"):
            call()


def test_an_unknown_render_mode_lists_the_known() -> None:
    with pytest.raises(ValueError, match="render_mode is 'human'; allowed are 'ansi', 'rgb_array' and None"):
        parallel(render_mode="human")


def test_nothing_warns_in_a_day() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = parallel()
        env.reset(seed=0)
        while env.agents:
            env.step(zeros(env, -1.0))
