"""Attribution as one would do it by hand, row by row: what the fast one is held equal to. Slow, and plain to read."""

from itertools import combinations
from math import factorial
from typing import NamedTuple

from tribid.envs.attribution.touches import Orders, Touches


class Path(NamedTuple):
    """One path: the rows of its touches in the log, oldest first, and the row of its order, -1 without one."""

    touches: list[int]
    order: int


def paths_by_hand(touches: Touches, orders: Orders, lookback_hours: float) -> list[Path]:
    """The paths of a log, in order of user, brand and time; ``tribid.envs.attribution.paths`` has the rules."""
    pairs = sorted({*zip(touches.user, touches.brand, strict=True), *zip(orders.user, orders.brand, strict=True)})
    paths: list[Path] = []
    for user, brand in pairs:
        mine = [i for i in range(len(touches)) if touches.user[i] == user and touches.brand[i] == brand]
        bought = [j for j in range(len(orders)) if orders.user[j] == user and orders.brand[j] == brand]
        mine.sort(key=lambda i: float(touches.time_hours[i]))
        bought.sort(key=lambda j: float(orders.time_hours[j]))
        for order in bought:
            at = orders.time_hours[order]
            before = [i for i in mine if touches.time_hours[i] <= at]
            mine = mine[len(before) :]
            expired = [i for i in before if at - touches.time_hours[i] > lookback_hours]
            if expired:
                paths.append(Path(expired, -1))
            paths.append(Path(before[len(expired) :], order))
        if mine:
            paths.append(Path(mine, -1))
    return paths


def shares_by_hand(
    path: Path, touches: Touches, method: str, *, half_life_hours: float = 168.0, ends: float = 0.4
) -> list[float]:
    """The share of each touch of one path under first, last, linear, time_decay, position or shapley."""
    n = len(path.touches)
    if path.order < 0 or n == 0:
        return [0.0] * n
    if method == "first":
        return [1.0] + [0.0] * (n - 1)
    if method == "last":
        return [0.0] * (n - 1) + [1.0]
    if method == "linear":
        return [1.0 / n] * n
    if method == "time_decay":
        times = [float(touches.time_hours[i]) for i in path.touches]
        weights = [0.5 ** ((times[-1] - time) / half_life_hours) for time in times]
        return [weight / sum(weights) for weight in weights]
    if method == "position":
        if n <= 2:
            return [1.0 / n] * n
        return [ends] + [(1.0 - 2.0 * ends) / (n - 2)] * (n - 2) + [ends]
    channels = [int(touches.channel[i]) for i in path.touches]
    return [1.0 / (len(set(channels)) * channels.count(channel)) for channel in channels]


def shapley_by_hand(worth: dict[frozenset[int], float], players: list[int]) -> dict[int, float]:
    """The Shapley value by its definition: what a player adds to each coalition of others, weighted by orders of arrival."""
    n = len(players)
    value = dict.fromkeys(players, 0.0)
    for player in players:
        others = [one for one in players if one != player]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for joined in combinations(others, size):
                value[player] += weight * (worth[frozenset({*joined, player})] - worth[frozenset(joined)])
    return value
