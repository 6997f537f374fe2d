"""In what order actions are proposed, and how a share of the answers explores, with the chances that this has.

Ranked by propensity, or by propensity times value (ours); of equal scores the higher value comes first, then the name.
An action without a model has propensity and score 0.0. With chance epsilon an answer puts a drawn action first: half the
time one without a model, where there is any, else any; so every eligible action has a chance, which is logged, and the
worth of another policy can be estimated from the log (``tribid.evaluation.off_policy``). Where no action has a model the
whole order is drawn.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Proposal(NamedTuple):
    """The L actions of an answer, first ones first: ``action`` [L] indices, ``explored`` [L] whether a draw put it there.

    ``chance`` [L] is the probability that each is in the answer, ``first_chance`` [L] that it is the first one.
    """

    action: Ids
    explored: NDArray[np.bool_]
    chance: Floats
    first_chance: Floats


def name_ranks(names: tuple[str, ...]) -> Ids:
    """The place [A] of each name in alphabetical order, for ``ranked``."""
    return np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"), kind="stable").astype(np.int64)


def ranked(score: Floats, value: Floats, name_rank: Ids, among: Ids) -> Ids:
    """The actions ``among`` by score, then value, both falling, then name.

    >>> score, value = np.array([0.5, 0.7, 0.5]), np.array([1.0, 1.0, 9.0])
    >>> ranked(score, value, name_ranks(("a", "b", "c")), np.arange(3)).tolist()
    [1, 2, 0]
    """
    return among[np.lexsort((name_rank[among], -value[among], -score[among]))]


def exploring(known: NDArray[np.bool_]) -> Floats:
    """The chance [n] that each of n eligible actions is the one that an exploring answer draws; sums to 1.

    >>> exploring(np.array([True, True, False, False])).tolist()
    [0.125, 0.125, 0.375, 0.375]
    """
    n, fresh = len(known), int((~known).sum())
    if fresh == 0:
        return np.full(n, 1.0 / n)
    return np.where(known, 0.5 / n, 0.5 / n + 0.5 / fresh)


def proposal(order: Ids, known: NDArray[np.bool_], *, limit: int, epsilon: float, key: int) -> Proposal:
    """An answer of at most ``limit`` of the ranked actions ``order`` [n]; ``known`` [A] says which actions have a model.

    ``key``, from 0 to 2^63 - 1, decides what is drawn: the same key gives the same answer.
    """
    n, size = len(order), min(limit, len(order))
    if size == 0:
        return Proposal(order[:0], np.zeros(0, np.bool_), np.zeros(0), np.zeros(0))
    if not known[order].any():
        drawn = order[np.argsort(uniforms(key, Stream.ACTION, 1, np.arange(n))[:, 0], kind="stable")]
        return Proposal(
            drawn[:size], np.ones(size, np.bool_), np.full(size, size / n), np.full(size, 1.0 / n)
        )  # fmt: skip
    share = exploring(known[order])
    draw = uniforms(key, Stream.ACTION)
    place = np.arange(n)
    explored = np.zeros(n, np.bool_)
    if draw[0] < epsilon:
        head = min(int(np.searchsorted(np.cumsum(share), draw[1], side="right")), n - 1)
        place = np.concatenate(([head], np.delete(place, head)))
        explored[0] = True
    listed, first = chances(share, size, epsilon)
    place = place[:size]
    return Proposal(order[place], explored[:size], listed[place], first[place])


def chances(share: Floats, size: int, epsilon: float) -> tuple[Floats, Floats]:
    """The probability [n] that the action at each rank is among the first ``size``, and that it is the first.

    ``share`` [n] is the chance of each rank to be drawn to the front by an exploring answer; the others move down.

    >>> listed, first = chances(np.full(4, 0.25), 2, 0.4)
    >>> listed.round(3).tolist(), first.round(3).tolist()
    ([1.0, 0.8, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1])
    """
    rank = np.arange(len(share))
    stays = np.where(rank < size - 1, 1.0 - share, 0.0)  # another is drawn, and there is room for both
    if size <= len(share):
        stays[size - 1] = share[: size - 1].sum()  # the last place is kept where one above it is drawn
    listed = (1.0 - epsilon) * (rank < size) + epsilon * (share + stays)
    return np.minimum(listed, 1.0), (1.0 - epsilon) * (rank == 0) + epsilon * share
