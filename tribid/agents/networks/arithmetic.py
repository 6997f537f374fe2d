"""Float32 arithmetic of served networks, from operations that IEEE 754 fixes, in one stated order.

A training library's matrix products change with the batch's size and the processor, and a machine's own tanh and exp have
other last bits on every platform. Kernels here take one row at a time and may be called from any other kernel.
"""

from typing import Any

import numpy as np
from numba import njit

HIGHEST = 80.0
"""exp is cut to [-80, 80]."""


@njit(cache=True, error_model="numpy")
def tanh32(x: Any) -> Any:
    """tanh by a rational function of odd degree 13 over even degree 6 in float32, as in Eigen; off by a few last bits."""
    x = min(max(x, np.float32(-7.90531110763549805)), np.float32(7.90531110763549805))
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = s * p + np.float32(2.00018790482477e-13)
    p = s * p + np.float32(-8.60467152213735e-11)
    p = s * p + np.float32(5.12229709037114e-08)
    p = s * p + np.float32(1.48572235717979e-05)
    p = s * p + np.float32(6.37261928875436e-04)
    p = s * p + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = s * q + np.float32(1.18534705686654e-04)
    q = s * q + np.float32(2.26843463243900e-03)
    q = s * q + np.float32(4.89352518554385e-03)
    return min(max(x * p / q, np.float32(-1.0)), np.float32(1.0))


@njit(cache=True, error_model="numpy")
def sigmoid32(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` as ``(1 + tanh(x / 2)) / 2``."""
    return np.float32(0.5) * (np.float32(1.0) + tanh32(np.float32(0.5) * x))


@njit(cache=True, error_model="numpy")
def exp32(x: Any) -> Any:
    """exp as 2^k exp(r), r within ln(2) / 2 of zero: the Taylor polynomial of degree 7 (relative error below 1e-6)."""
    y = min(max(x, np.float32(-HIGHEST)), np.float32(HIGHEST))
    k = np.floor(y * np.float32(1.44269504) + np.float32(0.5))
    r = (y - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
    p = np.float32(1.0 / 5040.0) * r + np.float32(1.0 / 720.0)
    p = p * r + np.float32(1.0 / 120.0)
    p = p * r + np.float32(1.0 / 24.0)
    p = p * r + np.float32(1.0 / 6.0)
    p = p * r + np.float32(0.5)
    p = (p * r + np.float32(1.0)) * r + np.float32(1.0)
    return p * np.float32(2.0 ** np.float64(k))


@njit(cache=True, error_model="numpy")
def log64(x: Any) -> Any:
    """The natural logarithm of a finite number above 0, as float64 (absolute error below 1e-14 from 1e-4 to 1e4).

    By ``2 artanh((f - 1) / (f + 1))`` with ``x = f 2^k``, f from 0.75 to 1.5: sums, products and quotients alone.
    """
    f, k = np.float64(x), 0
    while f > 1.5:
        f *= 0.5
        k += 1
    while f < 0.75:
        f *= 2.0
        k -= 1
    r = (f - 1.0) / (f + 1.0)
    s = r * r
    total = 0.0
    for n in range(14, -1, -1):
        total = total * s + 1.0 / (2 * n + 1)
    return 2.0 * r * total + k * 0.6931471805599453


@njit(cache=True, error_model="numpy")
def normalise32(seen: Any, mean: Any, std: Any, clip: Any, out: Any) -> None:
    """``out = (seen - mean) / std`` cut to [-clip, clip], all [D]."""
    for i in range(seen.shape[0]):
        out[i] = min(max((seen[i] - mean[i]) / std[i], -clip), clip)


@njit(cache=True, error_model="numpy")
def dense32(now: Any, weight: Any, bias: Any, out: Any) -> None:
    """``out = bias + weight.T @ now`` for ``weight`` [in, out] (torch's, turned), summed in the order of the inputs."""
    for j in range(bias.shape[0]):
        out[j] = bias[j]
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            out[j] += now[i] * weight[i, j]
