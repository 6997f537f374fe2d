"""Shares of a crowd that hold at every length of it."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5.0**0.5 - 1.0) / 2.0


def even_places(number: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Where in [0, 1) the consumers of these numbers (0, 1, …) fall: Kronecker's sequence of the golden ratio.

    Of the first n consumers a share within about 1/n of x lies below x, for every n and x.

    >>> even_places(np.arange(4)).round(3).tolist()
    [0.309, 0.927, 0.545, 0.163]
    """
    return np.asarray(((number + 0.5) * _GOLDEN) % 1.0)
