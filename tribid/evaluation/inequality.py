"""How evenly a total is shared among advertisers or users: two indices of a vector of shares, in any unit."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gini(shares: ArrayLike) -> float:
    """Return Gini's coefficient of `shares` [n]: 0 where all are equal, (n-1)/n where one owns everything.

    It is half the mean absolute difference of all pairs over the mean (Gini 1912). Shares of nothing are equal: 0.
    Raises ValueError for no shares, for negative ones and for ones that are not finite.

    >>> gini([5, 5, 5])
    0.0
    >>> gini([0, 0, 0, 8])
    0.75
    """
    values = np.sort(_shares(shares))
    total = values.sum()
    if total == 0.0:
        return 0.0
    count = values.size
    ranks = np.arange(1, count + 1)
    return max(0.0, float(np.dot(2 * ranks - count - 1, values / total)) / count)


def jain(shares: ArrayLike) -> float:
    """Return Jain's fairness index of `shares` [n]: 1 where all are equal, 1/n where one owns everything.

    (sum x)^2 / (n sum x^2), Jain, Chiu and Hawe 1984. Shares of nothing are equal: 1. Raises as `gini`.

    >>> jain([5, 5, 5])
    1.0
    >>> jain([0, 0, 0, 8])
    0.25
    """
    values = _shares(shares)
    largest = values.max()
    if largest == 0.0:
        return 1.0
    scaled = values / largest
    return float(scaled.sum() ** 2 / (scaled.size * np.square(scaled).sum()))


def _shares(shares: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(shares, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"shares have the shape {values.shape}, allowed is [n] with at least one share")
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("shares must be finite and not negative")
    return values
