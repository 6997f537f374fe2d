"""How well predictions order and hit what happened: AUC, AUC within users, log loss."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """The chance that a row of label 1 scores above one of label 0, ties counted half. ``ValueError`` for one class.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    labels, scores = _columns(label, score)
    found, _ = group_aucs(labels, scores, np.zeros(len(labels), dtype=np.int64))
    if not len(found):
        raise ValueError("AUC needs rows of label 0 and of label 1; all labels are alike")
    return float(found[0])


def gauc(label: ArrayLike, score: ArrayLike, group: ArrayLike) -> float:
    """AUC within each group (user), averaged with the groups' rows as weights (Zhu et al. 2017, Zhou et al. 2018).

    Groups whose labels are all alike have no AUC and are left out. ``ValueError`` where no group is left.

    >>> gauc([1, 0, 0, 1, 1, 1], [0.9, 0.1, 0.5, 0.5, 0.6, 0.3], [7, 7, 8, 8, 8, 9])  # (2 * 1 + 3 * 0.75) / 5
    0.85
    """
    labels, scores = _columns(label, score)
    groups = np.asarray(group)
    if groups.shape != labels.shape:
        raise ValueError(f"group has shape {groups.shape}; allowed is that of the labels, {labels.shape}")
    found, rows = group_aucs(labels, scores, groups)
    if not len(found):
        raise ValueError("GAUC needs a group with labels 0 and 1; every group's labels are alike")
    return float(np.average(found, weights=rows))


def expected_auc(chance: ArrayLike, score: ArrayLike) -> float:
    """The AUC of ``score`` that is to be expected where each row's label is 1 with its ``chance``, which a simulator knows.

    Each row counts as a label 1 by its chance and as a label 0 by the rest. ``ValueError`` for chances outside 0 to 1, and
    where there are no labels of one kind.

    >>> expected_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> round(expected_auc([0.25, 0.75], [0.1, 0.9]), 4)  # of 1 x 1 pairs 9/16 are right, 6/16 a row with itself
    0.75
    """
    chances, scores = np.asarray(chance, np.float64), np.asarray(score, np.float64)
    if chances.ndim != 1 or chances.shape != scores.shape or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError(f"chances {chances.shape} and scores {scores.shape} differ in shape, or chances leave 0 to 1")
    _, tie = np.unique(scores, return_inverse=True)
    positive, negative = np.bincount(tie, chances), np.bincount(tie, 1.0 - chances)
    pairs = positive.sum() * negative.sum()
    if not pairs > 0:
        raise ValueError("AUC needs some chance of label 0 and of label 1; all labels are alike")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2.0)).sum() / pairs)


def log_loss(label: ArrayLike, rate: ArrayLike) -> float:
    """Mean of ``-y log p - (1 - y) log(1 - p)``; rates are kept 1e-7 from 0 and 1, as float32 sets no closer ones apart.

    >>> round(log_loss([1, 0], [0.8, 0.5]), 6)  # (log 1.25 + log 2) / 2
    0.458145
    """
    labels, rates = _columns(label, rate)
    if ((rates < 0) | (rates > 1)).any():
        raise ValueError(f"rates hold {rates[(rates < 0) | (rates > 1)][0]}; allowed is 0 to 1")
    kept = np.clip(rates, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)))


def relative_improvement(value: float, base: float) -> float:
    """``RelaImpr`` in percent: what an AUC gains over a base, chance (0.5) taken off both (Yan et al. 2014).

    >>> round(relative_improvement(0.625, 0.6), 6)
    25.0
    """
    if base == 0.5:
        raise ValueError("base is 0.5, chance; allowed is any other AUC")
    return ((value - 0.5) / (base - 0.5) - 1.0) * 100.0


def _columns(label: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    labels, scores = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape or not len(labels):
        raise ValueError(
            f"labels have shape {labels.shape} and scores {scores.shape}; allowed is one row or more, alike"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels hold {labels[~np.isin(labels, (0, 1))][0]}; allowed are 0 and 1")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores hold {scores[~np.isfinite(scores)][0]}; allowed are finite numbers")
    return labels, scores


def group_aucs(
    labels: NDArray[np.float64], scores: NDArray[np.float64], groups: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """AUC and number of rows of each group that has both labels, in the groups' order, from the sum of mid-ranks."""
    order = np.lexsort((scores, groups))
    y, s, g = labels[order], scores[order], groups[order]
    begins = np.r_[True, g[1:] != g[:-1]]
    ties = np.r_[True, (s[1:] != s[:-1]) | begins[1:]]
    of_tie, of_group = np.cumsum(ties) - 1, np.cumsum(begins) - 1
    starts = np.flatnonzero(ties)
    middle = starts + (np.diff(np.r_[starts, len(s)]) - 1) / 2.0
    rank = middle[of_tie] - np.flatnonzero(begins)[of_group]  # from 0, within the group
    rows = np.bincount(of_group)
    positive = np.bincount(of_group, weights=y)
    total = np.bincount(of_group, weights=rank * y)
    both = (positive > 0) & (positive < rows)
    p, n = positive[both], rows[both] - positive[both]
    return (total[both] - p * (p - 1) / 2.0) / (p * n), rows[both]
