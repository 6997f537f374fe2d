"""An evolution strategy: better numbers from nothing but the scores of disturbed ones.

Salimans, Ho, Chen, Sidor and Sutskever, "Evolution strategies as a scalable alternative to reinforcement learning" (2017):
mirrored Gaussian disturbances, ranks in the place of scores, and Adam along the estimated gradient.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EvolutionRule:
    """``pairs`` of mirrored disturbances with deviation ``sigma`` in each generation; Adam's step size and decays."""

    pairs: int = 8
    sigma: float = 0.1
    step: float = 0.05
    first_decay: float = 0.9
    second_decay: float = 0.99

    def __post_init__(self) -> None:
        if self.pairs < 1 or not self.sigma > 0 or not self.step > 0:
            raise ValueError(f"{self!r} is no rule; allowed are pairs from 1, sigma and step above 0")


class Evolution:
    """Numbers [P] that climb: ``ask`` gives a generation's candidates, ``tell`` takes their scores.

    >>> climb = Evolution(np.zeros(2), EvolutionRule(step=0.1), seed=0)
    >>> for _ in range(100):
    ...     candidates = climb.ask()
    ...     climb.tell(-((candidates - 1.0) ** 2).sum(axis=1))
    >>> bool(np.abs(climb.mean - 1.0).max() < 0.1)
    True
    """

    def __init__(self, mean: ArrayLike, rule: EvolutionRule, seed: int) -> None:
        self.mean = np.array(mean, np.float64)
        self.rule = rule
        self._rng = np.random.default_rng(seed)
        self._noise = np.zeros((0, self.mean.size))
        self._first, self._second, self._generation = np.zeros_like(self.mean), np.zeros_like(self.mean), 0

    def ask(self) -> Floats:
        """Candidates [2 * pairs, P]: the first half and its mirror image about the mean."""
        half = self._rng.standard_normal((self.rule.pairs, self.mean.size))
        self._noise = np.concatenate([half, -half])
        return self.mean + self.rule.sigma * self._noise

    def tell(self, scores: ArrayLike) -> None:
        """Move the mean by the scores [2 * pairs] (higher is better) of what ``ask`` gave last."""
        told = np.asarray(scores, np.float64)
        if told.shape != (len(self._noise),) or not np.isfinite(told).all():
            raise ValueError(
                f"scores are {told!r}; allowed are {len(self._noise)} finite numbers, one for each candidate"
            )
        gradient = centred_ranks(told) @ self._noise / (len(told) * self.rule.sigma)
        rule = self.rule
        self._generation += 1
        self._first = rule.first_decay * self._first + (1.0 - rule.first_decay) * gradient
        self._second = rule.second_decay * self._second + (1.0 - rule.second_decay) * gradient**2
        ahead = self._first / (1.0 - rule.first_decay**self._generation)
        size = np.sqrt(self._second / (1.0 - rule.second_decay**self._generation))
        self.mean = self.mean + rule.step * ahead / (size + 1e-8)


def centred_ranks(scores: ArrayLike) -> Floats:
    """Ranks from -0.5 (the least) to 0.5; equal scores share theirs.

    >>> centred_ranks([5.0, -1.0, 5.0]).tolist()
    [0.25, -0.5, 0.25]
    """
    told = np.asarray(scores, np.float64)
    below = (told[None, :] < told[:, None]).sum(axis=1)
    equal = (told[None, :] == told[:, None]).sum(axis=1)
    ranks = below + (equal - 1) / 2.0
    return np.asarray(ranks / max(1, len(told) - 1) - 0.5, np.float64)
