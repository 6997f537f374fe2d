"""Histories as rows: list columns of events become arrays of a fixed length, the most recent events, padded behind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.models.batch import PADDING, Histories
from tribid.models.feature_config import FeatureConfig
from tribid.models.scaling import numbers_of
from tribid.models.vocabulary import Vocabulary, whole_numbers


def histories_of(frame: pl.DataFrame | None, config: FeatureConfig, vocabularies: dict[str, Vocabulary]) -> Histories:
    """Return the R histories of a frame and an empty one behind them; see `FeaturePipeline.histories`."""
    count = 0 if frame is None or not config.history else frame.height
    width = config.history_length if config.history else 0
    ids = np.full((count + 1, width, len(config.history)), PADDING, dtype=np.int32)
    age = np.zeros((count + 1, width), dtype=np.float32)
    length = np.zeros(count + 1, dtype=np.int32)
    if frame is None or not config.history:
        return Histories(ids, age, length)
    events = _event_counts(frame, config)
    kept = np.minimum(events, width)
    length[:count] = kept
    row = np.repeat(np.arange(count), kept)
    place = np.arange(row.size) - np.repeat(np.cumsum(kept) - kept, kept)
    for column, field in enumerate(config.history):
        values = event_values(frame, field.name, last=width)
        ids[row, place, column] = vocabularies[field.vocabulary].ids(values)
    if config.age in frame.columns:
        age[row, place] = _ages(config.age, numbers_of(event_values(frame, config.age, last=width)), row)
    return Histories(ids, age, length)


def histories_of_arrays(
    events: Mapping[str, NDArray[Any]],
    length: NDArray[np.integer],
    config: FeatureConfig,
    vocabularies: dict[str, Vocabulary],
) -> Histories:
    """`histories_of` for R histories in arrays [R, E] by column; see `FeaturePipeline.histories_of_arrays`."""
    width = config.history_length
    names = [field.name for field in config.history] + ([config.age] if config.age in events else [])
    if missing := [name for name in names if name not in events]:
        raise ValueError(f"the histories lack the column {missing[0]}; they have {', '.join(events)}")
    if not config.history:
        return histories_of(None, config, vocabularies)
    for name in names:
        _check_events(name, events[name], length, events[names[0]].shape[-1])
    kept = np.minimum(length, width)
    row, place = np.nonzero(np.arange(width) < kept[:, None])
    source = (length - kept)[row] + place
    ids = np.full((len(length) + 1, width, len(config.history)), PADDING, dtype=np.int32)
    age = np.zeros((len(length) + 1, width), dtype=np.float32)
    for column, field in enumerate(config.history):
        ids[row, place, column] = vocabularies[field.vocabulary].ids_of_array(
            events[field.name][row, source], field.name
        )
    if config.age in names:
        age[row, place] = _ages(config.age, events[config.age][row, source].astype(np.float64), row)
    return Histories(ids, age, np.append(kept, 0).astype(np.int32))


def _check_events(name: str, values: NDArray[Any], length: NDArray[np.integer], most: int) -> None:
    if values.shape != (len(length), most):
        raise ValueError(
            f"the column {name} of the histories has shape {values.shape}; allowed is {(len(length), most)}"
        )
    if len(length) and not 0 <= length.min() <= length.max() <= most:
        worst = length.min() if length.min() < 0 else length.max()
        raise ValueError(f"the length of a history is {worst}; allowed is 0 to {most}")


def event_values(frame: pl.DataFrame, name: str, *, last: int | None = None) -> pl.Series:
    """Return the events of a list column, all rows behind one another; with `last`, that many most recent ones of each.

    Raises ValueError, which names the column, where it is missing or no list.
    """
    if name not in frame.columns:
        raise ValueError(f"the histories lack the column {name}; they have {', '.join(frame.columns)}")
    lists = frame[name]
    if not isinstance(lists.dtype, pl.List):
        raise ValueError(f"column {name} holds {lists.dtype}; a history's columns are lists")
    # An empty list would explode into a null, that is, into an event.
    filled = lists.filter(lists.list.len().fill_null(0) > 0)
    return (filled if last is None else filled.list.tail(last)).explode()


def history_rows(values: pl.Series | NDArray[np.integer], count: int, name: str = "history") -> NDArray[np.int64]:
    """Return rows of `count` histories, [n]; null and -1 become the row `count`, which is empty.

    ``name`` is that of an array.
    """
    if isinstance(values, np.ndarray):
        rows = values.astype(np.int64)
    else:
        name = values.name
        if not values.dtype.is_integer() and values.null_count() < len(values):
            raise ValueError(f"column {name} holds {values.dtype}; rows of histories are whole numbers")
        rows = whole_numbers(values, null=-1)
    wrong = (rows < -1) | (rows >= count)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{name} is {rows[row]} in row {row}; allowed are rows of histories from 0 to {count - 1}")
    return np.where(rows < 0, count, rows)


def _event_counts(frame: pl.DataFrame, config: FeatureConfig) -> NDArray[np.int64]:
    names = [field.name for field in config.history] + ([config.age] if config.age in frame.columns else [])
    counts: dict[str, NDArray[np.int64]] = {}
    for name in names:
        event_values(frame.head(0), name)  # says what is wrong with the column
        counts[name] = frame[name].list.len().fill_null(0).to_numpy().astype(np.int64)
        wrong = counts[name] != counts[names[0]]
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"the history in row {row} has {counts[names[0]][row]} events in {names[0]} and {counts[name][row]} in "
                f"{name}; its lists must be equally long"
            )
    return counts[names[0]]


def _ages(name: str, values: NDArray[np.float64], row: NDArray[np.int64]) -> NDArray[np.float32]:
    """Days before the request, [events]; an unknown age is 0."""
    known = np.isfinite(values)
    ages = np.where(known, values, 0.0)
    if (ages < 0).any():
        where = int(np.flatnonzero(ages < 0)[0])
        raise ValueError(
            f"{name} is {ages[where]:g} in the history in row {row[where]}; allowed are days from 0: "
            "an event after the request would tell its outcome"
        )
    later = (row[1:] == row[:-1]) & (ages[1:] > ages[:-1]) & known[1:] & known[:-1]
    if later.any():
        where = int(np.flatnonzero(later)[0])
        raise ValueError(f"the history in row {row[where]} is not sorted by {name}: the oldest event comes first")
    return ages.astype(np.float32)
