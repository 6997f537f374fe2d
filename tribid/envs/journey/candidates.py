"""Who is a candidate in a scene: the brands of its categories, those that fit a page, and those that a cap leaves."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.places import NOBODY


def fitted(listed: NDArray[np.int32], odds: NDArray[np.float32], width: int) -> NDArray[np.int32]:
    """At most ``width`` of the brands ``listed`` [B, W] (``NOBODY`` behind the end): those of the highest odds [B, W].

    They keep their order; rows with fewer end with ``NOBODY``.

    >>> fitted(np.array([[3, 5, 8]], np.int32), np.array([[0.1, 0.3, 0.2]], np.float32), 2)
    array([[5, 8]], dtype=int32)
    """
    found = listed.shape[1]
    if found <= width:
        return np.pad(listed, ((0, 0), (0, width - found)), constant_values=NOBODY)
    worth = np.where(listed == NOBODY, -np.inf, odds)
    kept = np.sort(np.argsort(-worth, axis=1, kind="stable")[:, :width], axis=1)
    return np.take_along_axis(listed, kept, axis=1)


def capped(who: NDArray[np.int32], shown: NDArray[np.int16], before: NDArray[np.int64], cap: int) -> NDArray[np.int32]:
    """The candidates [B, N] without the brands that the user may not see again today; their places stay empty.

    ``shown`` [B, N] are the exposures until the tick, and every page of the user's in the tick before this one (``before``
    [B]) may show the brand once more, so that no order of events passes the cap.
    """
    return np.where(shown + before[:, None] >= cap, NOBODY, who).astype(np.int32)
