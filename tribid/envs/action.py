"""The action map: a policy's action in [-1, 1] becomes a bid multiplier on a log scale, with 0 and the cap reached.

``multiplier = M ** a`` for ``a >= -0.9``, so that -0.9, 0 and 1 give M^-0.9, 1 and M (``rules.max_multiplier``); below
-0.9 it falls linearly to exactly 0 at -1. Monotone and continuous, hence invertible.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_KNEE = -0.9


def to_multiplier(action: ArrayLike, max_multiplier: float) -> NDArray[np.float64]:
    """Multipliers, shaped as ``action``; actions outside [-1, 1] are cut to it.

    >>> to_multiplier([-1.0, 0.0, 0.5, 1.0], 4.0).tolist()
    [0.0, 1.0, 2.0, 4.0]
    """
    a = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
    at_knee = max_multiplier**_KNEE
    multiplier: NDArray[np.float64] = np.where(a >= _KNEE, max_multiplier**a, at_knee * (a + 1.0) / (1.0 + _KNEE))
    return multiplier


def to_action(multiplier: ArrayLike, max_multiplier: float) -> NDArray[np.float64]:
    """The action that gives a multiplier, shaped as ``multiplier``; above the cap it is 1.

    >>> to_action([0.0, 1.0, 2.0, 9.0], 4.0).tolist()
    [-1.0, 0.0, 0.5, 1.0]
    """
    m = np.clip(np.asarray(multiplier, np.float64), 0.0, max_multiplier)
    at_knee = max_multiplier**_KNEE
    logarithm = np.log(np.maximum(m, at_knee)) / np.log(max_multiplier)
    action: NDArray[np.float64] = np.where(m >= at_knee, logarithm, m / at_knee * (1.0 + _KNEE) - 1.0)
    return action


def checked_actions(
    actions: ArrayLike, shape: tuple[int, ...], names: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Actions as float64 of this shape, or the error that names the advertiser (or row), the value and what is allowed."""
    given = np.asarray(actions)
    if given.dtype.kind not in "fiu" or given.shape != shape:
        raise ValueError(f"actions are {given.dtype} of shape {given.shape}; allowed are real numbers of shape {shape}")
    if not ((given >= -1.0) & (given <= 1.0)).all():
        index = tuple(np.argwhere(~((given >= -1.0) & (given <= 1.0)))[0])
        who = f"row {index[0]}" if names is None else names[index[0]]
        raise ValueError(f"action of {who} is {given[index]}; allowed is a number from -1 to 1")
    return given.astype(np.float64)
