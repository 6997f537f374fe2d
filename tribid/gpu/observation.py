"""What every advertiser of every market sees before a tick, on the device: the twin of ``tribid.envs.observation``.

Computed in float64 and rounded once to float32, so it differs from the host's by at most one unit in the last place, where
the device's logarithm does. The fields, index by index, are ``tribid.envs.observation.fields``.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tribid.envs.observation import bounds
from tribid.envs.scenario import MICROS, OBJECTIVES, Rules
from tribid.gpu.state import Ledger, State, Terms

_TOLD = {"none": 0, "win_lose": 1, "price": 2, "min_to_win": 3}
_KNEE = -0.9


class Observer:
    """Makes observations for one scenario; holds what does not change over a day."""

    def __init__(self, rules: Rules, terms: Terms, expected_share: NDArray[np.float64], segments: int) -> None:
        self._rules, self._terms, self._share = rules, terms, expected_share
        device = terms.budget_micros.device
        low, high = bounds(segments)
        self._low, self._high = torch.tensor(low, device=device), torch.tensor(high, device=device)

    @property
    def size(self) -> int:
        """D, the numbers of an observation."""
        return int(self._low.shape[0])

    def __call__(self, state: State) -> Tensor:
        """Observations float32 [M, A, D] before tick ``state.tick``; after the last tick, the day's close."""
        parts = [
            *self._money_and_goals(state),
            *self._pace(state),
            *(column for window in _windows(state) for column in self._results(state, window)),
            *self._clock(state),
        ]
        seen = torch.stack([part.to(torch.float64).expand_as(state.left_micros) for part in parts], -1)
        return torch.minimum(torch.maximum(seen, self._low), self._high).to(torch.float32)

    def _money_and_goals(self, state: State) -> list[Tensor]:
        a, total = self._terms, state.total
        spend, conversions = total.spend_micros, total.counts.conversions
        cpa, roas = a.target_cpa_micros, a.target_roas
        cost_per = (spend + cpa) / (conversions + 1.0)
        at_target = torch.where(roas > 0, a.price_micros / roas, 1.0)
        returned = (conversions * a.price_micros + a.price_micros) / (spend + at_target)
        target = torch.log10(cpa.clamp(min=1) / a.unit_bid_micros.clamp(min=1.0))
        size = torch.where(cpa > 0, target, 0.0)
        size = torch.where(roas > 0, torch.log10(roas.clamp(min=1e-9)), size) / 4.0
        return [
            _number(1.0 - state.tick / len(self._share), size),
            state.left_micros / a.budget_micros,
            torch.log10(1.0 + a.budget_micros / MICROS) / 9.0,
            *(a.objective == k for k in range(len(OBJECTIVES))),
            size,
            torch.where(cpa > 0, 1.0 - cost_per / cpa.clamp(min=1), 0.0),
            torch.where(roas > 0, returned / roas.clamp(min=1e-9) - 1.0, 0.0),
        ]

    def _pace(self, state: State) -> list[Tensor]:
        budget = self._terms.budget_micros
        over = state.total.spend_micros / budget - float(self._share[: state.tick].sum())
        if not state.recent:
            return [over, torch.zeros_like(over)]
        planned = (budget * float(self._share[state.tick - 1])).clamp(min=1.0)
        x = state.recent[0].spend_micros / planned - 1.0
        return [over, x / (1.0 + x.abs())]

    def _results(self, state: State, window: Ledger | None) -> list[Tensor]:
        a, told = self._terms, _TOLD[self._rules.feedback]
        nothing = torch.zeros_like(a.click_worth)
        if window is None:
            return [nothing] * 6
        counts = window.counts
        unit = a.unit_bid_micros * (a.mean_pctr if self._rules.charge == "impression" else 1.0)
        paid = torch.log10(counts.price.clamp(min=1.0) / counts.wins.clamp(min=1.0) / unit.clamp(min=1e-9))
        value = a.money_value(counts.clicks, counts.conversions) / a.budget_micros
        return [
            counts.wins / counts.served.clamp(min=1.0) if told >= 1 else nothing,
            torch.where(counts.wins > 0, paid, 0.0) if told >= 2 else nothing,
            counts.gap / counts.took_part.clamp(min=1.0) if told >= 3 else nothing,
            torch.log10(1.0 + counts.clicks) / 5.0,
            torch.log10(1.0 + counts.conversions) / 5.0,
            value / (1.0 + value),
        ]

    def _clock(self, state: State) -> list[Tensor]:
        a, share, tick = self._terms, self._share, state.tick
        now = float(share[tick]) * len(share) / 4.0 if tick < len(share) else 0.0
        pctr, pcvr = a.mean_pctr, a.mean_pcvr
        if state.recent:
            counts = state.recent[0].counts
            served = counts.served.clamp(min=1.0)
            pctr = torch.where(counts.served > 0, counts.pctr / served, pctr)
            pcvr = torch.where(counts.served > 0, counts.pcvr / served, pcvr)
        return [
            *to_action(state.multipliers, self._rules.max_multiplier).unbind(-1),
            _number(now, a.mean_pctr),
            _number(float(share[tick + 1 :].sum()), a.mean_pctr),
            torch.log10(pctr.clamp(min=1e-9)) / 4.0 + 0.5,
            torch.log10(pcvr.clamp(min=1e-9)) / 4.0 + 0.5,
        ]


def to_action(multipliers: Tensor, max_multiplier: float) -> Tensor:
    """The action that gives a multiplier (``tribid.envs.action``), float64, shaped as ``multipliers``."""
    m = multipliers.clamp(0.0, max_multiplier)
    at_knee = max_multiplier**_KNEE
    logarithm = torch.log(m.clamp(min=at_knee)) / math.log(max_multiplier)
    return torch.where(m >= at_knee, logarithm, m / at_knee * (1.0 + _KNEE) - 1.0)


def to_multiplier(actions: Tensor, max_multiplier: float) -> Tensor:
    """The multipliers of actions in [-1, 1], float64; actions outside are cut to it (``tribid.envs.action``)."""
    a = actions.to(torch.float64).clamp(-1.0, 1.0)
    at_knee = max_multiplier**_KNEE
    return torch.where(a >= _KNEE, max_multiplier**a, at_knee * (a + 1.0) / (1.0 + _KNEE))


def _windows(state: State) -> list[Ledger | None]:
    if not state.recent:
        return [None, None, None]
    three = state.recent[0]
    for ledger in state.recent[1:]:
        three = three + ledger
    return [state.recent[0], three, state.total]


def _number(value: float, like: Tensor) -> Tensor:
    return torch.full_like(like, value, dtype=torch.float64)
