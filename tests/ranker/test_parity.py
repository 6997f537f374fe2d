"""A simulated day sent through the live ranker: the same pages, prices, multipliers and budgets, to the bit."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.envs.test_shop import SMALL
from tests.ranker.test_ranker_shop import PARTS
from tribid.agents.bidder import BidderSpace
from tribid.agents.policy_file import save_lineup
from tribid.agents.testing import random_policy
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.observation import observe
from tribid.envs.platform import Forecaster, Platform, Rates
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.shop import Shop
from tribid.envs.visit_events import EVENTS
from tribid.envs.world import build_world
from tribid.ranker import LiveRanker, Outcome, Request, VisitEvent
from tribid.ranker.lineups import loaded_lineup

SEED = 5


def requests_of(state: market.MarketState, tick: market.Tick) -> list[tuple[int, Request]]:
    """The tick's requests that came, as a platform would send them afterwards, each with its row."""
    world, came, slots = state.world, tick.requests, tick.slots
    if isinstance(world, Shop):
        visits = world.visits(state.day, tick.number)
        buying, told = visits.buying, visits.events
    else:
        buying, told = world.visits(state.day, tick.number, int(came.session.max(initial=0)) + 1)[1], None
    sent = []
    for row in np.flatnonzero(~slots.skipped).tolist():
        visit = came.session[row]
        shown = slots.winner[row] >= 0
        happened = (tuple((part[row][shown] > 0).tolist()) for part in (slots.exposed, slots.clicked, slots.converted))
        events = () if told is None else tuple(
            VisitEvent(EVENTS[told.kind[visit, e]], int(told.category[visit, e]), float(told.seconds[visit, e]))
            for e in range(told.length[visit])
        )  # fmt: skip
        request = Request(
            request=int(came.request[row]), user=int(came.user[row]), tick=tick.number, day=state.day.day, events=events,
            state="buying" if buying[visit] else "browsing", segment=int(came.segment[row]), outcome=Outcome(*happened),
            buying=None if came.buying is None else float(came.buying[row]),
        )  # fmt: skip
        sent.append((row, request))
    return sent


async def check_days(
    scenario: Scenario,
    source: str | Path,
    *,
    days: int = 1,
    batch: int = 97,
    forecaster: Forecaster | None = None,
    platform: Platform | None = None,
) -> int:
    """Play days in the market and send their requests through a live ranker; how many were compared, all alike."""
    ranker = await LiveRanker.open(scenario, {"it": source}, seed=SEED, forecaster=forecaster, platform=platform)
    names = ranker.names
    compared = 0
    for day in range(days):
        state = market.reset(scenario, SEED, day, forecaster=forecaster, platform=platform)
        lineup, carried = loaded_lineup(scenario, source, "truthful", names).lineup, {}
        while not state.done:
            actions, carried = lineup.act(observe(state), carried)
            multipliers = to_multiplier(actions, scenario.rules.max_multiplier)
            state_before = state
            state, tick = market.step(state, multipliers)
            sent = requests_of(state_before, tick)
            for start in range(0, len(sent), batch):
                part = sent[start : start + batch]
                pages = await ranker.rank_many([request for _, request in part])
                release = ranker._releases.all["it"]
                assert release.multipliers is not None
                assert release.multipliers.tobytes() == multipliers.tobytes(), (day, tick.number)
                for (row, _), page in zip(part, pages, strict=True):
                    shown = tick.slots.winner[row] >= 0
                    assert [slot.ad for slot in page.slots] == tick.slots.winner[row][shown].tolist()
                    assert [slot.price_micros for slot in page.slots] == tick.slots.price_micros[row][shown].tolist()
                    assert [slot.score for slot in page.slots] == tick.slots.score[row][shown].tolist()
                    assert page.fallbacks == ()
                compared += len(part)
            if sent:
                money = ranker.state().advertisers.values()
                assert [one.free_micros for one in money] == state.left_micros.tolist()
                assert [one.spent_micros for one in money] == (
                    state.advertisers.budget_micros - state.left_micros
                ).tolist()
    await ranker.close()
    return compared


def policy_folder(scenario: Scenario, folder: Path) -> Path:
    """A folder of policy files for everybody."""
    policy = random_policy(BidderSpace.of(scenario), seed=3)
    save_lineup({"p": policy}, dict.fromkeys(build_world(scenario).advertisers.names, "p"), folder, scenario=scenario)
    return folder


TINY = load_scenario("tiny").with_changes(world__traffic__requests=3600)
CHANGES: dict[str, dict[str, Any]] = {
    "gsp": {},
    "states": {"rules__segments": "state", "world__users__state_accuracy": 0.8},
    "vcg": {"rules__auction": "vcg", "rules__ocpc__strategy": "off"},
    "dynamic": {"rules__ocpc__index": "dynamic", "world__prediction__knows_state": False},
    "impressions": {"rules__charge": "impression", "rules__ocpc__strategy": "off"},
    "shelves": {"generated__count": 24, "world__retrieval": {"candidates": 7, "cells": 5}},
}


def test_a_simulated_day_is_answered_alike_by_policy_files(tmp_path: Path) -> None:
    assert asyncio.run(check_days(TINY, policy_folder(TINY, tmp_path))) >= 3000


def test_two_simulated_days_are_answered_alike_by_pid() -> None:
    assert asyncio.run(check_days(TINY, "pid", days=2)) >= 6000


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_any_rules_are_answered_alike(changes: dict[str, Any], tmp_path: Path) -> None:
    scenario = TINY.with_changes(world__traffic__requests=500, **changes)
    assert asyncio.run(check_days(scenario, policy_folder(scenario, tmp_path))) > 300


def test_a_shop_with_learnt_parts_is_answered_alike() -> None:
    scenario = load_scenario("shop").with_changes(**SMALL, rules__ocpc__index="dynamic")
    assert asyncio.run(check_days(scenario, "pid", platform=PARTS)) > 500


def test_another_forecaster_is_answered_alike() -> None:
    class Cautious:
        def predict(self, seed: int, requests: Any, truth: Rates) -> Rates:
            return Rates(truth.ctr * np.float32(0.5), truth.cvr * np.float32(0.25))

    for changes in ({}, CHANGES["shelves"]):
        scenario = TINY.with_changes(world__traffic__requests=500, **changes)
        assert asyncio.run(check_days(scenario, "pid", forecaster=Cautious())) > 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["files", "pid"])
def test_a_hundred_thousand_rows_of_a_feed_are_answered_alike(kind: str, tmp_path: Path) -> None:
    scenario = load_scenario("feed").with_changes(world__traffic__requests=130_000)
    source = "pid" if kind == "pid" else policy_folder(scenario, tmp_path)
    assert asyncio.run(check_days(scenario, source, batch=1000)) >= 100_000
