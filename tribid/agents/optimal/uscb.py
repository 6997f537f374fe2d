"""USCB's optimal bid for any set of constraints, from the prices of a linear programme.

He, Chen, Wu, Pan, Tan, Yu, Xu and Zhu, "A unified solution to constrained bidding in online display advertising" (KDD
2021): LP1 and eq. 5. Each of n impressions costs ``c`` and is worth ``v``; a constraint j asks ``sum c_j x <= k_j * sum
p_j x`` with the quantities of their Table 1 (``KINDS``). With the prices alpha of the budget and beta_j of the constraints,

    bid = w_0 v - sum over j of w_j (q_j (1 - R_j) - k_j p_j),
    w_0 = 1 / (alpha + sum of beta_j R_j),  w_j = beta_j w_0,

where R_j is 1 for constraints on the cost and 0 for others, which have q_j = c_j. Impressions with a bid above their cost
are exactly those that the optimum buys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.optimal.lp_bound import LpBound, lp_bound


class Kind(NamedTuple):
    """A row of Table 1: whether it limits the cost, whether the limit is a floor, and what ``per_impression`` counts."""

    cost_related: bool
    floor: bool
    counted: str


KINDS: dict[str, Kind] = {
    "cpm": Kind(True, False, "nothing: every impression counts as a thousandth"),
    "cpc": Kind(True, False, "clicks"),
    "cpa": Kind(True, False, "actions, such as conversions"),
    "roi": Kind(True, True, "revenue, in the unit of the cost"),
    "ctr": Kind(False, True, "clicks"),
    "cpi": Kind(False, True, "conversions"),
}
"""Constraints by name: the most that a thousand impressions, a click or an action may cost; the least revenue per cost,
clicks per impression and conversions per impression."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Kpi:
    """A constraint: ``limit`` is the upper bound of cpm, cpc and cpa, and the floor of roi, ctr and cpi.

    ``per_impression`` [n] is what each impression is expected to bring of what the kind counts; cpm takes none.

    >>> Kpi(kind="roi", limit=2.0, per_impression=np.array([3.0])).scale
    0.5
    """

    kind: str
    limit: float
    per_impression: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no constraint named {self.kind!r}; choose {', '.join(KINDS)}")
        if not 0 < self.limit < np.inf:
            raise ValueError(f"limit of {self.kind} is {self.limit!r}; allowed is a finite number above 0")
        if (self.kind == "cpm") != (self.per_impression is None):
            raise ValueError(f"per_impression of {self.kind} counts {KINDS[self.kind].counted}; cpm alone takes none")

    @property
    def cost_related(self) -> bool:
        """Whether the constraint limits the cost (R_j of the paper)."""
        return KINDS[self.kind].cost_related

    @property
    def scale(self) -> float:
        """k_j: the limit, or one over the floor."""
        return 1.0 / self.limit if KINDS[self.kind].floor else self.limit

    def counted(self, impressions: int) -> NDArray[np.float64]:
        """p_j [n]."""
        if self.per_impression is None:
            return np.full(impressions, 1e-3)
        given = np.asarray(self.per_impression, np.float64)
        if given.shape != (impressions,) or not (np.isfinite(given) & (given >= 0)).all():
            raise ValueError(
                f"per_impression of {self.kind} has shape {given.shape}; allowed are {impressions} finite numbers from 0"
            )
        return given

    def excess(self, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        """``c_j - k_j p_j`` [n]: its sum over what is bought must not be above 0."""
        used = cost if self.cost_related else np.ones(len(cost))
        return used - self.scale * self.counted(len(cost))


class Weights(NamedTuple):
    """``w_0`` and ``w_j`` [J] of the bid; infinite ``w_0`` where neither budget nor a constraint on the cost binds."""

    value: float
    constraints: NDArray[np.float64]


def solve(
    value: ArrayLike, cost: ArrayLike, *, budget: float | None = None, constraints: Sequence[Kpi] = ()
) -> LpBound:
    """LP1: the most value of impressions [n] under the budget and the constraints, with their prices in this order.

    >>> kpi = Kpi(kind="cpc", limit=3.0, per_impression=np.array([1.0, 1.0]))
    >>> bound = solve([1.0, 1.0], [2.0, 5.0], constraints=[kpi])
    >>> bound.share[:, 0].tolist(), round(bound.value, 9)
    ([1.0, 0.5], 1.5)
    """
    price = np.asarray(cost, np.float64)
    if price.ndim != 1:
        raise ValueError(f"cost has shape {price.shape}; allowed is one number per impression, (n,)")
    return lp_bound(value, price, budget, excess=[kpi.excess(price) for kpi in constraints])


def weights(budget_price: float, prices: ArrayLike, constraints: Sequence[Kpi] = ()) -> Weights:
    """The bid's weights from the prices alpha and beta_j.

    >>> weights(2.0, [])
    Weights(value=0.5, constraints=array([], dtype=float64))
    """
    beta = np.asarray(prices, np.float64)
    if beta.shape != (len(constraints),) or not budget_price >= 0 or not (beta >= 0).all():
        raise ValueError(
            f"budget_price is {budget_price!r}, prices have shape {beta.shape}; allowed are numbers from 0, one for each "
            f"of {len(constraints)} constraints"
        )
    on_cost = budget_price + float(sum(b for b, kpi in zip(beta, constraints, strict=True) if kpi.cost_related))
    if on_cost <= 0:
        return Weights(np.inf, np.where(beta > 0, np.inf, 0.0))
    return Weights(1.0 / on_cost, beta / on_cost)


def optimal_bids(
    value: ArrayLike, budget_price: float, prices: ArrayLike = (), constraints: Sequence[Kpi] = ()
) -> NDArray[np.float64]:
    """The bid of each impression [n], which no own cost enters; below 0 where it is not wanted even for nothing.

    Where nothing binds the cost, bids are infinite, of the sign of what an impression adds at the prices.

    >>> optimal_bids([10.0, 9.0], 2.0).tolist()
    [5.0, 4.5]
    >>> kpi = Kpi(kind="cpc", limit=0.5, per_impression=np.array([0.1]))
    >>> optimal_bids([1.0], 1.0, [3.0], [kpi]).round(9).tolist()
    [0.2875]
    """
    v = np.asarray(value, np.float64)
    w = weights(budget_price, prices, constraints)
    net = v.copy()
    for price, kpi in zip(np.asarray(prices, np.float64), constraints, strict=True):
        used = 0.0 if kpi.cost_related else 1.0
        net = net - price * (used - kpi.scale * kpi.counted(len(v)))
    if np.isfinite(w.value):
        bids: NDArray[np.float64] = w.value * net
        return bids
    return np.where(net > 0, np.inf, np.where(net < 0, -np.inf, 0.0))
