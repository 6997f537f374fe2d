"""Numbers as callers give them: seeds, days, counts, prices."""

from math import isfinite
from numbers import Real
from typing import Any

import numpy as np


def check_whole(name: str, value: Any, limit: int, *, least: int = 0, also: str = "") -> None:
    """Refuse what is no whole number from ``least`` to below ``limit``; ``also`` says what else is allowed.

    >>> check_whole("seed", "abc", 10)
    Traceback (most recent call last):
    ValueError: seed is 'abc'; allowed is a whole number from 0 to 9
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value < limit:
        told = f"allowed is a whole number from {least} to {limit - 1}"
        raise ValueError(f"{name} is {value!r:.80}; {told}{', or ' if also else ''}{also}")


def is_number(value: Any) -> bool:
    """Whether it is a finite number; True and False are none.

    >>> [is_number(value) for value in (1, 0.5, "1", True, float("nan"))]
    [True, True, False, False, False]
    """
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)
