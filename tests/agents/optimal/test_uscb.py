"""USCB's theorem: bids from the programme's prices buy exactly what the programme buys, for every kind of constraint."""

from collections.abc import Sequence

import numpy as np
import pytest

from tribid.agents.optimal.lp_bound import LpBound
from tribid.agents.optimal.uscb import KINDS, Kpi, Weights, optimal_bids, solve, weights

ITEMS = 400
SEEDS = range(9)


class Impressions:
    """Random impressions: what each is worth, costs, and brings in clicks, conversions and revenue."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.ctr = rng.beta(2, 20, ITEMS)
        conversions = self.ctr * rng.beta(2, 10, ITEMS)
        self.cost = 0.3 * self.ctr * rng.lognormal(0, 0.6, ITEMS)
        self.value = conversions * rng.lognormal(0, 0.2, ITEMS)
        self.counted = {
            "cpm": np.full(ITEMS, 1e-3), "cpc": self.ctr, "cpa": conversions, "roi": 4.0 * conversions, "ctr": self.ctr,
            "cpi": conversions,
        }  # fmt: skip
        self.budget = 0.3 * float(self.cost.sum())

    def reached(self, kind: str, share: np.ndarray) -> float:
        """The KPI itself of what is bought."""
        spent, counted = float(self.cost @ share), float(self.counted[kind] @ share)
        if kind == "roi":
            return counted / spent
        return spent / counted if KINDS[kind].cost_related else counted / float(share.sum())

    def tightened(self, kind: str, bound: LpBound, by: float) -> Kpi:
        """A constraint that the purchases of ``bound`` miss by a share ``by``."""
        now = self.reached(kind, bound.share[:, 0])
        limit = now * (1 + by) if KINDS[kind].floor else now * (1 - by)
        return Kpi(kind=kind, limit=limit, per_impression=None if kind == "cpm" else self.counted[kind])


def binding(bound: LpBound) -> int:
    return int(bound.budget_price > 1e-9) + int((bound.prices > 1e-9).sum())


def check(items: Impressions, bound: LpBound, constraints: Sequence[Kpi], budget: float | None) -> None:
    share = bound.share[:, 0]
    wins = optimal_bids(items.value, bound.budget_price, bound.prices, constraints) > items.cost
    whole = (share < 1e-7) | (share > 1 - 1e-7)
    assert (wins[whole] == (share[whole] > 0.5)).all()
    assert (~whole).sum() <= binding(bound)
    for kpi in constraints:
        worse = items.reached(kpi.kind, share) / kpi.limit
        assert (1 / worse if KINDS[kpi.kind].floor else worse) <= 1 + 1e-6
    if budget is not None:
        assert items.cost @ share <= budget * (1 + 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_constraint_alone(kind: str, seed: int) -> None:
    items = Impressions(seed)
    all_of_it = solve(items.value, items.cost)
    constraints = [items.tightened(kind, all_of_it, 0.1)]
    bound = solve(items.value, items.cost, constraints=constraints)
    assert binding(bound) == 1
    assert 0 < bound.value < all_of_it.value
    check(items, bound, constraints, None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_constraint_and_the_budget_both_binding(kind: str, seed: int) -> None:
    items = Impressions(seed)
    first = solve(items.value, items.cost, budget=items.budget)
    constraints = [items.tightened(kind, first, 0.05)]
    bound = solve(items.value, items.cost, budget=items.budget, constraints=constraints)
    assert bound.prices[0] > 1e-9
    check(items, bound, constraints, items.budget)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "kinds", [("cpc", "ctr"), ("cpm", "cpi"), ("cpa", "ctr"), ("roi", "cpm", "ctr"), ("cpm", "cpc", "ctr", "cpi")]
)
def test_several_constraints_and_the_budget(kinds: tuple[str, ...], seed: int) -> None:
    items = Impressions(seed)
    constraints: list[Kpi] = []
    for kind in kinds:
        bound = solve(items.value, items.cost, budget=items.budget, constraints=constraints)
        constraints.append(items.tightened(kind, bound, 0.02))
    bound = solve(items.value, items.cost, budget=items.budget, constraints=constraints)
    check(items, bound, constraints, items.budget)


def test_several_constraints_do_bind_at_once() -> None:
    most = 0
    for seed in SEEDS:
        items = Impressions(seed)
        first = solve(items.value, items.cost, budget=items.budget)
        constraints = [items.tightened("ctr", first, 0.02), items.tightened("cpm", first, 0.02)]
        bound = solve(items.value, items.cost, budget=items.budget, constraints=constraints)
        most = max(most, binding(bound))
        check(items, bound, constraints, items.budget)
    assert most >= 2


def test_the_bid_does_not_look_at_the_cost_and_neither_does_a_slack_constraint_matter() -> None:
    items = Impressions(0)
    loose = Kpi(kind="cpc", limit=1e6, per_impression=items.ctr)
    alone = solve(items.value, items.cost, budget=items.budget)
    with_loose = solve(items.value, items.cost, budget=items.budget, constraints=[loose])
    assert with_loose.prices[0] == 0
    assert optimal_bids(items.value, alone.budget_price) == pytest.approx(
        optimal_bids(items.value, with_loose.budget_price, with_loose.prices, [loose]), rel=1e-9
    )


def test_weights_and_bids_of_budget_and_cpc_as_printed() -> None:
    # Budget and CPC: (v + beta k pctr) / (alpha + beta).
    pctr, value = np.array([0.1, 0.2]), np.array([1.0, 3.0])
    kpi = Kpi(kind="cpc", limit=0.5, per_impression=pctr)
    assert optimal_bids(value, 1.0, [3.0], [kpi]) == pytest.approx((value + 3.0 * 0.5 * pctr) / 4.0)
    assert weights(1.0, [3.0], [kpi]) == Weights(0.25, pytest.approx([0.75]))
    ctr = Kpi(kind="ctr", limit=0.2, per_impression=pctr)
    assert optimal_bids(value, 2.0, [3.0], [ctr]) == pytest.approx((value - 3.0 * (1.0 - pctr / 0.2)) / 2.0)


def test_the_known_answer_bids_half_the_value() -> None:
    bound = solve([10, 9, 8, 3, 2], [2, 3, 4, 1, 4], budget=9.0)
    assert bound.value == pytest.approx(28)
    assert optimal_bids([10, 9, 8, 3, 2], bound.budget_price) == pytest.approx([5, 4.5, 4, 1.5, 1])


def test_where_no_price_is_on_the_cost_bids_are_all_or_nothing() -> None:
    kpi = Kpi(kind="ctr", limit=0.5, per_impression=np.array([1.0, 0.0, 0.5]))
    bids = optimal_bids([1.0, 1.0, 0.0], 0.0, [2.0], [kpi])
    assert bids.tolist() == [np.inf, -np.inf, 0.0]
    assert optimal_bids([1.0, 0.0], 0.0).tolist() == [np.inf, 0.0]


def test_bad_constraints_are_refused() -> None:
    with pytest.raises(ValueError, match="choose cpm, cpc, cpa, roi, ctr, cpi"):
        Kpi(kind="roas", limit=1.0)
    with pytest.raises(ValueError, match="limit of cpm"):
        Kpi(kind="cpm", limit=0.0)
    with pytest.raises(ValueError, match="cpm alone takes none"):
        Kpi(kind="cpc", limit=1.0)
    with pytest.raises(ValueError, match="allowed are 2 finite numbers"):
        solve([1.0, 1.0], [1.0, 1.0], constraints=[Kpi(kind="cpc", limit=1.0, per_impression=np.ones(3))])
    with pytest.raises(ValueError, match="one number per impression"):
        solve([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="one for each of 0 constraints"):
        weights(1.0, [1.0])
