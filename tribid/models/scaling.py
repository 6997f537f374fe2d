"""Scaled numbers: a numeric column as a network wants it, about 0 with a spread of 1."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

CLIP = 10.0
"""Standard deviations beyond which a scaled number is cut: one absurd price must not decide a prediction."""


class Moments(NamedTuple):
    """How many numbers, their mean and sum of squared deviations so far; chunks merge as in Chan, Golub and LeVeque 1983."""

    size: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def and_those_of(self, numbers: NDArray[np.float64]) -> "Moments":
        """Return the moments of both; NaN and infinities are left out."""
        more = numbers[np.isfinite(numbers)]
        if not more.size:
            return self
        mean, size = float(more.mean()), self.size + more.size
        gap = mean - self.mean
        squares = float(np.square(more - mean).sum()) + gap * gap * self.size * more.size / size
        return Moments(size, self.mean + gap * more.size / size, self.squares + squares)


class Scale(BaseModel):
    """How one numeric column is scaled: ``(f(x) - mean) / deviation``, f the signed logarithm where ``log``, else x.

    The signed logarithm ``sign(x) log(1 + |x|)`` is log1p for what is not negative, and defined for all. What is missing
    (null, NaN, infinite) gives 0, the mean of training. A column that was constant in training has the deviation 1.

    >>> Scale(log=False, mean=2.0, deviation=4.0)([6.0, float("nan")]).tolist()
    [1.0, 0.0]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: bool
    mean: float = Field(0.0, allow_inf_nan=False)
    deviation: float = Field(1.0, gt=0, allow_inf_nan=False)

    @classmethod
    def of(cls, moments: Moments, log: bool) -> "Scale":
        """The scale of numbers with these moments (population variance), already on a logarithm where `log`."""
        deviation = (moments.squares / moments.size) ** 0.5 if moments.size else 0.0
        # A constant column's rounding errors are no spread.
        constant = deviation <= 1e-12 * max(1.0, abs(moments.mean))
        return cls(log=log, mean=moments.mean, deviation=1.0 if constant else deviation)

    def __call__(self, numbers: ArrayLike) -> NDArray[np.float32]:
        """Return the scaled numbers, the same shape; each depends on itself alone, bit for bit."""
        plain = np.ascontiguousarray(numbers, dtype=np.float64)
        scaled = ((signed_log(plain) if self.log else plain) - self.mean) / self.deviation
        scaled = np.where(np.isfinite(plain), scaled, 0.0)
        return np.clip(scaled, -CLIP, CLIP).astype(np.float32)


def signed_log(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sign(x) log(1 + |x|)."""
    logs: NDArray[np.float64] = np.copysign(np.log1p(np.abs(numbers)), numbers)
    return logs


def numbers_of(values: pl.Series | NDArray[Any]) -> NDArray[np.float64]:
    """Return a numeric column as float64, null as NaN. Raises ValueError, which names the column, for what is no number."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "biuf":
            raise ValueError(f"an array holds {values.dtype}; allowed are numbers")
        return np.ascontiguousarray(values, dtype=np.float64)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise ValueError(f"column {values.name} holds {values.dtype}; allowed are numbers")
    return np.ascontiguousarray(values.cast(pl.Float64).to_numpy(), dtype=np.float64)
