import math

import numpy as np
import pytest
from scipy import optimize

from tribid.agents.bidder import BidderSpace
from tribid.agents.control.mpid import MultivariablePid, multivariable_bid
from tribid.agents.pid import Gains
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index

SPACE = BidderSpace(n_ticks=10, max_multiplier=100.0)


def seen(**numbers: float) -> np.ndarray:
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    # An even day: a tenth of the traffic now, what is left after it by the time left.
    given = {"budget_left": 1.0, "traffic_now": 0.25, "traffic_after": 0.9, **numbers}
    for name, number in given.items():
        observation[0, field_index(name)] = number
    return observation


def multiplier(actions: np.ndarray) -> float:
    return float(to_multiplier(actions, SPACE.max_multiplier)[0, 0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("budget_share", "target_share", "binding"),
    [(0.3, 0.55, [True, True]), (0.3, 2.0, [True, False]), (0.9, 0.6, [False, True])],
)
def test_the_bid_at_the_dual_prices_buys_what_the_linear_programme_buys(
    seed: int, budget_share: float, target_share: float, binding: list[bool]
) -> None:
    # The paper's LP: max sum of CTR CVR x, cost within the budget and within C times the clicks; at most two fractions.
    rng = np.random.default_rng(seed)
    ctr, cvr, cost = rng.uniform(0.01, 0.1, 400), rng.uniform(0.02, 0.3, 400), rng.uniform(0.05, 1.0, 400)
    budget, target = budget_share * cost.sum(), target_share * cost.sum() / ctr.sum()
    rows = np.stack([cost, cost - target * ctr])
    solved = optimize.linprog(-ctr * cvr, A_ub=rows, b_ub=[budget, 0.0], bounds=(0, 1), method="highs")
    p, q = -solved.ineqlin.marginals
    assert [p > 1e-9, q > 1e-9] == binding
    bid = multivariable_bid(ctr, cvr, p, q, target)
    whole = (solved.x < 1e-9) | (solved.x > 1 - 1e-9)
    assert (~whole).sum() <= 2
    assert ((bid > cost) == (solved.x > 0.5))[whole].all()


def test_a_day_starts_at_the_unit_bid_with_or_without_a_target() -> None:
    for target in (0.0, 1.0):
        actions, _ = MultivariablePid(space=SPACE).predict(seen(objective_target_cpa=target))
        assert multiplier(actions) == 1.0


def test_without_a_target_the_bid_is_the_value_over_the_budgets_price() -> None:
    bidder = MultivariablePid(space=SPACE, budget_gains=Gains(0.5, 2.0, 0.1))
    _, state = bidder.predict(seen())
    actions, state = bidder.predict(seen(budget_left=0.8, traffic_after=0.8), state)  # a tenth was meant, a fifth spent
    error = 1.0 - 0.2 / 0.1
    u = 0.5 * error + 2.0 * error / 10 + 0.1 * error * 10
    assert multiplier(actions) == pytest.approx(math.exp(u), rel=1e-4)
    assert state.meant[0] == pytest.approx(0.8 * 0.1 / 0.9, rel=1e-5)


def test_with_a_target_the_bid_is_one_plus_q_over_p_plus_q() -> None:
    bidder = MultivariablePid(
        space=SPACE, budget_gains=Gains(0.5, 0.0, 0.0), target_gains=Gains(2.0, 0.0, 0.0), alpha=0.75, beta=0.9
    )
    start = {"objective_target_cpa": 1.0}
    _, state = bidder.predict(seen(**start))
    actions, _ = bidder.predict(seen(**start, budget_left=0.95, traffic_after=0.8, cpa_slack=-0.4), state)
    u_budget, u_target = 0.5 * 0.5, 2.0 * -0.4
    p = math.exp(-(0.75 * u_budget + 0.25 * u_target))
    q = math.exp(-(0.1 * u_budget + 0.9 * u_target))
    assert multiplier(actions) == pytest.approx((1 + q) / (p + q), rel=1e-4)


def test_a_missed_target_draws_the_bid_towards_the_target_whatever_the_budget_says() -> None:
    bidder = MultivariablePid(space=SPACE, alpha=1.0, beta=1.0)
    bids = {}
    for slack in (-0.8, 0.0, 0.8):
        _, state = bidder.predict(seen(objective_target_roas=1.0))
        for tick in range(1, 6):  # nothing is spent: the budget's price falls, which alone would raise the bid
            after = 0.9 - tick / 10
            actions, state = bidder.predict(
                seen(objective_target_roas=1.0, roas_slack=slack, traffic_after=after), state
            )
        bids[slack] = multiplier(actions)
    assert 1.0 <= bids[-0.8] < bids[0.0] < bids[0.8]


def test_prices_stay_within_their_bounds() -> None:
    bidder = MultivariablePid(space=SPACE, budget_gains=Gains(0.0, 100.0, 0.0))
    state = None
    for _ in range(50):
        _, state = bidder.predict(seen(), state)
    assert state is not None
    assert state.budget[0] == pytest.approx(math.log(1e3))


@pytest.mark.parametrize(
    "changes", [{"alpha": -0.1}, {"beta": 1.1}, {"budget_gains": Gains(-1, 0, 0)}, {"alpha": math.nan}]
)
def test_arguments_are_checked(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        MultivariablePid(space=SPACE, **changes)  # type: ignore[arg-type]


def test_a_bid_needs_a_price() -> None:
    with pytest.raises(ValueError, match="not both 0"):
        multivariable_bid(0.1, 0.1, 0.0, 0.0, 1.0)
