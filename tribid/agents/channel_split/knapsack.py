"""The multi-choice knapsack: one level for each channel within a budget; its relaxation, its optimum and the hull greedy.

``max sum_c v[c, l_c]`` with one level ``l_c`` per channel and ``sum_c cost[c, l_c] <= budget``. The LP relaxation mixes
levels and bounds the optimum from above. Greedy over the concave hulls of the channels, by gain per micro, solves the
LP exactly and mixes at most one channel (Sinha, Zoltners, "The multiple-choice knapsack problem", Operations Research
1979, cited from memory; the tests compare it with HiGHS).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Menu(NamedTuple):
    """The levels of C channels: ``cost_micros`` [C, L], rising from 0 along each row, and what each is worth, [C, L]."""

    cost_micros: Ints
    value: Floats


class Choice(NamedTuple):
    """How much of each level, ``weight`` [C, L] with rows that sum to 1; what it is worth; what it costs, in micros."""

    weight: Floats
    value: float
    cost_micros: float


def menu(cost_micros: ArrayLike, value: ArrayLike) -> Menu:
    """A checked menu; costs [L] may be shared by all channels. ``ValueError`` says what is wrong."""
    worth = np.array(value, np.float64)
    cost = np.asarray(cost_micros)
    if worth.ndim != 2 or cost.dtype.kind not in "iu" or cost.shape not in (worth.shape, worth.shape[1:]):
        raise ValueError(
            f"cost_micros is {cost.dtype} of shape {cost.shape}, value of shape {worth.shape}; allowed are whole micros "
            "[C, L] or [L], and values [C, L]"
        )
    cost = np.broadcast_to(cost, worth.shape).astype(np.int64)
    if (cost[:, 0] != 0).any() or (np.diff(cost, axis=1) <= 0).any():
        raise ValueError("cost_micros: allowed is a first level that costs 0, and then more for each next one")
    if not np.isfinite(worth).all():
        raise ValueError("value holds numbers that are not finite; allowed are finite numbers")
    return Menu(cost, worth)


def relaxed(offers: Menu, budget_micros: int) -> Choice:
    """The LP relaxation, by HiGHS: an upper bound of every choice within the budget."""
    _check_budget(budget_micros)
    channels, levels = offers.value.shape
    scale, worth = max(budget_micros, 1), max(float(np.abs(offers.value).max()), 1e-300)
    found = linprog(
        -offers.value.ravel() / worth,
        A_ub=offers.cost_micros.reshape(1, -1) / scale,
        b_ub=[budget_micros / scale],
        A_eq=np.kron(np.eye(channels), np.ones(levels)),
        b_eq=np.ones(channels),
        bounds=(0, 1),
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"HiGHS found no solution of the relaxation: {found.message}")
    return _choice(offers, found.x.reshape(channels, levels))


def exact(offers: Menu, budget_micros: int) -> Choice:
    """The optimum, by HiGHS' MILP; what its tolerance lets through beyond the budget is cut off and solved again."""
    _check_budget(budget_micros)
    channels, levels = offers.value.shape
    scale, worth = max(budget_micros, 1), max(float(np.abs(offers.value).max()), 1e-300)
    rules = [
        LinearConstraint(offers.cost_micros.reshape(1, -1) / scale, -np.inf, budget_micros / scale),
        LinearConstraint(np.kron(np.eye(channels), np.ones(levels)), 1, 1),
    ]
    while True:
        found = milp(
            -offers.value.ravel() / worth,
            constraints=rules,
            integrality=1,
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0},
        )
        if not found.success:
            raise RuntimeError(f"HiGHS found no solution of the knapsack: {found.message}")
        level = found.x.reshape(channels, levels).argmax(axis=1)
        if cost_of(offers, level) <= budget_micros:
            return chosen(offers, level)
        barred = np.zeros((channels, levels))
        barred[np.arange(channels), level] = 1.0
        rules.append(LinearConstraint(barred.reshape(1, -1), -np.inf, channels - 1))


def greedy(offers: Menu, budget_micros: int) -> Choice:
    """The LP's optimum along the channels' concave hulls: the best gain per micro first, the last step in part."""
    _check_budget(budget_micros)
    channels = len(offers.value)
    at = np.zeros(channels, np.int64)
    weight = np.zeros(offers.value.shape)
    left = budget_micros
    for _, channel, start, end in _steps(offers):
        need = int(offers.cost_micros[channel, end] - offers.cost_micros[channel, start])
        if need > left:
            share = left / need
            weight[np.arange(channels), at] = 1.0
            weight[channel, start], weight[channel, end] = 1.0 - share, share
            return _choice(offers, weight)
        left -= need
        at[channel] = end
    weight[np.arange(channels), at] = 1.0
    return _choice(offers, weight)


def integer_part(offers: Menu, choice: Choice) -> Choice:
    """The choice with a mixed channel put down to the cheapest level that it mixes: within the budget if it was."""
    return chosen(offers, (choice.weight > 1e-9).argmax(axis=1).astype(np.int64))


def chosen(offers: Menu, level: Ints) -> Choice:
    """One level [C] for each channel as a choice."""
    weight = np.zeros(offers.value.shape)
    weight[np.arange(len(level)), level] = 1.0
    return _choice(offers, weight)


def cost_of(offers: Menu, level: Ints) -> int:
    """What these levels [C] cost, in whole micros."""
    return int(offers.cost_micros[np.arange(len(level)), level].sum())


def hull(cost: Ints, value: Floats) -> list[int]:
    """The levels on the rising concave hull, by cost.

    >>> hull(np.array([0, 1, 2, 3]), np.array([0.0, 1.0, 5.0, 6.0]))
    [0, 2, 3]
    """
    kept: list[int] = []
    for level in range(len(cost)):
        if kept and value[level] <= value[kept[-1]]:
            continue
        while len(kept) > 1 and _slope(cost, value, kept[-1], level) >= _slope(cost, value, kept[-2], kept[-1]):
            kept.pop()
        kept.append(level)
    return kept


def best_on_grid(value: Floats) -> Ints:
    """The optimum where level ``l`` of every channel costs ``l`` steps and ``L - 1`` steps may be spent: levels [C].

    Dynamic programming over steps, for a knapsack that is solved every day; of equals the cheaper levels of later channels.

    >>> best_on_grid(np.array([[0.0, 3.0, 4.0], [0.0, 2.0, 2.5]])).tolist()
    [1, 1]
    """
    channels, levels = value.shape
    best = np.zeros(levels)
    picks = np.zeros((channels, levels), np.int64)
    steps = np.arange(levels)
    before = steps[:, None] - steps[None, :]
    for channel in range(channels):
        table = np.where(before >= 0, best[before.clip(0)] + value[channel][None, :], -np.inf)
        picks[channel] = table.argmax(axis=1)
        best = table.max(axis=1)
    level = np.zeros(channels, np.int64)
    left = levels - 1
    for channel in range(channels - 1, -1, -1):
        level[channel] = picks[channel, left]
        left -= int(level[channel])
    return level


def _steps(offers: Menu) -> list[tuple[float, int, int, int]]:
    """All steps along the hulls, by falling gain per micro: (minus gain, channel, from, to)."""
    steps = []
    for channel, (cost, value) in enumerate(zip(offers.cost_micros, offers.value, strict=True)):
        corners = hull(cost, value)
        for start, end in pairwise(corners):
            steps.append((-_slope(cost, value, start, end), channel, start, end))
    return sorted(steps)


def _slope(cost: Ints, value: Floats, start: int, end: int) -> float:
    return float((value[end] - value[start]) / (cost[end] - cost[start]))


def _choice(offers: Menu, weight: Floats) -> Choice:
    return Choice(weight, float((weight * offers.value).sum()), float((weight * offers.cost_micros).sum()))


def _check_budget(budget_micros: int) -> None:
    if isinstance(budget_micros, bool) or budget_micros != int(budget_micros) or budget_micros < 0:
        raise ValueError(f"budget_micros is {budget_micros!r}; allowed is a whole number of 0 or more")
