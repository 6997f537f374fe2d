"""Stage flows and scenes: counts by hand, rows that sum to one, and groups that are too small to show."""

import json

import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs.scenario import load_scenario
from tribid.envs.stages import ENGAGED, ORDERED, SEEN
from tribid.envs.world import build_world
from tribid.evaluation.day import play_day
from tribid.evaluation.flows import K_ANONYMOUS, added, flows_of, journey_results, play_days


@pytest.fixture(scope="module")
def scenario():
    return load_scenario("journey").with_changes(**SMALL)


@pytest.fixture(scope="module")
def two_days(scenario):
    return play_days(scenario, 4, 2)


def _memory(world, marks):
    from dataclasses import replace

    return replace(world.opening(world.day(0, 0)), marks=np.array(marks, np.uint8))


def test_flows_count_pairs_and_the_users_behind_them(scenario):
    world = build_world(scenario)
    before = _memory(world, [[0, SEEN], [0, ENGAGED], [0, 0]])
    after = _memory(world, [[SEEN, SEEN], [0, ENGAGED | ORDERED], [ENGAGED, 0]])
    flows = flows_of(before, after)
    assert flows.pairs[0].tolist() == [2, 1, 1, 0, 0]
    assert flows.users.tolist() == [3, 1, 1, 0, 0]
    assert flows.shares[0].tolist() == [0.5, 0.25, 0.25, 0, 0]
    assert flows.shares[2].tolist() == [0, 0, 0, 1, 0]
    assert flows.shares[4].tolist() == [0, 0, 0, 0, 1]  # nobody was loyal


def test_flows_of_days_add_up_sum_to_one_and_never_fall(two_days):
    days, whole, _ = two_days
    for flows in (*(day.flows for day in days), added([day.flows for day in days]), whole):
        assert flows.shares.sum(axis=1) == pytest.approx(np.ones(5))
        assert (np.tril(flows.pairs, -1) == 0).all()
        assert flows.pairs.sum() in (200 * 40, 2 * 200 * 40)


def test_scenes_hold_all_pages_and_revenue_of_a_day(scenario):
    world = build_world(scenario)
    lineup = Lineup.of(make_bidder("truthful", BidderSpace.of(scenario)), len(world.advertisers))
    record = play_day(scenario, lineup, 1_000_000)
    sums = record.journey.scenes.sums.sum(axis=0)
    assert sums[0] == record.page_views
    assert sums[2] == record.total.counts.clicks.sum()
    assert sums[3] == record.total.counts.conversions.sum()
    assert sums[4] == pytest.approx(record.total.counts.conversions @ record.advertisers.price_micros)
    assert sums[5] == record.revenue_micros
    assert (
        play_day(
            load_scenario("tiny"), Lineup.of(make_bidder("truthful", BidderSpace.of("tiny")), 5), 1_000_000
        ).journey
        is None
    )


def test_groups_of_fewer_than_fifty_users_are_not_shown(two_days):
    days, _, _ = two_days
    found = journey_results(days)
    small = 0
    for row in found["flows"]:
        users = max(int(day.flows.users[found["stages"].index(row["stage"])]) for day in days)
        assert (row["to"] is None) == (users < K_ANONYMOUS) == (row["users"] is None) == (row["pairs"] is None)
        small += row["to"] is None
        if row["to"] is not None:
            assert sum(row["to"]) == pytest.approx(1.0)
    assert small >= 1  # few are loyal
    for scene, users in zip(found["scenes"], np.max([day.scenes.users for day in days], axis=0), strict=True):
        assert (scene["users"] is None) == (users < K_ANONYMOUS)
        assert all((scene[key] is None) == (scene["users"] is None) for key in ("pages", "revenue"))
    json.dumps(found)


def test_days_on_end_need_a_journey_and_one_day():
    with pytest.raises(ValueError, match="allowed is a journey"):
        play_days(load_scenario("tiny"), 0, 1)
    with pytest.raises(ValueError, match="days is 0"):
        play_days(load_scenario("journey"), 0, 0)


@pytest.mark.slow
def test_a_report_shows_flows_and_scenes_and_hides_small_groups(scenario, tmp_path):
    from rich.console import Console

    from tribid.evaluation.run import judge, write_report

    results = judge(scenario, ["truthful", "pid"], eval_seeds=[1_000_000, 1_000_001])
    write_report(results, tmp_path, Console(quiet=True))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Consumers and scenes" in page
    assert 'id="plot-flows"' in page
    assert "under 50" in page
    assert "<image" not in page  # the page's policy loads none
    assert json.loads((tmp_path / "results.json").read_text())["contestants"]["pid"]["journey"]["days"] == 2
