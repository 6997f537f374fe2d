"""What a learner is paid for a tick, on the device: the twins of ``tribid.envs.reward``, float64 [M, A]."""

from collections.abc import Callable

import torch
from torch import Tensor

from tribid.envs.scenario import Reward
from tribid.gpu.state import Ledger, State, Terms


class Payment:
    """One tick's two states and what a part may read besides: the scenario's reward, its cap, the tick's traffic share."""

    def __init__(
        self, terms: Terms, reward: Reward, max_multiplier: float, share: float, before: State, after: State
    ) -> None:
        self.terms, self.reward, self.max_multiplier, self.share = terms, reward, max_multiplier, share
        self.before, self.after = before, after


def constraint_ratio(terms: Terms, ledger: Ledger) -> Tensor:
    """How much of its target an advertiser meets, [M, A]: target CPA / CPA, or ROAS / target ROAS; 1 without a target."""
    cpa, roas = terms.target_cpa_micros, terms.target_roas
    spend, conversions = ledger.spend_micros, ledger.counts.conversions
    wanted = torch.where(cpa > 0, conversions * cpa, 0.0)
    returned = conversions * terms.price_micros / torch.where(roas > 0, roas, 1.0)
    wanted = torch.where(roas > 0, returned, wanted)
    targeted = (cpa > 0) | (roas > 0)
    return torch.where(targeted & (spend > 0), wanted / spend.clamp(min=1), 1.0)


def score(terms: Terms, ledger: Ledger, penalty_exponent: float) -> Tensor:
    """Money value over budget, times ``min(1, constraint ratio) ** exponent``, [M, A]."""
    value = terms.money_value(ledger.counts.clicks, ledger.counts.conversions) / terms.budget_micros
    return value * constraint_ratio(terms, ledger).clamp(max=1.0) ** penalty_exponent


def _own(p: Payment) -> Tensor:
    exponent = p.reward.penalty_exponent
    return score(p.terms, p.after.total, exponent) - score(p.terms, p.before.total, exponent)


def _surplus(p: Payment) -> Tensor:
    ledger = p.after.recent[0]
    value = p.terms.money_value(ledger.counts.clicks, ledger.counts.conversions)
    return (value - ledger.spend_micros) / p.terms.budget_micros


def _total(p: Payment) -> Tensor:
    budget = p.terms.budget_micros
    shared = (_own(p) * budget).sum(-1, keepdim=True) / budget.sum()
    return shared.expand(-1, len(budget))


def _mix(p: Payment) -> Tensor:
    bids = p.after.multipliers.mean(-1) / p.max_multiplier
    scaled = (bids - bids.amax(-1, keepdim=True)) / max(p.reward.temperature, 1e-290)
    share = torch.where(scaled < -700.0, 0.0, torch.exp(scaled.clamp(min=-700.0)))
    return _total(p) * (share / share.sum(-1, keepdim=True)) * bids.shape[-1]


def _platform_floor(p: Payment) -> Tensor:
    budget = p.terms.budget_micros.sum()
    revenue = p.after.recent[0].spend_micros.sum(-1, keepdim=True)
    wanted = p.reward.revenue_floor * budget * p.share
    return _own(p) - (wanted - revenue).clamp(min=0.0) / budget


REWARDS: dict[str, Callable[[Payment], Tensor]] = {
    "own": _own,
    "surplus": _surplus,
    "total": _total,
    "mix": _mix,
    "platform_floor": _platform_floor,
}
"""Reward parts by the names of ``tribid.envs.reward.REWARDS``."""
