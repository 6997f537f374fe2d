"""What a touch log's orders are owed to, under several rules of credit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.credit import METHODS, credit
from tribid.envs.attribution.paths import LOOKBACK_HOURS, build_paths
from tribid.envs.attribution.touch_file import EVENTS, read_touch_log
from tribid.envs.stages import Event
from tribid.evaluation.lift import shown_groups

TOUCHES = ("exposure", "click")
"""What a brand pays for: the touches that are credited unless one says otherwise."""


class CreditTable(NamedTuple):
    """``credit`` [C] of each rule, of ``names`` [C]; ``orders`` in the log, ``direct`` ones that no touch led to.

    ``hidden`` are how many names too few users were met under; their credit is in no row.
    """

    names: tuple[str, ...]
    credit: Mapping[str, NDArray[np.float64]]
    orders: int
    direct: int
    hidden: int

    def as_json(self) -> dict[str, Any]:
        """The table as plain JSON."""
        shares = {rule: dict(zip(self.names, given.tolist(), strict=True)) for rule, given in self.credit.items()}
        return {"orders": self.orders, "direct": self.direct, "hidden": self.hidden, "credit": shares}


def credit_table(
    path: str | Path,
    *,
    by: str = "channel",
    methods: Sequence[str] = tuple(METHODS),
    events: Sequence[str] = TOUCHES,
    lookback_hours: float = LOOKBACK_HOURS,
    value: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CreditTable:
    """The credit of each channel, brand or event (``by``) in the log at ``path``, of orders or of their ``value``.

    ``events`` are what counts as a touch; an ad shown and clicked at once counts as the click. ``ValueError`` for a log
    without such touches or without orders, and for names that are not known.
    """
    unknown = sorted(set(events) - set(EVENTS))
    if unknown:
        raise ValueError(f"events holds {unknown[0]!r}; choose {', '.join(EVENTS)}")
    log = read_touch_log(path)
    touches = log.touches.of([Event[name.upper()] for name in events]).merged()
    if not len(touches):
        raise ValueError(f"{path} has no touch of {', '.join(events)}; allowed is a log with some of the events chosen")
    if not len(log.orders):
        raise ValueError(f"{path} has no orders; allowed is a log with some rows whose event is order")
    paths = build_paths(touches, log.orders, lookback_hours=lookback_hours)
    places: dict[str, tuple[tuple[str, ...], NDArray[np.int64]]] = {
        "channel": (log.channels, paths.channel),
        "brand": (log.brands, paths.brand[paths.path]),
        "event": (EVENTS, paths.event),
    }
    if by not in places:
        raise ValueError(f"by is {by!r}; choose {', '.join(places)}")
    names, place = places[by]
    weight = paths.value[paths.path] if value else np.ones(len(paths.touch))
    told: dict[str, NDArray[np.float64]] = {}
    for done, method in enumerate(methods):
        told[method] = np.bincount(place, credit(paths, method) * weight, len(names)).astype(np.float64)
        if progress is not None:
            progress(done + 1, len(methods))
    users = _users(place, paths.user[paths.path], len(names))
    shown = (users > 0) & shown_groups(users)
    return CreditTable(
        tuple(name for name, kept in zip(names, shown.tolist(), strict=True) if kept),
        {method: given[shown] for method, given in told.items()},
        len(log.orders),
        int(paths.direct.sum()),
        int((users > 0).sum() - shown.sum()),
    )


def _users(place: NDArray[np.int64], user: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many different users were met under each name, [C]."""
    pairs = np.unique(np.column_stack([place, user]), axis=0)
    return np.bincount(pairs[:, 0], minlength=count)
