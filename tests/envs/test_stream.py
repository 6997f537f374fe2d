"""Days in parts: the same day whatever a part is, and a log whose rows are what was shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("pyarrow")

import pyarrow
import pyarrow.parquet

from tribid.envs import market
from tribid.envs.market import MarketState, Tick
from tribid.envs.observation import observe
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.settlement import Counts
from tribid.envs.stream import COLUMNS, stream_day

AGENTS, TICKS = 5, 8
SUMS = ("gap", "pctr", "pcvr")
"""Sums of fractions: parts add them up in another order."""


def tiny(**changes: Any) -> Scenario:
    return load_scenario("tiny").with_changes(**changes)


VARIANTS = {
    "tiny": tiny(),
    "visits that end": tiny(
        world__users__leave_base=0.3, world__traffic__session_length=20, world__traffic__requests=3000,
    ),
    "budgets that run out": tiny(generated__budget_share=0.01, world__rates__ctr=0.3, world__traffic__requests=2000),
    "a tick without requests": tiny(world__traffic__ticks=3, world__traffic__curve=(1, 0, 3)),
    "expected values of segments": tiny(rules__outcomes="expected", rules__segments="cluster"),
    "retrieval": tiny(world__retrieval={"candidates": 4, "cells": 3}, generated__count=12, rules__segments="state"),
    "more slots than advertisers": tiny(generated__count=1, rules__ocpc__strategy="off"),
}  # fmt: skip


def bids(state: MarketState) -> NDArray[np.float64]:
    """Multipliers of the tick; some advertisers stay out of some ticks."""
    rng = np.random.default_rng(state.tick)
    return rng.uniform(0.3, 2.0, state.multipliers.shape) * (rng.random(state.multipliers.shape) < 0.8)


def stepped(scenario: Scenario, seed: int = 0, day: int = 0) -> tuple[MarketState, list[Tick]]:
    state, ticks = market.reset(scenario, seed, day), []
    while not state.done:
        state, tick = market.step(state, bids(state))
        ticks.append(tick)
    return state, ticks


def assert_same_day(ours: MarketState, theirs: MarketState) -> None:
    assert ours.done and ours.tick == theirs.tick
    assert np.array_equal(ours.left_micros, theirs.left_micros)
    assert np.array_equal(ours.multipliers, theirs.multipliers)
    assert len(ours.recent) == len(theirs.recent)
    for one, other in zip((ours.total, *ours.recent), (theirs.total, *theirs.recent), strict=True):
        assert np.array_equal(one.spend_micros, other.spend_micros)
        for name, mine, its in zip(Counts._fields, one.counts, other.counts, strict=True):
            if name in SUMS:
                np.testing.assert_allclose(mine, its, rtol=1e-12, atol=1e-12, err_msg=name)
            else:
                assert np.array_equal(mine, its), name


def rows_of(ticks: list[Tick]) -> dict[str, NDArray[Any]]:
    """The log that these ticks should leave: a row for each ad shown, in the order of requests and slots."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
    for tick in ticks:
        row, slot = np.nonzero(tick.slots.winner >= 0)
        told = {
            "tick": np.full(len(row), tick.number), "request": tick.requests.request[row],
            "user": tick.requests.user[row], "slot": slot, "advertiser": tick.slots.winner[row, slot],
            **{name: getattr(tick.slots, name)[row, slot] for name in ("score", "price_micros", "charge_micros")},
            **{name: getattr(tick.slots, name)[row, slot] for name in ("exposed", "clicked", "converted")},
        }  # fmt: skip
        for name, kind in COLUMNS.items():
            columns[name].append(told[name].astype(kind))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


@pytest.mark.parametrize("part", [1, 7, 64, 100, 10**6])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_day_in_parts_is_the_day_in_steps_and_its_log_holds_what_was_shown(
    variant: str, part: int, tmp_path: Path
) -> None:
    scenario, log = VARIANTS[variant], tmp_path / "day.parquet"
    theirs, ticks = stepped(scenario, 3, 2)
    assert_same_day(stream_day(scenario, 3, 2, policy=bids, log=log, part=part), theirs)
    assert_same_day(stream_day(scenario, 3, 2, policy=bids, part=part), theirs)
    table, wanted = pyarrow.parquet.read_table(log), rows_of(ticks)
    assert table.num_rows == len(wanted["tick"]) > 0
    for name, column in wanted.items():
        assert np.array_equal(table[name].to_numpy(), column), name
    for i, spent in enumerate(theirs.total.spend_micros):
        assert table["charge_micros"].to_numpy()[table["advertiser"].to_numpy() == i].sum() == spent


@settings(max_examples=25)
@given(
    part=st.integers(1, 500), seed=st.integers(0, 2**63 - 1), length=st.integers(1, 50), leave=st.sampled_from([0.0, 0.3]),
    share=st.sampled_from([0.005, 0.1]),
)  # fmt: skip
def test_any_part_leaves_the_same_day(part: int, seed: int, length: int, leave: float, share: float) -> None:
    scenario = tiny(
        world__traffic__ticks=2, world__traffic__session_length=length, world__users__leave_base=leave,
        generated__budget_share=share,
    )  # fmt: skip
    assert_same_day(stream_day(scenario, seed, policy=bids, part=part), stepped(scenario, seed)[0])


def test_the_days_of_these_tests_hold_what_they_are_meant_to_watch() -> None:
    ended, ticks = stepped(VARIANTS["visits that end"], 3, 2)
    assert sum(int(tick.slots.skipped.sum()) for tick in ticks) > 100
    ended, _ = stepped(VARIANTS["budgets that run out"], 3, 2)
    assert (ended.left_micros < ended.advertisers.unit_bid_micros).any()
    assert 0 in stepped(VARIANTS["a tick without requests"], 3, 2)[0].day.counts


def test_everybody_bids_the_multiplier_where_there_is_no_policy() -> None:
    state = market.reset(tiny(), 1)
    while not state.done:
        state, _ = market.step(state, np.full(AGENTS, 0.5))
    assert_same_day(stream_day("tiny", 1, multiplier=0.5), state)


def test_a_policy_sees_the_state_before_each_tick_as_a_bidder_does() -> None:
    seen: list[NDArray[np.float32]] = []

    def policy(state: MarketState) -> NDArray[np.float64]:
        seen.append(observe(state))
        return np.ones(AGENTS)

    stream_day("tiny", 1, policy=policy, part=9)
    state = market.reset(tiny(), 1)
    for observed in seen:
        np.testing.assert_allclose(observed, observe(state), rtol=1e-6, atol=1e-7)
        state, _ = market.step(state, np.ones(AGENTS))
    assert len(seen) == TICKS and state.done


def test_progress_tells_each_tick_and_how_many_there_are() -> None:
    told: list[tuple[int, int]] = []
    stream_day("tiny", progress=lambda *played: told.append(played))
    assert told == [(tick, TICKS) for tick in range(1, TICKS + 1)]


# The log


def test_the_log_has_the_columns_that_are_told_and_one_row_group_for_each_part(tmp_path: Path) -> None:
    log, part = tmp_path / "day.parquet", 16
    ended = stream_day("tiny", 3, log=log, part=part)
    file = pyarrow.parquet.ParquetFile(log)
    schema = file.schema_arrow
    kinds = {name: "float" if kind == "float32" else kind for name, kind in COLUMNS.items()}  # as Arrow calls them
    kinds = {name: "double" if kind == "float64" else kind for name, kind in kinds.items()}
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == kinds
    assert file.num_row_groups == sum(-(-int(count) // part) for count in ended.day.counts)
    groups = [file.read_row_group(g) for g in range(file.num_row_groups)]
    first = market.reset(tiny(), 3).day.first
    for group in groups:
        requests, ticks = group["request"].to_numpy(), set(group["tick"].to_pylist())
        assert len(ticks) == 1
        places = requests - first[ticks.pop()]
        assert places.min() // part == places.max() // part
    assert sum(group.num_rows for group in groups) == ended.total.counts.wins.sum()


def test_expected_values_are_logged_as_probabilities(tmp_path: Path) -> None:
    log = tmp_path / "day.parquet"
    stream_day(VARIANTS["expected values of segments"], 0, log=log)
    table = pyarrow.parquet.read_table(log)
    exposed, clicked, converted = (table[name].to_numpy() for name in ("exposed", "clicked", "converted"))
    assert set(exposed.tolist()) == {1.0, np.float32(0.6)}
    assert ((converted > 0) & (converted < clicked) & (clicked < exposed)).all()


def test_a_log_stands_where_it_is_named_only_when_the_day_is_over(tmp_path: Path) -> None:
    log = tmp_path / "day.parquet"
    stream_day("tiny", log=log, progress=lambda *_: pytest.fail("too early") if log.exists() else None)
    assert [path.name for path in tmp_path.iterdir()] == ["day.parquet"]


@pytest.mark.parametrize("failing_tick", [0, 4])
def test_a_policy_that_fails_leaves_no_file_and_keeps_the_old_one(failing_tick: int, tmp_path: Path) -> None:
    def policy(state: MarketState) -> NDArray[np.float64]:
        if state.tick == failing_tick:
            raise RuntimeError("no more bids")
        return np.ones(AGENTS)

    with pytest.raises(RuntimeError, match="no more bids"):
        stream_day("tiny", policy=policy, log=tmp_path / "day.parquet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "day.parquet").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no more bids"):
        stream_day("tiny", policy=policy, log=tmp_path / "day.parquet")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_policy_that_bids_what_is_not_allowed_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"multiplier of adv_00 .segment 0. is 9.0; allowed is a finite number from 0"):
        stream_day("tiny", policy=lambda state: np.full(AGENTS, 9.0), log=tmp_path / "day.parquet")
    assert list(tmp_path.iterdir()) == []


# What is refused


def test_a_world_that_is_no_feed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scenario auctionnet is of kind auctionnet; allowed is a feed"):
        stream_day("auctionnet", log=tmp_path / "day.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0, -5])
def test_a_part_without_requests_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match=f"part is {part}; allowed is 1 or more requests"):
        stream_day("tiny", part=part)


def test_a_log_without_pyarrow_names_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"a Parquet log needs pyarrow: pip install 'tribid\[logs\]'"):
        stream_day("tiny", log=tmp_path / "day.parquet")
    assert list(tmp_path.iterdir()) == []
    assert stream_day("tiny").done
