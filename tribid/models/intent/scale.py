"""From scores to 0-100: a score's place among the reference users of its industry, by quantiles."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 100


class Scale(NamedTuple):
    """Knots of each industry: ``scores`` [G, n], from 0 to 1 and not falling, and the ``levels`` [G, n] there, 0 to 100."""

    scores: NDArray[np.float64]
    levels: NDArray[np.float64]

    @classmethod
    def checked(cls, scores: NDArray[np.float64], levels: NDArray[np.float64], industries: int) -> "Scale":
        """The scale of a file; ``ValueError`` for one that is none."""
        for name, knots, most in (("scores", scores, 1.0), ("levels", levels, 100.0)):
            if knots.shape != (industries, STEPS + 2):
                raise ValueError(f"{name} have shape {list(knots.shape)}; allowed is [{industries}, {STEPS + 2}]")
            if (np.diff(knots, axis=1) < 0).any() or (knots[:, 0] != 0).any() or (knots[:, -1] != most).any():
                raise ValueError(f"{name} of an industry fall, or do not run from 0 to {most:g}")
        return cls(np.array(scores, np.float64), np.array(levels, np.float64))


def scale_of(score: NDArray[np.float64], industry: NDArray[np.int64], industries: int, least: int) -> Scale:
    """The scale of reference users' scores [R]; those of 0 have no place, and few (below ``least``) give way to all.

    The level of a score is the share of the industry's scores below it, ties counted half.
    """
    everybody = score[score > 0]
    if not len(everybody):
        raise ValueError("no reference user has any of the eight behaviours; allowed is at least one")
    place = (np.arange(STEPS) + 0.5) / STEPS
    rows, levels = [], []
    for g in range(industries):
        own = score[(score > 0) & (industry == g)]
        knots = np.quantile(own if len(own) >= least else everybody, place)
        _, tie = np.unique(knots, return_inverse=True)
        level = 100.0 * (np.bincount(tie, place) / np.bincount(tie))[tie]
        rows.append(np.r_[0.0, knots, 1.0])
        levels.append(np.r_[0.0, level, 100.0])
    return Scale(np.stack(rows), np.stack(levels))


def scaled(scale: Scale, score: NDArray[np.float64], industry: NDArray[np.int64]) -> NDArray[np.float64]:
    """The level [R] of each score in [0, 1], on straight lines between the knots of its industry."""
    out = np.zeros(len(score))
    for g in np.unique(industry):
        own = industry == g
        out[own] = np.interp(score[own], scale.scores[g], scale.levels[g])
    return out
