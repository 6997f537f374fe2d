"""The state of many markets between two ticks, on a device: money, ledgers, and who the advertisers are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tribid.envs.advertisers import Advertisers
from tribid.gpu.requests import Counts, new_counts

RECENT_TICKS = 3


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The arrays of ``tribid.envs.advertisers.Advertisers`` that observations and rewards read, float64 [A], on a device.

    Amounts of money are whole numbers here too; as integers, torch would divide them in float32.
    """

    objective: Tensor
    budget_micros: Tensor
    price_micros: Tensor
    target_cpa_micros: Tensor
    target_roas: Tensor
    click_worth: Tensor
    conversion_worth: Tensor
    mean_pctr: Tensor
    mean_pcvr: Tensor
    unit_bid_micros: Tensor

    def money_value(self, clicks: Tensor, conversions: Tensor) -> Tensor:
        """What clicks and conversions [..., A] are worth to their advertisers, in micros."""
        return clicks * self.click_worth + conversions * self.conversion_worth


def terms_of(advertisers: Advertisers, device: torch.device) -> Terms:
    """A copy of the advertisers on the device."""
    names = Terms.__dataclass_fields__
    return Terms(
        **{name: torch.tensor(getattr(advertisers, name), dtype=torch.float64, device=device) for name in names}
    )


@dataclass(frozen=True)
class Ledger:
    """Counts and money of one tick, of some ticks, or of the day so far; every tensor [M, A]."""

    counts: Counts
    spend_micros: Tensor

    def __add__(self, other: "Ledger") -> "Ledger":
        """The sums."""
        counts = Counts(*(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)))
        return Ledger(counts, self.spend_micros + other.spend_micros)


@dataclass(frozen=True, kw_only=True)
class State:
    """M days in progress, before tick ``tick`` of ``n_ticks``; see ``tribid.envs.market.MarketState``.

    ``left_micros`` int64 [M, A]; ``multipliers`` float64 [M, A, S] those of the last tick; ``recent`` newest first.
    """

    tick: int
    left_micros: Tensor
    multipliers: Tensor
    recent: tuple[Ledger, ...]
    total: Ledger

    def after(self, multipliers: Tensor, left_micros: Tensor, counts: Counts) -> "State":
        """The state one tick later."""
        ledger = Ledger(counts, self.left_micros - left_micros)
        return State(
            tick=self.tick + 1,
            left_micros=left_micros,
            multipliers=multipliers.clone(),
            recent=(ledger, *self.recent[: RECENT_TICKS - 1]),
            total=self.total + ledger,
        )


def opened(terms: Terms, markets: int, segments: int) -> State:
    """M markets at the start of a day: full budgets, no history."""
    budget = terms.budget_micros.to(torch.int64)
    left = budget.expand(markets, -1).clone()
    counts = new_counts(markets, len(budget), budget.device)
    shape = (markets, len(budget), segments)
    return State(
        tick=0,
        left_micros=left,
        multipliers=torch.ones(shape, dtype=torch.float64, device=budget.device),
        recent=(),
        total=Ledger(counts, torch.zeros_like(left)),
    )
