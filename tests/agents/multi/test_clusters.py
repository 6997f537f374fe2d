"""Clusters of merchants and consumers, and the budgets of the paper."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.agents.multi.budgets import paper_budgets
from tribid.agents.multi.clusters import cluster_roster, consumer_shares, cut, merchant_clusters, unit_bid_days
from tribid.agents.plan import TrainingPlan
from tribid.envs.market import reset, reset_many, step, step_many
from tribid.envs.scenario import load_scenario
from tribid.envs.world import build_world

TINY = load_scenario("tiny")
CLUSTERED = TINY.with_changes(rules__segments="cluster", world__users__clusters=3)


def test_the_cuts_of_a_worked_example() -> None:
    # 89 merchants that are in one auction each, then 2 in 45 and 1 in 90: thirds of 269 end as near as whole merchants can.
    weights = [1] * 89 + [45, 45] + [90]
    assert cut(weights, 3) == [89, 91]


@given(weights=st.lists(st.integers(0, 50), min_size=1, max_size=30), parts=st.integers(1, 30))
def test_parts_are_never_empty_and_each_edge_is_the_nearest_that_it_can_be(weights: list[int], parts: int) -> None:
    if parts > len(weights):
        with pytest.raises(ValueError, match="parts are"):
            cut(weights, parts)
        return
    edges = cut(weights, parts)
    bounds = [0, *edges, len(weights)]
    assert len(edges) == parts - 1
    assert all(low < high for low, high in pairwise(bounds))
    for part, edge in enumerate(edges, start=1):
        wanted = sum(weights) * part / parts
        allowed = range(bounds[part - 1] + 1, len(weights) - (parts - part) + 1)
        assert abs(sum(weights[:edge]) - wanted) == min(abs(sum(weights[:e]) - wanted) for e in allowed)


def test_merchants_are_sorted_by_revenue_and_every_one_is_in_one_cluster() -> None:
    clusters = merchant_clusters(TINY, [0, 1], count=2)
    value = unit_bid_days(TINY, [0, 1]).value
    order = [who for cluster in clusters for who in cluster]
    assert sorted(order) == list(range(5))
    assert order == sorted(order, key=lambda who: value[who])


def test_clusters_are_present_in_about_the_same_number_of_auctions() -> None:
    # With retrieval some ads are candidates of many requests and some of few.
    scenario = load_scenario("feed").with_changes(
        world__traffic__requests=2000, world__traffic__ticks=2, generated__count=60, world__users__count=500,
        world__retrieval={"candidates": 10, "cells": 16}, generated__budget_share=10.0,
    )  # fmt: skip
    auctions = unit_bid_days(scenario, [0]).auctions
    clusters = merchant_clusters(scenario, [0], count=3)
    present = [auctions[list(cluster)].sum() / auctions.sum() for cluster in clusters]
    assert max(abs(share - 1 / 3) for share in present) < auctions.max() / auctions.sum()
    assert len({len(cluster) for cluster in clusters}) > 1


def test_unit_bid_days_are_means_over_the_days_that_the_market_plays() -> None:
    spent = []
    for seed in (3, 4):
        state = reset(TINY.with_changes(rules__outcomes="expected"), seed)
        while not state.done:
            state, _ = step(state, np.ones(5))
        spent.append(state.total.spend_micros)
    np.testing.assert_array_equal(unit_bid_days(TINY, [3, 4]).cost, np.mean(spent, axis=0))


def test_a_roster_names_a_policy_per_cluster_and_drives_exactly_the_learners() -> None:
    plan = TrainingPlan(scenario=TINY, learners=(4, 0, 2), mapping="independent")
    roster = cluster_roster(plan, ((2,), (0, 4)))
    assert roster.names == ("cluster_1", "cluster_2")
    assert roster.mapping == {"adv_04": "cluster_2", "adv_00": "cluster_2", "adv_02": "cluster_1"}
    assert roster.rows == {"cluster_1": [2], "cluster_2": [0, 4]}
    with pytest.raises(ValueError, match="in exactly one"):
        cluster_roster(plan, ((2,), (0, 1)))


def test_consumer_shares_are_those_of_the_requests_that_arrive() -> None:
    state = reset_many(CLUSTERED, [5, 6], [0, 1])
    while not state.done:
        shares = consumer_shares(state)
        for own, day in zip(shares, state.days, strict=True):
            segment = state.world.arrivals(day, state.tick).requests.segment
            np.testing.assert_allclose(own, np.bincount(segment, minlength=3) / len(segment))
        state = step_many(state, np.ones_like(state.multipliers))
    assert (consumer_shares(state) == 0).all()
    assert consumer_shares(reset(TINY, 0)).tolist() == [[1.0]]


def test_consumer_clusters_hold_equal_parts_of_the_users() -> None:
    world = build_world(CLUSTERED)
    assert np.bincount(world.cluster).tolist() == [17, 17, 16]


def test_a_budget_is_a_third_of_the_cost_without_budgets() -> None:
    scenario = paper_budgets(TINY, [0, 1])
    rich = TINY.with_changes(generated__budget_share=1e5)
    cost = unit_bid_days(rich, [0, 1]).cost / 1e6
    budgets = [advertiser.budget for advertiser in scenario.advertisers]
    np.testing.assert_allclose(budgets, cost / 3, atol=0.0051)
    assert min(budgets) > 0.01


def test_nothing_but_the_budgets_changes() -> None:
    before, after = (build_world(s) for s in (TINY, paper_budgets(TINY, [0])))
    mine, theirs = vars(before.advertisers), vars(after.advertisers)
    for name in mine.keys() - {"budget_micros"}:
        assert np.array_equal(mine[name], theirs[name]), name
    for one, other in zip(before.sample_rates()[0], after.sample_rates()[0], strict=True):
        assert one.tobytes() == other.tobytes()
    assert (before.advertisers.budget_micros != after.advertisers.budget_micros).all()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds are empty"):
        merchant_clusters(TINY, [])
    with pytest.raises(ValueError, match="count is 0"):
        merchant_clusters(TINY, [0], count=0)
    with pytest.raises(ValueError, match="share is -1"):
        paper_budgets(TINY, [0], share=-1.0)
