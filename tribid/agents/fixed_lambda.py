"""The best fixed multiplier, fitted on training days or on a training campaign's prices: what feedback has to beat."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.hindsight import dual_bound, optimal_bid, slot_options
from tribid.agents.rules import FixedMultiplier
from tribid.envs.action import to_multiplier
from tribid.envs.ipinyou import CampaignStats
from tribid.envs.market import MarketState, Tick, reset, step
from tribid.envs.observation import observe
from tribid.envs.reward import score
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world

FACTORS = (0.25, 0.35, 0.5, 0.71, 1.0, 1.41)
"""Shares of the multiplier from the dual that are tried in play; most are below 1, as rivals run out of money."""


class FixedLambda(FixedMultiplier):
    """A fixed multiplier per advertiser that was the best on training days; see ``fit_fixed_multipliers``."""

    @classmethod
    def fit(cls, scenario: str | Scenario, seeds: Sequence[int], advertiser: int) -> "FixedLambda":
        """The bidder for one advertiser, against rivals at multiplier 1."""
        loaded = load_scenario(scenario)
        best = fit_fixed_multipliers(loaded, seeds, advertisers=[advertiser])
        return cls(float(best[0]), space=BidderSpace.of(loaded))


def fixed_lambda(
    value: ArrayLike, cost: ArrayLike, budget: float, *, target_cost_per_value: float | None = None
) -> float:
    """The multiplier of the value that the dual prices of a day give; infinite where nothing binds.

    Arguments as for ``tribid.agents.hindsight.dual_bound``, value and cost in the same unit of money.

    >>> round(fixed_lambda([10, 9, 8, 3, 2], [2, 3, 4, 1, 4], 9.0), 9)
    0.5
    """
    bound = dual_bound(value, cost, budget, target_cost_per_value=target_cost_per_value)
    target = 1.0 if target_cost_per_value is None else target_cost_per_value
    return float(optimal_bid(1.0, bound.budget_price, bound.target_price, target))


def fit_fixed_multipliers(
    scenario: str | Scenario,
    seeds: Sequence[int],
    *,
    advertisers: Sequence[int] | None = None,
    rivals: Lineup | None = None,
    factors: Sequence[float] = FACTORS,
) -> NDArray[np.float64]:
    """For each advertiser (all, if not listed) the fixed multiplier with the best mean score over the training days.

    The dual of the training days' slots at their critical prices gives a first multiplier; those times each of
    ``factors`` are then played, against ``rivals`` (left out, everybody at multiplier 1). Each advertiser is fitted
    alone: nobody else moves. Takes ``len(seeds) * (1 + len(factors) * advertisers)`` days of play.
    """
    loaded = load_scenario(scenario)
    space, count = BidderSpace.of(loaded), len(build_world(loaded).advertisers)
    others = rivals or Lineup.of(FixedMultiplier(1.0, space=space), count)
    who = list(range(count)) if advertisers is None else list(advertisers)
    if not seeds or not factors or not all(0 <= index < count for index in who):
        raise ValueError(
            f"seeds {list(seeds)}, factors {list(factors)}, advertisers {who}: allowed are at least one seed and "
            f"factor, and advertisers from 0 to {count - 1}"
        )
    first = _dual_multipliers(loaded, seeds, who, others)
    best = np.empty(len(who))
    for place, index in enumerate(who):
        tried = np.unique(np.clip(np.asarray(factors) * first[place], 0.0, space.max_multiplier))
        scores = [_mean_score(loaded, seeds, index, float(m), others) for m in tried]
        best[place] = tried[int(np.argmax(scores))]
    return best


def fit_to_prices(
    stats: CampaignStats, budget_per_auction_micros: float, *, relative_value: ArrayLike = (1.0,), most: float = 16.0
) -> float:
    """The multiplier, of a bid that is the mean training price at a mean value, that spends the budget in expectation.

    ``relative_value`` [M] are values over their mean, equally likely and independent of the price: a linear bidder bids
    ``multiplier * mean price * relative value``. The expected spend of an auction, over the training period's price
    histogram, never falls with the multiplier; the answer is the largest one, up to ``most``, that keeps it within the
    budget.
    """
    ratio = np.asarray(relative_value, np.float64)
    if ratio.ndim != 1 or not len(ratio) or not (np.isfinite(ratio) & (ratio >= 0)).all():
        raise ValueError("relative_value must be finite numbers from 0, at least one")
    if not budget_per_auction_micros >= 0:
        raise ValueError(f"budget_per_auction_micros is {budget_per_auction_micros!r}; allowed is a number from 0")
    cost = np.cumsum(stats.price_counter_train * np.arange(len(stats.price_counter_train)))
    paid = cost / stats.impressions_train * stats.price_unit_micros
    base = stats.mean_price_micros / stats.price_unit_micros * ratio

    def spend(multiplier: float) -> float:
        price = np.minimum(np.floor(multiplier * base), len(paid) - 1).astype(np.int64)
        return float(paid[price].mean())

    low, high = 0.0, most
    if spend(high) <= budget_per_auction_micros:
        return high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if spend(middle) <= budget_per_auction_micros else (low, middle)
    return low


def _dual_multipliers(scenario: Scenario, seeds: Sequence[int], who: list[int], lineup: Lineup) -> NDArray[np.float64]:
    options: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {index: [] for index in who}
    for seed in seeds:
        for state, tick in _day(scenario, seed, lineup):
            for index in who:
                options[index].append(slot_options(state, tick, index, predicted=True))
    a = build_world(scenario).advertisers
    targeted = (a.target_cpa_micros > 0) | (a.target_roas > 0)
    multipliers = []
    for index in who:
        value, cost = (np.concatenate(part) for part in zip(*options.pop(index), strict=True))
        budget = float(a.budget_micros[index]) * len(seeds)
        target = 1.0 if targeted[index] else None
        multipliers.append(fixed_lambda(value, cost, budget, target_cost_per_value=target))
    return np.minimum(multipliers, scenario.rules.max_multiplier)


def _mean_score(scenario: Scenario, seeds: Sequence[int], index: int, multiplier: float, rivals: Lineup) -> float:
    own = f"fixed_lambda of {index}"
    bidders = {**rivals.bidders, own: FixedMultiplier(multiplier, space=BidderSpace.of(scenario))}
    mapping = [own if place == index else name for place, name in enumerate(rivals.mapping)]
    lineup = Lineup(bidders, mapping)
    scores = []
    for seed in seeds:
        *_, (state, _) = _day(scenario, seed, lineup)
        scores.append(score(state.advertisers, state.total, scenario.reward.penalty_exponent)[index])
    return float(np.mean(scores))


def _day(scenario: Scenario, seed: int, lineup: Lineup) -> Iterator[tuple[MarketState, Tick]]:
    state = reset(scenario, seed)
    states: dict[str, Any] = {}
    while not state.done:
        actions, states = lineup.act(observe(state), states)
        state, tick = step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        yield state, tick
