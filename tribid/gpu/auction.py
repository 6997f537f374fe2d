"""The auction on tensors: score, top K + 1, price, over any number of requests at once; equal to the kernels to the bit.

The readable twin of ``tribid.auctions.kernels`` for a device that works on whole arrays. Shapes: ``X`` requests (any
leading shape), ``N`` candidates, ``K`` slots. A score is ``float64(bid_micros) * weight``; every operation is a torch call
of its own, so no device fuses a product into a sum. Divide by tensors or by powers of two only: by another Python number
a device may multiply with its reciprocal, which differs in the last bit.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tribid.auctions.score import MAX_MICROS

MECHANISMS = ("gsp", "vcg", "first_price")


class Ranking(NamedTuple):
    """``score`` [X, N] (-1 for who may not take part); the best K + 1: ``top`` index (-1 where missing), ``top_score``.

    ``tied`` [X] is true where two neighbours in ``top`` have equal scores, so that draws would decide between them.
    """

    score: Tensor
    top: Tensor
    top_score: Tensor
    tied: Tensor


def quality_weight(quality: Tensor, squash: float) -> Tensor:
    """``quality ** squash``, float64; exact for squash 0, 1 and 2, otherwise as good as the device's power function."""
    if squash == 1.0:
        return quality.to(torch.float64)
    if squash == 0.0:
        return torch.ones_like(quality, dtype=torch.float64)
    if squash == 2.0:
        return quality.to(torch.float64) * quality.to(torch.float64)
    return quality.to(torch.float64) ** squash


def rank(bids: Tensor, weight: Tensor, reserve: Tensor, places: int, tie: Tensor | None = None) -> Ranking:
    """The best ``places`` candidates: by score, equal scores by the higher ``tie`` [X, N], then by the lower index.

    ``bids`` int64 [X, N] micros (0 takes no part), ``weight`` float64 [X, N], ``reserve`` int64 [X] micros.
    """
    product = bids.to(torch.float64) * weight
    floor = reserve.clamp(min=1).unsqueeze(-1)
    score = torch.where((bids >= floor) & (product > 0.0), product, -1.0)
    if tie is None:
        ordered, index = score.sort(dim=-1, descending=True, stable=True)
    else:
        by_tie = tie.argsort(dim=-1, descending=True, stable=True)
        ordered, place = score.gather(-1, by_tie).sort(dim=-1, descending=True, stable=True)
        index = by_tie.gather(-1, place)
    missing = max(0, places - score.shape[-1])
    ordered = torch.nn.functional.pad(ordered[..., :places], (0, missing), value=-1.0)
    index = torch.nn.functional.pad(index[..., :places], (0, missing), value=-1)
    top = torch.where(ordered > 0.0, index, -1)
    top_score = ordered.clamp(min=0.0)
    tied = ((top_score[..., 1:] == top_score[..., :-1]) & (top[..., 1:] >= 0)).any(-1)
    return Ranking(score, top, top_score, tied)


def prices(mechanism: str, bids: Tensor, weight: Tensor, slot_effects: Tensor, reserve: Tensor, by: Ranking) -> Tensor:
    """Price per click in whole micros of each slot, int64 [X, K], 0 for an empty slot; ``slot_effects`` is [K].

    ``mechanism`` is one of MECHANISMS; the rules are those of ``tribid.auctions``.
    """
    slots = slot_effects.shape[0]
    winner = by.top[..., :slots].clamp(min=0)
    won_weight, floor = weight.gather(-1, winner), reserve.unsqueeze(-1)
    if mechanism == "first_price":
        price = bids.gather(-1, winner)
    else:
        price = torch.maximum(floor, least_bid_reaching(by.top_score[..., 1:], won_weight))
        if mechanism == "vcg":
            price = _vcg(price, won_weight, slot_effects, floor, by.top_score)
    return torch.where(by.top[..., :slots] >= 0, price, 0)


def _vcg(critical: Tensor, weight: Tensor, slot_effects: Tensor, floor: Tensor, top_score: Tensor) -> Tensor:
    """VCG prices [X, K]; ``critical`` are the prices of GSP, which VCG never exceeds."""
    slots = slot_effects.shape[0]
    below = torch.nn.functional.pad(slot_effects[1:], (0, 1))
    least, priced = floor.to(torch.float64), []
    for k in range(slots):
        total = torch.zeros_like(weight[..., k])
        for t in range(k, slots):
            displaced = torch.maximum(top_score[..., t + 1] / weight[..., k], least[..., 0])
            total = total + (slot_effects[t] - below[t]) * displaced
        exact = torch.round(total / slot_effects[k] * 1024.0) / 1024.0
        capped = torch.where(exact < critical[..., k].to(torch.float64), exact, 0.0)
        exact_price = torch.maximum(floor[..., 0], torch.ceil(capped).to(torch.int64))
        price = torch.where(exact < critical[..., k].to(torch.float64), exact_price, critical[..., k])
        priced.append(torch.where(slot_effects[k] > 0.0, price, floor[..., 0]))
    return torch.stack(priced, -1)


def least_bid_reaching(score: Tensor, weight: Tensor) -> Tensor:
    """The least bid, in micros, whose score is at least ``score``; 0 for no score, 2**53 where no bid reaches it.

    ``ceil(score / weight)`` and its correction. With quotient and product each within half a unit in the last place and
    bids below 2**53, the quotient's ceiling is at most two too high and at most one too low.
    """
    ratio = score / weight
    reachable = ratio < MAX_MICROS
    bid = torch.where(reachable, torch.ceil(ratio), 1.0)
    for _ in range(2):
        bid = torch.where((bid > 0.0) & ((bid - 1.0) * weight >= score), bid - 1.0, bid)
    bid = torch.where((bid < MAX_MICROS) & (bid * weight < score), bid + 1.0, bid)
    least = torch.where(reachable, bid, float(MAX_MICROS)).to(torch.int64)
    return torch.where(score > 0.0, least, 0)


def largest_bid_not_above(score: Tensor, weight: Tensor) -> Tensor:
    """The largest bid, in micros, whose score is at most ``score``; 2**53 at most. See ``least_bid_reaching``."""
    ratio = score / weight
    reachable = ratio < MAX_MICROS
    bid = torch.where(reachable, torch.floor(ratio), 0.0)
    bid = torch.where((bid > 0.0) & (bid * weight > score), bid - 1.0, bid)
    for _ in range(2):
        bid = torch.where((bid < MAX_MICROS) & ((bid + 1.0) * weight <= score), bid + 1.0, bid)
    return torch.where(reachable, bid, float(MAX_MICROS)).to(torch.int64)
