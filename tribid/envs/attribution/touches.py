"""What attribution reads: touches of consumers and brands, and orders, as plain columns of equal length."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Columns = TypeVar("_Columns", "Touches", "Orders")


@dataclass(frozen=True, kw_only=True, eq=False)
class Touches:
    """A log of touches, a row each, in any order: who, of which brand, when, through which channel, what happened.

    ``user``, ``brand``, ``channel`` and ``event`` (``tribid.envs.stages.Event``) are indices from 0 (int64), ``time_hours``
    is any finite number of hours (float64); all are [n]. ``ValueError`` names the column and the value that is none.

    An ad that was shown and clicked is two rows of one instant in a log that keeps exposures; ``merged`` makes them one.
    """

    user: NDArray[np.int64]
    brand: NDArray[np.int64]
    time_hours: NDArray[np.float64]
    channel: NDArray[np.int64]
    event: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check(self, whole=("user", "brand", "channel", "event"))

    def __len__(self) -> int:
        return len(self.user)

    def where(self, kept: ArrayLike) -> "Touches":
        """The rows that a mask [n], or an array of row numbers, names."""
        return _taken(self, np.asarray(kept))

    def of(self, events: Iterable[int]) -> "Touches":
        """The rows of these events: clicks alone give click-through credit, exposures and clicks view-through credit."""
        return self.where(np.isin(self.event, np.fromiter((int(event) for event in events), np.int64)))

    def merged(self) -> "Touches":
        """One row for each user, brand, instant and channel: that with the highest event, so a click and not its exposure.

        >>> both = Touches(user=[7, 7], brand=[0, 0], time_hours=[1.0, 1.0], channel=[2, 2], event=[0, 2])
        >>> both.merged().event.tolist()
        [2]
        """
        order = np.lexsort((self.event, self.channel, self.time_hours, self.brand, self.user))
        alike = np.ones(max(len(order) - 1, 0), np.bool_)
        for column in (self.user, self.brand, self.time_hours, self.channel):
            alike &= column[order][1:] == column[order][:-1]
        last = np.r_[~alike, True][: len(order)]
        return self.where(np.sort(order[last]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Orders:
    """A log of orders, a row each, in any order; ``value`` (finite, not negative) is in a unit of the caller's, all [m]."""

    user: NDArray[np.int64]
    brand: NDArray[np.int64]
    time_hours: NDArray[np.float64]
    value: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check(self, whole=("user", "brand"))
        if (self.value < 0).any():
            raise ValueError(f"value holds {self.value[self.value < 0][0]:g}; allowed are numbers from 0")

    def __len__(self) -> int:
        return len(self.user)

    def where(self, kept: ArrayLike) -> "Orders":
        """The rows that a mask [m], or an array of row numbers, names."""
        return _taken(self, np.asarray(kept))


def joined(*logs: _Columns) -> _Columns:
    """The rows of several logs of one kind, one after the other."""
    columns = [one.name for one in fields(logs[0])]
    return type(logs[0])(**{name: np.concatenate([getattr(log, name) for log in logs]) for name in columns})


def _taken(table: _Columns, kept: NDArray[Any]) -> _Columns:
    return type(table)(**{one.name: getattr(table, one.name)[kept] for one in fields(table)})


def _check(table: Touches | Orders, whole: tuple[str, ...]) -> None:
    """Set every column to a checked array of its type."""
    size = np.shape(table.user)
    for one in fields(table):
        given = np.asarray(getattr(table, one.name))
        if given.ndim != 1 or given.shape != size:
            raise ValueError(f"{one.name} has shape {given.shape}; allowed is one column like user, {size}")
        if given.dtype.kind not in ("iu" if one.name in whole else "iuf") and given.size:
            allowed = "whole numbers from 0" if one.name in whole else "finite numbers"
            raise ValueError(f"{one.name} is of type {given.dtype}; allowed are {allowed}")
        column: NDArray[Any] = given.astype(np.int64 if one.name in whole else np.float64)
        if one.name in whole and (column < 0).any():
            raise ValueError(f"{one.name} holds {column[column < 0][0]}; allowed are whole numbers from 0")
        if not np.isfinite(column).all():
            raise ValueError(f"{one.name} holds {column[~np.isfinite(column)][0]}; allowed are finite numbers")
        object.__setattr__(table, one.name, column)
