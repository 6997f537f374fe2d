"""Stage flows and scenes: counts by hand, rows that sum to one, and groups that are too small to show."""

import json

import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs import market
from tribid.envs.scenario import load_scenario
from tribid.envs.stages import ENGAGED, ORDERED, SEEN
from tribid.envs.world import build_world
from tribid.evaluation.day import play_day
from tribid.evaluation.flows import (
    Flows,
    JourneyDay,
    JourneyWatch,
    SceneSums,
    added,
    flows_of,
    journey_results,
    play_days,
)
from tribid.evaluation.lift import LEAST_USERS


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


def test_the_users_of_a_scene_are_those_who_came_saw_clicked_and_ordered(scenario):
    state = market.reset(scenario, 4)
    watch, seen = JourneyWatch(state), {}
    while not state.done:
        state, tick = market.step(state, np.ones(len(state.advertisers)))
        watch.count(tick)
        slots = tick.slots
        for row, (scene, user) in enumerate(zip(tick.requests.scene, tick.requests.user, strict=True)):
            did = (
                not slots.skipped[row],
                slots.exposed[row].any(),
                slots.clicked[row].any(),
                slots.converted[row].any(),
            )
            for k in np.flatnonzero(did):
                seen.setdefault((int(scene), int(k)), set()).add(int(user))
    found = watch.day(state).scenes.users
    assert found.tolist() == [[len(seen.get((s, k), ())) for k in range(4)] for s in range(len(found))]
    assert (np.diff(found[0]) < 0).all()


def day_of(pairs, movers, users=None, scenes=()):
    """A day of these counts; ``scenes`` are the users of each who came, were shown an ad, clicked and ordered."""
    who = np.array(scenes or [(200, 200, 200, 200)])
    sums = np.tile([1000.0, 800.0, 90.0, 9.0, 5e8, 7e7], (len(who), 1))
    names = tuple(f"scene {k}" for k in range(len(who)))
    movers = np.array(movers)
    flows = Flows(pairs=np.array(pairs), users=movers.max(axis=1) if users is None else np.array(users), movers=movers)
    return JourneyDay(flows=flows, scenes=SceneSums(names=names, sums=sums, users=who))


def cells(*rows):
    """Five rows of cells, those left out like the last."""
    return [*rows, *[rows[-1]] * (5 - len(rows))]


def test_no_cell_of_fewer_than_fifty_users_is_told_or_can_be_had_by_taking_the_others_away():
    one = [400, 60, 1, 0, 0]  # one user alone became interested
    told = journey_results([day_of(cells([900, 70, 1, 0, 0]), cells(one))])["flows"][0]
    assert told["users"] == 400 and told["pairs"] == 971
    assert told["to"] == [pytest.approx(900 / 971), None, None, 0.0, 0.0]
    both = journey_results([day_of(cells([900, 20, 1, 80, 0]), cells([400, 19, 1, 70, 0]))])["flows"][0]
    assert both["to"] == [pytest.approx(900 / 1001), None, None, None, 0.0]  # the two might be one user's
    full = journey_results([day_of(cells([900, 70, 50, 0, 0]), cells([400, 60, 50, 0, 0]))])["flows"][0]
    assert full["to"] == pytest.approx([900 / 1020, 70 / 1020, 50 / 1020, 0.0, 0.0])


def test_users_behind_a_cell_are_counted_and_not_its_pairs(scenario):
    world = build_world(scenario)
    before = _memory(world, [[0, 0, 0], [0, 0, 0]])
    after = _memory(world, [[SEEN, SEEN, 0], [0, SEEN, ENGAGED]])
    assert flows_of(before, after).movers[0].tolist() == [2, 2, 1, 0, 0]
    days = [flows_of(before, after), flows_of(before, before)]
    assert added(days).movers[0].tolist() == [2, 2, 1, 0, 0] and added(days).pairs[0].tolist() == [8, 3, 1, 0, 0]


def test_rows_of_few_users_take_the_next_smallest_with_them_and_empty_ones_take_nobody():
    flat = cells([500, 0, 0, 0, 0])
    for users, hidden in (
        ([200, 190, 120, 80, 9], [3, 4]),
        ([200, 190, 120, 80, 0], [4]),
        ([200, 40, 30, 20, 9], range(5)),
    ):
        rows = journey_results([day_of(flat, flat, users)])["flows"]
        assert [k for k, row in enumerate(rows) if row["to"] is None] == list(hidden)
        assert all(row["users"] is None and row["pairs"] is None for row in rows if row["to"] is None)


def test_scenes_of_few_users_and_rates_that_rest_on_few_of_them_are_hidden():
    who = [
        (200, 190, 90, 60), (180, 170, 80, 49), (150, 140, 49, 30), (120, 49, 10, 1), (110, 100, 80, 60),
        (49, 40, 30, 20),
    ]  # fmt: skip
    rows = journey_results([day_of(cells([500, 0, 0, 0, 0]), cells([200, 0, 0, 0, 0]), scenes=who)])["scenes"]
    assert [row["users"] for row in rows] == [200, 180, 150, 120, None, None]
    for name, told in (("ctr", 3), ("cvr", 2), ("revenue", 2), ("revenue_per_page", 2), ("gmv_per_page", 1)):
        assert [row[name] is not None for row in rows] == [k < told for k in range(6)], name
    assert rows[0]["ctr"] == pytest.approx(90 / 800) and rows[0]["cvr"] == pytest.approx(0.1)


def test_results_of_played_days_hide_what_the_rule_says(two_days):
    days, _, _ = two_days
    found, flows = journey_results(days), added([day.flows for day in days])
    assert (flows.movers <= flows.users[:, None]).all() and (flows.movers <= flows.pairs).all()
    small = (flows.movers > 0) & (flows.movers < LEAST_USERS)
    assert small.any()
    for row, own in zip(found["flows"], small, strict=True):
        assert row["to"] is None or all(share is None for share, few in zip(row["to"], own, strict=True) if few)
    for day in days:
        assert (np.diff(day.scenes.users, axis=1) <= 0).all() and day.scenes.users[0, 3] > 0
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
    assert "too few users" in page
    assert "<image" not in page  # the page's policy loads none
    assert json.loads((tmp_path / "results.json").read_text())["contestants"]["pid"]["journey"]["days"] == 2
