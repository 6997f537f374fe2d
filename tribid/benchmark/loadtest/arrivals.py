"""When requests are due: an open loop's arrivals, drawn before the first is sent."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def poisson(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Due times [R] in seconds from the start, in order: independent users, ``rate`` of them a second on average."""
    gaps = rng.exponential(1 / rate, round(rate * seconds * 1.1) + 50)
    times = np.cumsum(gaps)
    while times[-1] < seconds:
        times = np.concatenate([times, times[-1] + np.cumsum(rng.exponential(1 / rate, len(gaps)))])
    return times[times < seconds]


def constant(rate: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Due times [R]: one every ``1 / rate`` seconds.

    >>> constant(4, 1.0, np.random.default_rng()).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    return np.arange(int(np.ceil(rate * seconds - 1e-9))) / rate


ARRIVALS: dict[str, Callable[[float, float, np.random.Generator], NDArray[np.float64]]] = {
    "poisson": poisson,
    "constant": constant,
}
