import numpy as np
import pytest

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.pid import Gains, Pid
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play
from tribid.envs.action import to_multiplier
from tribid.envs.market import MarketState, reset
from tribid.envs.observation import field_index
from tribid.envs.reward import score
from tribid.envs.scenario import Scenario, load_scenario

SPACE = BidderSpace(n_ticks=10)


def seen(**numbers: float) -> np.ndarray:
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    for name, number in numbers.items():
        observation[0, field_index(name)] = number
    return observation


def multiplier(bidder: Bidder, observation: np.ndarray) -> float:
    return float(to_multiplier(bidder.predict(observation)[0], SPACE.max_multiplier)[0, 0])


def scores(state: MarketState) -> np.ndarray:
    return score(state.advertisers, state.total, state.scenario.reward.penalty_exponent)


def distance_from_plan(bidder: str, scenario: Scenario, seeds: range) -> float:
    """Mean over ticks and advertisers of how far the share spent is from the share of traffic expected so far."""
    space, apart = BidderSpace.of(scenario), []
    made: Bidder = Pid(space=space) if bidder == "pid" else FixedMultiplier(1.0, space=space)
    for seed in seeds:
        state, ticks = play(scenario, seed, Lineup.of(made, len(reset(scenario, 0).advertisers)))
        spent = np.cumsum([tick.ledger.spend_micros for tick in ticks], axis=0) / state.advertisers.budget_micros
        apart.append(np.abs(spent - np.cumsum(state.day.expected_share)[:, None]).mean())
    return float(np.mean(apart))


@pytest.mark.parametrize(("scenario", "seeds", "most"), [("tiny", range(20), 1.0), ("feed", range(20, 24), 0.5)])
def test_pid_keeps_the_spend_nearer_to_the_plan_than_a_fixed_bid(scenario: str, seeds: range, most: float) -> None:
    loaded = load_scenario(scenario)
    assert distance_from_plan("pid", loaded, seeds) < most * distance_from_plan("fixed", loaded, seeds)


def test_pid_beats_the_unit_bid_against_rivals_at_the_unit_bid() -> None:
    feed = load_scenario("feed")
    space = BidderSpace.of(feed)
    unit, pid = FixedMultiplier(1.0, space=space), Pid(space=space)
    mapping = ["own", "rival"] * 8
    gains = []
    for seed in range(20, 26):
        with_pid, _ = play(feed, seed, Lineup({"own": pid, "rival": unit}, mapping))
        without, _ = play(feed, seed, Lineup({"own": unit, "rival": unit}, mapping))
        gains.append(scores(with_pid)[::2].mean() - scores(without)[::2].mean())
    assert np.mean(gains) > 0


def test_on_plan_it_bids_the_unit_value() -> None:
    on_plan = seen(budget_left=0.5, traffic_after=0.4, traffic_now=0.1 * 10 / 4)
    assert multiplier(Pid(space=SPACE), on_plan) == pytest.approx(1.0, rel=1e-6)


def test_money_to_spare_raises_the_bid_and_overspending_lowers_it() -> None:
    pid = Pid(space=SPACE)
    assert multiplier(pid, seen(budget_left=0.8, traffic_after=0.5)) > 1
    assert multiplier(pid, seen(budget_left=0.3, traffic_after=0.5)) < 1


def test_the_proportional_term_is_the_published_exponential() -> None:
    pid = Pid(space=SPACE, budget_gains=Gains(2.0, 0.0, 0.0))
    assert multiplier(pid, seen(budget_left=0.6, traffic_after=0.5)) == pytest.approx((0.6 / 0.5) ** 2, rel=1e-5)


def test_the_integral_grows_while_the_error_lasts_and_stays_bounded() -> None:
    pid = Pid(space=SPACE, budget_gains=Gains(0.0, 1.0, 0.0))
    state, observation = None, seen(budget_left=0.9, traffic_after=0.5)
    error = np.log(0.9 / 0.5)
    for tick in range(5):
        actions, state = pid.predict(observation, state)
        wanted = np.exp((tick + 1) * error / SPACE.n_ticks)
        assert to_multiplier(actions, 8.0)[0, 0] == pytest.approx(wanted, rel=1e-5)
    for _ in range(500):
        _, state = pid.predict(observation, state)
    assert state is not None
    assert state.budget[0] == 5.0


def test_a_missed_target_lowers_the_bid_however_much_budget_is_left() -> None:
    rich = {"budget_left": 0.9, "traffic_after": 0.3}
    pid = Pid(space=SPACE)
    missed = multiplier(pid, seen(**rich, objective_target_cpa=1, cpa_slack=-0.5))
    met = multiplier(pid, seen(**rich, objective_target_cpa=1, cpa_slack=0.5))
    assert missed < 1 < met
    assert met <= multiplier(pid, seen(**rich))


@pytest.mark.parametrize("gains", [Gains(-1, 0, 0), Gains(np.nan, 0, 0), Gains(0, np.inf, 0)])
def test_gains_are_finite_and_not_negative(gains: Gains) -> None:
    with pytest.raises(ValueError, match="budget_gains"):
        Pid(space=SPACE, budget_gains=gains)
    with pytest.raises(ValueError, match="target_gains"):
        Pid(space=SPACE, target_gains=gains)
