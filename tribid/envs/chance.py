"""Counter-based draws: every chance event is a pure function of ``(seed, stream, day, request, ad)``.

Nothing here keeps a state. Two policies therefore meet the same users and the same coin flips (common random numbers),
a day can be cut into batches without changing a result, and no tick repeats another's numbers.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
with the 64-bit seed as key and ``(ad, request, day, stream)`` as the counter. Prediction errors, of which a day needs
tens of millions, come from the cheaper SplitMix64 finaliser over the same kind of counter (``mix64``).
"""

from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, uint32, uint64
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri


class Stream(IntEnum):
    """Names of independent streams; the number is the fourth word of the Philox counter."""

    USERS = 1
    ITEMS = 2
    ADVERTISERS = 3
    TRAFFIC = 4
    SESSION = 5
    DEPTH = 6
    OUTCOME = 7
    TIE = 8
    LEAVE = 9
    CTR_ERROR = 10
    CVR_ERROR = 11
    CALIBRATION = 12
    POLICY = 13
    NEED = 14
    BEHAVIOUR = 15
    VISIT = 16
    CREATIVE = 17
    ORDER = 18
    EXPLORE = 19
    SCENE = 20
    OUTREACH = 21
    OPEN = 22
    CONSUMER = 23
    SEARCH = 24
    ACTION = 25


_MASK = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_S32 = np.uint64(32)
_TO_UNIT = 1.0 / 4294967296.0
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, inline="always")
def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Ten rounds of Philox4x32 on counter words ``c0..c3`` and key words ``k0, k1``; four uint64 holding 32 bits each."""
    c0, c1, c2, c3 = uint64(c0), uint64(c1), uint64(c2), uint64(c3)
    k0, k1 = uint64(k0), uint64(k1)
    for _ in range(10):
        product0 = _M0 * c0
        product1 = _M1 * c2
        c0, c1, c2, c3 = (
            (product1 >> _S32) ^ c1 ^ k0,
            product1 & _MASK,
            (product0 >> _S32) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@njit(cache=True, inline="always")
def unit4(seed: Any, stream: Any, day: Any, request: Any, ad: Any) -> Any:
    """Four uniforms in [0, 1) with 32 bits each, for one ``(seed, stream, day, request, ad)``."""
    key = uint64(seed)
    a, b, c, d = philox4x32(uint32(ad), uint32(request), uint32(day), uint32(stream), key & _MASK, key >> _S32)
    return a * _TO_UNIT, b * _TO_UNIT, c * _TO_UNIT, d * _TO_UNIT


@njit(cache=True, inline="always")
def mix64(key: Any, request: Any, ad: Any) -> Any:
    """64 hashed bits for ``(key, request, ad)``: the SplitMix64 finaliser over the counter ``request * 2^20 + ad + 1``.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), with Stafford's mix 13.
    """
    x = uint64(key) + ((uint64(request) << uint64(20)) + uint64(ad) + uint64(1)) * _GOLDEN
    return finalise64(x)


@njit(cache=True, inline="always")
def first64(key: Any, request: Any) -> Any:
    """What ``mix64`` finalises for ad 0; ad i adds ``strides64(n)[i]``, so that a loop over ads multiplies once less."""
    return uint64(key) + ((uint64(request) << uint64(20)) + uint64(1)) * _GOLDEN


def strides64(ads: int) -> NDArray[np.uint64]:
    """What each ad adds to ``first64``, [ads] uint64 modulo 2**64."""
    with np.errstate(over="ignore"):
        return np.arange(ads, dtype=np.uint64) * _GOLDEN


@njit(cache=True, inline="always")
def finalise64(x: Any) -> Any:
    """SplitMix64's finaliser: ``mix64(key, request, i) == finalise64(first64(key, request) + strides64(n)[i])``."""
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@njit(cache=True)
def _fill(seed: Any, stream: Any, day: Any, request: Any, ad: Any, out: Any) -> None:
    for i in range(request.shape[0]):
        a, b, c, d = unit4(seed, stream, day, request[i], ad[i])
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a, b, c, d


def uniforms(seed: int, stream: Stream, day: int = 0, request: ArrayLike = 0, ad: ArrayLike = 0) -> NDArray[np.float64]:
    """Four uniforms in [0, 1) per counter; ``request`` and ``ad`` broadcast to a shape S, the answer is [*S, 4].

    >>> uniforms(7, Stream.USERS, request=[0, 1]).shape
    (2, 4)
    >>> bool((uniforms(7, Stream.USERS, request=[1])[0] == uniforms(7, Stream.USERS, request=[0, 1])[1]).all())
    True
    """
    request_, ad_ = np.broadcast_arrays(np.asarray(request, np.int64), np.asarray(ad, np.int64))
    out = np.empty((request_.size, 4))
    _fill(np.uint64(seed), int(stream), day, request_.flatten(), ad_.flatten(), out)
    return out.reshape(*request_.shape, 4)


def normals(seed: int, stream: Stream, day: int = 0, request: ArrayLike = 0, ad: ArrayLike = 0) -> NDArray[np.float64]:
    """Four standard normals per counter (inverse of the distribution function), shaped as ``uniforms``."""
    half_a_step = 0.5 * _TO_UNIT
    quantiles: NDArray[np.float64] = ndtri(uniforms(seed, stream, day, request, ad) + half_a_step)
    return quantiles


@lru_cache(maxsize=65_536)
def stream_key(seed: int, stream: Stream, day: int) -> np.uint64:
    """The 64-bit key under which ``mix64`` draws for one stream and day."""
    return np.uint64(_two_words(np.uint64(seed), int(stream), day))


@njit(cache=True)
def _two_words(seed: Any, stream: Any, day: Any) -> Any:
    key = uint64(seed)
    a, b, _, _ = philox4x32(
        uint32(0xFFFFFFFF), uint32(0xFFFFFFFF), uint32(day), uint32(stream), key & _MASK, key >> _S32
    )
    return (a << _S32) | b


def lognormal_table(sigma: float, size: int = 4096) -> NDArray[np.float32]:
    """``size`` equally likely values of a lognormal factor with mean exactly 1 and log-scale ``sigma``.

    Indexing it with hashed bits draws multiplicative prediction errors at the price of one memory read.

    >>> float(lognormal_table(0.0)[0])
    1.0
    """
    quantiles = np.exp(sigma * ndtri((np.arange(size) + 0.5) / size))
    table: NDArray[np.float32] = (quantiles / quantiles.mean()).astype(np.float32)
    return table
