"""What a few runs allow one to say: robust means, bootstrap intervals, and a verdict only where it is earned.

The measures follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS
2021), whose library is rliable. Scores are arrays [runs, tasks] (or [runs], one task); higher is better.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]

_CHUNK_ELEMENTS = 2_000_000
"""Resampled numbers held at a time (16 MB)."""


@dataclass(frozen=True)
class Interval:
    """A measured value with its confidence limits, all in the unit of the scores.

    >>> print(Interval(1.0, 0.5, 1.5))
    1 [0.5, 1.5]
    """

    point: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.point) and math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"an interval's numbers are finite, not {self.point}, {self.low}, {self.high}")
        if self.low > self.high:
            raise ValueError(f"an interval's low {self.low} is above its high {self.high}")

    def __str__(self) -> str:
        return f"{self.point:.4g} [{self.low:.4g}, {self.high:.4g}]"


def iqm(x: ArrayLike, axis: int | None = None) -> Any:
    """Return the interquartile mean: the mean of what is left when floor(n/4) values are cut at each end.

    `axis=None` takes all values together and returns a float; else an array without that axis. The same as
    scipy's `trim_mean(x, 0.25)`, which rliable uses. Raises ValueError where there is nothing to average.

    >>> iqm([1, 2, 3, 4, 5, 6, 7, 8])
    4.5
    >>> iqm([1, 2, 3, 4, 5, 6, 7, 1000])
    4.5
    """
    values = np.asarray(x, dtype=np.float64)
    if axis is None:
        values = values.ravel()
        axis = -1
    count = values.shape[axis]
    if count == 0:
        raise ValueError("iqm of no values")
    cut = count // 4
    ordered = np.moveaxis(np.partition(values, (cut, count - cut - 1), axis=axis), axis, -1)
    mean = ordered[..., cut : count - cut].mean(axis=-1)
    return float(mean) if mean.ndim == 0 else mean


def t_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of n independent values [n] with Student's interval; of paired runs give the differences.

    For means over some five to thirty seeds, worlds or days. It keeps its word for so few where they are near normal; a
    percentile bootstrap is too narrow then (of 8 values its 95 % interval holds the mean less than 90 times in 100).
    Fewer than 2 values bear no interval: ValueError.

    >>> print(t_interval([1.0, 2.0, 3.0]))
    2 [-0.4841, 4.484]
    """
    table = _scores(values, "values")
    _check_confidence(confidence)
    if table.shape[1] != 1:
        raise ValueError(f"values has the shape {np.shape(values)}, allowed is [n]")
    n, mean = len(table), float(table.mean())
    half = float(student.ppf(0.5 + confidence / 2.0, n - 1) * table.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def claim_verdict(measured: Interval, least: float = 0.0) -> str:
    """Return what an interval says of the claim that a number is above `least`: shown, denied, or not told apart.

    >>> claim_verdict(Interval(2, 1, 3)), claim_verdict(Interval(2, -1, 5)), claim_verdict(Interval(2, 1, 3), 97)
    ('shown', 'not told apart', 'denied')
    """
    return "shown" if measured.low > least else "denied" if measured.high < least else "not told apart"


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Callable[..., Any] = iqm,
    n: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the statistic of all scores with its percentile interval, runs resampled within each task.

    `scores` is [runs, tasks] or [runs]; `statistic(array, axis=...)` reduces one axis, as np.mean, np.median and `iqm`
    do. Each task's runs are drawn with replacement, independently of the other tasks'. The same arguments give the same
    interval. With fewer than about ten runs the interval is too narrow; with one run there is none: ValueError.

    >>> stratified_bootstrap([[1.0, 2.0], [1.0, 2.0]], np.mean)
    Interval(point=1.5, low=1.5, high=1.5)
    """
    table = _scores(scores, "scores")
    _check_resampling(n, confidence)
    runs, tasks = table.shape
    columns = np.arange(tasks)
    rng = np.random.default_rng(seed)
    samples = np.empty(n)
    for start, stop in _chunks(n, table.size):
        rows = rng.integers(runs, size=(stop - start, runs, tasks))
        samples[start:stop] = statistic(table[rows, columns].reshape(stop - start, -1), axis=-1)
    return _interval(float(statistic(table.reshape(1, -1), axis=-1)[0]), samples, confidence)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[..., Any] = iqm,
    n: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the interval of the statistic of `a - b`, where a[i] and b[i] ran on common random numbers.

    Both are [runs, tasks] or [runs] of the same shape, row by row the same seed. Pairing removes what the seeds share:
    an interval above zero needs fewer runs than with unpaired ones, and is as honest.

    >>> paired_difference([11.0, 21.0, 31.0], [10.0, 20.0, 30.0])
    Interval(point=1.0, low=1.0, high=1.0)
    """
    left, right = _scores(a, "a"), _scores(b, "b")
    if left.shape != right.shape:
        raise ValueError(f"paired runs need one shape, not {left.shape} and {right.shape}")
    return stratified_bootstrap(left - right, statistic, n, confidence, seed)


def two_level_bootstrap(
    scores: ArrayLike,
    statistic: Callable[..., Any] = iqm,
    n: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the statistic of all scores with its interval when training seeds and evaluation days both vary.

    `scores` is [days, training seeds]: every policy is judged on the same days. Training seeds and days are drawn with
    replacement, one set of days for all seeds of a resample (they share the days' luck), so that the interval holds the
    luck of training and of the days. A rule that is not trained has one column, and gets the plain bootstrap
    over days. With few training seeds the interval is rough.

    >>> two_level_bootstrap([1.0, 1.0, 1.0])
    Interval(point=1.0, low=1.0, high=1.0)
    """
    table = _scores(scores, "scores")
    _check_resampling(n, confidence)
    days, trained = table.shape
    rng = np.random.default_rng(seed)
    samples = np.empty(n)
    for start, stop in _chunks(n, table.size):
        columns = rng.integers(trained, size=(stop - start, 1, trained))
        rows = rng.integers(days, size=(stop - start, days, 1))
        samples[start:stop] = statistic(table[rows, columns].reshape(stop - start, -1), axis=-1)
    return _interval(float(statistic(table.reshape(1, -1), axis=-1)[0]), samples, confidence)


def two_level_difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[..., Any] = iqm,
    n: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the interval of the statistic of `a - b` on the same days, each with training seeds of its own.

    `a` is [days, training seeds of a], `b` [days, training seeds of b], row by row the same day. A resample draws one
    set of days for both and training seeds for each, so that the luck of either training widens the interval.

    >>> two_level_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    Interval(point=1.0, low=1.0, high=1.0)
    """
    left, right = _scores(a, "a"), _scores(b, "b")
    _check_resampling(n, confidence)
    if len(left) != len(right):
        raise ValueError(f"a has {len(left)} days and b has {len(right)}; paired days need as many of both")
    days = len(left)
    rng = np.random.default_rng(seed)
    samples = np.empty(n)
    for start, stop in _chunks(n, left.size + right.size):
        rows = rng.integers(days, size=(stop - start, days, 1))
        mine = left[rows, rng.integers(left.shape[1], size=(stop - start, 1, left.shape[1]))]
        theirs = right[rows, rng.integers(right.shape[1], size=(stop - start, 1, right.shape[1]))]
        differences = mine - theirs.mean(axis=-1, keepdims=True)
        samples[start:stop] = statistic(differences.reshape(stop - start, -1), axis=-1)
    point = float(statistic((left - right.mean(axis=1, keepdims=True)).reshape(1, -1), axis=-1)[0])
    return _interval(point, samples, confidence)


def probability_of_improvement(
    a: ArrayLike, b: ArrayLike, n: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return how likely a run of `a` beats a run of `b` on a task drawn at random; a tie counts one half.

    `a` is [runs, tasks] and `b` is [other runs, tasks] (or [runs] both). Per task this is the Mann-Whitney U over the
    number of pairs (Agarwal et al. 2021, section 4.3); the interval resamples the runs of both within each task.

    >>> probability_of_improvement([3.0, 4.0], [1.0, 2.0])
    Interval(point=1.0, low=1.0, high=1.0)
    >>> probability_of_improvement([1.0, 1.0], [1.0, 1.0]).point
    0.5
    """
    left, right = _scores(a, "a"), _scores(b, "b")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"a has {left.shape[1]} tasks and b has {right.shape[1]}; they need the same ones")
    _check_resampling(n, confidence)
    wins = (left[:, None] > right[None]) + 0.5 * (left[:, None] == right[None])
    (runs, tasks), others = left.shape, right.shape[0]
    columns = np.arange(tasks)
    rng = np.random.default_rng(seed)
    samples = np.empty(n)
    for start, stop in _chunks(n, wins.size):
        rows = rng.integers(runs, size=(stop - start, runs, 1, tasks))
        other_rows = rng.integers(others, size=(stop - start, 1, others, tasks))
        samples[start:stop] = wins[rows, other_rows, columns].mean(axis=(1, 2, 3))
    return _interval(float(wins.mean()), samples, confidence)


def verdict(intervals: Mapping[str, Interval]) -> str | None:
    """Return the name whose whole interval lies strictly above every other, or None where none does.

    With fewer than two names there is nothing to win against: None.

    >>> verdict({"ppo": Interval(3, 2, 4), "fixed": Interval(1, 0.5, 1.5)})
    'ppo'
    >>> verdict({"ppo": Interval(3, 2, 4), "fixed": Interval(1, 0.5, 2)}) is None
    True
    """
    if len(intervals) < 2:
        return None
    best = max(intervals, key=lambda name: intervals[name].low)
    beaten = all(intervals[best].low > other.high for name, other in intervals.items() if name != best)
    return best if beaten else None


def _scores(values: ArrayLike, name: str) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"{name} has the shape {np.shape(values)}, allowed are [runs, tasks] and [runs]")
    if table.shape[0] < 2:
        raise ValueError(f"{name} has {table.shape[0]} run; an interval needs at least 2, and 10 to be worth much")
    if not np.isfinite(table).all():
        raise ValueError(f"{name} holds a number that is not finite")
    return table


def _check_resampling(n: int, confidence: float) -> None:
    if n < 1:
        raise ValueError(f"n is {n}, allowed is at least 1 resample")
    _check_confidence(confidence)


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, allowed is above 0 and below 1, such as 0.95")


def _chunks(n: int, elements: int) -> list[tuple[int, int]]:
    size = max(1, _CHUNK_ELEMENTS // max(1, elements))
    return [(start, min(n, start + size)) for start in range(0, n, size)]


def _interval(point: float, samples: Floats, confidence: float) -> Interval:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(samples, [tail, 1.0 - tail])
    return Interval(point, float(low), float(high))
