"""How good a ranking is against a gain that is known: nDCG."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def dcg(gain: ArrayLike) -> Floats:
    """``sum_k gain_k / log2(k + 1)`` along the last axis, places from 1 (Jarvelin and Kekalainen 2002, linear gain).

    >>> dcg([1.0, 0.0, 1.0]).item()
    1.5
    """
    gains = np.asarray(gain, np.float64)
    total: Floats = (gains / np.log2(np.arange(2, gains.shape[-1] + 2))).sum(axis=-1)
    return total


def ndcg(shown: ArrayLike, possible: ArrayLike) -> Floats:
    """DCG of what was ``shown`` [B, K], over that of the best K of all that was ``possible`` [B, N]; 1 where nothing gains.

    ``ValueError`` for gains that are negative or no numbers, and where fewer were possible than shown.

    >>> ndcg([[0.0, 1.0]], [[1.0, 0.0, 0.0]]).round(4).tolist()
    [0.6309]
    """
    given, every = np.asarray(shown, np.float64), np.asarray(possible, np.float64)
    if given.ndim != 2 or every.ndim != 2 or len(given) != len(every) or every.shape[1] < given.shape[1]:
        raise ValueError(
            f"shown has shape {given.shape} and possible {every.shape}; allowed are [B, K] and [B, N >= K]"
        )
    for name, gains in (("shown", given), ("possible", every)):
        wrong = ~((gains >= 0.0) & np.isfinite(gains))
        if wrong.any():
            raise ValueError(f"{name} holds {gains[wrong][0]}; allowed are finite gains from 0")
    best = dcg(-np.sort(-every, axis=1)[:, : given.shape[1]])
    return np.where(best > 0.0, dcg(given) / np.where(best > 0.0, best, 1.0), 1.0)
