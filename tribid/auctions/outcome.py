"""What an auction decides: who is shown in each slot, what a click costs there, and the score that won it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Outcome:
    """The decision of one mechanism for ``B`` requests with ``K`` slots each.

    Attributes:
        winner: int64 [B, K], the candidate's index in its request; -1 for an empty slot. Empty slots come last.
        price_micros: int64 [B, K], what one click in the slot costs; 0 for an empty slot.
        score: float64 [B, K], the winner's score ``bid_micros * quality ** squash``; 0.0 for an empty slot.
    """

    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    score: NDArray[np.float64]
