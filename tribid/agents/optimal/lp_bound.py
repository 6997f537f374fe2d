"""The hindsight bound as a linear programme, solved by HiGHS: slots of requests, a budget, and any linear constraints.

Each request offers K slots, of which at most one can be had; the relaxation allows shares of them (a multiple-choice
knapsack). ``tribid.agents.hindsight.dual_bound`` finds the same optimum for a budget and one target in milliseconds; this
one takes any number of constraints, and is what the others are tested against.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

_TOLERANCE = 1e-10


class LpBound(NamedTuple):
    """The relaxed optimum and the prices that prove it.

    ``value`` in the unit of the values; ``budget_price`` what one more unit of budget would add (0 without a budget);
    ``prices`` [J] what one more unit of room in each constraint would; ``share`` [n, K] how much of each slot is taken. It
    is a corner of the programme: no more requests are shared than constraints bind.
    """

    value: float
    budget_price: float
    prices: NDArray[np.float64]
    share: NDArray[np.float64]


def lp_bound(
    value: ArrayLike, cost: ArrayLike, budget: float | None = None, *, excess: Sequence[ArrayLike] = ()
) -> LpBound:
    """``max sum v x`` with at most one slot per request, ``sum c x <= budget`` and ``sum e x <= 0`` for each excess e.

    ``value`` and ``cost`` are [n, K] (or [n]), not negative; each ``excess`` has their shape and any sign: a target cost
    per value t is ``cost - t * value``. Nothing bought is always allowed, so there is always an optimum. Raises
    ``ValueError`` for bad input.

    >>> bound = lp_bound([10, 9, 8, 3, 2], [2, 3, 4, 1, 4], 9.0)
    >>> round(bound.value, 9), round(bound.budget_price, 9), bound.share[:, 0].round(9).tolist()
    (28.0, 2.0, [1.0, 1.0, 0.75, 1.0, 0.0])
    """
    v, c = _slots("value", value), _slots("cost", cost)
    rows = [_slots("excess", e) for e in excess]
    if any(part.shape != v.shape for part in (c, *rows)):
        raise ValueError(f"shapes are {[part.shape for part in (v, c, *rows)]}; allowed is one for all, (n, K) or (n,)")
    for name, part in (("value", v), ("cost", c)):
        if not (part >= 0).all():
            raise ValueError(f"{name} holds a negative number; allowed are finite numbers from 0")
    if budget is not None and not 0 < budget < np.inf:
        raise ValueError(f"budget is {budget!r}; allowed is a finite number above 0, or None")
    limits = [0.0] * len(rows)
    if budget is not None:
        rows, limits = [c, *rows], [budget, *limits]
    if not v.size:
        return LpBound(0.0, 0.0, np.zeros(len(excess)), np.zeros(v.shape))
    total, prices, share = _solved(v, rows, limits)
    first = 0 if budget is None else 1
    return LpBound(total, float(prices[0]) if first else 0.0, prices[first:], share)


def _solved(
    v: NDArray[np.float64], rows: list[NDArray[np.float64]], limits: list[float]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Value, prices of the rows, and shares; every row is scaled to one, so that tolerances mean the same everywhere."""
    n, slots = v.shape
    one_each = sparse.kron(sparse.identity(n, format="csr"), np.ones((1, slots)), format="csr")
    worth = max(float(v.max()), 1e-300)
    sizes = [max(float(np.abs(row).max()), 1e-300) for row in rows]
    scaled = [row.ravel() / size for row, size in zip(rows, sizes, strict=True)]
    bounds = [limit / size for limit, size in zip(limits, sizes, strict=True)]
    matrix = sparse.vstack([sparse.csr_matrix(np.stack(scaled)), one_each], format="csr") if rows else one_each
    solved = optimize.linprog(
        -v.ravel() / worth,
        A_ub=matrix,
        b_ub=np.concatenate([bounds, np.ones(n)]),
        bounds=(0, 1),
        method="highs-ds",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )
    if solved.status != 0:
        raise ValueError(f"the linear programme over {n} requests was not solved: {solved.message}")
    marginals = np.maximum(-np.asarray(solved.ineqlin.marginals)[: len(rows)], 0.0)
    prices = marginals * worth / np.array(sizes) if rows else np.zeros(0)
    return -float(solved.fun) * worth, prices, np.asarray(solved.x, np.float64).reshape(n, slots)


def _slots(name: str, numbers: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(numbers, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f"{name} has shape {table.shape}; allowed are finite numbers of shape (n, K) or (n,)")
    return table
