"""Recorded days: what advertisers saw, did and got, tick by tick, as arrays and as Parquet files.

A file, or a folder of part files, has one row per advertiser and tick (``COLUMNS``). The rows of an episode, one
advertiser's day, follow each other by tick, and episodes keep the order in which they were written: the same files give
the same arrays, whatever order a file system lists them in.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.agents.bidder import BidderSpace
from tribid.agents.offline.columns import COLUMNS, EPISODE, MARKET, STATE16, TYPES, episodes_of, read_part
from tribid.envs import observation
from tribid.files import replacing

__all__ = [
    "COLUMNS",
    "STATE16",
    "Features",
    "Places",
    "Trajectories",
    "batches",
    "observation_hash",
    "part_files",
    "read_trajectories",
    "write_trajectories",
]

Features = Literal["observations", "state16"]
"""What a policy sees: Tribid's own observation, or AuctionNet's state."""

_WHOLE = ("space", "scenario", "scenario_hash")
_ROW_GROUP = 16_384


MOST_NAME = 200
"""Characters of an advertiser's or a bidder's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """E episodes, each one advertiser's day of up to T ticks, and the market that they come from.

    ``observations`` [E, T, D], ``state16`` [E, T, 16], ``actions`` [E, T, S] and ``rewards``, ``conversions``, ``cost``
    (currency units) [E, T] are float32; ``length`` [E] says how many ticks an episode has, T where the market recorded
    it, and what lies beyond is 0. D is 0 for a log that has no observations of Tribid's (``auctionnet_csv``). The rest is
    per episode: ``advertiser`` and ``bidder`` names, ``seed``, ``day``, ``budget``, ``target_cpa`` and ``target_roas``
    (0 without). ``ValueError`` names an array with another shape or a number that is not finite.
    """

    observations: NDArray[np.float32]
    state16: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    conversions: NDArray[np.float32]
    cost: NDArray[np.float32]
    length: NDArray[np.int64]
    advertiser: NDArray[np.str_]
    bidder: NDArray[np.str_]
    seed: NDArray[np.int64]
    day: NDArray[np.int64]
    budget: NDArray[np.float64]
    target_cpa: NDArray[np.float64]
    target_roas: NDArray[np.float64]
    space: BidderSpace
    scenario: str
    scenario_hash: str

    def __post_init__(self) -> None:
        episodes, ticks, space = len(self.length), self.space.n_ticks, self.space
        seen = self.observations.shape[-1]
        if not episodes or seen not in (0, space.observation_size):
            raise ValueError(
                f"{episodes} episodes with observations of {seen} numbers; allowed is one or more episodes, and "
                f"{space.observation_size} numbers, or 0 for a log without observations"
            )
        wide = {"observations": seen, "state16": STATE16, "actions": space.segments}
        for name in (field.name for field in fields(self) if field.name not in _WHOLE):
            array = getattr(self, name)
            wanted: tuple[int, ...] = (episodes,)
            wanted = (episodes, ticks, wide[name]) if name in wide else wanted
            wanted = (episodes, ticks) if name in ("rewards", "conversions", "cost") else wanted
            if array.shape != wanted:
                raise ValueError(f"{name} has shape {array.shape}; allowed is {wanted}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} holds a number that is not finite; allowed are finite numbers")
        for name, array, low, high in (("actions", self.actions, -1, 1), ("length", self.length, 1, ticks)):
            if not ((array >= low) & (array <= high)).all():
                raise ValueError(f"{name} range from {array.min()} to {array.max()}; allowed is {low} to {high}")

    def __len__(self) -> int:
        return len(self.length)

    @property
    def played(self) -> NDArray[np.bool_]:
        """Which ticks an episode has, [E, T]."""
        played: NDArray[np.bool_] = np.arange(self.space.n_ticks) < self.length[:, None]
        return played

    def features(self, kind: Features = "observations") -> NDArray[np.float32]:
        """What a policy sees, [E, T, D] or [E, T, 16]."""
        if kind not in ("observations", "state16"):
            raise ValueError(f"no features named {kind!r}; choose observations, state16")
        seen: NDArray[np.float32] = getattr(self, kind)
        if not seen.shape[-1]:
            raise ValueError("the log has no observations; allowed are features='state16'")
        return seen

    def returns_to_go(self) -> NDArray[np.float32]:
        """Sum of the rewards from each tick to the end of its day, [E, T]; summed in float64."""
        summed = np.cumsum(self.rewards[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
        return np.ascontiguousarray(summed, np.float32)

    def moments(self, kind: Features = "observations") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each feature over the ticks played, float32 [D]; 1 where nothing varies."""
        rows = self.features(kind)[self.played]
        mean, std = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        return mean.astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32)

    def select(self, chosen: Any) -> "Trajectories":
        """Some of the episodes: indices, or a mask [E]."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _WHOLE}
        return replace(self, **{name: array[chosen] for name, array in arrays.items()})


class Places(NamedTuple):
    """Where a batch's rows lie: ``episode`` and ``tick``, each [size]."""

    episode: NDArray[np.int64]
    tick: NDArray[np.int64]


def batches(trajectories: Trajectories, size: int, seed: int) -> Iterator[Places]:
    """Batches of ticks without end: every tick played comes once before any comes again, in an order that ``seed`` draws.

    The last batch before a new order may be smaller.
    """
    if size < 1:
        raise ValueError(f"size is {size}; allowed is 1 or more")
    episode, tick = np.nonzero(trajectories.played)
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(episode))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield Places(episode[chosen], tick[chosen])


def observation_hash(segments: int) -> str:
    """16 hex digits for the names and bounds of the observation that this code makes."""
    described = [(field.name, float(field.low), float(field.high)) for field in observation.fields(segments)]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def part_files(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, or the Parquet files of a folder by name; ``ValueError`` where there is none."""
    source = Path(path)
    if source.is_dir():
        found = sorted(p for p in source.iterdir() if p.suffix == ".parquet" and not p.name.startswith("."))
    else:
        found = [source] if source.is_file() else []
    if not found:
        raise ValueError(
            f"{path} holds no trajectories; allowed is a Parquet file, or a folder of them (tribid collect)"
        )
    return found


def write_trajectories(trajectories: Trajectories, path: str | os.PathLike[str]) -> None:
    """Write a Parquet file, whole or not at all; its folder must exist."""
    frame = _frame(trajectories)
    with replacing(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", row_group_size=_ROW_GROUP)


def read_trajectories(path: str | os.PathLike[str]) -> Trajectories:
    """Read a Parquet file, or all those of a folder in the order of their names.

    Raises ``ValueError`` that names the file, the column, the value and what is allowed: for what is no such file, for
    missing columns, other types, missing or non-finite numbers, episodes that are not whole, files of different markets,
    and observations that this code would not make. A damaged file may still end the process in the library that decodes
    it: read files that you trust.
    """
    parts = [read_part(file) for file in part_files(path)]
    first = parts[0]
    for file, part in zip(part_files(path), parts, strict=True):
        for column in MARKET:
            if part[column][0] != first[column][0]:
                raise ValueError(
                    f"{file}: {column} is {part[column][0]!r}; allowed is {first[column][0]!r}, as in the first file"
                )
    try:
        return _arrays(pl.concat(parts))
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"{path}: {error}") from None


def _frame(trajectories: Trajectories) -> pl.DataFrame:
    t, played = trajectories, trajectories.played
    episode, tick = np.nonzero(played)
    whole: dict[str, str | int | float] = {
        "scenario": t.scenario,
        "scenario_hash": t.scenario_hash,
        "observation_hash": observation_hash(t.space.segments) if t.observations.shape[-1] else "",
        "segments": t.space.segments,
        "max_multiplier": float(t.space.max_multiplier),
        "ticks": t.space.n_ticks,
    }
    columns = [pl.repeat(value, len(tick), dtype=TYPES[name], eager=True).alias(name) for name, value in whole.items()]
    columns += [pl.Series(name, getattr(t, name)[episode], dtype=TYPES[name]) for name in EPISODE]
    columns.append(pl.Series("tick", tick, dtype=pl.Int32))
    for name, array in (("observation", t.observations), ("state16", t.state16), ("action", t.actions)):
        columns.append(pl.Series(name, array[played], dtype=pl.Array(pl.Float32, array.shape[-1])))
    for name, array in (("reward", t.rewards), ("conversions", t.conversions), ("cost", t.cost)):
        columns.append(pl.Series(name, array[played], dtype=pl.Float32))
    return pl.DataFrame(columns)


def _check_size(frame: pl.DataFrame, space: BidderSpace, starts: NDArray[np.int64]) -> None:
    """Refuse, before memory is taken, vectors of other widths, days mostly missing, and names that are none."""
    wide = {"observation": (0, space.observation_size), "state16": (STATE16,), "action": (space.segments,)}
    for name, allowed in wide.items():
        width = frame.schema[name].size  # type: ignore[attr-defined]
        if width not in allowed:
            raise ValueError(f"{name} has {width} numbers; allowed is {' or '.join(map(str, allowed))}")
    if len(starts) * space.n_ticks > 64 * len(frame) + 1_000_000:
        raise ValueError(f"{len(frame)} rows are {len(starts)} days of {space.n_ticks} ticks; allowed are fuller days")
    for name in ("advertiser", "bidder"):
        if (frame[name].str.len_chars() > MOST_NAME).any():
            raise ValueError(f"{name} is longer than {MOST_NAME} characters; allowed is a name")


def _arrays(frame: pl.DataFrame) -> Trajectories:
    episode, tick, starts = episodes_of(frame)
    market = {name: frame[name][0] for name in MARKET}
    space = BidderSpace(segments=market["segments"], max_multiplier=market["max_multiplier"], n_ticks=market["ticks"])
    _check_size(frame, space, starts)
    shape = (len(starts), space.n_ticks)
    arrays: dict[str, Any] = {}
    for name, key in (("observation", "observations"), ("state16", "state16"), ("action", "actions")):
        width = frame.schema[name].size  # type: ignore[attr-defined]
        arrays[key] = np.zeros((*shape, width), np.float32)
        if width:
            arrays[key][episode, tick] = frame[name].to_numpy()
    for name, key in (("reward", "rewards"), ("conversions", "conversions"), ("cost", "cost")):
        arrays[key] = np.zeros(shape, np.float32)
        arrays[key][episode, tick] = frame[name].to_numpy()
    first = frame[starts]
    for name in EPISODE:
        values = first[name]
        arrays[name] = np.array(values.to_list()) if values.dtype == pl.String else values.to_numpy().copy()
    made = observation_hash(space.segments)
    if arrays["observations"].shape[-1] and market["observation_hash"] != made:
        raise ValueError(
            f"observation_hash is {market['observation_hash']!r}; allowed is {made!r}, as this code observes"
        )
    length = np.diff(np.append(starts, len(frame))).astype(np.int64)
    if arrays["observations"].shape[-1] and (length != space.n_ticks).any():
        short = int(np.flatnonzero(length != space.n_ticks)[0])
        raise ValueError(
            f"episode {short} has {length[short]} ticks; allowed is {space.n_ticks}, a whole day (AuctionNet's, which have "
            "no observations, may be shorter)"
        )
    return Trajectories(
        **arrays, length=length, space=space,
        scenario=market["scenario"], scenario_hash=market["scenario_hash"],
    )  # fmt: skip
