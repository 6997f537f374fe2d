from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tribid.agents.bidder import BidderSpace
from tribid.agents.offline.columns import COLUMNS
from tribid.agents.offline.trajectories import (
    Trajectories,
    batches,
    observation_hash,
    read_trajectories,
    write_trajectories,
)

SPACE = BidderSpace.of("tiny")


def recorded(episodes: int = 3, seed: int = 0, **changes: Any) -> Trajectories:
    rng, ticks = np.random.default_rng(seed), SPACE.n_ticks
    numbers: dict[str, Any] = {
        "observations": rng.normal(size=(episodes, ticks, 36)),
        "state16": rng.normal(size=(episodes, ticks, 16)),
        "actions": rng.uniform(-1, 1, (episodes, ticks, 1)),
        "rewards": rng.normal(size=(episodes, ticks)),
        "conversions": rng.integers(0, 4, (episodes, ticks)),
        "cost": rng.uniform(0, 9, (episodes, ticks)),
    }
    made: dict[str, Any] = {name: array.astype(np.float32) for name, array in numbers.items()}
    made |= {
        "length": np.full(episodes, ticks),
        "advertiser": np.array([f"advertiser {i}" for i in range(episodes)]),
        "bidder": np.array(["pid", "fixed:0.8", "pid"] * episodes)[:episodes],
        "seed": np.arange(episodes) + 2**62,
        "day": np.arange(episodes) % 2,
        "budget": rng.uniform(1, 100, episodes),
        "target_cpa": np.zeros(episodes),
        "target_roas": np.full(episodes, 4.0),
        "space": SPACE,
        "scenario": "tiny",
        "scenario_hash": "0123456789abcdef",
    }
    return Trajectories(**(made | changes))


def same(one: Trajectories, other: Trajectories) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


def frame_of(tmp_path: Path) -> pl.DataFrame:
    write_trajectories(recorded(), tmp_path / "a.parquet")
    return pl.read_parquet(tmp_path / "a.parquet")


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    data = recorded()
    write_trajectories(data, tmp_path / "log.parquet")
    assert same(read_trajectories(tmp_path / "log.parquet"), data)
    assert pl.read_parquet(tmp_path / "log.parquet").columns == list(COLUMNS)


def test_days_that_end_early_and_logs_without_observations_are_kept_as_they_are(tmp_path: Path) -> None:
    short = recorded()
    for array in (short.observations, short.state16, short.actions, short.rewards, short.conversions, short.cost):
        array[1, 5:] = 0.0
    short = replace(short, length=np.array([8, 5, 8]), observations=np.zeros((3, 8, 0), np.float32))
    write_trajectories(short, tmp_path / "log.parquet")
    read = read_trajectories(tmp_path / "log.parquet")
    assert same(read, short)
    assert read.played.sum() == 21
    with pytest.raises(ValueError, match="state16"):
        read.features()


def test_a_folders_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, seed in (("part-2", 2), ("part-10", 10), ("part-1", 1)):
        write_trajectories(recorded(seed=seed), tmp_path / f"{name}.parquet")
    (tmp_path / ".part-0.parquet").write_bytes(b"half a file of a writer at work")
    (tmp_path / "notes.txt").write_text("not data")
    wanted = np.concatenate([recorded(seed=seed).rewards for seed in (1, 10, 2)])
    assert np.array_equal(read_trajectories(tmp_path).rewards, wanted)


def test_lists_of_another_writer_are_read_as_well(tmp_path: Path) -> None:
    frame = frame_of(tmp_path)
    lists = frame.with_columns(pl.col("observation", "state16", "action").cast(pl.List(pl.Float64)))
    lists.select(reversed(lists.columns)).write_parquet(tmp_path / "a.parquet")
    assert same(read_trajectories(tmp_path), recorded())


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("tick", pl.lit(3, pl.Int32), "tick is 3 in the first row; allowed is 0"),
        ("tick", pl.when(pl.col("tick") == 2).then(5).otherwise(pl.col("tick")), "tick is 5 in row 2; allowed is 2"),
        ("ticks", pl.lit(4), "tick is 4 in row 4; allowed is 4, the next of its episode, below ticks, 4"),
        ("ticks", pl.lit(10**6), "ticks is 1000000; allowed is 1 to 10000"),
        ("bidder", pl.col("tick").cast(pl.String), "bidder is '1' in row 1; allowed is '0', as before in its episode"),
        ("scenario", pl.col("advertiser"), "scenario is 'advertiser 1' in row 8; allowed is 'advertiser 0'"),
        ("reward", pl.lit(float("nan")), "rewards holds a number that is not finite"),
        ("reward", pl.lit("much"), "reward is of type String; allowed is Float32"),
        ("cost", pl.lit(None, pl.Float32), "cost is missing in row 0"),
        ("seed", pl.lit(0.5), "seed holds numbers that are not whole"),
        ("action", pl.lit([1.5]), "actions range from 1.5 to 1.5; allowed is -1 to 1"),
        ("action", pl.lit([0.5, 0.5]), "action has 2 numbers; allowed is 1"),
        ("action", pl.lit(0.5), "action is of type Float64; allowed is a list"),
        ("state16", pl.lit([0.5]), "state16 has 1 numbers; allowed is 16"),
        ("observation", pl.lit([None], pl.List(pl.Float32)), "observation has a row with a number missing"),
        ("observation_hash", pl.lit("0" * 16), "observation_hash is '0000000000000000'; allowed is"),
        ("max_multiplier", pl.lit(1.0), "max_multiplier is 1.0; allowed is a finite number above 1"),
    ],
)
def test_a_log_that_is_wrong_is_refused_by_column_value_and_what_is_allowed(
    tmp_path: Path, column: str, value: Any, message: str
) -> None:
    frame_of(tmp_path).with_columns(value.alias(column)).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message) as told:
        read_trajectories(tmp_path)
    assert str(tmp_path) in str(told.value)


def test_a_missing_column_other_bytes_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no trajectories"):
        read_trajectories(tmp_path)
    frame = frame_of(tmp_path)
    frame.drop("cost").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"no column \['cost'\]"):
        read_trajectories(tmp_path)
    frame.clear().write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="0 rows"):
        read_trajectories(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="no Parquet file"):
        read_trajectories(tmp_path)


def test_files_of_different_markets_do_not_mix(tmp_path: Path) -> None:
    write_trajectories(recorded(), tmp_path / "a.parquet")
    write_trajectories(recorded(scenario_hash="f" * 16), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: scenario_hash is 'ffffffffffffffff'"):
        read_trajectories(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.zeros((3, 7), np.float32)}, r"rewards has shape \(3, 7\); allowed is \(3, 8\)"),
        ({"length": np.array([0, 8, 8])}, "length range from 0 to 8; allowed is 1 to 8"),
        ({"budget": np.array([1.0, np.inf, 1.0])}, "budget holds a number that is not finite"),
        ({"observations": np.zeros((3, 8, 35), np.float32)}, "observations of 35 numbers"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded(**changes)


def test_returns_to_go_sum_what_is_still_to_come() -> None:
    data = recorded()
    to_go = data.returns_to_go()
    assert to_go[:, 0] == pytest.approx(data.rewards.sum(axis=1), abs=1e-5)
    assert to_go[:, -1] == pytest.approx(data.rewards[:, -1], abs=1e-6)
    assert to_go[:, :-1] - to_go[:, 1:] == pytest.approx(data.rewards[:, :-1], abs=1e-5)


def test_moments_are_those_of_the_ticks_played_and_divide_by_nothing_small() -> None:
    data = recorded()
    data.observations[:, :, 3] = 0.25
    data.observations[1, 4:] = 0.0
    mean, std = replace(data, length=np.array([8, 4, 8])).moments()
    played = np.concatenate([data.observations[0], data.observations[1, :4], data.observations[2]])
    assert mean == pytest.approx(played.mean(axis=0), abs=1e-6)
    assert np.delete(std, 3) == pytest.approx(np.delete(played.std(axis=0), 3), abs=1e-6)
    assert (mean[3], std[3]) == (0.25, 1.0)


def test_an_epoch_of_batches_holds_every_tick_once_in_an_order_of_the_seed() -> None:
    data = replace(recorded(), length=np.array([8, 5, 8]))
    epoch = list(islice(batches(data, 4, seed=7), 6))
    assert [len(batch.tick) for batch in epoch] == [4, 4, 4, 4, 4, 1]
    places = [(int(e), int(t)) for batch in epoch for e, t in zip(*batch, strict=True)]
    assert sorted(places) == [(e, t) for e, length in enumerate((8, 5, 8)) for t in range(length)]
    again = list(islice(batches(data, 4, seed=7), 12))
    assert all(
        np.array_equal(one, two) for a, b in zip(epoch, again, strict=False) for one, two in zip(a, b, strict=True)
    )
    second = [(int(e), int(t)) for batch in again[6:] for e, t in zip(*batch, strict=True)]
    assert sorted(second) == sorted(places)
    assert second != places
    other = next(batches(data, 4, seed=8))
    assert not np.array_equal(other.tick, epoch[0].tick) or not np.array_equal(other.episode, epoch[0].episode)


def test_selected_episodes_are_those_asked_for() -> None:
    data = recorded()
    chosen = data.select(data.bidder == "pid")
    assert chosen.seed.tolist() == [2**62, 2**62 + 2]
    assert np.array_equal(chosen.rewards, data.rewards[[0, 2]])
    with pytest.raises(ValueError, match="0 episodes"):
        data.select(np.zeros(3, np.bool_))


def test_the_observations_hash_tells_segments_apart() -> None:
    assert len({observation_hash(segments) for segments in (1, 2, 3)}) == 3


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_trajectories(recorded(), tmp_path / "a.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(OSError, match="No such file"):
        write_trajectories(recorded(seed=1), tmp_path / "none" / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_a_day_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    frame_of(tmp_path).head(-3).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="episode 2 has 5 ticks; allowed is 8, a whole day"):
        read_trajectories(tmp_path)


def test_a_small_file_cannot_call_for_much_memory(tmp_path: Path) -> None:
    first = frame_of(tmp_path).head(1).with_columns(pl.lit(10_000, pl.Int32).alias("ticks"))
    many = pl.concat([first] * 3000).with_columns(pl.arange(3000, dtype=pl.Int64).alias("seed"))
    many.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="3000 rows are 3000 days of 10000 ticks; allowed are fuller days"):
        read_trajectories(tmp_path)
    frame_of(tmp_path).with_columns(pl.lit("x" * 201).alias("bidder")).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="bidder is longer than 200 characters"):
        read_trajectories(tmp_path)


def test_a_decoder_that_panics_is_a_value_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """As polars raises it: no Exception."""

    def panics(*_: Any, **__: Any) -> None:
        raise PanicException("out of range")

    frame_of(tmp_path)
    monkeypatch.setattr(pl, "read_parquet", panics)
    with pytest.raises(ValueError, match="is no Parquet file that can be read: out of range"):
        read_trajectories(tmp_path)
