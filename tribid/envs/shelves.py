"""Retrieval by interest: users in cells, and for each cell the ads whose click odds are highest for its centre.

What a real platform's retrieval does with trees or neighbour search, in its simplest exact form: a request carries the N
candidates of its user's cell, and what an auction costs does not depend on how many advertisers there are. A design of
ours.
"""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, normals

_FIRST_WORD = 2000


def cells_of(seed: int, cells: int, interests: int) -> NDArray[np.float32]:
    """Centres of the cells, unit vectors [cells, D]; a user belongs to the centre that its interests point to most.

    >>> cells_of(0, 4, 8).shape
    (4, 8)
    """
    words = -(-interests // 4)
    index = np.arange(cells)
    drawn = np.hstack([normals(seed, Stream.ITEMS, request=index, ad=_FIRST_WORD + w) for w in range(words)])
    drawn = drawn[:, :interests]
    centres: NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return centres


def shelves_of(
    centres: NDArray[np.float32], interests: NDArray[np.float32], level: NDArray[np.float32], weight: float, count: int
) -> NDArray[np.int32]:
    """The ``count`` ads with the highest click log-odds ``level + weight * match`` for each centre, [cells, count].

    ``interests`` [D, A], ``level`` [A]. Each shelf lists its ads in their own order; equal odds keep the lower index.
    """
    shelves = np.empty((len(centres), count), np.int32)
    for cell, centre in enumerate(centres):
        odds = level + weight * (centre @ interests)
        shelves[cell] = np.sort(np.argsort(-odds, kind="stable")[:count])
    return shelves
