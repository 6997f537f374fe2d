"""Triton's kernel of the bare auction: one program per market, some requests at once, lanes over advertisers."""

import triton
import triton.language as tl

from tribid.envs.chance import Stream
from tribid.gpu.kernels import least_bid_reaching, unit2

_OUTCOME = tl.constexpr(int(Stream.OUTCOME))


@triton.jit
def _charges(
    pctr, left, bids, effects_, pctr_, first, market, lane, row, N: tl.constexpr, LANES: tl.constexpr,
    SLOTS: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Charges int64 [ROWS, LANES] of the requests ``first + row``, all under the money ``left``."""
    bid = tl.minimum(bids, left)
    score = bid.to(tl.float64)[None, :] * pctr.to(tl.float64)
    remaining = tl.where(score > 0.0, score, -1.0)
    slot = tl.arange(0, WIDE)[None, :]
    winner = tl.zeros((ROWS, WIDE), tl.int32) + LANES
    following = tl.zeros((ROWS, WIDE), tl.float64)
    for k in tl.static_range(SLOTS + 1):
        best = tl.max(remaining, 1)
        if k > 0:
            following = tl.where(slot == k - 1, tl.maximum(best, 0.0)[:, None], following)
        if k < SLOTS:
            level = (remaining == best[:, None]) & (remaining > 0.0)
            who = tl.min(tl.where(level, lane[None, :], LANES), 1)
            winner = tl.where(slot == k, who[:, None], winner)
            remaining = tl.where(lane[None, :] == who[:, None], -1.0, remaining)
    won = winner < LANES
    rate = tl.load(pctr_ + (first + row)[:, None] * N + winner, won, 0.0).to(tl.float64)
    effect = tl.load(effects_ + slot + tl.zeros((ROWS, WIDE), tl.int32), won, 0.0)
    price = least_bid_reaching(following, rate)
    draw, _ = unit2(market, _OUTCOME, market * 0, (first + row)[:, None], winner)
    charge = tl.where(won & (draw < effect * rate), price, 0)
    charges = tl.zeros((ROWS, LANES), tl.int64)
    if tl.max(tl.max(charge, 1), 0) > 0:
        for k in tl.static_range(SLOTS):
            who = tl.sum(tl.where(slot == k, winner, 0), 1)
            much = tl.sum(tl.where(slot == k, charge, 0), 1)
            charges += tl.where(lane[None, :] == who[:, None], much[:, None], 0)
    return charges


@triton.jit(do_not_specialize=["requests"])
def bare_kernel(
    pctr_, bids_, effects_, left_, revenue_, requests,
    N: tl.constexpr, LANES: tl.constexpr, SLOTS: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """``left_`` [M, N] and ``revenue_`` [M] are written in place; see ``tribid.gpu.bare.settle_bare``."""
    market = tl.program_id(0).to(tl.int64)
    lane, row = tl.arange(0, LANES), tl.arange(0, ROWS)
    here = lane < N
    bids = tl.load(bids_ + lane, here, 0)
    start = tl.load(left_ + market * N + lane, here, 0)
    left = start
    pctr_ += market * requests * N
    inside = row[:, None] * N + lane[None, :]
    following = tl.load(pctr_ + inside, here[None, :] & (row < requests)[:, None], 0.0)
    for first in range(0, requests, ROWS):
        pctr = following
        # The next rows are on their way while these are decided.
        ahead = first + ROWS
        following = tl.load(pctr_ + ahead * N + inside, here[None, :] & (ahead + row < requests)[:, None], 0.0)
        charges = _charges(pctr, left, bids, effects_, pctr_, first, market, lane, row, N, LANES, SLOTS, WIDE, ROWS)
        total = tl.sum(charges, 0)
        if tl.max(((total > 0) & (left - total < bids)).to(tl.int32), 0) > 0:
            for r in range(ROWS):
                one = _charges(pctr, left, bids, effects_, pctr_, first, market, lane, row, N, LANES, SLOTS, WIDE, ROWS)
                left -= tl.sum(tl.where(row[:, None] == r, one, 0), 0)
        else:
            left -= total
    tl.store(left_ + market * N + lane, left, here)
    tl.store(revenue_ + market, tl.load(revenue_ + market) + tl.sum(start - left, 0))
