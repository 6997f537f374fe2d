"""What a consumer did with a brand, as the index reads it: how often each of the eight behaviours, and how long ago."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.paths import LOOKBACK_HOURS, Paths
from tribid.envs.attribution.touches import Touches
from tribid.envs.stages import BEHAVIOURS, Event

BEHAVIOUR_NAMES = tuple(event.name.lower() for event in BEHAVIOURS)
"""View, favourite, brand search, cart, store visit, content, share, repeat visit: what the columns count from 0."""

_KIND_OF_EVENT = np.full(len(Event), -1)
_KIND_OF_EVENT[list(BEHAVIOURS)] = np.arange(len(BEHAVIOURS))


class Behaviour(NamedTuple):
    """Counts [R, 8] of each behaviour and the age in days [R, 8] of its last one (infinite without one), of R pairs.

    ``user`` and ``brand`` [R] say whose.
    """

    user: NDArray[np.int64]
    brand: NDArray[np.int64]
    counts: NDArray[np.float64]
    age_days: NDArray[np.float64]


def behaviour_at(touches: Touches, hours: float, *, window_hours: float = LOOKBACK_HOURS) -> Behaviour:
    """What each pair had done when it was ``hours``, in the window before; a row for each pair with any touch before.

    Touches of that very instant come after it.
    """
    before = touches.where(touches.time_hours < hours)
    pairs, row = np.unique(np.column_stack([before.user, before.brand]), axis=0, return_inverse=True)
    age = hours - before.time_hours
    kind = np.where(age <= window_hours, kind_of(before.event), -1)
    counts, ages = _counted(row.ravel(), kind, age / 24.0, len(pairs))
    return Behaviour(pairs[:, 0], pairs[:, 1], counts, ages)


def behaviour_of(paths: Paths) -> Behaviour:
    """What was done on each path [P], seen from its end."""
    age = (paths.end_hours[paths.path] - paths.time_hours) / 24.0
    return Behaviour(paths.user, paths.brand, *_counted(paths.path, kind_of(paths.event), age, len(paths)))


def kind_of(event: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the eight behaviours each event is, -1 for none of them."""
    kinds: NDArray[np.int64] = _KIND_OF_EVENT[event]
    return kinds


def _counted(
    row: NDArray[np.int64], kind: NDArray[np.int64], age_days: NDArray[np.float64], rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counted = kind >= 0
    cell = row[counted] * len(BEHAVIOURS) + kind[counted]
    counts = np.bincount(cell, minlength=rows * len(BEHAVIOURS)).astype(np.float64)
    age = np.full(rows * len(BEHAVIOURS), np.inf)
    np.minimum.at(age, cell, age_days[counted])
    return counts.reshape(rows, -1), age.reshape(rows, -1)
