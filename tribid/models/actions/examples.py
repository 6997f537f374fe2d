"""Events of proposed actions as examples to learn from: what was viewed, and taken in time, or not.

An episode is what one user does about one action within the optimisation period (14 days) of the first event. It is an
example of label 1 if the action was taken in it, else 0. So a view without a taken within the period is a negative, however
often the action was viewed. An episode that a view began and whose period is not over says nothing yet: it is left out
even where the action was taken already, for of young episodes the taken ones alone are known, and a model that learnt
from them would promise too much. Only events of the last six weeks count, and the episodes that begin in them; where those
begin follows from older events, too. Periods and thresholds are those that Amazon Personalize documents; episodes are ours.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY_MS: Final = 86_400_000
KINDS: Final = ("viewed", "not_taken", "taken")
"""What an event's kind counts; later ones say more."""

VIEWED, NOT_TAKEN, TAKEN = range(3)


class ActionEvents(NamedTuple):
    """N events: ``user``, ``action`` [N] int64 indices, ``kind`` [N] of ``KINDS``, ``time_ms`` [N] and ``features`` [N, F].

    Features are the user's as the action was proposed, before the user answered.
    """

    user: NDArray[np.int64]
    action: NDArray[np.int64]
    kind: NDArray[np.int8]
    time_ms: NDArray[np.int64]
    features: NDArray[np.float32]


class ActionExamples(NamedTuple):
    """E examples: ``user``, ``action``, ``label`` [E], ``start_ms`` [E] of the episode, ``features`` [E, F].

    ``counts`` [A, 3] are the events of the window by kind, ``young`` [A] the episodes that are not over.
    """

    user: NDArray[np.int64]
    action: NDArray[np.int64]
    label: NDArray[np.float32]
    start_ms: NDArray[np.int64]
    features: NDArray[np.float32]
    counts: NDArray[np.int64]
    young: NDArray[np.int64]


def examples_of(
    events: ActionEvents, actions: int, *, until_ms: int, period_days: float = 14.0, window_days: float = 42.0
) -> ActionExamples:
    """The examples that events of ``actions`` actions give at the time ``until_ms``; later events are left out.

    The order of the events does not matter. ``ValueError`` for shapes and indices that do not fit, and for periods that are
    not above 0 or longer than the window.
    """
    _check(events, actions, period_days, window_days)
    period_ms, window_ms = round(period_days * DAY_MS), round(window_days * DAY_MS)
    kept = np.flatnonzero(events.time_ms <= until_ms)
    order = kept[np.lexsort((events.kind[kept], events.time_ms[kept], events.action[kept], events.user[kept]))]
    first, label = _episodes(events, order, period_ms)
    start = events.time_ms[first]
    is_lately = start > until_ms - window_ms
    is_young = (events.kind[first] == VIEWED) & (start + period_ms > until_ms)
    young = np.bincount(events.action[first[is_young]], minlength=actions)
    first, label = first[is_lately & ~is_young], label[is_lately & ~is_young]
    lately = order[events.time_ms[order] > until_ms - window_ms]
    counts = np.zeros((actions, len(KINDS)), np.int64)
    np.add.at(counts, (events.action[lately], events.kind[lately].astype(np.int64)), 1)
    return ActionExamples(
        user=events.user[first], action=events.action[first], label=label, start_ms=events.time_ms[first],
        features=events.features[first], counts=counts, young=young,
    )  # fmt: skip


def enough(counts: NDArray[np.int64], *, min_taken: int = 50, min_other: int = 50) -> NDArray[np.bool_]:
    """Which actions [A] have the events that a model needs: taken ones, and not taken or viewed ones.

    >>> enough(np.array([[50, 0, 50], [30, 20, 50], [90, 9, 49], [49, 0, 90]])).tolist()
    [True, True, False, False]
    """
    answer: NDArray[np.bool_] = (counts[:, TAKEN] >= min_taken) & (
        counts[:, NOT_TAKEN] + counts[:, VIEWED] >= min_other
    )
    return answer


def _episodes(
    events: ActionEvents, order: NDArray[np.int64], period_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first event [E] of every episode of the sorted events, and whether the action was taken in it [E]."""
    first: list[int] = []
    label: list[bool] = []
    whose, ends = (-1, -1), 0
    columns = (events.user, events.action, events.kind, events.time_ms)
    for place, user, action, kind, time_ms in zip(
        order.tolist(), *(column[order].tolist() for column in columns), strict=True
    ):
        if (user, action) != whose or time_ms >= ends or label[-1]:
            first.append(place)
            label.append(False)
            whose, ends = (user, action), time_ms + period_ms
        label[-1] = kind == TAKEN
    return np.array(first, np.int64), np.array(label, np.float32)


def _check(events: ActionEvents, actions: int, period_days: float, window_days: float) -> None:
    count = len(events.user)
    for name, values in events._asdict().items():
        if len(values) != count or values.ndim != (2 if name == "features" else 1):
            raise ValueError(f"{name} has shape {values.shape}; allowed is one for each of {count} events")
    for name, most in (("action", actions), ("kind", len(KINDS))):
        values = getattr(events, name)
        if count and (values.min() < 0 or values.max() >= most):
            raise ValueError(f"{name} holds {values.min()} to {values.max()}; allowed is 0 to {most - 1}")
    if not np.isfinite(events.features).all():
        raise ValueError("features hold what is no finite number; allowed are finite numbers")
    if not 0 < period_days <= window_days <= 3660:
        raise ValueError(
            f"period_days is {period_days} and window_days {window_days}; "
            "allowed is a period above 0, no longer than the window, which has at most 3660 days"
        )
