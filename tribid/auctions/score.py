"""The arithmetic of a score, shared by every kernel and every reference: one precision, so one order and one price.

A score is ``float64(bid_micros) * weight`` in IEEE double precision, without fused or reordered arithmetic.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_MICROS = 2**53
"""The largest amount, in micros, that float64 holds without a gap to its neighbour: no bid or reserve is above it."""


@njit(cache=True, error_model="numpy")
def quality_weight(quality: float, squash: float) -> float:
    """``quality ** squash``: what a bid is multiplied by (Lahaie and Pennock 2007).

    Exactly ``quality`` at squash 1 and exactly 1.0 at squash 0, whatever the power function of the machine does.

    >>> quality_weight(0.25, 1.0), quality_weight(0.25, 0.0), quality_weight(0.25, 0.5)
    (0.25, 1.0, 0.5)
    """
    if squash == 1.0:
        return np.float64(quality)
    if squash == 0.0:
        return 1.0
    return np.float64(quality) ** np.float64(squash)


@njit(cache=True, error_model="numpy", forceinline=True)
def least_bid_reaching(score: float, weight: float) -> int:
    """The least bid, in micros, whose score ``float64(bid) * weight`` is at least ``score``; weight > 0.

    This is the critical bid of a slot: exact in floating point arithmetic, one micro less falls short. 2**53 micros
    when no smaller amount reaches the score.

    >>> least_bid_reaching(1.0, 0.5), least_bid_reaching(1.1, 0.5), least_bid_reaching(0.0, 0.5)
    (2, 3, 0)
    """
    if score <= 0.0:
        return 0
    ratio = score / weight
    if not ratio < MAX_MICROS:
        return MAX_MICROS
    bid = int(np.ceil(ratio))
    while bid > 0 and np.float64(bid - 1) * weight >= score:
        bid -= 1
    while bid < MAX_MICROS and np.float64(bid) * weight < score:
        bid += 1
    return bid


@njit(cache=True, error_model="numpy")
def largest_bid_not_above(score: float, weight: float) -> int:
    """The largest bid, in micros, whose score ``float64(bid) * weight`` is at most ``score``; 2**53 at most.

    >>> largest_bid_not_above(1.0, 0.5), largest_bid_not_above(1.1, 0.5), largest_bid_not_above(0.2, 0.5)
    (2, 2, 0)
    """
    ratio = score / weight
    if not ratio < MAX_MICROS:
        return MAX_MICROS
    bid = int(np.floor(ratio))
    while bid > 0 and np.float64(bid) * weight > score:
        bid -= 1
    while bid < MAX_MICROS and np.float64(bid + 1) * weight <= score:
        bid += 1
    return bid


@njit(cache=True, error_model="numpy")
def quality_weights(quality: NDArray[np.float64], squash: float) -> NDArray[np.float64]:
    """``quality_weight`` of every entry of a [B, N] array, as a new array.

    >>> quality_weights(np.array([[0.25, 1.0]]), 0.5)
    array([[0.5, 1. ]])
    """
    weight = np.empty(quality.shape, np.float64)
    for r in range(quality.shape[0]):
        for i in range(quality.shape[1]):
            weight[r, i] = quality_weight(quality[r, i], squash)
    return weight
