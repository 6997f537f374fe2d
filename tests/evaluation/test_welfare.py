"""Welfare of a day: accounting identities, and numbers that one can check by hand."""

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs.scenario import MICROS, load_scenario
from tribid.evaluation.day import DayRecord, play_day
from tribid.evaluation.welfare import METRICS, advertiser_rows, welfare


def _day(bidder: str = "pid", seed: int = 0, **changes: object) -> DayRecord:
    scenario = load_scenario("tiny").with_changes(**changes)
    lineup = Lineup.of(make_bidder(bidder, BidderSpace.of(scenario)), 5)
    return play_day(scenario, lineup, seed, hindsight_for=range(5))


@pytest.fixture(scope="module")
def day() -> DayRecord:
    return _day()


def test_revenue_plus_surplus_is_value(day: DayRecord) -> None:
    # Reference test T22; Bachrach et al. (EC 2014) count welfare the same way.
    sides = welfare(day, [0, 1, 2, 3, 4])
    assert sides["platform"]["revenue"] + sides["advertiser"]["surplus"] == pytest.approx(
        sides["system"]["social_welfare"]
    )


def test_roi_is_gpm_over_rpm(day: DayRecord) -> None:
    # Identity of OCPC's tables (Zhu et al., KDD 2017), reference test T22.
    sides = welfare(day, [0, 1, 2, 3, 4])
    assert sides["advertiser"]["roi"] == pytest.approx(sides["platform"]["gpm"] / sides["platform"]["rpm"])
    assert sides["platform"]["take_rate"] == pytest.approx(1 / sides["advertiser"]["roi"])


@pytest.mark.parametrize("bidder", ["pid", "truthful", "fixed:0.5", "dual_pacing", "random"])
def test_liquid_welfare_is_at_most_the_budgets_and_the_value(bidder: str) -> None:
    day = _day(bidder)
    system = welfare(day, [0])["system"]
    assert system["liquid_welfare"] <= day.advertisers.budget_micros.sum() / MICROS
    assert system["liquid_welfare"] <= system["social_welfare"] + 1e-9


def test_every_payment_is_within_its_budget_and_the_ledger_adds_up(day: DayRecord) -> None:
    assert (day.total.spend_micros <= day.advertisers.budget_micros).all()
    assert sum(int(ledger.spend_micros.sum()) for ledger in day.ledgers) == day.revenue_micros


def test_a_market_without_bids_earns_nothing_and_its_rates_are_undefined() -> None:
    sides = welfare(_day("off"), [0, 1])
    assert sides["platform"]["revenue"] == 0 and sides["platform"]["fill"] == 0
    assert sides["advertiser"]["value"] == 0 and sides["advertiser"]["budget_use"] == 0
    assert np.isnan(sides["user"]["ctr"]) and np.isnan(sides["advertiser"]["roi"])
    assert sides["advertiser"]["exhausted_hour"] == 24


def test_the_metrics_listed_are_the_metrics_given(day: DayRecord) -> None:
    given = [(side, name) for side, numbers in welfare(day, [0]).items() for name in numbers]
    assert sorted(given) == sorted((metric.side, metric.name) for metric in METRICS)


def test_hindsight_bounds_the_value_when_outcomes_are_expected() -> None:
    # A sampled day may beat an expected bound by luck; in the expected-value mode nothing can.
    day = _day("pid", rules__outcomes="expected", rules__ocpc__strategy="off")
    value = day.advertisers.money_value(day.total.counts.clicks, day.total.counts.conversions)
    assert (value <= day.hindsight * (1 + 1e-9)).all()
    assert (day.hindsight > 0).all()


def test_an_advertiser_that_overbids_runs_out_before_one_that_paces() -> None:
    paced, rushed = _day("pid").exhausted_hour(), _day("fixed:8").exhausted_hour()
    assert rushed.mean() < paced.mean()


def test_advertiser_rows_sum_to_the_sides(day: DayRecord) -> None:
    rows = advertiser_rows(day)
    sides = welfare(day, [0, 1, 2, 3, 4])
    assert sum(row["spend"] for row in rows.values()) == pytest.approx(sides["platform"]["revenue"])
    assert sum(row["value"] for row in rows.values()) == pytest.approx(sides["advertiser"]["value"])


def test_a_leaving_user_costs_page_views() -> None:
    staying = _day(world__users__leave_base=0.0, world__users__leave_irrelevance=0.0)
    leaving = _day(world__users__leave_base=0.5)
    assert staying.lost_requests == 0 and staying.leaves == 0
    assert leaving.lost_requests > 0 and leaving.leaves > 0
    assert staying.page_views == leaving.page_views + leaving.lost_requests
