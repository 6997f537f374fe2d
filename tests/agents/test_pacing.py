import math

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.pacing import DualPacing, dual_update, value_multiplier
from tribid.agents.testing import play
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index
from tribid.envs.scenario import load_scenario

SPACE = BidderSpace(n_ticks=16)


def seen(**numbers: float) -> np.ndarray:
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    observation[0, field_index("budget_left")] = 1.0
    for name, number in numbers.items():
        observation[0, field_index(name)] = number
    return observation


def multiplier(actions: np.ndarray) -> float:
    return float(to_multiplier(actions, SPACE.max_multiplier)[0, 0])


def test_the_worked_example_of_adaptive_pacing() -> None:
    mu, left, mus, bids, spends = 0.0, 2.0, [0.0], [], []
    for rival in (3 / 4, 3 / 4, 1 / 4, 9 / 10):
        bid = min(1.0 / (1.0 + mu), left)
        spend = rival if bid >= rival else 0.0
        left -= spend
        mu = float(dual_update(mu, 0.5, 0.5, spend, 10.0))
        mus.append(mu)
        bids.append(bid)
        spends.append(spend)
    assert mus == [0, 1 / 8, 1 / 4, 1 / 8, 0]
    assert bids == [1, 1 / (1 + 1 / 8), 1 / 2, 1 / 4]
    assert spends == [3 / 4, 3 / 4, 1 / 4, 0]
    assert left == 1 / 4


def paced_day(rounds: int, seed: int) -> tuple[float, float, float]:
    """Utility, spend and mean mu of one bidder in second-price auctions with value and rival bid uniform in [0, 1]."""
    rng = np.random.default_rng([rounds, seed])
    value, rival = rng.uniform(size=(2, rounds))
    rho, eps = 0.1, rounds**-0.5
    left, mu, utility, trace = rho * rounds, 0.0, 0.0, 0.0
    for v, d in zip(value.tolist(), rival.tolist(), strict=True):
        spend = d if min(v / (1.0 + mu), left) >= d else 0.0
        utility += v - d if spend > 0 else 0.0
        left -= spend
        mu = min(max(mu - eps * (rho - spend), 0.0), 10.0)
        trace += mu
    return utility, rho * rounds - left, trace / rounds


def test_pacing_regret_grows_as_the_root_of_the_rounds_and_mu_settles_at_the_fluid_fixed_point() -> None:
    # E[spend] = 1 / (6 (1 + mu)^2) = rho at mu = sqrt(1 / (6 rho)) - 1; the fluid utility is min over mu of
    # mu rho + E[(v - (1 + mu) d)+], and E[(v - k d)+] = 1 / (6 k) for k >= 1.
    fixed_point = math.sqrt(1 / 0.6) - 1
    assert fixed_point == pytest.approx(0.2910, abs=5e-5)
    fluid = fixed_point * 0.1 + 1 / (6 * (1 + fixed_point))
    ratios = []
    for rounds, seeds in ((1000, 40), (4000, 16), (16_000, 6)):
        days = np.array([paced_day(rounds, seed) for seed in range(seeds)])
        ratios.append(float((fluid * rounds - days[:, 0]).mean() / math.sqrt(rounds)))
        assert (days[:, 1] <= 0.1 * rounds + 1e-9).all()
        assert days[:, 1].mean() > 0.99 * 0.1 * rounds
    assert days[:, 2].mean() == pytest.approx(fixed_point, abs=0.03)
    assert all(0 < ratio < 0.8 for ratio in ratios)


def test_the_loop_of_the_regret_test_is_the_published_update() -> None:
    rng = np.random.default_rng(0)
    for mu, eps, rho, spend in rng.uniform(size=(100, 4)):
        assert float(dual_update(mu, eps, rho, spend, 0.9)) == min(max(mu - eps * (rho - spend), 0.0), 0.9)


@pytest.mark.parametrize("utility", ["value", "surplus"])
def test_overspending_lowers_the_bid_and_underspending_raises_it(utility: str) -> None:
    pacing = DualPacing(space=SPACE, utility=utility)  # type: ignore[arg-type]
    start, state = pacing.predict(seen())
    over, _ = pacing.predict(seen(spend_pace=0.5), state)
    under, _ = pacing.predict(seen(spend_pace=-0.5), state)
    assert multiplier(start) == 1.0
    assert multiplier(over) < 1.0
    assert multiplier(under) >= 1.0


def test_a_value_maximiser_that_never_spends_reaches_the_cap() -> None:
    pacing, state = DualPacing(space=SPACE), None
    for _ in range(16):
        actions, state = pacing.predict(seen(spend_pace=-0.5), state)
    assert multiplier(actions) == pytest.approx(8.0)


def test_a_surplus_maximiser_never_bids_above_its_value() -> None:
    pacing, state = DualPacing(space=SPACE, utility="surplus"), None
    for _ in range(16):
        actions, state = pacing.predict(seen(spend_pace=-0.5), state)
        assert multiplier(actions) <= 1.0


def test_a_target_that_is_missed_lowers_the_bid() -> None:
    pacing = DualPacing(space=SPACE)
    target = {"objective_target_roas": 1.0}
    bids = {}
    for value in (0.0, 0.5):
        _, state = pacing.predict(seen(**target))
        for tick in range(1, 6):
            observation = seen(**target, budget_left=1 - tick / 16, value_last_tick=value, spend_pace=-0.3)
            actions, state = pacing.predict(observation, state)
        bids[value] = multiplier(actions)
    assert bids[0.0] < bids[0.5]


def test_the_bid_of_a_value_maximiser_is_the_published_ratio() -> None:
    assert value_multiplier(np.array([0.5, 3.0]), np.array([0.5, 1.0])).tolist() == [1.5, 0.5]


def test_dual_pacing_spends_the_day_rather_than_the_morning() -> None:
    feed = load_scenario("feed")
    state, ticks = play(feed, 20, Lineup.of(DualPacing(space=BidderSpace.of(feed)), 16))
    half = np.sum([tick.ledger.spend_micros for tick in ticks[: len(ticks) // 2]], axis=0)
    spent = half / state.advertisers.budget_micros
    assert np.median(spent) < 0.75


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="choose value, surplus"):
        DualPacing(space=SPACE, utility="welfare")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step is 0"):
        DualPacing(space=SPACE, step=0)
