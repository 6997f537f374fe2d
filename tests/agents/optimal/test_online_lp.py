"""OnlineLP's lookup against the published table and the dual, and the bidders fitted on training days."""

from typing import Any

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.hindsight import dual_bound
from tribid.agents.optimal.curves import Curves, purchases
from tribid.agents.optimal.online_lp import CAP, OnlineLp, fit_online_lp
from tribid.agents.optimal.rlb_pacing import RlbPacing
from tribid.agents.registry import make_bidder
from tribid.agents.testing import check_bidder, play, random_observations
from tribid.envs.action import to_multiplier
from tribid.envs.reward import score
from tribid.envs.scenario import load_scenario

TICKS = 8
SPACE = BidderSpace(n_ticks=TICKS)
GRID = np.append(0.0, np.geomspace(8 / 256, 8, 400))
NEXT = GRID[2] / GRID[1]


def impressions(rng: np.random.Generator, ticks: int = TICKS, each: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Values and costs [ticks, each]; the day's cost is a few budgets of 1."""
    value, cost = rng.uniform(0.1, 1, size=(2, ticks, each))
    return value * 5 / value.sum(), cost * 3 / cost.sum()


def curves_of(value: np.ndarray, cost: np.ndarray, targeted: bool = False) -> Curves:
    """One day of impressions with one slot each, and even traffic."""
    totals = [purchases(v[:, None], c[:, None], np.ones(len(v)), GRID) for v, c in zip(value, cost, strict=True)]
    won, spent = (np.stack(part)[None] for part in zip(*totals, strict=True))
    left = 1.0 - np.arange(len(value)) / len(value)
    return Curves(multipliers=GRID, value=won, spend=spent, traffic_left=left, targeted=targeted)


def published(value: np.ndarray, cost: np.ndarray, budget: float, target: float = 1.0) -> float:
    """AuctionNet's rule in plain Python: cost per value in order, the first whose cumulative cost exceeds the budget."""
    alpha, total = target, 0.0
    for price, paid in sorted(zip((cost / value).tolist(), cost.tolist(), strict=True)):
        total += paid
        if total > budget:
            alpha = price
            break
    return min(CAP * target, alpha)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_slot_it_is_the_published_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    value, cost = impressions(rng)
    bidder = OnlineLp(curves_of(value, cost, targeted=True), space=SPACE, targets="cap")
    for tick in range(TICKS):
        rest = value[tick:].ravel(), cost[tick:].ravel()
        for budget in (0.02, 0.1, 0.3, 0.5, 0.9, 2.0, 5.0):
            wanted = published(*rest, budget)
            found = bidder.multiplier(1.0 - tick / TICKS, budget)
            assert wanted / NEXT**1.5 <= found <= wanted * NEXT**1.5


@pytest.mark.parametrize("seed", range(3))
def test_it_is_one_over_the_dual_price_of_the_budget_left(seed: int) -> None:
    value, cost = impressions(np.random.default_rng(seed))
    bidder = OnlineLp(curves_of(value, cost), space=SPACE)
    for tick in range(TICKS):
        for budget in (0.05, 0.2, 0.3):
            price = dual_bound(value[tick:].ravel(), cost[tick:].ravel(), budget).budget_price
            assert bidder.multiplier(1.0 - tick / TICKS, budget) * price == pytest.approx(1.0, abs=1.5 * (NEXT - 1))


def test_with_a_target_it_is_the_bid_of_both_dual_prices() -> None:
    value, cost = impressions(np.random.default_rng(4))
    value = 0.4 * value
    bidder = OnlineLp(curves_of(value, cost, targeted=True), space=SPACE, targets="price")
    assert (value.sum(), cost.sum()) == (pytest.approx(2), pytest.approx(3))
    for budget in (0.3, 1.0, 2.9):
        bound = dual_bound(value.ravel(), cost.ravel(), budget, target_cost_per_value=1.0)
        wanted = (1 + bound.target_price) / (bound.budget_price + bound.target_price)
        assert bidder.multiplier(1.0, budget) == pytest.approx(wanted, rel=2 * (NEXT - 1))


def test_a_budget_that_does_not_bind_leaves_the_target_or_the_highest_multiplier() -> None:
    value, cost = impressions(np.random.default_rng(5))
    capped, free = (OnlineLp(curves_of(value, cost, t), space=SPACE, targets="cap") for t in (True, False))
    assert capped.multiplier(1.0, 4.0) == 1.0
    assert free.multiplier(1.0, 4.0) == SPACE.max_multiplier
    dear = OnlineLp(curves_of(0.1 * value, cost, True), space=SPACE, targets="cap")
    assert dear.multiplier(1.0, 0.9) == CAP


def test_more_budget_or_less_traffic_is_never_bid_less_with() -> None:
    value, cost = impressions(np.random.default_rng(6))
    bidder = OnlineLp(curves_of(value, cost), space=SPACE)
    for traffic in np.linspace(0.05, 1, 12):
        bids = [bidder.multiplier(float(traffic), float(b)) for b in np.linspace(0, 1, 30)]
        assert bids == sorted(bids)
    for budget in np.linspace(0.05, 1, 12):
        bids = [bidder.multiplier(float(t), float(budget)) for t in np.linspace(0, 1, 30)]
        assert bids == sorted(bids, reverse=True)
    # Without money it bids what won nothing on past days.
    broke = bidder.multiplier(0.5, 0.0)
    assert np.interp(broke, GRID, bidder.spend_to_go[bidder.traffic.searchsorted(0.5)]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [OnlineLp, RlbPacing])
def test_both_lookups_keep_the_contract_of_a_bidder(kind: Any) -> None:
    value, cost = impressions(np.random.default_rng(7), each=20)
    for targeted in (False, True):
        curves = curves_of(value, cost, targeted)
        check_bidder(lambda space, curves=curves: kind(curves, space=space))  # type: ignore[misc]


@pytest.mark.parametrize("kind", [OnlineLp, RlbPacing])
def test_a_day_of_one_tick_is_looked_up_too(kind: Any) -> None:
    value, cost = impressions(np.random.default_rng(8), ticks=1)
    space = BidderSpace(n_ticks=1)
    actions, _ = kind(curves_of(value, cost), space=space).predict(random_observations(space, 4))
    assert (to_multiplier(actions, 8.0) > 0).all()


def test_fitted_bidders_beat_the_unit_bid_and_are_the_same_bits_again() -> None:
    tiny = load_scenario("tiny")
    space, who = BidderSpace.of(tiny), [0, 2, 4]
    rivals = Lineup({"pid": make_bidder("pid", space)}, ["pid"] * 5)
    fitted, again = (fit_online_lp(tiny, [0, 1, 2], advertisers=who, rivals=rivals) for _ in range(2))
    for one, other in zip(fitted, again, strict=True):
        assert isinstance(one, OnlineLp) and isinstance(other, OnlineLp)
        assert one.spend_to_go.tobytes() == other.spend_to_go.tobytes()
        assert one.most.tobytes() == other.most.tobytes()
    unit = [make_bidder("truthful", space)] * 3
    means = []
    for bidders in (fitted, unit):
        own = {f"own {i}": bidder for i, bidder in zip(who, bidders, strict=True)}
        lineup = Lineup({**rivals.bidders, **own}, [f"own {i}" if i in who else "pid" for i in range(5)])
        days = [play(tiny, seed, lineup)[0] for seed in range(50, 62)]
        means.append(np.mean([score(day.advertisers, day.total, 2.0)[who] for day in days]))
    assert means[0] > means[1]


def test_nonsense_is_refused() -> None:
    value, cost = impressions(np.random.default_rng(9), each=5)
    with pytest.raises(ValueError, match="choose cap, price"):
        OnlineLp(curves_of(value, cost), space=SPACE, targets="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rounds is 0"):
        fit_online_lp("tiny", [0], rounds=0)
    with pytest.raises(ValueError, match="at least one seed"):
        fit_online_lp("tiny", [])
