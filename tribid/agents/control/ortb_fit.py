"""ORTB fitted on training days: the winning curve from the prices seen, lambda from the budget.

Zhang, Yuan and Wang, "Optimal real-time bidding for display advertising" (KDD 2014): the winning curve ``b / (c + b)`` is
fitted to observed prices (here by maximum likelihood), and lambda is the root of ``sum of b(theta) w(b(theta)) = budget``.
Ours: several planned spends are tried in play, as prices lie below own bids.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from tribid.agents.bidder import Bidder, Lineup
from tribid.agents.control.ortb import Ortb, ortb_bid
from tribid.agents.control.rehearsal import check_fit, mean_score, played
from tribid.agents.hindsight import slot_options, slots_offered
from tribid.envs.advertisers import Advertisers
from tribid.envs.market import MarketState, Tick
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Shares of the budget that a fit plans to spend at own-bid cost; above 1 for prices lie below own bids."""


def fit_winning_curve(prices: ArrayLike) -> float:
    """The c of ``w(b) = b / (c + b)`` that makes the observed winning prices [n] likeliest.

    The density of a price z is ``c / (c + z)^2``, so the likelihood is largest where the mean of ``c / (c + z)`` is 1/2; its
    root is unique. Prices are finite, from 0, and more than half of them above 0.

    >>> round(fit_winning_curve([0.5, 1.0, 2.0]), 9)
    1.0
    """
    z = np.asarray(prices, np.float64)
    if z.ndim != 1 or not len(z) or not (np.isfinite(z) & (z >= 0)).all() or 2 * int((z > 0).sum()) <= len(z):
        raise ValueError("prices must be finite numbers from 0, at least one, and more than half of them above 0")
    low, high = 1e-12 * float(z[z > 0].min()), 1e6 * float(z.max())
    return float(np.exp(optimize.brentq(lambda log_c: _half(math.exp(log_c), z), math.log(low), math.log(high))))


def lambda_for_budget(theta: ArrayLike, c: float, budget: float) -> float:
    """The lambda at which bids on impressions of value ``theta`` [n] are expected to spend the budget, at own-bid cost.

    ``budget`` is in the unit of c. The expected spend ``sum of b w(b)`` falls from infinity to 0 as lambda grows, so there
    is exactly one (scipy's ``brentq`` on its logarithm).
    """
    value = np.asarray(theta, np.float64)
    if value.ndim != 1 or not (np.isfinite(value) & (value >= 0)).all() or not (value > 0).any():
        raise ValueError("theta must be finite numbers from 0, at least one above 0")
    if not 0 < budget < math.inf:
        raise ValueError(f"budget is {budget!r}; allowed is a finite number above 0")

    def excess(log_lambda: float) -> float:
        bid = ortb_bid(value, c, math.exp(log_lambda))
        return math.log(max(float((bid * bid / (c + bid)).sum()), 1e-300) / budget)

    low = high = math.log(float(value.mean()) / c)
    while excess(low) <= 0:
        low -= 2.0
    while excess(high) >= 0:
        high += 2.0
    return float(np.exp(optimize.brentq(excess, low, high, xtol=1e-12)))


class Impressions(NamedTuple):
    """What an advertiser's impressions were worth and what they would have cost, each [n], over the usual ones.

    ``value`` is the predicted value over the usual value, ``price`` the price of the last slot over the usual unit bid, per
    impression; ``budget`` that of all these days over the usual unit bid, per impression of the last slot.
    """

    value: NDArray[np.float64]
    price: NDArray[np.float64]
    budget: float


def fit_ortb(
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int],
    rivals: Lineup,
    factors: Sequence[float] = FACTORS,
) -> list[Bidder]:
    """One ``Ortb`` per listed advertiser, with the winning curve and the lambda of its training days.

    c comes from the prices that a slot would have cost on those days, lambda from the budget: the expected spend at own
    bids is each of ``factors`` times the budget, each is played against ``rivals``, and the best mean score stays. Takes
    ``len(seeds) * (1 + len(factors) * len(advertisers))`` days of play.
    """
    loaded = load_scenario(scenario)
    space = check_fit(loaded, seeds, advertisers, rivals)
    if not factors or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(f"factors are {list(factors)}; allowed are finite numbers above 0, at least one")
    everybody = build_world(loaded).advertisers
    fitted: list[Bidder] = []
    for index, seen in zip(advertisers, _impressions(loaded, seeds, advertisers, rivals), strict=True):
        c = fit_winning_curve(seen.price)
        tried = [
            Ortb(
                space=space,
                c=c,
                lam=lambda_for_budget(seen.value, c, factor * seen.budget),
                by_value=bool(everybody.bid_per_pcvr[index] > 0),
            )
            for factor in factors
        ]
        scores = [mean_score(loaded, seeds, index, bidder, rivals) for bidder in tried]
        fitted.append(tried[int(np.argmax(scores))])
    return fitted


def _impressions(
    scenario: Scenario, seeds: Sequence[int], advertisers: Sequence[int], rivals: Lineup
) -> list[Impressions]:
    """The training days' impressions of each advertiser, against rivals as they bid there."""
    rows: list[list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]] = [[] for _ in advertisers]
    for seed in seeds:
        for state, tick in played(scenario, seed, rivals):
            for kept, index in zip(rows, advertisers, strict=True):
                kept.append(_lowest_slots(state, tick, index))
    everybody = build_world(scenario).advertisers
    found = []
    for kept, index in zip(rows, advertisers, strict=True):
        value, price, effect = (np.concatenate(part) for part in zip(*kept, strict=True))
        usual_value, usual_bid = _usual(everybody, index)
        usual_effect = effect[0] + float((effect - effect[0]).mean())  # exact where all pages are alike
        budget = float(everybody.budget_micros[index]) * len(seeds) / (usual_bid * usual_effect)
        found.append(Impressions(value / usual_value, price / usual_bid, budget))
    return found


def _lowest_slots(
    state: MarketState, tick: Tick, index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each page [n] that came, its lowest slot that is seen: value and price of an exposure there, and its effect."""
    value, cost = slot_options(state, tick, index, predicted=True)
    effect = slots_offered(state, tick, index)
    seen = np.flatnonzero(effect[:, 0] > 0)
    at = seen, (effect[seen] > 0).sum(axis=1) - 1
    return value[at] / effect[at], cost[at] / effect[at], effect[at]


def _usual(advertisers: Advertisers, index: int) -> tuple[float, float]:
    """An impression's usual value and unit bid, micros."""
    pctr, pcvr = float(advertisers.mean_pctr[index]), float(advertisers.mean_pcvr[index])
    worth = float(advertisers.click_worth[index]) + float(advertisers.conversion_worth[index]) * pcvr
    return pctr * worth, pctr * float(advertisers.unit_bid_micros[index])


def _half(c: float, z: NDArray[np.float64]) -> float:
    return float((c / (c + z)).mean()) - 0.5
