from pathlib import Path

import numpy as np
import pytest

from tribid.agents.bidder import Lineup
from tribid.agents.offline.auctionnet_state import STATE16_FIELDS
from tribid.agents.offline.collect import collect, record_day
from tribid.agents.offline.trajectories import read_trajectories
from tribid.agents.rivals import rivals_in_turn
from tribid.agents.testing import play
from tribid.envs.action import to_multiplier
from tribid.envs.observation import bounds, field_index
from tribid.envs.reward import score
from tribid.envs.scenario import MICROS, load_scenario
from tribid.envs.world import build_world

TINY = load_scenario("tiny")
NAMES = ("pid", "dual_pacing", "fixed:0.8")


def test_without_noise_a_recorded_day_is_the_day_that_is_played() -> None:
    lineup = rivals_in_turn(NAMES, TINY)
    day = record_day(TINY, lineup, seed=3, noise=0.0)
    state, ticks = play(TINY, 3, lineup)
    assert day.rewards.sum(axis=1) == pytest.approx(score(state.advertisers, state.total, 2.0), abs=1e-5)
    assert day.conversions.sum(axis=1) == pytest.approx(state.total.counts.conversions)
    assert day.cost.sum(axis=1) * MICROS == pytest.approx(state.total.spend_micros, rel=1e-5)
    multipliers = np.stack([tick.multipliers for tick in ticks], axis=1)
    assert to_multiplier(day.actions, 8.0) == pytest.approx(multipliers, rel=1e-4)
    assert day.advertiser.tolist() == list(state.advertisers.names)
    assert day.bidder.tolist() == ["pid", "dual_pacing", "fixed:0.8", "pid", "dual_pacing"]
    low, high = bounds(1)
    assert ((day.observations >= low) & (day.observations <= high)).all()


def test_what_is_recorded_of_a_tick_is_what_was_seen_before_it() -> None:
    day = record_day(TINY, rivals_in_turn(NAMES, TINY), seed=3)
    left = day.observations[:, :, field_index("budget_left")]
    assert left[:, 0].tolist() == [1.0] * 5
    spent = np.cumsum(day.cost, axis=1) / day.budget[:, None]
    assert left[:, 1:] == pytest.approx(1.0 - spent[:, :-1], abs=1e-5)
    names = [name for name, _ in STATE16_FIELDS]
    assert day.state16[:, :, names.index("budget_left")] == pytest.approx(left, abs=1e-6)
    assert day.state16[:, 0, names.index("time_left")].tolist() == [1.0] * 5
    last = day.observations[:, 1:, field_index("last_action_0")]
    assert last == pytest.approx(day.actions[:, :-1, 0], abs=1e-5)


def test_noise_has_the_size_asked_for_and_a_part_that_lasts_the_day() -> None:
    from tribid.agents.rules import Truthful

    lineup = Lineup.of(Truthful(space=rivals_in_turn(("truthful",), TINY).bidders["truthful"].space), 5)  # type: ignore[attr-defined]
    noise = np.stack([record_day(TINY, lineup, seed, noise=0.2).actions[..., 0] for seed in range(60)])
    assert noise.mean() == pytest.approx(0.0, abs=0.03)
    assert noise.std() == pytest.approx(0.2, abs=0.02)
    of_the_day = noise.mean(axis=2).std()
    assert of_the_day == pytest.approx(0.2 * np.sqrt(0.5 + 0.5 / 8), abs=0.02)
    assert (np.abs(record_day(TINY, lineup, 0, noise=2.0).actions) <= 1).all()


def test_bidders_take_turns_from_day_to_day(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = collect(TINY, NAMES, [10, 11, 12], out=tmp_path / "log", progress=lambda *news: told.append(news))
    data = read_trajectories(tmp_path / "log")
    assert (found.days, found.rows, told) == (3, 3 * 5 * 8, [(1, 3), (2, 3), (3, 3)])
    assert data.seed.tolist() == [seed for seed in (10, 11, 12) for _ in range(5)]
    driven = {name: set(data.bidder[data.advertiser == name]) for name in build_world(TINY).advertisers.names}
    assert all(names == set(NAMES) for names in driven.values())
    for name in NAMES:
        mine = data.rewards[data.bidder == name].sum(axis=1)
        assert found.score[name] == pytest.approx(mine.mean(), abs=1e-5)


def test_a_folder_of_another_collection_is_left_alone(tmp_path: Path) -> None:
    collect(TINY, NAMES, [1], out=tmp_path)
    before = (tmp_path / "part-00000.parquet").read_bytes()
    with pytest.raises(ValueError, match="already holds trajectories"):
        collect(TINY, NAMES, [2], out=tmp_path)
    assert (tmp_path / "part-00000.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": [1_000_000]}, "allowed are one or more different ones from 0 to 999999"),
        ({"seeds": []}, "allowed are one or more"),
        ({"seeds": [1, 1]}, "allowed are one or more different"),
        ({"noise": -0.1}, "noise is -0.1; allowed is 0 to 2"),
        ({"workers": 0}, "workers is 0"),
        ({"bidders": []}, "name at least one bidder"),
        ({"bidders": ["pidd"]}, "no bidder named 'pidd'"),
    ],
)
def test_a_collection_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    given = {"bidders": NAMES, "seeds": [1], "noise": 0.1, "workers": 1} | arguments
    with pytest.raises(ValueError, match=message):
        collect(TINY, out=tmp_path / "log", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
def test_workers_write_the_same_bytes(tmp_path: Path) -> None:
    for workers in (1, 2):
        collect(TINY, NAMES, [1, 2, 3], out=tmp_path / str(workers), workers=workers)
    files = [sorted((tmp_path / name).iterdir()) for name in ("1", "2")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    assert len(files[0]) == 3
