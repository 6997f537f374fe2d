"""The best that could have been bought in hindsight: linear programmes over a day's slots and their critical prices.

Each request offers its K slots at the prices that the others' bids set; at most one of them can be had. The relaxation
that allows shares of a slot is a multiple-choice knapsack; its multipliers give the optimal bid of USCB (He, Chen, Wu,
Pan, Tan, Yu, Xu and Zhu, "A unified solution to constrained bidding in online display advertising", KDD 2021, eq. 5).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tribid.agents.optimal.lp_bound import lp_bound
from tribid.auctions.score import quality_weights
from tribid.envs.journey.scenes import effect_table
from tribid.envs.journey.world import Journey
from tribid.envs.market import MarketState, Tick

_TOLERANCE = 1e-12
_MOST_STEPS = 200


class Bound(NamedTuple):
    """An upper bound on the value, and the prices of the constraints that prove it.

    ``budget_price`` is what one more unit of budget would add, ``target_price`` what one more unit of spend above the
    target would (0 without a target). ``share`` [n, K] is how much of each slot the relaxed optimum takes.
    """

    value: float
    budget_price: float
    target_price: float
    share: NDArray[np.float64]


def hindsight_bound(
    value: ArrayLike, cost: ArrayLike, budget: float, *, target_cost_per_value: float | None = None
) -> Bound:
    """The relaxed optimum: ``max sum v x`` with at most one slot per request, ``sum c x <= budget``, and for a target
    ``sum c x <= target_cost_per_value * sum v x``.

    ``value`` and ``cost`` are [n, K] (or [n]), not negative, in any one unit; solved by HiGHS, exactly, in seconds for
    a day. ``dual_bound`` gives the same number in milliseconds. Raises ``ValueError`` for bad input.

    >>> bound = hindsight_bound([10, 9, 8, 3, 2], [2, 3, 4, 1, 4], 9.0)
    >>> round(bound.value, 9), round(bound.budget_price, 9)
    (28.0, 2.0)
    """
    v, c = _checked(value, cost, budget, target_cost_per_value)
    t = target_cost_per_value
    found = lp_bound(v, c, budget, excess=() if t is None else (c - t * v,))
    return Bound(found.value, found.budget_price, 0.0 if t is None else float(found.prices[0]), found.share)


def dual_bound(
    value: ArrayLike, cost: ArrayLike, budget: float, *, target_cost_per_value: float | None = None
) -> Bound:
    """The same optimum from the other side: the least value of the Lagrangian dual over the prices of the constraints.

    Every price proves a bound (weak duality), so rounding can only make it looser. Same arguments as
    ``hindsight_bound``; ``share`` mixes the two choices that are best at the optimal prices.

    >>> bound = dual_bound([10, 9, 8, 3, 2], [2, 3, 4, 1, 4], 9.0)
    >>> round(bound.value, 9), round(bound.budget_price, 9), bound.share[:, 0].round(9).tolist()
    (28.0, 2.0, [1.0, 1.0, 0.75, 1.0, 0.0])
    """
    v, c = _checked(value, cost, budget, target_cost_per_value)
    t = target_cost_per_value
    if t is None:
        cut = _least(lambda mu: _cut(v, c, budget, mu), _highest_budget_price(v, budget))
        return Bound(cut.value, cut.at, 0.0, cut.share())
    excess = c - t * v

    def best_budget_price(target_price: float) -> "_Cut":
        net = v - target_price * excess
        cut = _least(lambda mu: _cut(net, c, budget, mu), _highest_budget_price(net, budget))
        slope = -float((excess * cut.share()).sum())
        return _Cut(target_price, cut.value, slope, cut.share, inner=cut.at)

    outer = _least(best_budget_price, _highest_target_price(v, c, excess, budget))
    return Bound(outer.value, outer.inner, outer.at, outer.share())


def optimal_bid(
    value: ArrayLike, budget_price: float, target_price: float = 0.0, target_cost_per_value: float = 1.0
) -> NDArray[np.float64]:
    """USCB's bid ``(1 + beta k) / (alpha + beta) * value``: it wins what the relaxed optimum takes, where K = 1.

    Infinite where neither constraint binds.

    >>> optimal_bid([10.0, 3.0], 2.0).tolist()
    [5.0, 1.5]
    """
    total = budget_price + target_price
    ratio = (1.0 + target_price * target_cost_per_value) / total if total > 0 else np.inf
    v = np.asarray(value, np.float64)
    return np.where(v > 0, v, 0.0) * ratio if np.isfinite(ratio) else np.where(v > 0, np.inf, 0.0)


def slot_options(
    state: MarketState, tick: Tick, advertiser: int, *, predicted: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each slot of a tick's requests was worth to one advertiser and what it would have cost, [n, K] micros each.

    Both are expectations over the user's behaviour, from the true rates or (``predicted``) from the platform's; the
    others' bids and the requests that came are taken as they were. Slot k costs what it takes to beat the (k+1)-th best
    rival: its score over the own weight (by externality under VCG), at least the reserve. Prices are not rounded up to
    the micro, so the bound is not below the truth. In a journey the slots are those of the page's scene; one that it does
    not have is worth nothing and costs nothing.
    """
    rules, a = state.scenario.rules, state.advertisers
    came, column = _came(tick, advertiser)
    effect = page_effects(state, tick)[came]
    rates = tick.predicted if predicted else tick.truth
    ctr, cvr = (np.asarray(rate[came, column], np.float64) for rate in rates)
    worth = a.click_worth[advertiser] + a.conversion_worth[advertiser] * cvr
    per_impression = rules.charge == "impression"
    pctr = tick.predicted.ctr[came, column].astype(np.float64)
    weight = np.ones(len(pctr)) if per_impression else quality_weights(pctr[:, None], rules.squash)[:, 0]
    if rules.ocpc.strategy == "conversion_rank":
        weight = weight * tick.predicted.cvr[came, column].astype(np.float64)
    to_beat = _rival_scores(tick, advertiser)[came] / np.maximum(weight, 1e-300)[:, None]
    price = np.maximum(to_beat, tick.requests.reserve_micros[came][:, None])
    charged = price * effect
    if rules.auction == "vcg":
        steps = -np.diff(effect, axis=1, append=0.0)
        charged = np.cumsum((price * steps)[:, ::-1], axis=1)[:, ::-1]
    cost = charged if per_impression else charged * ctr[:, None]
    return effect * (ctr * worth)[:, None], cost


def slots_offered(state: MarketState, tick: Tick, advertiser: int) -> NDArray[np.float64]:
    """What each slot of ``slot_options`` is seen by, [n, K]; 0 for one that its page does not have."""
    came, _ = _came(tick, advertiser)
    return page_effects(state, tick)[came]


def page_effects(state: MarketState, tick: Tick) -> NDArray[np.float64]:
    """What each slot of a tick's pages is seen by, [B, K]: in a journey by the page's scene, 0 for a slot that it lacks."""
    usual, pages = np.asarray(state.scenario.rules.slot_effects, np.float64), len(tick.slots.skipped)
    if not isinstance(state.world, Journey):
        return np.broadcast_to(usual, (pages, len(usual)))
    assert tick.requests.scene is not None
    found: NDArray[np.float64] = effect_table(state.world.layouts, len(usual))[tick.requests.scene]
    return found


def _came(tick: Tick, advertiser: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which pages [B] came and had the advertiser among their candidates, and where in their lists [n]."""
    candidate, column = tick.requests.place_of(advertiser)
    came = ~tick.slots.skipped & candidate
    return came, column[came]


def _rival_scores(tick: Tick, advertiser: int) -> NDArray[np.float64]:
    """The K best scores of the others, [B, K], best first; 0 where there are fewer."""
    slots = tick.slots
    score = np.concatenate([slots.score, slots.runner_up_score[:, None]], axis=1)
    who = np.concatenate([slots.winner, slots.runner_up[:, None]], axis=1)
    score = np.where((who >= 0) & (who != advertiser), score, 0.0)
    ordered: NDArray[np.float64] = -np.sort(-score, axis=1)
    return ordered[:, : slots.score.shape[1]]


class _Cut(NamedTuple):
    """A tangent of a convex function: its place, value and slope, the choice [n, K] behind it, the inner price."""

    at: float
    value: float
    slope: float
    share: Callable[[], NDArray[np.float64]]
    inner: float = 0.0


def _cut(v: NDArray[np.float64], c: NDArray[np.float64], budget: float, mu: float) -> _Cut:
    """The dual ``mu B + sum of max(0, max over k of v - mu c)`` at one budget price; ties go to the better slot."""
    choice = np.empty(len(v), np.int16)
    gain, spend = _best_slots(v, c, mu, choice)

    def share() -> NDArray[np.float64]:
        taken = np.flatnonzero(choice >= 0)
        chosen = np.zeros(v.shape)
        chosen[taken, choice[taken]] = 1.0
        return chosen

    return _Cut(mu, mu * budget + gain, budget - spend, share)


@njit(cache=True)
def _best_slots(v: Any, c: Any, mu: Any, choice: Any) -> Any:
    """Each row's slot of the highest ``v - mu c`` above 0 (-1: none) into ``choice``; sums of gains and of costs.

    The first slot of equal ones. Sums are taken over 256 rows at a time first, so that millions of rows lose no digits.
    """
    total, spent, rows = 0.0, 0.0, v.shape[0]
    for start in range(0, rows, 256):
        part, cost = 0.0, 0.0
        for i in range(start, min(rows, start + 256)):
            best, where = 0.0, -1
            for k in range(v.shape[1]):
                net = v[i, k] - mu * c[i, k]
                if net > best:
                    best, where = net, k
            choice[i] = where
            part += best
            if where >= 0:
                cost += c[i, where]
        total += part
        spent += cost
    return total, spent


def _least(tangent: Callable[[float], _Cut], highest: float) -> _Cut:
    """The least value of a convex piecewise linear function on [0, highest], from its tangents.

    Two tangents that fall and rise bracket the least value; where they meet is a lower bound of it, and the next place
    to look. Midpoints in turn keep the bracket shrinking. The answer's ``share`` and slope mix both tangents so that
    the slope is 0: the choice that spends the budget exactly.
    """
    left = tangent(0.0)
    if left.slope >= 0:
        return left
    right = tangent(highest)
    for step in range(_MOST_STEPS):
        if right.slope <= 0:
            return right
        meet = (right.value - left.value + left.slope * left.at - right.slope * right.at) / (left.slope - right.slope)
        floor = left.value + left.slope * (meet - left.at)
        least = min(left.value, right.value)
        if least - floor <= _TOLERANCE * abs(least):
            break
        at = meet if step % 3 else 0.5 * (left.at + right.at)
        if not left.at < at < right.at:
            break
        cut = tangent(at)
        if cut.value - floor <= _TOLERANCE * abs(cut.value) and at == meet:
            return _mixed(left, right, at, cut)
        left, right = (cut, right) if cut.slope < 0 else (left, cut)
    best = left if left.value <= right.value else right
    return _mixed(left, right, best.at, best)


def _mixed(left: _Cut, right: _Cut, at: float, cut: _Cut) -> _Cut:
    weight = right.slope / (right.slope - left.slope)
    return _Cut(at, cut.value, 0.0, lambda: weight * left.share() + (1.0 - weight) * right.share(), cut.inner)


def _highest_budget_price(v: NDArray[np.float64], budget: float) -> float:
    """Above this price the budget alone is worth more than everything: no optimum is there."""
    return 2.0 * float(np.maximum(v, 0.0).max(axis=1, initial=0.0).sum()) / budget + 1e-12


def _highest_target_price(
    v: NDArray[np.float64], c: NDArray[np.float64], excess: NDArray[np.float64], budget: float
) -> float:
    """As for the budget, from the choice with the most room under the target, scaled down to the budget."""
    row, best = np.arange(len(v)), excess.argmin(axis=1) if v.size else np.zeros(0, np.int64)
    room = np.maximum(-excess[row, best], 0.0)
    spend = float(c[row, best][room > 0].sum())
    slack = float(room.sum()) * min(1.0, budget / spend if spend > 0 else 1.0)
    everything = float(v.max(axis=1, initial=0.0).sum())
    return 2.0 * everything / slack + 1e-12 if slack > 0 else 1e9


def _checked(
    value: ArrayLike, cost: ArrayLike, budget: float, target: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    v, c = np.asarray(value, np.float64), np.asarray(cost, np.float64)
    v, c = (part[:, None] if part.ndim == 1 else part for part in (v, c))
    if v.ndim != 2 or v.shape != c.shape:
        raise ValueError(f"value has shape {v.shape} and cost {c.shape}; allowed is one shape, (n, K) or (n,)")
    for name, part in (("value", v), ("cost", c)):
        if not (np.isfinite(part) & (part >= 0)).all():
            raise ValueError(f"{name} holds a number that is negative or not finite; allowed are finite numbers from 0")
    if not 0 < budget < np.inf:
        raise ValueError(f"budget is {budget!r}; allowed is a finite number above 0")
    if target is not None and not 0 < target < np.inf:
        raise ValueError(f"target_cost_per_value is {target!r}; allowed is a finite number above 0, or None")
    return v, c
