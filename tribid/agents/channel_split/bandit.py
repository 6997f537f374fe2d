"""A combinatorial bandit over the levels of each channel's budget, with one Gaussian process per channel.

After Nuara, Trovo, Gatti, Restelli, "A Combinatorial-Bandit Algorithm for the Online Joint Bid/Budget Optimization of
Pay-per-Click Advertising Campaigns" (AAAI 2018; longer as arXiv:2003.01452): each campaign's return is a Gaussian process,
what each campaign brought is seen (a semi-bandit), and each day a multi-choice knapsack over optimistic (UCB) or sampled
(Thompson) returns is solved by dynamic programming. We know the abstracts, the details are from memory. There the choice
is of bids and budgets; here of budgets alone, a channel's return at no money is known to be 0, and the process's scale
follows the credits that came (ours).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tribid.agents.channel_split.knapsack import best_on_grid
from tribid.agents.channel_split.splitter import Floats, Ints, Seen


class SplitBandit:
    """Levels are equal steps of the budget; a day's split spends up to ``steps`` of them.

    ``rule``: ``thompson`` or ``ucb`` (``width`` standard deviations). ``length`` is the process's length scale as a share
    of the budget; ``noise`` the variance of a day's credit as a multiple of the process's variance. ``seed`` is for
    Thompson's draws alone.
    """

    def __init__(
        self, channels: int, *, rule: Literal["thompson", "ucb"] = "thompson", steps: int = 20, length: float = 0.35,
        noise: float = 0.05, width: float = 2.0, seed: int = 0,
    ) -> None:  # fmt: skip
        if rule not in ("thompson", "ucb"):
            raise ValueError(f"rule is {rule!r}; allowed are thompson and ucb")
        if steps < 1 or length <= 0 or noise <= 0 or width < 0:
            raise ValueError(
                f"steps is {steps}, length {length}, noise {noise}, width {width}; allowed are steps of 1 or more, length "
                "and noise above 0, width of 0 or more"
            )
        self.rule, self.steps, self.noise, self.width = rule, steps, noise, width
        self._count = np.zeros((channels, steps + 1))
        self._total = np.zeros((channels, steps + 1))
        self._square, self._heard = 0.0, 0
        self._budget = 0
        self._random = np.random.default_rng(seed)
        at = np.arange(1, steps + 1) / steps
        near = np.exp(-0.5 * ((at[:, None] - at[None, :]) / length) ** 2)
        origin = np.exp(-0.5 * (at / length) ** 2)
        self._kernel = near - np.outer(origin, origin) + 1e-9 * np.eye(steps)  # given that no money returns nothing

    def split(self, seen: Seen) -> Ints:
        """The levels that are best for today's draw, or for the optimistic returns."""
        self._budget = seen.budget_micros
        mean, root = self.posterior()
        if self.rule == "thompson":
            worth = mean + np.einsum("cij,cj->ci", root, self._random.standard_normal(mean.shape))
        else:
            worth = mean + self.width * np.sqrt(np.einsum("cij,cij->ci", root, root))
        level = best_on_grid(np.hstack([np.zeros((len(worth), 1)), worth]))
        return level * (seen.budget_micros // self.steps)

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """Credit each channel's level of the day; money between levels counts for the nearest."""
        level = np.rint(split_micros * self.steps / max(self._budget, 1)).astype(np.int64).clip(0, self.steps)
        rows = np.arange(len(level))
        self._count[rows, level] += 1.0
        self._total[rows, level] += value
        self._square += float((value[level > 0] ** 2).sum())
        self._heard += int((level > 0).sum())

    def posterior(self) -> tuple[Floats, Floats]:
        """Mean [C, steps] of each channel's return at each level above 0, and a root [C, steps, steps] of its covariance."""
        scale = np.sqrt(self._square / self._heard) if self._square > 0 else 1.0
        means, roots = [], []
        for count, total in zip(self._count[:, 1:], self._total[:, 1:], strict=True):
            tried = np.flatnonzero(count)
            cross = self._kernel[:, tried]
            inner = self._kernel[np.ix_(tried, tried)] + np.diag(self.noise / count[tried])
            gain: NDArray[np.float64] = np.linalg.solve(inner, cross.T).T
            means.append(gain @ (total[tried] / count[tried]))
            covariance = scale**2 * (self._kernel - gain @ cross.T)
            values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
            roots.append(vectors * np.sqrt(values.clip(0)))
        return np.array(means), np.array(roots)
