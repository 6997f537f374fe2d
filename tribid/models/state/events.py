"""The events of visits as models of state read them: checked, cut to the latest, and free of what cannot be known."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tribid.envs.visit_events import EVENTS, VisitEvents

OTHER = len(EVENTS)
"""The kind of every event that ``EVENTS`` does not name."""

NO_EVENT = OTHER + 1
"""The kind behind a visit's end."""

MOST_SECONDS = 86_400.0
"""Longer stays count as this: a page left open overnight says no more than one left open for a day."""

Sessions = VisitEvents | pl.DataFrame
"""Visits as arrays, or as the table ``sessions.parquet`` of an impression log (list columns kind, category, seconds)."""


class Events(NamedTuple):
    """V visits of at most E events, the latest ones, oldest first.

    ``kind`` int64 [V, E] from 0 to ``OTHER``, ``NO_EVENT`` behind a visit's end; float32 [V, E]: ``seconds`` their
    logarithm (log1p, 0.0 where unknown), ``known`` whether the seconds are, ``same`` whether the category is that of the
    event before, ``before`` log1p of how many events before had it; ``length`` int64 [V]. What categories there are does
    not matter, so new ones need no training.
    """

    kind: NDArray[np.int64]
    seconds: NDArray[np.float32]
    known: NDArray[np.float32]
    same: NDArray[np.float32]
    before: NDArray[np.float32]
    length: NDArray[np.int64]

    def rows(self, which: "NDArray[np.int64] | slice") -> "Events":
        """Some of the visits."""
        return Events(*(column[which] for column in self))  # type: ignore[arg-type]  # the columns in their order


def events_of(sessions: Sessions, most: int) -> Events:
    """The latest ``most`` events of each visit. ``ValueError`` for missing columns, other shapes and types.

    Kinds that ``EVENTS`` does not name become ``OTHER``; seconds that are NaN, infinite or negative are unknown; a negative
    category is none, like no other.
    """
    raw = _of_table(sessions) if isinstance(sessions, pl.DataFrame) else _of_arrays(sessions)
    kind, category, seconds, length = _latest(raw, most)
    inside = np.arange(kind.shape[1]) < length[:, None]
    known = inside & (seconds >= 0.0) & np.isfinite(seconds)
    named = inside & (category >= 0)
    before = np.zeros(kind.shape, np.float32)
    same = np.zeros(kind.shape, np.float32)
    for e in range(1, int(length.max(initial=0))):  # nothing behind the longest visit is named
        like = (category[:, :e] == category[:, e, None]) & named[:, e, None]
        before[:, e], same[:, e] = like.sum(axis=1), like[:, -1]
    return Events(
        kind=np.where(inside, np.where((kind >= 0) & (kind < OTHER), kind, OTHER), NO_EVENT),
        seconds=np.log1p(np.where(known, np.minimum(seconds, MOST_SECONDS), 0.0)).astype(np.float32),
        known=known.astype(np.float32),
        same=same,
        before=np.log1p(before),
        length=length,
    )


def checked_labels(buying: ArrayLike, visits: int) -> NDArray[np.float32]:
    """Labels [V] as float32; ``ValueError`` unless each is 0 or 1 and two visits at least have either."""
    labels = np.asarray(buying)
    if labels.shape != (visits,):
        raise ValueError(f"buying has shape {labels.shape}; allowed is one label for each of {visits} sessions")
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise ValueError("buying holds other values than 0 and 1; allowed are those two")
    ones = int(labels.sum())
    if min(ones, visits - ones) < 2:
        raise ValueError(
            f"buying is 1 in {ones} of {visits} sessions; allowed is both labels twice at least: else there is nothing to "
            "tell apart"
        )
    return labels.astype(np.float32)


class _Raw(NamedTuple):
    """Events as they came, in wide types: int64, int64 and float64 [V, E], int64 [V]."""

    kind: NDArray[np.int64]
    category: NDArray[np.int64]
    seconds: NDArray[np.float64]
    length: NDArray[np.int64]


def _of_table(table: pl.DataFrame) -> _Raw:
    columns: dict[str, pl.Series] = {}
    for name in ("kind", "category", "seconds"):
        if name not in table.columns:
            raise ValueError(f"sessions lack the column {name}; allowed are list columns kind, category and seconds")
        columns[name], dtype = table[name], table.schema[name]
        inner = dtype.inner if isinstance(dtype, pl.List) else None
        is_fit = inner is not None and (
            inner == pl.Null or (inner.is_numeric() if name == "seconds" else inner.is_integer())
        )
        if not is_fit:
            raise ValueError(f"column {name} of sessions is {dtype}; allowed is a list of numbers for each visit")
    lengths = {name: column.list.len().fill_null(0).to_numpy() for name, column in columns.items()}
    length = lengths["kind"].astype(np.int64)
    for name in ("category", "seconds"):
        odd = np.flatnonzero(lengths[name] != length)
        if len(odd):
            row = odd[0]
            raise ValueError(
                f"row {row} has {lengths[name][row]} of {name} for {length[row]} events; allowed is one each"
            )
    inside = np.arange(int(length.max(initial=0))) < length[:, None]
    kind, category = np.full(inside.shape, OTHER, np.int64), np.full(inside.shape, -1, np.int64)
    seconds = np.full(inside.shape, np.nan)
    kind[inside] = _flat(columns["kind"]).cast(pl.Int64).fill_null(OTHER).to_numpy()
    category[inside] = _flat(columns["category"]).cast(pl.Int64).fill_null(-1).to_numpy()
    seconds[inside] = _flat(columns["seconds"]).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return _Raw(kind, category, seconds, length)


def _flat(column: pl.Series) -> pl.Series:
    """All values one behind the other; an empty list would give a null."""
    return column.filter(column.list.len().fill_null(0) > 0).explode()


def _of_arrays(given: VisitEvents) -> _Raw:
    kind, category, seconds, length = (np.asarray(column) for column in tuple[Any, ...](given))
    if kind.ndim != 2 or not kind.shape == category.shape == seconds.shape or length.shape != kind.shape[:1]:
        raise ValueError(
            f"kind, category, seconds and length have shapes {kind.shape}, {category.shape}, {seconds.shape}, "
            f"{length.shape}; allowed is [V, E] three times, and [V]"
        )
    for name, column in (("kind", kind), ("category", category), ("length", length)):
        if column.dtype.kind not in "iu":
            raise ValueError(f"{name} is of type {column.dtype}; allowed are whole numbers")
    if seconds.dtype.kind not in "fiu":
        raise ValueError(f"seconds is of type {seconds.dtype}; allowed are real numbers")
    wrong = np.flatnonzero((length < 0) | (length > kind.shape[1]))
    if len(wrong):
        raise ValueError(f"length of row {wrong[0]} is {length[wrong[0]]}; allowed is 0 to {kind.shape[1]}")
    return _Raw(kind.astype(np.int64), category.astype(np.int64), seconds.astype(np.float64), length.astype(np.int64))


def _latest(given: _Raw, most: int) -> _Raw:
    """The last ``most`` events of each visit from column 0 on, [V, most]; behind a visit's end anything may stand."""
    width = given.kind.shape[1]
    if width == 0:
        nothing = np.zeros((len(given.length), most), np.int64)
        return _Raw(nothing, nothing, nothing.astype(np.float64), given.length)
    place = np.minimum(np.maximum(given.length - most, 0)[:, None] + np.arange(most), width - 1)
    kind, category = (np.take_along_axis(column, place, axis=1) for column in (given.kind, given.category))
    return _Raw(kind, category, np.take_along_axis(given.seconds, place, axis=1), np.minimum(given.length, most))
