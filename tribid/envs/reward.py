"""Rewards: what a learner is paid for a tick. Every part is finite and on one scale: money won over the budget.

A part is a function of the states before and after the tick, of one day or of many. ``own`` is the advertiser's score:
the money value of its events over its budget, times AuctionNet's penalty ``min(1, target / CPA) ** exponent`` for a
missed target; the reward is the score's increase, so that the day's rewards sum to the day's score.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tribid.auctions import temperature_credit
from tribid.envs.advertisers import Advertisers
from tribid.envs.market import Ledger, MarketState
from tribid.envs.scenario import Reward

RewardPart = Callable[[MarketState, MarketState, Reward], NDArray[np.float64]]


def constraint_ratio(advertisers: Advertisers, ledger: Ledger) -> NDArray[np.float64]:
    """How much of its target an advertiser meets, [A]: target CPA / CPA, or ROAS / target ROAS; 1 without a target.

    Nothing spent meets any target; something spent for no conversion gives 0.
    """
    a, spend, conversions = advertisers, ledger.spend_micros, ledger.counts.conversions
    wanted = np.where(a.target_cpa_micros > 0, conversions * a.target_cpa_micros, 0.0)
    with_roas = a.target_roas > 0
    wanted = np.where(with_roas, conversions * a.price_micros / np.where(with_roas, a.target_roas, 1.0), wanted)
    targeted = (a.target_cpa_micros > 0) | with_roas
    return np.where(targeted & (spend > 0), wanted / np.maximum(spend, 1), 1.0)


def score(advertisers: Advertisers, ledger: Ledger, penalty_exponent: float) -> NDArray[np.float64]:
    """Money value over budget, times ``min(1, constraint ratio) ** exponent``, [A]."""
    value = advertisers.money_value(ledger.counts.clicks, ledger.counts.conversions) / advertisers.budget_micros
    kept: NDArray[np.float64] = np.minimum(1.0, constraint_ratio(advertisers, ledger)) ** penalty_exponent
    return value * kept


def _own(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    a = before.advertisers
    return score(a, after.total, reward.penalty_exponent) - score(a, before.total, reward.penalty_exponent)


def _surplus(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    ledger, a = after.recent[0], before.advertisers
    value = a.money_value(ledger.counts.clicks, ledger.counts.conversions)
    surplus: NDArray[np.float64] = (value - ledger.spend_micros) / a.budget_micros
    return surplus


def _total(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    own = _own(before, after, reward)
    budget = before.advertisers.budget_micros
    everybody: NDArray[np.float64] = (own * budget).sum(axis=-1, keepdims=True) / budget.sum()
    return np.repeat(everybody, own.shape[-1], axis=-1)


def _mix(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    """MAAB's temperature-regularised credit (Wen et al., WSDM 2022): the total, shared by a softmax of the bids."""
    multipliers = after.multipliers.mean(axis=-1)
    share = temperature_credit(multipliers / before.scenario.rules.max_multiplier, reward.temperature)
    credit: NDArray[np.float64] = _total(before, after, reward) * share * share.shape[-1]
    return credit


def _platform_floor(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    """Own score minus the shortfall of the platform's revenue (MACG's constraint as a penalty, Guan et al., KDD 2021)."""
    revenue = after.recent[0].spend_micros.sum(axis=-1, keepdims=True)
    budget = before.advertisers.budget_micros.sum()
    wanted = reward.revenue_floor * budget * before.day.expected_share[before.tick]
    shortfall: NDArray[np.float64] = np.maximum(0.0, wanted - revenue) / budget
    return _own(before, after, reward) - shortfall


def _attributed(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    """Own score on conversions credited by the reward's ``attribution``, of a journey."""
    from tribid.envs.attribution.reward import attributed_own  # which stands on this module's score

    return attributed_own(before, after, reward)


REWARDS: dict[str, RewardPart] = {
    "own": _own,
    "surplus": _surplus,
    "total": _total,
    "mix": _mix,
    "platform_floor": _platform_floor,
    "attributed": _attributed,
}
"""Reward parts by name: own, surplus (value minus payment), total (everybody's), mix (MAAB), platform_floor (MACG), and

attributed (own, on credited conversions).
"""
