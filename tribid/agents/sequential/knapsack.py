"""The knapsack that a campaign is: greedy by value for cost, and the controller that finds its threshold.

Hao et al., "Dynamic Knapsack Optimization Towards Efficient Multi-Channel Sequential Advertising" (ICML 2020). A consumer is
an item of value VG and cost VC; the greedy choice takes items in the order of VG / VC until the budget is full, and is
within ``lambda`` of the optimum if each item costs at most ``(1 - lambda)`` of the budget.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Choice(NamedTuple):
    """Which items are taken, [n] bool; their value and cost; and the least ratio taken, infinity where none was."""

    taken: NDArray[np.bool_]
    value: float
    cost: float
    threshold: float


def greedy(values: ArrayLike, costs: ArrayLike, budget: float) -> Choice:
    """Take items by ``value / cost`` until the next one would exceed ``budget``; ties by index.

    The published example: seven items of cost 2 under a budget of 8.

    >>> greedy([20, 18, 16, 14, 12, 10, 8], [2] * 7, 8)[1:]
    (68.0, 8.0, 7.0)
    """
    value, cost = np.asarray(values, float), np.asarray(costs, float)
    if value.shape != cost.shape or value.ndim != 1 or (cost <= 0).any() or not np.isfinite(value + cost).all():
        raise ValueError(f"values have shape {value.shape}, costs {cost.shape}; allowed are [n] each, costs above 0")
    if not budget >= 0:
        raise ValueError(f"budget is {budget}; allowed is 0 or more")
    ratio = value / cost
    order = np.argsort(-ratio, kind="stable")
    fits = int((np.cumsum(cost[order]) <= budget * (1 + 1e-12)).sum())
    taken = np.zeros(len(value), bool)
    taken[order[:fits]] = True
    threshold = float(ratio[order[fits - 1]]) if fits else np.inf
    return Choice(taken, float(value[taken].sum()), float(cost[taken].sum()), threshold)


@dataclass
class CprController:
    """Moves the threshold so that a period costs its share of the budget (the paper's outer loop).

    ``CPR_thr <- CPR_thr [1 + a1 (cost_t / B - 1) + a2 (cost_{t-n:t} / (n B) - 1)]``, where ``B`` is what a period was to
    cost and the last term looks at the latest ``n`` periods. The bracket is kept within ``bounds``, so that one odd period
    neither ends nor explodes a positive number.
    """

    threshold: float
    a1: float = 0.05
    a2: float = 0.10
    n: int = 10
    bounds: tuple[float, float] = (0.5, 2.0)
    _last: deque[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (self.threshold > 0 and np.isfinite(self.threshold)):
            raise ValueError(f"threshold is {self.threshold}; allowed is a finite number above 0, for it is multiplied")
        if self.a1 < 0 or self.a2 < 0 or self.n < 1 or not 0 < self.bounds[0] <= 1 <= self.bounds[1]:
            raise ValueError(
                f"a1 is {self.a1}, a2 {self.a2}, n {self.n}, bounds {self.bounds}; allowed are 0 or more, 0 or more, 1 or "
                f"more, and one number from 0 to 1 and one from 1 on"
            )
        self._last = deque(maxlen=self.n)

    def update(self, cost: float, budget: float) -> float:
        """The threshold after a period that cost ``cost`` where ``budget`` (above 0) was planned."""
        if not budget > 0 or not cost >= 0:
            raise ValueError(f"cost is {cost}, budget {budget}; allowed are 0 or more, and above 0")
        self._last.append(cost / budget)
        change = self.a1 * (self._last[-1] - 1.0) + self.a2 * (float(np.mean(self._last)) - 1.0)
        self.threshold *= float(np.clip(1.0 + change, *self.bounds))
        return self.threshold
