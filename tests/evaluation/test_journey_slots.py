"""Slots of a journey's pages are counted, fitted and logged as their scenes have them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.envs.journey.conftest import SMALL
from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.control.ortb_fit import _lowest_slots
from tribid.agents.registry import make_bidder
from tribid.envs import market
from tribid.envs.impressions import LogPlan, write_log
from tribid.envs.scenario import load_scenario
from tribid.evaluation.day import play_day
from tribid.evaluation.welfare import welfare

JOURNEY = load_scenario("journey").with_changes(**SMALL)


def test_fill_counts_only_slots_that_the_pages_have() -> None:
    rich = JOURNEY.with_changes(generated__budget_share=50.0, rules__reserve=0.0, world__fatigue__cap=None)
    day = play_day(rich, Lineup.of(make_bidder("truthful", BidderSpace.of(rich)), 40), 3)
    state, offered, sold = market.reset(rich, 3), 0, 0
    while not state.done:
        state, tick = market.step(state, np.ones(40))
        for scene in tick.requests.scene[~tick.slots.skipped].tolist():
            offered += len(state.world.layouts[scene].slot_effects)
        sold += int((tick.slots.winner >= 0).sum())
    assert (day.slots, day.filled) == (offered, sold)
    assert day.slots < 3 * day.page_views
    assert welfare(day, [0])["platform"]["fill"] == pytest.approx(sold / offered)


def test_ortb_learns_from_the_lowest_slot_that_each_page_has() -> None:
    state, tick = market.step(market.reset(JOURNEY, 3), np.ones(40))
    seen = set()
    for who in range(40):
        candidate, column = tick.requests.place_of(who)
        came = candidate & ~tick.slots.skipped
        value, price, effect = _lowest_slots(state, tick, who)
        lowest = [state.world.layouts[scene].slot_effects[-1] for scene in tick.requests.scene[came]]
        assert effect.tolist() == lowest
        ctr, cvr = (rate[came, column[came]].astype(float) for rate in tick.predicted)
        worth = state.advertisers.click_worth[who] + state.advertisers.conversion_worth[who] * cvr
        assert value == pytest.approx(ctr * worth, rel=1e-9)
        assert (price >= tick.requests.reserve_micros[came] * ctr * (1 - 1e-9)).all()
        seen |= set(lowest)
    assert seen >= {0.5, 0.6}


def test_a_journeys_log_says_how_well_each_slot_was_seen(tmp_path: Path) -> None:
    write_log(LogPlan(scenario=JOURNEY, days=1, seed=3, explore=0.0, pictures=False), tmp_path)
    shown = pl.read_parquet(tmp_path / "impressions.parquet")
    state, effect = market.reset(JOURNEY, 3), {}
    while not state.done:
        state, tick = market.step(state, np.ones(40))
        for request, scene in zip(tick.requests.request.tolist(), tick.requests.scene.tolist(), strict=True):
            effect[request] = state.world.layouts[scene].slot_effects
    wanted = [effect[request][slot] for request, slot in zip(shown["request"], shown["slot"], strict=True)]
    assert shown["examined"].to_numpy() == pytest.approx(np.array(wanted, np.float32))
    assert set(np.round(wanted, 3)) == {1.0, 0.7, 0.5, 0.8, 0.6, 0.9}
