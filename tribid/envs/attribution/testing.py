"""``check_attribution``: is this function a rule of credit? For your own as for the ones shipped here.

    from tribid.envs.attribution.testing import check_attribution
    check_attribution(my_rule)
    check_attribution(my_rule, one_touch_is_last=False)    # what it does not promise can be left out

A rule has the shape of ``tribid.envs.attribution.credit.linear``: paths in, a share for each touch out. Each promise is
checked on seeded random logs, with empty paths, touches and orders of one instant, and short lookbacks among them; a failure
is an AssertionError that names the promise, the path and the seed.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.credit import CreditMethod, credit
from tribid.envs.attribution.paths import Paths, build_paths
from tribid.envs.attribution.touches import Orders, Touches

TOLERANCE = 1e-9


def random_logs(seed: int, cases: int) -> Iterator[tuple[Touches, Orders, float]]:
    """Seeded logs with a lookback: few users and brands, whole hours, so that paths are long and instants meet."""
    rng = np.random.default_rng(seed)
    for _ in range(cases):
        n, m = int(rng.integers(0, 40)), int(rng.integers(0, 8))
        users, brands, channels = (int(rng.integers(1, most)) for most in (4, 4, 6))
        hours = int(rng.choice([3, 30, 2000]))
        touches = Touches(
            user=rng.integers(0, users, n),
            brand=rng.integers(0, brands, n),
            time_hours=rng.integers(0, hours, n).astype(np.float64),
            channel=rng.integers(0, channels, n),
            event=rng.integers(0, 11, n),
        )
        orders = Orders(
            user=rng.integers(0, users, m),
            brand=rng.integers(0, brands, m),
            time_hours=rng.integers(0, hours, m).astype(np.float64),
            value=rng.integers(0, 100, m).astype(np.float64),
        )
        yield touches, orders, float(rng.choice([1.0, 24.0, 720.0, np.inf]))


def check_attribution(
    method: str | CreditMethod, *, one_touch_is_last: bool = True, cases: int = 60, seed: int = 0, **settings: Any
) -> None:
    """Raise ``AssertionError`` for the first promise of a rule of credit that ``method`` breaks, with its ``settings``."""

    def rule(paths: Paths) -> Any:
        return credit(paths, method, **settings)

    for case, (touches, orders, lookback) in enumerate(random_logs(seed, cases)):
        where = f"case {case} of seed {seed}"
        paths = build_paths(touches, orders, lookback_hours=lookback)
        shares = _shares(rule, paths, where)
        _whole_orders(paths, shares, where)
        if one_touch_is_last:
            alone = paths.credited & (paths.length[paths.path] == 1)
            _promise((np.abs(shares[alone] - 1.0) <= TOLERANCE).all(), "a lone touch has the whole order", where)
        _same_again(rule, paths, build_paths(touches, orders, lookback_hours=lookback), shares, where)
        _nothing_else_matters(rule, touches, orders, lookback, paths, shares, where)


def _shares(rule: CreditMethod, paths: Paths, where: str) -> NDArray[np.float64]:
    """Shares are finite numbers from 0, one for each touch."""
    given = np.asarray(rule(paths))
    told = f"shares are one float for each of {len(paths.touch)} touches, not {given.dtype} of shape {given.shape}"
    _promise(given.shape == paths.touch.shape and given.dtype.kind == "f", told, where)
    _promise(bool(np.isfinite(given).all()), "shares are finite", where)
    _promise(bool((given >= -TOLERANCE).all()), f"shares are not negative, as {given.min(initial=0.0):g} is", where)
    return given.astype(np.float64)


def _whole_orders(paths: Paths, shares: NDArray[np.float64], where: str) -> None:
    """Each order is given away once, and nothing else is: in number and in value."""
    total = np.bincount(paths.path, shares, minlength=len(paths))
    wanted = (paths.converted & (paths.length > 0)).astype(np.float64)
    wrong = np.flatnonzero(np.abs(total - wanted) > TOLERANCE)
    if len(wrong):
        p = wrong[0]
        told = (
            f"the shares of path {p} ({paths.length[p]} touches, converted: {paths.converted[p]}) sum to {wanted[p]:g}"
        )
        raise AssertionError(f"{told}, not to {total[p]!r}; {where}")
    value = float((shares * paths.value[paths.path]).sum())
    owed = float((wanted * paths.value).sum())
    _promise(abs(value - owed) <= TOLERANCE * max(1.0, owed), f"value credited is {owed}, not {value}", where)


def _same_again(rule: CreditMethod, paths: Paths, fresh: Paths, shares: NDArray[np.float64], where: str) -> None:
    """A rule is a function: asked again it says the same, and it leaves its paths as they were."""
    again = np.asarray(rule(paths))
    _promise(np.array_equal(again, shares), "the same paths give the same shares", where)
    alike = all(np.array_equal(getattr(paths, one.name), getattr(fresh, one.name)) for one in fields(paths))
    _promise(alike, "paths are not changed", where)


def _nothing_else_matters(
    rule: CreditMethod, touches: Touches, orders: Orders, lookback: float, paths: Paths, shares: NDArray[np.float64],
    where: str,
) -> None:  # fmt: skip
    """Neither who the users are, nor when the log starts, nor what orders are worth changes a share."""
    renamed = replace(touches, user=touches.user + 7), replace(orders, user=orders.user + 7)
    later = replace(touches, time_hours=touches.time_hours + 512), replace(orders, time_hours=orders.time_hours + 512)
    dearer = touches, replace(orders, value=orders.value * 3.0 + 1.0)
    for told, (moved, bought) in {
        "names of users": renamed, "the log's first hour": later, "values of orders": dearer
    }.items():  # fmt: skip
        other = build_paths(moved, bought, lookback_hours=lookback)
        _promise(bool(np.array_equal(other.touch, paths.touch)), "paths themselves", where)
        found = np.asarray(rule(other))
        _promise(np.allclose(found, shares, rtol=0, atol=TOLERANCE), f"{told} do not change shares", where)


def _promise(kept: bool | np.bool_, promise: str, where: str) -> None:
    if not kept:
        raise AssertionError(f"broken promise: {promise}; {where}")
