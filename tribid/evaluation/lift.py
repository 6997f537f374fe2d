"""Lift: what a campaign did to a measure such as the purchase intent index, against users that it left out.

The control group is drawn by a hash of the user before the campaign (``tribid.envs.attribution.control_group.held_out``), so
that both groups are alike but for the campaign and the difference of their means is its effect. Where the measure is known
from before as well, the difference of each user's change takes out what the groups differed in already, and much of the
users' spread. Groups of fewer than 50 users are never told: a mean of few says something of each.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from tribid.envs.given import check_whole, is_number
from tribid.evaluation.statistics import Interval

LEAST_USERS = 50
"""Groups of fewer users than this are hidden, here and wherever else results tell of groups of users."""

_CHUNK = 4_000_000


class Lift(NamedTuple):
    """A campaign's effect on a measure.

    ``difference`` is treated minus control (of changes, where a period before is known), in the measure's unit;
    ``relative`` the same over what treated users would have had without the campaign, None where that is not above zero.
    ``treated_mean`` and ``control_mean`` are of the period after.
    """

    treated_users: int
    control_users: int
    treated_mean: float
    control_mean: float
    difference: Interval
    relative: Interval | None


def lift(
    treated: ArrayLike,
    control: ArrayLike,
    *,
    treated_before: ArrayLike | None = None,
    control_before: ArrayLike | None = None,
    confidence: float = 0.95,
    interval: Literal["welch", "bootstrap"] = "welch",
    resamples: int = 2000,
    seed: int = 0,
) -> Lift:
    """The lift of treated users [n] against control users [m], one number a user.

    With both ``before``s, of the same users, it is a difference in differences. ``welch`` is Welch's t for the difference
    and the delta method for the ratio; ``bootstrap`` the percentiles of resampled users, for measures that are far from
    normal. ``ValueError`` for groups under 50 users, for numbers that are not finite, and for one ``before`` alone.

    >>> told = lift([3.0, 5.0] * 25, [2.0, 4.0] * 25)
    >>> told.difference.point, round(told.relative.point, 3)
    (1.0, 0.333)
    """
    check_whole("resamples", resamples, 2**31, least=1)
    check_whole("seed", seed, 2**63)
    if not is_number(confidence) or not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence!r}; allowed is above 0 and below 1, such as 0.95")
    if interval not in ("welch", "bootstrap"):
        raise ValueError(f"interval is {interval!r}; choose welch, bootstrap")
    groups = [_group("treated", treated, treated_before), _group("control", control, control_before)]
    if groups[0].shape[1] != groups[1].shape[1]:
        raise ValueError("a measure before is given of one group only; allowed is that of both, or none")
    difference, base = (float(one) for one in _effect(*(group.mean(axis=0) for group in groups)))
    ends = _welch(groups, confidence) if interval == "welch" else _bootstrap(groups, confidence, resamples, seed)
    relative = Interval(difference / base, *ends[1]) if base > 0 and ends[1] is not None else None
    return Lift(
        len(groups[0]), len(groups[1]), float(groups[0][:, 0].mean()), float(groups[1][:, 0].mean()),
        Interval(difference, *ends[0]), relative,
    )  # fmt: skip


def lift_by(
    value: ArrayLike,
    treated: ArrayLike,
    group: ArrayLike,
    *,
    before: ArrayLike | None = None,
    **settings: Any,
) -> Mapping[Any, Lift | None]:
    """The lift within each group of users, None where treated or control users of it are under 50.

    ``value`` and ``before`` [n] are the measure, ``treated`` [n] says who was, ``group`` [n] which group each user is of. No
    total is given beside the groups, from which a hidden one could be had by taking away the others.
    """
    values, chosen, names = np.asarray(value, np.float64), np.asarray(treated), np.asarray(group)
    earlier = None if before is None else np.asarray(before, np.float64)
    for name, column in (("treated", chosen), ("group", names), ("before", values if earlier is None else earlier)):
        if column.shape != values.shape or values.ndim != 1:
            raise ValueError(f"{name} has shape {column.shape}; allowed is one for each of {values.shape} values")
    if chosen.dtype != np.bool_:
        raise ValueError(f"treated is of type {chosen.dtype}; allowed are true and false")
    told: dict[Any, Lift | None] = {}
    for one in np.unique(names).tolist():
        sides = [(names == one) & chosen, (names == one) & ~chosen]
        if min(side.sum() for side in sides) < LEAST_USERS:
            told[one] = None
            continue
        past: dict[str, Any] = {}
        if earlier is not None:
            past = {"treated_before": earlier[sides[0]], "control_before": earlier[sides[1]]}
        told[one] = lift(values[sides[0]], values[sides[1]], **past, **settings)
    return told


def shown_groups(users: ArrayLike) -> NDArray[np.bool_]:
    """Which groups [C] of so many users may be told beside the sum of all: those of ``LEAST_USERS`` or more, and empty ones.

    What is hidden can be had together by taking the rest from the sum. So where some are hidden, the smallest of the others
    that has users is hidden, too, and what can be had rests on 50 users or more.

    >>> shown_groups([70, 0, 12, 300]).tolist()
    [False, True, False, True]
    """
    size = np.asarray(users)
    shown: NDArray[np.bool_] = (size >= LEAST_USERS) | (size == 0)
    told = shown & (size > 0)
    if not shown.all() and told.any():
        shown[np.argmin(np.where(told, size, size.max() + 1))] = False
    return shown


def _group(name: str, after: ArrayLike, before: ArrayLike | None) -> NDArray[np.float64]:
    """The users' numbers [n, 1], or [n, 2] with those before."""
    columns = [np.asarray(one, np.float64) for one in (after, before) if one is not None]
    if columns[0].ndim != 1 or any(one.shape != columns[0].shape for one in columns):
        raise ValueError(f"{name} have shapes {[one.shape for one in columns]}; allowed is one number for each user")
    if len(columns[0]) < LEAST_USERS:
        raise ValueError(
            f"there are {len(columns[0])} {name} users; allowed are {LEAST_USERS} or more, fewer are hidden"
        )
    table = np.column_stack(columns)
    if not np.isfinite(table).all():
        raise ValueError(f"{name} holds {table[~np.isfinite(table)][0]}; allowed are finite numbers")
    return table


def _effect(treated: Any, control: Any) -> Any:
    """Difference and base of group means [..., 1 or 2]: the base is what the treated would have had without the campaign."""
    difference = treated[..., 0] - control[..., 0]
    if treated.shape[-1] == 2:
        difference = difference - (treated[..., 1] - control[..., 1])
    return difference, treated[..., 0] - difference


def _welch(groups: list[NDArray[np.float64]], confidence: float) -> Any:
    """Limits of the difference by Welch's t (Satterthwaite's degrees), of the ratio by the delta method."""
    changes = [g[:, 0] - (g[:, 1] if g.shape[1] == 2 else 0.0) for g in groups]
    parts = np.array([c.var(ddof=1) / len(c) for c in changes])
    sizes = np.array([len(c) for c in changes])
    difference, base = _effect(*(g.mean(axis=0) for g in groups))
    spread = parts.sum()
    degrees = spread**2 / (parts**2 / (sizes - 1)).sum() if spread > 0 else np.inf
    wide = float(t.ppf(0.5 + confidence / 2.0, degrees)) * np.sqrt(spread)
    plain = (float(difference - wide), float(difference + wide))
    if not base > 0:
        return plain, None
    # The delta method: ratio = difference / base moves by (d difference - ratio * d base) / base, user by user.
    ratio, share = difference / base, []
    for sign, g, change in zip((1.0, -1.0), groups, changes, strict=True):
        in_base = (g[:, 0] if sign > 0 else 0.0) - sign * change
        share.append((sign * change - ratio * in_base).var(ddof=1) / len(g))
    wide = float(norm.ppf(0.5 + confidence / 2.0)) * np.sqrt(sum(share)) / base
    return plain, (float(ratio - wide), float(ratio + wide))


def _bootstrap(groups: list[NDArray[np.float64]], confidence: float, resamples: int, seed: int) -> Any:
    """Percentiles over resampled users; no limits of the ratio where the base of a resample is not above 0."""
    rng, means = np.random.default_rng(seed), []
    for g in groups:
        step = max(1, _CHUNK // len(g))
        sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
        means.append(np.concatenate([g[rng.integers(len(g), size=(size, len(g)))].mean(axis=1) for size in sizes]))
    difference, base = _effect(*means)
    ends = [0.5 - confidence / 2.0, 0.5 + confidence / 2.0]
    plain = tuple(float(end) for end in np.quantile(difference, ends))
    if not (base > 0).all():
        return plain, None
    return plain, tuple(float(end) for end in np.quantile(difference / base, ends))
