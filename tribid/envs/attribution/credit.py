"""Rules of credit: how an order is split over the touches of its path.

A rule is a function of paths, with settings, that returns each touch's share [n] of its order: the shares of a path that
converted sum to 1, every other touch has 0. So the shares sum to the conversions that a touch led to, and times the orders'
values to their value. ``METHODS`` has the rules by name. ``linear`` is the default, as in Alimama's purchase intent index;
40/20/40 is the usual "U" of analytics tools; the channel game is that of Zhao, Mahboobi and Bagheri (2018), "Shapley value
methods for attribution modeling in online advertising".
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.paths import Paths
from tribid.envs.attribution.shapley import MOST_PLAYERS, subgame_values

Shares = NDArray[np.float64]
CreditMethod = Callable[..., Shares]
"""Paths, and settings by name, to shares [n]."""


def first(paths: Paths) -> Shares:
    """All to the first touch."""
    return _single(paths, paths.first[:-1])


def last(paths: Paths) -> Shares:
    """All to the last touch."""
    return _single(paths, paths.first[1:] - 1)


def linear(paths: Paths) -> Shares:
    """1/n to each of n touches."""
    return np.where(paths.credited, 1.0 / np.maximum(paths.length, 1)[paths.path], 0.0)


def time_decay(paths: Paths, *, half_life_hours: float = 168.0) -> Shares:
    """A touch weighs half as much for every ``half_life_hours`` before the path's last touch; weights sum to 1."""
    if not 0.0 < half_life_hours < np.inf:
        raise ValueError(f"half_life_hours is {half_life_hours!r}; allowed are positive finite numbers")
    latest = paths.time_hours[np.maximum(paths.first[1:] - 1, 0)[paths.path]]
    return _normalised(paths, np.exp2((paths.time_hours - latest) / half_life_hours))


def position(paths: Paths, *, ends: float = 0.4) -> Shares:
    """``ends`` to the first touch, as much to the last, the rest equally to those between; of two touches half each.

    One touch has it all. ``ends`` is from 0 to 0.5.
    """
    if not 0.0 <= ends <= 0.5:
        raise ValueError(f"ends is {ends!r}; allowed are numbers from 0 to 0.5")
    length = paths.length[paths.path]
    place = np.arange(len(paths.touch)) - paths.first[:-1][paths.path]
    at_end = (place == 0) | (place == length - 1)
    share = np.where(at_end, ends, (1.0 - 2.0 * ends) / np.maximum(length - 2, 1))
    share = np.where(length == 2, 0.5, np.where(length == 1, 1.0, share))
    return np.where(paths.credited, share, 0.0)


def shapley(paths: Paths) -> Shares:
    """The Shapley value of the channels, where a coalition is worth the orders whose channels are all in it.

    That game is a sum of unanimity games, one for each order, so each order is split equally over the distinct channels of
    its path (Zhao et al.'s simplified form, exact); a channel's part is split equally over its touches on the path.
    """
    alike, channels = _channel_touches(paths)
    return np.where(paths.credited, 1.0 / (alike * np.maximum(channels, 1)[paths.path]), 0.0)


def shapley_rate(paths: Paths, *, prior_paths: float = 20.0) -> Shares:
    """The Shapley value of the channels, where a coalition is worth the share of its paths that convert.

    Unlike all others this rule looks at paths without an order: a channel that is on every path, converted or not, gains
    little. A coalition's paths are those with exactly its channels; their rate is drawn to the rate of all paths as if there
    were ``prior_paths`` more of that. A path with channels T is split by the game among T; a negative value counts as 0, and
    where no value is positive the channels share equally. At most 12 channels.
    """
    if not 0.0 < prior_paths < np.inf:
        raise ValueError(f"prior_paths is {prior_paths!r}; allowed are positive finite numbers")
    found, channel = np.unique(paths.channel, return_inverse=True)
    if len(found) > MOST_PLAYERS:
        raise ValueError(f"the paths have {len(found)} channels; allowed are at most {MOST_PLAYERS} for shapley_rate")
    members = np.zeros(len(paths), np.int64)
    np.bitwise_or.at(members, paths.path, 1 << channel)
    met = paths.length > 0
    size = 1 << len(found)
    all_paths = np.bincount(members[met], minlength=size)
    orders = np.bincount(members[met], paths.converted[met], minlength=size)
    pooled = orders.sum() / max(int(all_paths.sum()), 1)
    rate = (orders + prior_paths * pooled) / (all_paths + prior_paths)
    rate[0] = 0.0
    value = np.maximum(subgame_values(rate), 0.0)
    value[value.sum(axis=1) <= 0] = 1.0
    alike, _ = _channel_touches(paths)
    return _normalised(paths, value[members[paths.path], channel] / alike)


METHODS: dict[str, CreditMethod] = {
    "first": first,
    "last": last,
    "linear": linear,
    "time_decay": time_decay,
    "position": position,
    "shapley": shapley,
    "shapley_rate": shapley_rate,
}
"""Rules of credit by name."""

OF_ALL_PATHS = ("shapley_rate",)
"""The rules whose credit of an order depends on other paths than its own, those without an order among them."""


def credit(paths: Paths, method: str | CreditMethod = "linear", **settings: Any) -> Shares:
    """Each touch's share [n] of its order, by a rule's name, or a rule of one's own.

    ``ValueError`` names the choices for a name or a setting that is not known.

    >>> from tribid.envs.attribution.paths import build_paths
    >>> from tribid.envs.attribution.touches import Orders, Touches
    >>> touches = Touches(user=[1] * 4, brand=[0] * 4, time_hours=[0.0, 1.0, 2.0, 3.0], channel=[0, 1, 1, 2], event=[2] * 4)
    >>> paths = build_paths(touches, Orders(user=[1], brand=[0], time_hours=[3.0], value=[30.0]))
    >>> credit(paths).tolist(), credit(paths, "last").tolist()
    ([0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0])
    """
    if callable(method):
        return method(paths, **settings)
    if method not in METHODS:
        raise ValueError(f"no rule of credit named {method!r}; choose {', '.join(METHODS)}")
    rule = METHODS[method]
    allowed = [name for name in inspect.signature(rule).parameters if name != "paths"]
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ValueError(f"{method} has no setting {unknown[0]!r}; allowed are: {', '.join(allowed) or 'none'}")
    return rule(paths, **settings)


def _single(paths: Paths, chosen: NDArray[np.int64]) -> Shares:
    """All to the touch [P] that is chosen on each path."""
    out = np.zeros(len(paths.touch))
    out[chosen[paths.converted & (paths.length > 0)]] = 1.0
    return out


def _normalised(paths: Paths, weight: Shares) -> Shares:
    total = np.bincount(paths.path, weight, minlength=len(paths))
    return np.where(paths.credited, weight / np.where(total > 0, total, 1.0)[paths.path], 0.0)


def _channel_touches(paths: Paths) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many touches of its path have a touch's channel, [n]; how many channels a path has, [P]."""
    order = np.lexsort((paths.channel, paths.path))
    p, c = paths.path[order], paths.channel[order]
    starts = np.r_[True, (p[1:] != p[:-1]) | (c[1:] != c[:-1])][: len(p)]
    group = np.cumsum(starts) - 1
    alike = np.empty(len(p), np.int64)
    alike[order] = np.bincount(group)[group]
    return alike, np.bincount(p[starts], minlength=len(paths))
