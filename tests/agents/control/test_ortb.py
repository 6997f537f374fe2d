import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.control.ortb import Ortb, ortb_bid
from tribid.agents.control.ortb_fit import fit_ortb, fit_winning_curve, lambda_for_budget
from tribid.agents.control.rehearsal import mean_score
from tribid.agents.rules import FixedMultiplier
from tribid.envs.action import to_multiplier
from tribid.envs.observation import field_index
from tribid.envs.scenario import Scenario, load_scenario

SPACE = BidderSpace(n_ticks=8)


def winning_prices(c: float, count: int, seed: int = 0) -> np.ndarray:
    """Prices with ``P(z <= b) = b / (c + b)``, by its inverse."""
    u = np.random.default_rng(seed).uniform(size=count)
    return c * u / (1.0 - u)


def test_the_worked_example() -> None:
    assert float(ortb_bid(0.001, 50.0, 5e-6)) == pytest.approx(61.80339887498949, rel=1e-12)  # 50 (sqrt 5 - 1)


def test_the_bid_is_the_published_root() -> None:
    rng = np.random.default_rng(0)
    for c, lam in rng.uniform(0.1, 10.0, size=(50, 2)):
        theta = rng.uniform(0.0, 20.0, size=8)
        assert ortb_bid(theta, c, lam) == pytest.approx(np.sqrt(c * theta / lam + c * c) - c, rel=1e-9)


def test_no_digits_are_lost_where_c_is_large() -> None:
    assert float(ortb_bid(1.0, 1e18, 0.5)) == pytest.approx(
        1.0
    )  # theta / (2 lambda) in the limit; the printed form gives 0


@pytest.mark.parametrize(("theta", "c", "lam"), [(1.0, 1.0, 1.0), (0.2, 3.0, 0.05), (5.0, 0.4, 2.0)])
def test_no_other_bid_is_worth_more_at_its_price(theta: float, c: float, lam: float) -> None:
    def loss(bid: float) -> float:
        return -(theta - lam * bid) * bid / (c + bid)

    best = optimize.minimize_scalar(loss, bounds=(0.0, theta / lam), method="bounded", options={"xatol": 1e-10})
    assert float(ortb_bid(theta, c, lam)) == pytest.approx(best.x, abs=1e-5)


def test_bids_grow_with_the_value_but_more_slowly_and_fall_with_lambda() -> None:
    theta = np.linspace(0.0, 5.0, 50)
    bid = ortb_bid(theta, 0.7, 0.3)
    assert bid[0] == 0.0
    assert (np.diff(bid) > 0).all()
    assert (np.diff(bid, 2) < 0).all()
    assert (ortb_bid(theta[1:], 0.7, 0.4) < bid[1:]).all()


@pytest.mark.parametrize("c", [0.02, 1.0, 47.0])
def test_the_fit_finds_the_curve_that_the_prices_were_drawn_from(c: float) -> None:
    # The information of one price about log c is 1/3, so 40,000 of them give a standard error of 0.9 %.
    assert fit_winning_curve(winning_prices(c, 40_000)) == pytest.approx(c, rel=0.03)


def test_the_fit_is_where_the_likelihood_is_largest() -> None:
    prices = winning_prices(2.0, 300, seed=3)

    def likelihood(c: float) -> float:
        return float((np.log(c) - 2.0 * np.log(c + prices)).sum())

    c = fit_winning_curve(prices)
    assert all(likelihood(c) > likelihood(c * factor) for factor in (0.5, 0.99, 1.01, 2.0))


@pytest.mark.parametrize("prices", [[], [1.0, -1.0], [0.0, 0.0, 1.0], [math.nan], [[1.0]], [math.inf]])
def test_prices_without_a_curve_are_refused(prices: list[Any]) -> None:
    with pytest.raises(ValueError, match="prices"):
        fit_winning_curve(prices)


@pytest.mark.parametrize("budget", [3.0, 300.0, 30_000.0])
def test_lambda_spends_the_budget_in_first_price_auctions(budget: float) -> None:
    theta = np.random.default_rng(1).exponential(size=50_000)
    lam = lambda_for_budget(theta, 1.5, budget)
    bid = ortb_bid(theta, 1.5, lam)
    assert float((bid * bid / (1.5 + bid)).sum()) == pytest.approx(budget, rel=1e-9)
    if budget >= 300.0:
        won = bid > winning_prices(1.5, len(theta), seed=9)
        assert float(bid[won].sum()) == pytest.approx(budget, rel=0.05)


def test_a_larger_budget_lowers_lambda_and_a_budget_is_needed() -> None:
    theta = np.linspace(0.1, 2.0, 100)
    assert lambda_for_budget(theta, 1.0, 20.0) < lambda_for_budget(theta, 1.0, 10.0)
    with pytest.raises(ValueError, match="budget is 0"):
        lambda_for_budget(theta, 1.0, 0.0)
    with pytest.raises(ValueError, match="theta must be"):
        lambda_for_budget(np.zeros(3), 1.0, 1.0)


def seen(pctr: float, pcvr: float, objective: str) -> np.ndarray:
    observation = np.zeros((1, SPACE.observation_size), np.float32)
    for name, rate in (("pctr", pctr), ("pcvr", pcvr)):
        observation[0, field_index(name)] = math.log10(rate) / 4 + 0.5
    observation[0, field_index(f"objective_{objective}")] = 1.0
    return observation


@pytest.mark.parametrize(
    ("objective", "by_value", "theta", "unit"),
    [
        ("max_clicks", None, 2.0, 2.0),
        ("max_conversions", None, 6.0, 2.0),
        ("max_conversions", True, 6.0, 6.0),
        ("target_cpa", None, 6.0, 6.0),
        ("target_roas", False, 6.0, 2.0),
    ],
)
def test_the_multiplier_is_the_bid_at_the_mean_value_over_the_unit_bid(
    objective: str, by_value: bool | None, theta: float, unit: float
) -> None:
    bidder = Ortb(space=SPACE, c=0.8, lam=0.25, by_value=by_value)
    start, state = bidder.predict(seen(0.02, 0.05, objective))
    later, _ = bidder.predict(seen(0.04, 0.15, objective), state)  # clicks twice, conversions thrice as likely
    assert to_multiplier(start, 8.0)[0, 0] == pytest.approx(float(ortb_bid(1.0, 0.8, 0.25)), rel=1e-5)
    assert to_multiplier(later, 8.0)[0, 0] == pytest.approx(float(ortb_bid(theta, 0.8, 0.25)) / unit, rel=1e-4)


def test_not_fitted_it_bids_the_unit_value_at_the_usual_rates() -> None:
    actions, _ = Ortb(space=SPACE).predict(seen(0.02, 0.05, "max_gmv"))
    assert to_multiplier(actions, 8.0)[0, 0] == pytest.approx(1.0, rel=1e-6)


def small(**changes: Any) -> Scenario:
    return load_scenario("tiny").with_changes(world__traffic__requests=200, **changes)


def rivals(scenario: Scenario) -> Lineup:
    return Lineup.of(FixedMultiplier(1.0, space=BidderSpace.of(scenario)), 5)


def test_a_fit_keeps_the_planned_spend_that_scored_best() -> None:
    scenario, factors = small(), (0.25, 1.0, 4.0)
    who, seeds = [1, 3], [0, 1]
    fitted = fit_ortb(scenario, seeds, advertisers=who, rivals=rivals(scenario), factors=factors)
    each = [fit_ortb(scenario, seeds, advertisers=who, rivals=rivals(scenario), factors=[f]) for f in factors]
    for place, index in enumerate(who):
        scores = [mean_score(scenario, seeds, index, options[place], rivals(scenario)) for options in each]
        best, kept = each[int(np.argmax(scores))][place], fitted[place]
        assert isinstance(best, Ortb)
        assert isinstance(kept, Ortb)
        assert (kept.c, kept.lam, kept.by_value) == (best.c, best.lam, best.by_value)
        assert len(set(scores)) > 1
    assert fitted[1].by_value is True  # type: ignore[attr-defined]


def test_a_fitted_bidder_bids_more_where_its_budget_is_larger() -> None:
    bids = []
    for share in (0.02, 0.2):
        scenario = small(generated__budget_share=share)
        fitted = fit_ortb(scenario, [0], advertisers=[0], rivals=rivals(scenario), factors=[1.0])[0]
        assert isinstance(fitted, Ortb)
        bids.append(float(ortb_bid(1.0, fitted.c, fitted.lam)))
    assert bids[0] < 0.7 * bids[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1_000_000]}, "training seeds"),
        ({"seeds": []}, "training seeds"),
        ({"advertisers": [5]}, "indices from 0 to 4"),
        ({"factors": [0.0]}, "factors"),
        ({"rivals": Lineup.of(FixedMultiplier(space=SPACE), 3)}, "drive 3 advertisers"),
    ],
)
def test_a_fit_checks_its_arguments(changes: dict[str, Any], message: str) -> None:
    scenario = small()
    given: dict[str, Any] = {"seeds": [0], "advertisers": [0], "rivals": rivals(scenario), **changes}
    with pytest.raises(ValueError, match=message):
        fit_ortb(scenario, given.pop("seeds"), **given)


@pytest.mark.parametrize("changes", [{"c": 0.0}, {"lam": -1.0}, {"c": math.nan}, {"lam": math.inf}])
def test_arguments_are_checked(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Ortb(space=SPACE, **changes)  # type: ignore[arg-type]
