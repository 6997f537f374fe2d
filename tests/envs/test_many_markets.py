"""Many markets in one state: each of them is, bit for bit, the market that it would be alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tribid.envs import market
from tribid.envs.logs import ImpressionLog, write_log
from tribid.envs.market import Ledger, MarketState
from tribid.envs.observation import observe
from tribid.envs.platform import Forecaster, Rates, Requests
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import Reward, Scenario, load_scenario
from tribid.envs.settlement import Counts

AGENTS, TICKS = 5, 8
SEEDS, DAYS = [3, 4, 3, 2**40, 0], [0, 0, 1, 5, 7]
TINY = load_scenario("tiny")


class Outside:
    """The world's own forecaster in other clothes: the market plays from tables of its answers."""

    def __init__(self, own: Forecaster) -> None:
        self.own = own

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        return self.own.predict(seed, requests, truth)


def tiny(**changes: Any) -> Scenario:
    return TINY.with_changes(**changes)


VARIANTS = {
    "tiny": tiny(),
    "segments and expected values": tiny(rules__segments="cluster", rules__outcomes="expected"),
    "vcg of 70": tiny(rules__auction="vcg", generated__count=70, generated__budget_share=0.02),
    "budgets that run out": tiny(generated__budget_share=0.01, world__rates__ctr=0.3, rules__ocpc__strategy="off"),
    "visits that end": tiny(world__users__leave_base=0.3, world__traffic__session_length=9),
    "retrieval": tiny(world__retrieval={"candidates": 4, "cells": 3}, generated__count=12, rules__segments="state"),
    "auctionnet": load_scenario("auctionnet").with_changes(
        world__traffic__requests=1200, world__traffic__ticks=4, world__shared_effect=0.3
    ),
}


def assert_same_ledger(ours: Ledger, theirs: Ledger, m: int) -> None:
    assert np.array_equal(ours.spend_micros[m], theirs.spend_micros)
    for name, mine, other in zip(Counts._fields, ours.counts, theirs.counts, strict=True):
        assert np.array_equal(mine[m], other), name


def assert_each_as_alone(many: MarketState, alone: list[MarketState]) -> None:
    """Everything that a state says, market by market."""
    for m, one in enumerate(alone):
        assert many.tick == one.tick and many.done == one.done
        assert np.array_equal(many.left_micros[m], one.left_micros)
        assert np.array_equal(many.multipliers[m], one.multipliers)
        assert_same_ledger(many.total, one.total, m)
        assert len(many.recent) == len(one.recent)
        for ours, theirs in zip(many.recent, one.recent, strict=True):
            assert_same_ledger(ours, theirs, m)


def play_both(
    scenario: Scenario, seeds: list[int], days: list[int], threads: int = 1,
    watch: Callable[[MarketState, list[MarketState]], None] = assert_each_as_alone, outside: bool = False,
) -> MarketState:  # fmt: skip
    """A whole day of every market, in one state and alone; ``watch`` looks at both before each tick and at the end."""
    many = market.reset_many(scenario, seeds, days)
    forecaster = Outside(many.forecaster) if outside else None
    many = replace(many, forecaster=forecaster or many.forecaster)
    alone = [market.reset(scenario, s, d, forecaster=forecaster) for s, d in zip(seeds, days, strict=True)]
    rng = np.random.default_rng(0)
    while not many.done:
        watch(many, alone)
        chosen = rng.uniform(0.0, 2.0, many.multipliers.shape) * (rng.random(many.multipliers.shape) < 0.9)
        many = market.step_many(many, chosen, threads=threads)
        alone = [market.step(one, own)[0] for one, own in zip(alone, chosen, strict=True)]
    watch(many, alone)
    return many


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_market_is_the_one_that_it_is_alone_on_any_number_of_threads(variant: str, threads: int) -> None:
    ended = play_both(VARIANTS[variant], SEEDS, DAYS, threads)
    assert (ended.total.spend_micros.sum(axis=1) > 0).all()


@pytest.mark.parametrize("variant", ["tiny", "retrieval"])
def test_tables_of_a_forecaster_from_outside_are_each_markets_own(variant: str) -> None:
    play_both(VARIANTS[variant], SEEDS[:3], DAYS[:3], 2, outside=True)


def test_replayed_logs_play_side_by_side(tmp_path: Any) -> None:
    rng, rows = np.random.default_rng(0), 600
    clicks, prices = rng.integers(0, 2, rows), rng.integers(1, 100_000, rows)
    log = ImpressionLog(click=clicks, market_price_micros=prices, pctr=rng.random(rows), tick=np.arange(rows) // 100)
    write_log(log, tmp_path / "log.csv")
    scenario = Scenario.model_validate(
        {
            "name": "log", "world": {"kind": "replay", "log": str(tmp_path / "log.csv"), "ticks": 6},
            "rules": {"charge": "impression", "slot_effects": [1.0]},
            "advertisers": [{"name": "a", "budget": 2.0, "base_bid": 0.1, "objective": "max_clicks"}],
        }
    )  # fmt: skip
    assert play_both(scenario, [0, 1], [0, 0], 2).total.counts.wins.sum() > 0


@settings(max_examples=25)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), day=st.integers(0, 2**32 - 2),
    threads=st.integers(1, 5),
)  # fmt: skip
def test_any_seeds_days_and_threads_leave_each_market_its_own(seeds: list[int], day: int, threads: int) -> None:
    days = [day - min(day, m) for m in range(len(seeds))]
    play_both(tiny(world__traffic__ticks=3, world__traffic__requests=200), seeds, days, threads)


def test_markets_share_nothing_but_the_scenario() -> None:
    # One market's bids change no other market.
    start, ones = market.reset_many(TINY, [1, 2, 3], [0, 0, 0]), np.ones((3, AGENTS, 1))
    ones[1] = 0.0
    silent = market.step_many(start, ones)
    loud = market.step_many(start, np.ones((3, AGENTS, 1)))
    assert np.array_equal(silent.left_micros[[0, 2]], loud.left_micros[[0, 2]])
    assert (silent.left_micros[1] == start.left_micros[1]).all()
    assert (loud.left_micros[1] < start.left_micros[1]).any()


def test_a_step_leaves_the_state_before_it_as_it_was() -> None:
    start = market.reset_many(TINY, [1, 2], [0, 0])
    left = start.left_micros.copy()
    after = market.step_many(start, np.ones((2, AGENTS, 1)))
    assert np.array_equal(start.left_micros, left) and start.tick == 0 and start.recent == ()
    assert (start.total.counts.wins == 0).all() and (after.total.counts.wins > 0).any()


def test_one_number_for_each_advertiser_serves_all_its_segments() -> None:
    scenario = tiny(rules__segments="state")
    start, chosen = market.reset_many(scenario, [1, 2], [0, 0]), np.random.default_rng(0).uniform(0, 2, (2, AGENTS))
    brief, full = market.step_many(start, chosen), market.step_many(start, np.repeat(chosen[..., None], 2, axis=2))
    assert np.array_equal(brief.left_micros, full.left_micros)


# Observations and rewards


@pytest.mark.parametrize("feedback", ["none", "win_lose", "price", "min_to_win"])
@pytest.mark.parametrize("variant", ["tiny", "segments and expected values", "retrieval", "auctionnet"])
def test_what_is_observed_of_many_is_what_each_observes_alone(variant: str, feedback: str) -> None:
    shapes = set()

    def watch(many: MarketState, alone: list[MarketState]) -> None:
        seen = observe(many)
        shapes.add((seen.shape, seen.dtype))
        for m, one in enumerate(alone):
            assert np.array_equal(seen[m], observe(one))

    scenario = VARIANTS[variant].with_changes(rules__feedback=feedback)
    play_both(scenario, SEEDS[:3], DAYS[:3], watch=watch)
    ((shape, dtype),) = shapes
    assert shape[0] == 3 and dtype == np.float32


@pytest.mark.parametrize("part", sorted(set(REWARDS) - {"attributed"}))  # that one needs a journey
@pytest.mark.parametrize("variant", ["tiny", "segments and expected values", "vcg of 70", "auctionnet"])
def test_the_rewards_of_many_are_what_each_earns_alone(variant: str, part: str) -> None:
    reward = Reward(part=part, temperature=0.7, revenue_floor=0.9)  # type: ignore[arg-type]
    before: list[tuple[MarketState, list[MarketState]]] = []
    earned: list[NDArray[np.float64]] = []

    def watch(many: MarketState, alone: list[MarketState]) -> None:
        if before:
            was, were = before.pop()
            rewards = REWARDS[part](was, many, reward)
            earned.append(rewards)
            for m, one in enumerate(alone):
                assert np.array_equal(rewards[m], REWARDS[part](were[m], one, reward))
        before.append((many, alone))

    play_both(VARIANTS[variant], SEEDS[:3], DAYS[:3], watch=watch)
    assert np.std(earned, axis=1).max() > 0  # markets earn differently


# What is refused


def test_step_plays_no_state_of_many_days() -> None:
    with pytest.raises(ValueError, match="the state holds 2 days; step_many plays them"):
        market.step(market.reset_many(TINY, [0, 1], [0, 0]), np.ones(AGENTS))


@pytest.mark.parametrize(
    ("seeds", "days", "told"),
    [
        ([], [], r"seeds are \[\], days \[\]; allowed is one day for each of one or more seeds"),
        ([1, 2], [0], r"seeds are \[1, 2\], days \[0\]"),
        ([1], [0, 1], r"seeds are \[1\], days \[0, 1\]"),
        ([1, -1], [0, 0], "seed is -1; allowed is a whole number from 0 to"),
        ([1, True], [0, 0], "seed is True"),
        ([1, 2], [0, 2**32 - 1], f"day is {2**32 - 1}; allowed is a whole number from 0 to {2**32 - 2}"),
        ([1, 2.0], [0, 0], "seed is 2.0"),
    ],
)
def test_malformed_seeds_and_days_are_refused(seeds: list[Any], days: list[Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        market.reset_many(TINY, seeds, days)


@pytest.mark.parametrize(
    ("multipliers", "told"),
    [
        (np.ones((2, AGENTS, 2)), r"multipliers have shape \(2, 5, 2\); allowed is \(2, 5\) or \(2, 5, 1\)"),
        (np.ones((3, AGENTS, 1)), r"multipliers have shape \(3, 5, 1\)"),
        (np.ones(AGENTS), r"multipliers have shape \(5,\)"),
        (np.full((2, AGENTS, 1), np.nan), r"multiplier of adv_00 \(segment 0\) is nan"),
        (np.full((2, AGENTS, 1), 9.0), r"multiplier of adv_00 \(segment 0\) is 9.0; allowed is a finite number from 0"),
        (np.full((2, AGENTS, 1), -0.1), r"multiplier of adv_00"),
        (np.full((2, AGENTS, 1), "1"), "multipliers are of type <U1; allowed are real numbers"),
    ],
)
def test_malformed_multipliers_are_refused(multipliers: Any, told: str) -> None:
    state = market.reset_many(TINY, [0, 1], [0, 0])
    with pytest.raises(ValueError, match=told):
        market.step_many(state, multipliers)


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_are_refused(threads: int) -> None:
    state = market.reset_many(TINY, [0, 1], [0, 0])
    with pytest.raises(ValueError, match=f"threads is {threads}; allowed is 1 or more"):
        market.step_many(state, np.ones((2, AGENTS, 1)), threads=threads)


def test_a_day_that_has_ended_is_not_played_on() -> None:
    state, ones = market.reset_many(TINY, [0, 1], [0, 0]), np.ones((2, AGENTS, 1))
    for _ in range(TICKS):
        state = market.step_many(state, ones)
    with pytest.raises(ValueError, match="the day has ended after 8 ticks"):
        market.step_many(state, ones)
