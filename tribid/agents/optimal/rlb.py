"""RLB: the dynamic programme over auctions left and budget left, its bids, and the rules that it was published against.

Cai, Ren, Zhang, Malialis, Wang, Yu and Guo, "Real-time bidding by reinforcement learning in display advertising" (WSDM
2017). Second price: a bid of at least the market price wins and pays it. Prices are whole numbers in any one unit; value
is the predicted click rate, or anything else that adds up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueFunction:
    """What a budget is worth: ``table[n, b]`` is the best expected value of n auctions to come with budget b.

    ``table`` is float64 [N + 1, B + 1] (8 bytes each: 16 MB for 1000 auctions and a budget of 2000), ``most`` the
    highest bid, ``mean_value`` the value that an auction to come is taken to have.
    """

    table: NDArray[np.float64]
    mean_value: float
    most: int

    @classmethod
    def solve(
        cls, prices: ArrayLike, *, auctions: int, budget: int, mean_value: float, free_when_broke: bool = True
    ) -> "ValueFunction":
        """The exact value function of N auctions and every budget from 0 to B, in time O(N * B * prices).

        ``prices[d]`` is the probability that the market price is d; probability that is lacking to 1 is a price that no
        bid reaches. With ``theta`` the mean value (Cai et al., eq. 6, with V(0, .) = 0),

            V(n, b) = max over a <= b of  sum over d <= a of prices[d] * (theta + V(n-1, b-d))
                                        + sum over d > a  of prices[d] * V(n-1, b)

        A free impression (price 0) is won at any budget, 0 included. The authors' own programme takes V(n, 0) as 0, as
        ``free_when_broke=False`` does: where price 0 is next to impossible the two differ in the last digits.

        >>> ValueFunction.solve([0.0, 0.5, 0.5], auctions=2, budget=2, mean_value=1.0).table.tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.5, 1.0], [0.0, 0.75, 1.25]]
        """
        chance = np.asarray(prices, np.float64)
        if chance.ndim != 1 or not len(chance) or not (chance >= 0).all() or not chance.sum() <= 1 + 1e-9:
            raise ValueError(
                f"prices have shape {chance.shape} and sum to {float(chance.sum())}; allowed are probabilities of the "
                "prices 0, 1, 2, ... that sum to 1 or less"
            )
        for name, whole in (("auctions", auctions), ("budget", budget)):
            if isinstance(whole, bool) or not isinstance(whole, (int, np.integer)) or whole < 0:
                raise ValueError(f"{name} is {whole!r}; allowed is a whole number from 0")
        if not 0 <= mean_value < np.inf:
            raise ValueError(f"mean_value is {mean_value!r}; allowed is a finite number from 0")
        table = np.zeros((auctions + 1, budget + 1))
        _fill(table, chance, mean_value, 0 if free_when_broke else 1)
        table.flags.writeable = False
        return cls(table=table, mean_value=float(mean_value), most=len(chance) - 1)

    def bid(self, value: float, auctions_left: int, budget_left: int) -> int:
        """The bid for an auction worth ``value``, with ``auctions_left`` (this one counted) and ``budget_left``.

        The largest d with ``value + V(n-1, b-d) - V(n-1, b) >= 0`` (Cai et al., eq. 7), found by scanning up from 1 and
        stopping at the first that fails; never above the budget or ``most``. Bid 0 wins what is free.

        >>> even = ValueFunction.solve([0.0, 0.5, 0.5], auctions=2, budget=2, mean_value=1.0)
        >>> [even.bid(value, 2, 2) for value in (0.4, 0.5, 1.0)]
        [0, 1, 2]
        """
        rows, columns = self.table.shape
        if not 1 <= auctions_left < rows or not 0 <= budget_left < columns:
            raise ValueError(
                f"{auctions_left} auctions and a budget of {budget_left} are left; allowed are 1 to {rows - 1} "
                f"auctions and a budget of 0 to {columns - 1}"
            )
        return int(highest_bid(self.table[auctions_left - 1], value, budget_left, self.most))


def smoothed_prices(counter: ArrayLike, pseudo_count: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of the prices from a histogram of them, with ``pseudo_count`` added to every price (Laplace).

    >>> smoothed_prices([0, 2]).tolist()
    [0.25, 0.75]
    """
    counts = np.asarray(counter, np.float64) + pseudo_count
    if counts.ndim != 1 or not len(counts) or not (counts >= 0).all() or not 0 < counts.sum() < np.inf:
        raise ValueError("counter must be counts of the prices 0, 1, 2, ..., not negative, with some above 0")
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def mcpc_bid(value: ArrayLike, cost: float, clicks: float) -> NDArray[np.int64]:
    """Mcpc: the click rate times the most that a click may cost, the training period's cost per click; rounded down.

    >>> mcpc_bid([0.001, 0.01], cost=2000.0, clicks=1.0).tolist()
    [2, 20]
    """
    bids: NDArray[np.int64] = (np.asarray(value, np.float64) * cost / clicks).astype(np.int64)
    return bids


def linear_bid(value: ArrayLike, mean_value: float, base: float) -> NDArray[np.int64]:
    """Lin: in proportion to the value, ``base`` at the mean value; rounded down (Perlich et al., KDD 2012).

    >>> linear_bid([0.001, 0.0025], mean_value=0.001, base=10.0).tolist()
    [10, 25]
    """
    bids: NDArray[np.int64] = (np.asarray(value, np.float64) * base / mean_value).astype(np.int64)
    return bids


@njit(cache=True, error_model="numpy")
def highest_bid(after: Any, value: Any, left: Any, most: Any) -> Any:
    """The scan of ``ValueFunction.bid`` over one row [B + 1] of the table, that of the auctions after this one."""
    bid = 0
    for price in range(1, min(left, most) + 1):
        if value + after[left - price] - after[left] < 0.0:
            break
        bid = price
    return bid


@njit(cache=True, error_model="numpy")
def _fill(table: Any, chance: Any, theta: Any, least: Any) -> None:
    """Rows 1 to N from row 0, in place, for budgets from ``least``; what lies below stays 0.

    V(n-1, .) never falls with the budget, so the gain of winning at price d falls with d: the best bid takes every price
    with a gain above 0, and the sum of the positive gains is the maximum. Prices are the outer loop: budgets are added to
    side by side, in one order whatever the machine.
    """
    rows, columns = table.shape
    for n in range(1, rows):
        before, now = table[n - 1], table[n]
        for b in range(columns):
            now[b] = before[b]
        for price in range(min(chance.shape[0], columns)):
            weight = chance[price]
            if weight > 0.0:
                for b in range(max(price, least), columns):
                    now[b] += weight * max(theta + before[b - price] - before[b], 0.0)
