"""The feature pipeline: from a log's columns to the arrays that every prediction model reads, the same offline and online.

`fit` learns the vocabularies and the scales of a log, `examples` turns logged impressions into `Examples`, and
`tribid.models.online_features` gives the `Batch` of a request from the same tables. Both go through `ids_and_numbers`,
so an impression's features are, bit for bit, those of the request that led to it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.models.batch import Examples, Histories, IdField, Schema
from tribid.models.feature_config import (
    SHOP_FEATURES,
    Bucket,
    FeatureConfig,
    NumberField,
    VocabularyRule,
    shop_features,
)
from tribid.models.feature_file import FeatureFile
from tribid.models.history_rows import event_values, histories_of, histories_of_arrays, history_rows
from tribid.models.scaling import Moments, Scale, numbers_of, signed_log
from tribid.models.vocabulary import Counts, hash64, whole_numbers

__all__ = [
    "SHOP_FEATURES", "Bucket", "FeatureConfig", "FeaturePipeline", "NumberField", "VocabularyRule", "shop_features",
]  # fmt: skip

CHUNK_ROWS = 1_000_000
"""Rows of a log that `fit` holds at a time."""

Frame = pl.DataFrame | pl.LazyFrame
Columns = pl.DataFrame | Mapping[str, pl.Series | NDArray[Any]]
"""A log's columns by name; arrays hold numbers."""
Side = Literal["user", "ad"]


class IdsAndNumbers(NamedTuple):
    """One side's features: ``ids`` [n, F] int32 and ``numbers`` [n, M] float32."""

    ids: NDArray[np.int32]
    numbers: NDArray[np.float32]


class FeaturePipeline:
    """Learns the features that a `FeatureConfig` declares.

    After `fit`: ``schema_`` the `Schema`, ``vocabularies_`` by name, ``scales_`` by side, in the order of its numbers.

    >>> from tribid.models.batch import IdField
    >>> config = FeatureConfig(user=(IdField(name="user", vocabulary="user"),), ad_numbers=(NumberField(name="price"),))
    >>> log = pl.DataFrame({"user": [7, 8, 7], "price": [1.0, 1.0, None], "click": [1, 0, 0]})
    >>> examples = FeaturePipeline(config=config).fit(log).examples(log, labels=("click",))
    >>> examples.user_ids.ravel().tolist(), examples.labels["click"].tolist()
    ([2, 3, 2], [1.0, 0.0, 0.0])
    """

    def __init__(self, *, config: FeatureConfig = SHOP_FEATURES) -> None:
        self.config = config

    def fit(self, frame: Frame, histories: Frame | None = None) -> Self:
        """Learn from a log and its histories; lazy frames are read in slices of ``CHUNK_ROWS``, in their order.

        Without ``histories`` the list columns of the history stand in the log itself. A value counts once for each time
        it stands in the log or in a history. Raises ValueError for a log without rows, for missing columns, and
        for columns of the wrong kind.
        """
        counts = {field.vocabulary: Counts(field.vocabulary) for field in self._fields()}
        moments = {side: [Moments()] * len(self._numbers(side)) for side in ("user", "ad")}
        rows = 0
        for chunk in slices(frame):
            rows += chunk.height
            for side in moments:
                self._count_ids(counts, chunk, side)
                for place, field in enumerate(self._numbers(side)):
                    numbers = numbers_of(_column(chunk, field.name))
                    scaled = signed_log(numbers) if field.scale == "log" else numbers
                    moments[side][place] = moments[side][place].and_those_of(scaled)
            if histories is None:
                self._count_events(counts, chunk)
        if not rows:
            raise ValueError("the log has no rows: there is nothing to learn features from")
        for chunk in slices(histories) if histories is not None else ():
            self._count_events(counts, chunk)
        self.vocabularies_ = {
            name: count.vocabulary(min_count=self._rule(name).min_count, hash_rows=self._rule(name).hash_rows)
            for name, count in counts.items()
        }
        self.scales_ = {
            side: [
                Scale.of(one, log=field.scale == "log")
                for one, field in zip(moments[side], self._numbers(side), strict=True)
            ]
            for side in moments
        }
        return self

    @property
    def schema_(self) -> Schema:
        """The columns of every batch. Raises ValueError before `fit`."""
        self._check_fitted()
        config = self.config
        return Schema(
            vocabularies={name: vocabulary.rows for name, vocabulary in self.vocabularies_.items()},
            user=config.user,
            ad=config.ad,
            history=config.history,
            targets=config.targets,
            user_numbers=_number_names(config.user_numbers),
            ad_numbers=_number_names(config.ad_numbers),
            history_length=config.history_length if config.history else 0,
        )

    def ids_and_numbers(self, frame: Columns, side: Side, rows: int = 0) -> IdsAndNumbers:
        """Return one side's features of n rows (``rows`` where no frame says how many); each depends on itself alone.

        Unknown categories have the id 1, missing numbers are 0 (the mean). Raises ValueError for missing columns and
        for columns of another kind than in training.
        """
        self._check_fitted()
        ids = [self.ids_of(frame, field) for field in getattr(self.config, side)]
        numbers = [
            column for place in range(len(self._numbers(side))) for column in self.numbers_of(frame, side, place)
        ]
        height = frame.height if isinstance(frame, pl.DataFrame) else rows
        return IdsAndNumbers(_table(ids, height, np.int32), _table(numbers, height, np.float32))

    def ids_of(self, frame: Columns, field: IdField) -> NDArray[np.int32]:
        """Return one field's ids, [n]."""
        vocabulary, column = self.vocabularies_[field.vocabulary], self._id_column(frame, field)
        return vocabulary.ids(column) if isinstance(column, pl.Series) else vocabulary.ids_of_array(column, field.name)

    def numbers_of(self, frame: Columns, side: Side, place: int) -> list[NDArray[np.float32]]:
        """Return the scaled numbers [n] of the side's numeric column at `place`, and what is missing if it asks for it."""
        field = self._numbers(side)[place]
        plain = numbers_of(_column(frame, field.name))
        scaled = self.scales_[side][place](plain)
        return [scaled, (~np.isfinite(plain)).astype(np.float32)] if field.missing else [scaled]

    def histories(self, frame: pl.DataFrame | None) -> Histories:
        """Return the histories of a frame with list columns, and one that is empty behind them: R + 1 rows.

        Each keeps its ``history_length`` most recent events, oldest first. None, and a config without history, gives the
        empty one alone. Raises ValueError, which names the row, for lists of unequal length, for events after the
        request (a negative age: the future would leak) and for events that are not sorted from old to new.
        """
        self._check_fitted()
        return histories_of(frame, self.config, self.vocabularies_)

    def histories_of_arrays(self, events: Mapping[str, NDArray[Any]], length: NDArray[np.integer]) -> Histories:
        """`histories` of R histories in arrays [R, E] by column, the first ``length`` [R] events of each, oldest first."""
        self._check_fitted()
        return histories_of_arrays(events, length, self.config, self.vocabularies_)

    def examples(
        self,
        frame: pl.DataFrame,
        histories: pl.DataFrame | None = None,
        *,
        labels: Sequence[str] = ("click",),
        extra: Sequence[str] = (),
    ) -> Examples:
        """Return logged impressions as `Examples`; ``labels`` and ``extra`` name columns of the log.

        An impression whose history is null or -1 has an empty one. Raises ValueError, which names column and row, for a
        label that is missing or not finite, and for a row of histories that does not exist.
        """
        user, ad = self.ids_and_numbers(frame, "user"), self.ids_and_numbers(frame, "ad")
        inline = histories is None and bool(self.config.history)
        table = self.histories(frame if inline else histories)
        if inline:
            which = np.arange(frame.height, dtype=np.int64)
        elif self.config.history:
            which = history_rows(_column(frame, self.config.history_row), len(table.length) - 1)
        else:
            which = np.zeros(frame.height, dtype=np.int64)
        return Examples(
            schema=self.schema_,
            user_ids=user.ids,
            user_numbers=user.numbers,
            ad_ids=ad.ids,
            ad_numbers=ad.numbers,
            history=which,
            histories=table,
            labels={name: _label(frame, name) for name in labels},
            group=self._groups(frame),
            extra={name: _extra(frame, name) for name in extra},
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write what was learnt into the folder (made where absent), as ``features.json``; whole or not at all."""
        self._check_fitted()
        FeatureFile(config=self.config, vocabularies=self.vocabularies_, scales=self.scales_).write(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a pipeline back. Raises ValueError, which names the file and what is wrong, for one that is not whole."""
        saved = FeatureFile.read(folder)
        pipeline = cls(config=saved.config)
        pipeline.vocabularies_, pipeline.scales_ = saved.vocabularies, saved.scales
        return pipeline

    def _fields(self) -> tuple[IdField, ...]:
        return (*self.config.user, *self.config.ad, *self.config.history)

    def _numbers(self, side: str) -> tuple[NumberField, ...]:
        return self.config.user_numbers if side == "user" else self.config.ad_numbers

    def _rule(self, vocabulary: str) -> VocabularyRule:
        return self.config.vocabularies.get(vocabulary, VocabularyRule())

    def _count_ids(self, counts: dict[str, Counts], chunk: pl.DataFrame, side: str) -> None:
        for field in getattr(self.config, side):
            keep = self._rule(field.vocabulary).hash_rows is None
            counts[field.vocabulary].add(pl.Series(field.name, self._id_column(chunk, field)), keep=keep)

    def _count_events(self, counts: dict[str, Counts], chunk: pl.DataFrame) -> None:
        for field in self.config.history:
            keep = self._rule(field.vocabulary).hash_rows is None
            counts[field.vocabulary].add(event_values(chunk, field.name), keep=keep)

    def _id_column(self, frame: Columns, field: IdField) -> pl.Series | NDArray[Any]:
        bucket = self.config.buckets.get(field.name)
        if bucket is None:
            return _column(frame, field.name)
        numbers = numbers_of(_column(frame, bucket.column))
        finite = np.isfinite(numbers)
        known = np.where(finite, numbers, 0.0)
        folded = known if bucket.period is None else np.mod(known, bucket.period)
        floored = np.floor(folded / bucket.width).astype(np.int64)
        return floored if finite.all() else pl.Series(field.name, floored).set(pl.Series(~finite), None)

    def _groups(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """Whose each impression is: whole numbers as they are, texts by a hash, -1 where it is missing."""
        if not self.config.group:
            return np.zeros(frame.height, dtype=np.int64)
        values = _column(frame, self.config.group)
        if values.dtype.is_integer():
            return whole_numbers(values, null=-1)
        groups = (hash64(values) >> np.uint64(1)).astype(np.int64)
        return np.where(values.is_null().to_numpy(), np.int64(-1), groups)

    def _check_fitted(self) -> None:
        if not hasattr(self, "vocabularies_"):
            raise ValueError("this FeaturePipeline has learnt nothing yet: call fit first")


def slices(frame: Frame, rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Yield a frame in slices of at most `rows` rows, in its order; a lazy frame is read slice by slice."""
    if isinstance(frame, pl.DataFrame):
        yield from frame.iter_slices(rows)
        return
    start = 0
    while (part := frame.slice(start, rows).collect()).height:
        yield part
        start += part.height


def _table(columns: Sequence[NDArray[Any]], height: int, dtype: type[np.generic]) -> NDArray[Any]:
    """The columns [height] side by side, [height, F]."""
    table = np.empty((height, len(columns)), dtype=dtype)
    for place, column in enumerate(columns):
        table[:, place] = column
    return table


@overload
def _column(frame: pl.DataFrame, name: str) -> pl.Series: ...
@overload
def _column(frame: Columns, name: str) -> pl.Series | NDArray[Any]: ...
def _column(frame: Columns, name: str) -> pl.Series | NDArray[Any]:
    names = frame.columns if isinstance(frame, pl.DataFrame) else list(frame)
    if name not in names:
        raise ValueError(f"the data lacks the column {name}; it has {', '.join(names)}")
    return frame[name]


def _number_names(fields: tuple[NumberField, ...]) -> tuple[str, ...]:
    return tuple(name for one in fields for name in ((one.name, f"{one.name}_missing") if one.missing else (one.name,)))


def _label(frame: pl.DataFrame, name: str) -> NDArray[np.float32]:
    values = numbers_of(_column(frame, name))
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(f"the label {name} is missing or not finite in row {int(np.flatnonzero(wrong)[0])}")
    return values.astype(np.float32)


def _extra(frame: pl.DataFrame, name: str) -> NDArray[np.generic]:
    values = _column(frame, name)
    if not values.dtype.is_numeric() and values.dtype != pl.Boolean:
        raise ValueError(f"column {name} holds {values.dtype}; further columns are numbers or booleans")
    column: NDArray[np.generic] = values.to_numpy()
    return column
