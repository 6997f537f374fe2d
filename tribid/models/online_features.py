"""Features online: the batch of a request from tables that were made once, by gathers alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tribid.models.batch import PADDING, Batch, Histories
from tribid.models.features import FeaturePipeline
from tribid.models.history_rows import history_rows

Column = NDArray[Any] | Sequence[Any] | pl.Series
"""One value per request, [B]."""


class OnlineFeatures:
    """Gives a `Batch` for B requests with N candidates each, with the very numbers that `FeaturePipeline.examples` gives.

    ``ads`` has one row per ad; a candidate is the index of a row, and -1 is padding. ``histories`` is a frame with list
    columns or `Histories` that `FeaturePipeline.histories` made. ``changing`` names those of the ad's columns that come
    with each request instead (a creative, a price of the minute); ``ads`` may lack them.

    >>> from tribid.models.batch import IdField
    >>> from tribid.models.features import FeatureConfig
    >>> config = FeatureConfig(
    ...     user=(IdField(name="user", vocabulary="user"),), ad=(IdField(name="item", vocabulary="item"),)
    ... )
    >>> log = pl.DataFrame({"user": [7, 8], "item": [30, 40]})
    >>> online = OnlineFeatures(FeaturePipeline(config=config).fit(log), log.select("item"))
    >>> online.batch({"user": [8]}, [[1, 0, -1]]).ad_ids[0, :, 0].tolist()
    [3, 2, 0]
    """

    def __init__(
        self,
        pipeline: FeaturePipeline,
        ads: pl.DataFrame,
        histories: pl.DataFrame | Histories | None = None,
        *,
        changing: Sequence[str] = (),
    ) -> None:
        wanted = pipeline.config.columns("ad")
        if stray := [name for name in changing if name not in wanted]:
            raise ValueError(f"changing names {stray[0]!r}, allowed are columns of the ad: {', '.join(wanted)}")
        self.pipeline = pipeline
        self.changing = tuple(changing)
        missing = [pl.lit(None).alias(name) for name in changing]
        table = pipeline.ids_and_numbers(ads.with_columns(missing), "ad")
        # The row behind the last ad is padding, so that the candidate -1 finds it.
        self._ids = np.concatenate([table.ids, np.full((1, table.ids.shape[1]), PADDING, dtype=np.int32)])
        self._numbers = np.concatenate([table.numbers, np.zeros((1, table.numbers.shape[1]), dtype=np.float32)])
        self._ads = ads.height
        self.histories = histories if isinstance(histories, Histories) else pipeline.histories(histories)

    def with_histories(self, histories: pl.DataFrame | Histories | None) -> "OnlineFeatures":
        """The same ads with other histories, such as the next day's."""
        other = object.__new__(OnlineFeatures)
        other.__dict__.update(self.__dict__)
        other.histories = histories if isinstance(histories, Histories) else self.pipeline.histories(histories)
        return other

    def batch(
        self,
        users: Mapping[str, Column],
        candidates: ArrayLike,
        history: Column | None = None,
        changing: Mapping[str, ArrayLike] | None = None,
    ) -> Batch:
        """Return the batch of B requests.

        ``users`` holds the user's columns of the log by name, each [B]; ``candidates`` [B, N] are rows of the ads, -1 for
        none; ``history`` [B] are rows of the histories, -1 for an empty one (as for all, where it is left out);
        ``changing`` holds the columns [B, N] that change with the request. Raises ValueError for missing columns, for
        shapes that do not fit, and for rows that do not exist.
        """
        shown = np.asarray(candidates)
        if shown.ndim != 2 or shown.dtype.kind not in "iu":
            raise ValueError(
                f"candidates have the shape {shown.shape} of {shown.dtype}, allowed are whole numbers [B, N]"
            )
        if shown.size and (shown.min() < -1 or shown.max() >= self._ads):
            raise ValueError(f"candidates must be from -1 to {self._ads - 1}, the rows of the ads")
        user = self.pipeline.ids_and_numbers(self._user_columns(users, len(shown)), "user", len(shown))
        which = self._history_rows(history, len(shown))
        ids, numbers = np.take(self._ids, shown, axis=0), np.take(self._numbers, shown, axis=0)
        if self.changing or changing:
            self._change(ids, numbers, shown, changing or {})
        return Batch(
            user_ids=user.ids,
            user_numbers=user.numbers,
            history_ids=self.histories.ids[which],
            history_age=self.histories.age[which],
            history_length=self.histories.length[which],
            ad_ids=ids,
            ad_numbers=numbers,
        )

    def _user_columns(self, users: Mapping[str, Column], size: int) -> dict[str, pl.Series | NDArray[Any]]:
        columns = {}
        for name in self.pipeline.config.columns("user"):
            if name not in users:
                raise ValueError(f"users lack the column {name}; they have {', '.join(users)}")
            values = _column(name, users[name])
            if len(values) != size:
                raise ValueError(f"users have {len(values)} rows in {name}, and there are {size} requests")
            columns[name] = values
        return columns

    def _history_rows(self, history: Column | None, size: int) -> NDArray[np.int64]:
        last = len(self.histories.length) - 1
        if history is None:
            return np.full(size, last, dtype=np.int64)
        values = _column("history", history)
        whole = isinstance(values, pl.Series) or values.dtype.kind in "iu"
        rows = history_rows(values if whole else pl.Series("history", values), last)
        if rows.shape != (size,):
            raise ValueError(f"history has the shape {rows.shape}, and there are {size} requests")
        return rows

    def _change(
        self,
        ids: NDArray[np.int32],
        numbers: NDArray[np.float32],
        shown: NDArray[np.integer],
        columns: Mapping[str, ArrayLike],
    ) -> None:
        """Put the features of the columns that came with the requests in their places."""
        if set(columns) != set(self.changing):
            raise ValueError(f"the request brings the columns {sorted(columns)}, wanted are {sorted(self.changing)}")
        flat = {name: np.asarray(values) for name, values in columns.items()}
        for name, values in flat.items():
            if values.shape != shown.shape:
                raise ValueError(f"{name} has the shape {values.shape}, and candidates {shown.shape}")
        frame = {name: _column(name, values.ravel()) for name, values in flat.items()}
        present = shown >= 0
        config = self.pipeline.config
        for place, field in enumerate(config.ad):
            if config.source(field) in flat:
                new = self.pipeline.ids_of(frame, field).reshape(shown.shape)
                ids[..., place] = np.where(present, new, PADDING)
        column = 0
        for place, number in enumerate(config.ad_numbers):
            if number.name in flat:
                for offset, scaled in enumerate(self.pipeline.numbers_of(frame, "ad", place)):
                    numbers[..., column + offset] = np.where(present, scaled.reshape(shown.shape), 0.0)
            column += 2 if number.missing else 1


def _column(name: str, values: Column) -> pl.Series | NDArray[Any]:
    """A column as it came where it is an array of numbers: making a series of it would cost more than all the rest."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iuf":
        return values
    return pl.Series(name, values)
