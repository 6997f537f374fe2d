"""The columns of recorded days in a Parquet file: what each holds, and the checks of a file that claims to have them."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

STATE16 = 16
"""Numbers of AuctionNet's state; see ``tribid.agents.offline.auctionnet_state``."""

COLUMNS: dict[str, str] = {
    "scenario": "name of the scenario that was played",
    "scenario_hash": "its hash, 16 hex digits",
    "observation_hash": "hash of the observation's names and bounds (``observation_hash``); empty without observations",
    "segments": "user segments, S",
    "max_multiplier": "cap of the action map (tribid.envs.action)",
    "ticks": "ticks of a whole day, T",
    "seed": "seed of the market",
    "day": "day of that seed",
    "advertiser": "name of the advertiser",
    "bidder": "name of the bidder that drove it, the behaviour policy",
    "budget": "its budget of the day, in currency units",
    "target_cpa": "its CPA target in currency units; 0 without",
    "target_roas": "its ROAS target; 0 without",
    "tick": "the tick, from 0",
    "observation": "what it saw before the tick, D float32 (tribid.envs.observation)",
    "state16": "AuctionNet's state before the tick, 16 float32 (tribid.agents.offline.auctionnet_state)",
    "action": "what it did, S float32 from -1 to 1, as executed",
    "reward": "the increase of its score in the tick (tribid.envs.reward, part own)",
    "conversions": "conversions in the tick",
    "cost": "what it paid in the tick, in currency units",
}
"""The file's columns, all required."""

MARKET = ("scenario", "scenario_hash", "observation_hash", "segments", "max_multiplier", "ticks")
EPISODE = ("seed", "day", "advertiser", "bidder", "budget", "target_cpa", "target_roas")
VECTORS = ("observation", "state16", "action")
NUMBERS = ("reward", "conversions", "cost")
TYPES: dict[str, Any] = {
    **dict.fromkeys(("scenario", "scenario_hash", "observation_hash", "advertiser", "bidder"), pl.String),
    **dict.fromkeys(("segments", "ticks", "tick"), pl.Int32),
    **dict.fromkeys(("seed", "day"), pl.Int64),
    **dict.fromkeys(("max_multiplier", "budget", "target_cpa", "target_roas"), pl.Float64),
    **dict.fromkeys(NUMBERS, pl.Float32),
}

_MOST = {"segments": 64, "ticks": 10_000}


def read_part(file: Path) -> pl.DataFrame:
    """One file's rows in this module's types, checked column by column."""
    try:
        frame = pl.read_parquet(file, use_pyarrow=False, hive_partitioning=False, glob=False)
    except BaseException as error:  # a damaged page makes the decoder panic, which is no Exception
        if not isinstance(error, (OSError, pl.exceptions.PolarsError)) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{file} is no Parquet file that can be read: {error}") from None
    lacking = [name for name in COLUMNS if name not in frame.columns]
    if lacking or not len(frame):
        raise ValueError(f"{file} has {len(frame)} rows and no column {lacking}; allowed is {', '.join(COLUMNS)}")
    kept = []
    for name in COLUMNS:
        column = frame[name]
        if column.null_count():
            raise ValueError(
                f"{file}: {name} is missing in row {column.is_null().arg_max()}; allowed is a value in each"
            )
        kept.append(_vector(file, column) if name in VECTORS else _plain(file, column))
    rows = pl.DataFrame(kept)
    for name in MARKET:
        other = (rows[name] != rows[name][0]).arg_max()
        if other:
            raise ValueError(
                f"{file}: {name} is {rows[name][other]!r} in row {other}; allowed is {rows[name][0]!r}, one market a file"
            )
    for name, most in _MOST.items():
        if not 1 <= rows[name][0] <= most:
            raise ValueError(f"{file}: {name} is {rows[name][0]}; allowed is 1 to {most}")
    return rows


def _plain(file: Path, column: pl.Series) -> pl.Series:
    wanted = TYPES[column.name]
    if (wanted == pl.String) != (column.dtype == pl.String) or not (wanted == pl.String or column.dtype.is_numeric()):
        raise ValueError(f"{file}: {column.name} is of type {column.dtype}; allowed is {wanted}")
    try:
        cast = column.cast(wanted)
    except pl.exceptions.PolarsError:
        raise ValueError(f"{file}: {column.name} does not fit into {wanted}; {COLUMNS[column.name]}") from None
    if wanted.is_integer() and column.dtype.is_float() and not (cast.cast(column.dtype) == column).all():
        raise ValueError(f"{file}: {column.name} holds numbers that are not whole; allowed is {wanted}")
    return cast


def _vector(file: Path, column: pl.Series) -> pl.Series:
    """A column of lists as one of fixed width, the first row's."""
    if not isinstance(column.dtype, (pl.Array, pl.List)):
        raise ValueError(f"{file}: {column.name} is of type {column.dtype}; allowed is a list of numbers in each row")
    width = len(column[0])
    try:
        fixed = column.cast(pl.Array(pl.Float32, width))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{file}: {column.name} is no list of {width} numbers in each row: {error}") from None
    if width and fixed.explode().null_count():
        raise ValueError(f"{file}: {column.name} has a row with a number missing; allowed are {width} numbers in each")
    return fixed


def episodes_of(frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Each row's episode and tick, and the rows at which episodes start; ``ValueError`` where one is not whole."""
    tick = frame["tick"].to_numpy().astype(np.int64)
    starts = np.flatnonzero(tick == 0)
    if not len(starts) or starts[0] != 0:
        raise ValueError(f"tick is {tick[0]} in the first row; allowed is 0, for an episode begins there")
    episode = np.cumsum(tick == 0) - 1
    wrong = np.flatnonzero((tick != np.arange(len(tick)) - starts[episode]) | (tick >= frame["ticks"].to_numpy()))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"tick is {tick[row]} in row {row}; allowed is {row - starts[episode[row]]}, the next of its episode, "
            f"below ticks, {frame['ticks'][row]}"
        )
    for name in EPISODE:
        changed = np.flatnonzero((frame[name] != frame[name].shift(1)).fill_null(False).to_numpy() & (tick != 0))
        if len(changed):
            row = int(changed[0])
            raise ValueError(
                f"{name} is {frame[name][row]!r} in row {row}; allowed is {frame[name][row - 1]!r}, as before in its episode"
            )
    return episode, tick, starts
