"""Optimised cost per click on tensors (Zhu et al., KDD 2017): ``tribid.auctions.ocpc_kernels`` over whole batches.

Bits are those of the kernel, so every sum runs in its order: candidate by candidate.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tribid.auctions.score import MAX_MICROS
from tribid.gpu.auction import largest_bid_not_above

STRATEGIES = ("off", "simple", "greedy", "conversion_rank")
INDICES = ("f1", "f2", "sigma")


@dataclass(frozen=True)
class Ocpc:
    """The platform's settings: ``strategy`` and ``index`` by name, ``bid_range``, ``alpha``."""

    strategy: str
    index: str
    bid_range: float
    alpha: float


class Adjusted(NamedTuple):
    """Adjusted requests [X, N]: ``bids`` and ``weight``; ``tie`` (pick order) is None where there is none.

    ``most`` is what the bid could have become had there been no cap: a cap of at least that changes nothing.
    """

    bids: Tensor
    weight: Tensor
    tie: Tensor | None
    most: Tensor


def adjust(
    ocpc: Ocpc, bids: Tensor, weight: Tensor, pctr: Tensor, pcvr: Tensor, mean_pcvr: Tensor, value_micros: Tensor,
    opted_in: Tensor, cap: Tensor, reserve: Tensor, slots: int,
) -> Adjusted:  # fmt: skip
    """The bids that the auction settles on.

    ``bids``, ``cap`` int64 [X, N]; ``weight`` float64 and ``pctr``, ``pcvr`` float32 [X, N]; ``mean_pcvr`` float64,
    ``value_micros`` int64 and ``opted_in`` bool [N]; ``reserve`` int64 [X].
    """
    if ocpc.strategy == "off":
        return Adjusted(torch.minimum(bids, cap), weight, None, bids)
    least, most = bids, bids
    taking_part = opted_in & (bids > 0)
    if ocpc.strategy == "conversion_rank":
        weight = weight * pcvr.to(torch.float64)
    else:
        rho = _quality_ratio(pcvr, mean_pcvr)
        if ocpc.strategy == "simple":
            least = most = torch.where(taking_part, _tilted(bids, rho, ocpc.bid_range), bids)
        else:
            lower, upper = _bounds(bids, rho, ocpc.bid_range)
            least, most = torch.where(taking_part, lower, bids), torch.where(taking_part, upper, bids)
    floor = reserve.unsqueeze(-1)
    meets = bids >= floor
    least = torch.where(meets, torch.maximum(least, floor), least)
    most = torch.where(meets, torch.maximum(most, floor), most)
    adjusted = torch.minimum(most, cap)
    if ocpc.strategy != "greedy":
        return Adjusted(adjusted, weight, None, most)
    fixed, factor = _index_terms(ocpc, adjusted, pctr, pcvr, value_micros)
    picked, tie = _greedy(adjusted, torch.minimum(least, cap), weight, pctr, fixed, factor, slots)
    return Adjusted(picked, weight, tie, most)


def _quality_ratio(pcvr: Tensor, mean_pcvr: Tensor) -> Tensor:
    rate = pcvr.to(torch.float64)
    without = torch.where(rate > 0.0, torch.inf, 1.0)
    return torch.where(mean_pcvr > 0.0, rate / mean_pcvr, without.to(torch.float64))


def _sigma(x: Tensor, steepness: int) -> Tensor:
    """``(x**w - 1) / (x**w + 1)`` for w of 2 or 6."""
    small = torch.where(x > 1.0, 1.0 / x, x)
    root = small if steepness == 2 else small * small * small
    power = root * root
    value = (1.0 - power) / (1.0 + power)
    return torch.where(x > 1.0, value, 0.0 - value)


def _tilted(bids: Tensor, rho: Tensor, bid_range: float) -> Tensor:
    tilt = _sigma(rho, 2) * bid_range
    exact = torch.round(bids.to(torch.float64) * (1.0 + tilt) * 1024.0) / 1024.0
    return torch.floor(exact.clamp(max=float(MAX_MICROS))).to(torch.int64).clamp(min=1)


def _bounds(bids: Tensor, rho: Tensor, bid_range: float) -> tuple[Tensor, Tensor]:
    money = bids.to(torch.float64)
    least = torch.ceil(torch.round(money * (1.0 - bid_range) * 1024.0) / 1024.0)
    most = torch.floor(torch.round(money * rho.clamp(max=1.0 + bid_range) * 1024.0) / 1024.0)
    most = most.clamp(max=float(MAX_MICROS))
    poor = rho < 1.0
    lower = torch.where(poor, torch.minimum(bids, least.to(torch.int64)), bids)
    return lower, torch.where(poor, bids, torch.maximum(bids, most.to(torch.int64)))


def _index_terms(ocpc: Ocpc, bids: Tensor, pctr: Tensor, pcvr: Tensor, value_micros: Tensor) -> tuple[Tensor, Tensor]:
    """Every index is ``fixed + factor * (pctr * bid)``, both [X, N]."""
    conversion, money = pcvr.to(torch.float64), value_micros.to(torch.float64)
    worth = conversion * money
    if ocpc.index != "sigma":
        fixed = pctr.to(torch.float64) * conversion * money
        return fixed, torch.full_like(fixed, ocpc.alpha if ocpc.index == "f2" else 0.0)
    counted = torch.where(bids > 0, worth, 0.0)
    total = torch.zeros_like(counted[..., 0])
    for i in range(counted.shape[-1]):
        total = total + counted[..., i]
    total, count = total.unsqueeze(-1), (bids > 0).sum(-1, keepdim=True)
    relative = torch.where(total > 0.0, worth * count.to(torch.float64) / total, 1.0)
    return torch.zeros_like(worth), 1.0 + _sigma(relative, 6) * ocpc.bid_range


def _greedy(
    bids: Tensor, lower: Tensor, weight: Tensor, pctr: Tensor, fixed: Tensor, factor: Tensor, slots: int
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: adjusted bids, and the pick order as tie (``slots`` for the first pick, 0 for who was not picked)."""
    place = torch.arange(bids.shape[-1], device=bids.device)
    upper = bids.to(torch.float64) * weight
    upper = torch.where(upper > 0.0, upper, -1.0)
    floor, tie = lower.to(torch.float64) * weight, torch.zeros_like(upper)
    clicks = pctr.to(torch.float64)
    for k in range(slots):
        threshold = floor.amax(-1, keepdim=True).clamp(min=0.0)
        value = fixed + factor * (clicks * bids.to(torch.float64))
        value = torch.where((upper >= threshold) & (upper > 0.0), value, -1.0)
        best = value.amax(-1, keepdim=True)
        first = torch.where(value == best, place, bids.shape[-1]).amin(-1, keepdim=True)
        picked = (place == first) & (best >= 0.0)
        ceiling = torch.where(picked, upper, 0.0).sum(-1, keepdim=True)
        tie = torch.where(picked, float(slots - k), tie)
        upper, floor = torch.where(picked, -1.0, upper), torch.where(picked, -1.0, floor)
        above = (upper > ceiling) & (best >= 0.0)
        bids = torch.where(above, torch.minimum(bids, largest_bid_not_above(ceiling, weight)), bids)
        upper = torch.where(above, bids.to(torch.float64) * weight, upper)
    return bids, tie
