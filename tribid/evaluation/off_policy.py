"""Off-policy estimates: what a target policy would have earned, from N decisions that a logging policy made.

`rewards` [N] is what was earned, `logging_probs` [N] and `target_probs` [N] are the probabilities with which either
policy takes the logged action. Estimates are in the unit of a reward, per decision. Sources: Horvitz and Thompson 1952
(ips), Swaminathan and Joachims 2015 (snips), Dudik, Langford and Li 2011 (direct method, dr), Kish 1965 (sample size).

The estimates hold where the logging policy takes every action that the target policy takes, and where its
probabilities are the ones that it really used: neither can be seen in the log, so report the sample size beside them.

Ten decisions over two actions, logged at .8 and .2, with rewards 1 and 3; the target takes both evenly and earns 2:

>>> rewards, logging = [1.0] * 8 + [3.0] * 2, [0.8] * 8 + [0.2] * 2
>>> round(ips(rewards, logging, [0.5] * 10), 12)
2.0
>>> round(effective_sample_size(importance_weights(logging, [0.5] * 10)) / 10, 12)
0.64
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def importance_weights(logging_probs: ArrayLike, target_probs: ArrayLike) -> Floats:
    """Return target over logging probability, [N].

    Raises ValueError for different lengths and for probabilities outside [0, 1]; a logged action cannot have had the
    logging probability 0.

    >>> importance_weights([0.25], [0.5])
    array([2.])
    """
    logged, target = _vector(logging_probs, "logging_probs"), _vector(target_probs, "target_probs")
    _same_length(logging_probs=logged, target_probs=target)
    if ((logged <= 0) | (logged > 1)).any():
        raise ValueError("logging_probs must be above 0 and at most 1: the logged action was taken")
    if ((target < 0) | (target > 1)).any():
        raise ValueError("target_probs must be from 0 to 1")
    weights: Floats = target / logged
    return weights


def ips(rewards: ArrayLike, logging_probs: ArrayLike, target_probs: ArrayLike) -> float:
    """Return the inverse propensity estimate: mean of weight x reward.

    Unbiased; its variance grows with the weights.
    """
    gains, weights = _vector(rewards, "rewards"), importance_weights(logging_probs, target_probs)
    _same_length(rewards=gains, logging_probs=weights)
    return float(np.mean(weights * gains))


def snips(rewards: ArrayLike, logging_probs: ArrayLike, target_probs: ArrayLike) -> float:
    """Return the self-normalised estimate: sum of weight x reward over sum of weights, within the range of the rewards.

    Biased in small samples. Raises ValueError where the target policy takes none of the logged actions.
    """
    gains, weights = _vector(rewards, "rewards"), importance_weights(logging_probs, target_probs)
    _same_length(rewards=gains, logging_probs=weights)
    total = weights.sum()
    if total == 0:
        raise ValueError("the target policy takes none of the logged actions: the log says nothing about it")
    return float(np.dot(weights, gains) / total)


def direct_method(target_action_probs: ArrayLike, predicted_rewards: ArrayLike) -> float:
    """Return what a reward model expects of the target policy; as biased as the model.

    Both are [N, A]: the target policy's probability of each action, and the predicted reward of each.

    >>> direct_method([[0.5, 0.5]], [[1.0, 3.0]])
    2.0
    """
    return float(np.mean(_expected(target_action_probs, predicted_rewards)))


def dr(
    rewards: ArrayLike,
    actions: ArrayLike,
    logging_probs: ArrayLike,
    target_action_probs: ArrayLike,
    predicted_rewards: ArrayLike,
) -> float:
    """Return the doubly robust estimate: the direct method plus the weighted error of the model on the logged actions.

    Right where either the logging probabilities or the reward model are. `actions` [N] are indices of columns;
    the two tables are [N, A], as in `direct_method`.

    >>> dr([1.0], [0], [0.5], [[0.5, 0.5]], [[1.0, 3.0]])
    2.0
    """
    gains, chosen = _vector(rewards, "rewards"), np.asarray(actions)
    expected = _expected(target_action_probs, predicted_rewards)
    target, predicted = np.asarray(target_action_probs, np.float64), np.asarray(predicted_rewards, np.float64)
    if chosen.shape != gains.shape or chosen.dtype.kind not in "iu":
        raise ValueError(f"actions must be {gains.size} whole numbers, one per reward")
    if gains.size != expected.size:
        raise ValueError(f"there are {gains.size} rewards and {expected.size} rows of probabilities")
    if (chosen < 0).any() or (chosen >= target.shape[1]).any():
        raise ValueError(f"actions must be from 0 to {target.shape[1] - 1}")
    rows = np.arange(gains.size)
    weights = importance_weights(logging_probs, target[rows, chosen])
    return float(np.mean(expected + weights * (gains - predicted[rows, chosen])))


def effective_sample_size(weights: ArrayLike) -> float:
    """Return how many equally weighted decisions are worth as much: (sum w)^2 / sum w^2, from 0 to N.

    >>> effective_sample_size([1.0, 1.0, 1.0])
    3.0
    >>> effective_sample_size([4.0, 0.0, 0.0])
    1.0
    """
    values = _vector(weights, "weights")
    if (values < 0).any():
        raise ValueError("weights must not be negative")
    squares = float(np.square(values).sum())
    return float(values.sum()) ** 2 / squares if squares > 0 else 0.0


def _expected(target_action_probs: ArrayLike, predicted_rewards: ArrayLike) -> Floats:
    target, predicted = np.asarray(target_action_probs, np.float64), np.asarray(predicted_rewards, np.float64)
    if target.ndim != 2 or target.shape != predicted.shape or target.size == 0:
        raise ValueError(f"the tables have the shapes {target.shape} and {predicted.shape}, allowed is [N, A] for both")
    if not np.isfinite(predicted).all():
        raise ValueError("predicted_rewards must be finite")
    if not (target >= 0).all() or not np.allclose(target.sum(axis=1), 1.0, rtol=0, atol=1e-6):
        raise ValueError("each row of target_action_probs must be probabilities that sum to 1")
    expected: Floats = np.einsum("na,na->n", target, predicted)
    return expected


def _vector(values: ArrayLike, name: str) -> Floats:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{name} has the shape {vector.shape}, allowed is [N] with at least one decision")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite")
    return vector


def _same_length(**vectors: Floats) -> None:
    if len({vector.size for vector in vectors.values()}) > 1:
        sizes = ", ".join(f"{name} {vector.size}" for name, vector in vectors.items())
        raise ValueError(f"one entry per decision is needed in each, not {sizes}")
