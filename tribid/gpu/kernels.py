"""Triton's parts of one request's auction, lanes over advertisers: score, rank, price, OCPC; equal to numba's to the bit.

Every function takes and gives lane tensors of one length, a power of two; a lane without an advertiser has bid 0 and takes
no part. Numbers that are not powers of two come as float64 from memory: a Python float in a kernel is float32.
"""

import triton
import triton.language as tl

MAX_MICROS = tl.constexpr(9007199254740992.0)
INTEGERS_ONLY = tl.constexpr(4503599627370496.0)
TO_UNIT = tl.constexpr(1.0 / 4294967296.0)


@triton.jit
def unit2(seed, STREAM: tl.constexpr, day, request, ad):
    """The first two uniforms of ``tribid.envs.chance.unit4`` for each lane's ``ad`` (int32)."""
    c0 = ad.to(tl.uint32, bitcast=True)
    none = c0 & 0
    first, second, _, _ = tl.philox(seed, c0, none + request.to(tl.uint32), none + day.to(tl.uint32), none + STREAM)
    return first.to(tl.float64) * TO_UNIT, second.to(tl.float64) * TO_UNIT


@triton.jit
def nearest(x):
    """The nearest integer of x >= 0, halves to even: above 2^52 there are only integers, and adding 2^52 rounds to them."""
    return tl.where(x < INTEGERS_ONLY, (x + INTEGERS_ONLY) - INTEGERS_ONLY, x)


@triton.jit
def least_bid_reaching(score, weight):
    """``tribid.gpu.auction.least_bid_reaching``; 0 where there is no score or no weight."""
    counts = (score > 0.0) & (weight > 0.0)
    ratio = score / tl.where(counts, weight, 1.0)
    bid = tl.ceil(tl.where(ratio < MAX_MICROS, ratio, MAX_MICROS))
    bid = tl.where((bid > 0.0) & ((bid - 1.0) * weight >= score), bid - 1.0, bid)
    bid = tl.where((bid > 0.0) & ((bid - 1.0) * weight >= score), bid - 1.0, bid)
    bid = tl.where((bid < MAX_MICROS) & (bid * weight < score), bid + 1.0, bid)
    bid = tl.where(ratio < MAX_MICROS, bid, MAX_MICROS)
    return tl.where(counts, bid, 0.0).to(tl.int64)


@triton.jit
def largest_bid_not_above(score, weight):
    """``tribid.gpu.auction.largest_bid_not_above``; 2^53 where there is no weight."""
    ratio = score / tl.where(weight > 0.0, weight, 1.0)
    reachable = (weight > 0.0) & (ratio < MAX_MICROS)
    bid = tl.floor(tl.where(reachable, ratio, 0.0))
    bid = tl.where((bid > 0.0) & (bid * weight > score), bid - 1.0, bid)
    bid = tl.where((bid < MAX_MICROS) & ((bid + 1.0) * weight <= score), bid + 1.0, bid)
    bid = tl.where((bid < MAX_MICROS) & ((bid + 1.0) * weight <= score), bid + 1.0, bid)
    return tl.where(reachable, bid, MAX_MICROS).to(tl.int64)


@triton.jit
def select(score, SLOTS: tl.constexpr):
    """The best SLOTS + 1 scores by value alone: each lane's ``place`` (SLOTS + 1 for the rest) and the score after its own.

    Also the score to beat (the last slot's), the runner-up's score (0 where missing), and whether equal scores leave the
    places open; then ``select_tied`` has to decide.
    """
    place = tl.full(score.shape, SLOTS + 1, tl.int32)
    following = score * 0.0
    previous = tl.max(score, 0)
    to_beat = previous * 0.0
    best = to_beat
    found = 0
    for k in tl.static_range(SLOTS + 1):
        if k == 0:
            best = tl.maximum(tl.max(score, 0), 0.0)
        else:
            best = tl.max(tl.where((score < previous) & (score > 0.0), score, 0.0), 0)
            following = tl.where(place == k - 1, best, following)
        place = tl.where((score == best) & (score > 0.0), k, place)
        if k == SLOTS - 1:
            to_beat = best
        found += (best > 0.0).to(tl.int32)
        previous = best
    reaching = tl.sum(((score > 0.0) & (score >= best)).to(tl.int32), 0)
    return place, following, to_beat, best, reaching != found


@triton.jit
def select_tied(score, tie, lane, SLOTS: tl.constexpr):
    """As ``select``, equal scores by the higher tie and then the lower lane; the flag: neighbours have equal scores."""
    place = tl.full(score.shape, SLOTS + 1, tl.int32)
    following = score * 0.0
    remaining = score
    previous = tl.max(score, 0) * 0.0
    to_beat = previous
    best = previous
    tied = best != best
    for k in tl.static_range(SLOTS + 1):
        best = tl.maximum(tl.max(remaining, 0), 0.0)
        level = (remaining == best) & (remaining > 0.0)
        highest = tl.max(tl.where(level, tie, -1.0), 0)
        first = tl.min(tl.where(level & (tie == highest), lane, 2147483647), 0)
        place = tl.where(lane == first, k, place)
        remaining = tl.where(lane == first, -1.0, remaining)
        if k > 0:
            following = tl.where(place == k - 1, best, following)
            tied = tied | ((best == previous) & (best > 0.0))
        if k == SLOTS - 1:
            to_beat = best
        previous = best
    return place, following, to_beat, best, tied


@triton.jit
def vcg_price(critical, place, following, weight, effect, reserve, effects, SLOTS: tl.constexpr):
    """VCG's price of each placed lane, from GSP's; ``effects`` points to the slot effects and a 0."""
    floor = reserve.to(tl.float64)
    safe = tl.where(weight > 0.0, weight, 1.0)
    total = weight * 0.0
    for t in tl.static_range(SLOTS):
        displaced = tl.maximum(tl.sum(tl.where(place == t, following, 0.0), 0) / safe, floor)
        term = (tl.load(effects + t) - tl.load(effects + t + 1)) * displaced
        total = tl.where(place <= t, total + term, total)
    exact = nearest(total / tl.where(effect > 0.0, effect, 1.0) * 1024.0) / 1024.0
    lower = exact < critical.to(tl.float64)
    whole = tl.ceil(tl.where(lower, exact, 0.0)).to(tl.int64)
    price = tl.where(lower, tl.maximum(whole, reserve), critical)
    return tl.where(effect > 0.0, price, reserve)


@triton.jit
def tilt(rho, CUBED: tl.constexpr):
    """``(x**w - 1) / (x**w + 1)`` for w of 2, or 6 where CUBED."""
    small = tl.where(rho > 1.0, 1.0 / tl.where(rho > 1.0, rho, 1.0), rho)
    if CUBED:
        small = small * small * small
    power = small * small
    value = (1.0 - power) / (1.0 + power)
    return tl.where(rho > 1.0, value, 0.0 - value)


@triton.jit
def bounds(bids, pcvr, mean_pcvr, opted_in, reserve, bid_range, STRATEGY: tl.constexpr):
    """Least and most adjusted bid before the cap, as ``tribid.gpu.ocpc.adjust`` finds them."""
    least, most = bids, bids
    money = bids.to(tl.float64)
    if STRATEGY == "simple" or STRATEGY == "greedy":
        usual = mean_pcvr > 0.0
        rho = tl.where(usual, pcvr / tl.where(usual, mean_pcvr, 1.0), tl.where(pcvr > 0.0, float("inf"), 1.0))
        taking_part = opted_in & (bids > 0)
        if STRATEGY == "simple":
            exact = nearest(money * (1.0 + tilt(rho, False) * bid_range) * 1024.0) / 1024.0
            tilted = tl.maximum(tl.floor(tl.minimum(exact, MAX_MICROS)).to(tl.int64), 1)
            least = tl.where(taking_part, tilted, bids)
            most = least
        else:
            lowest = tl.ceil(nearest(money * (1.0 - bid_range) * 1024.0) / 1024.0).to(tl.int64)
            highest = tl.floor(nearest(money * tl.minimum(1.0 + bid_range, rho) * 1024.0) / 1024.0)
            highest = tl.minimum(highest, MAX_MICROS).to(tl.int64)
            least = tl.where(taking_part & (rho < 1.0), tl.minimum(bids, lowest), bids)
            most = tl.where(taking_part & (rho >= 1.0), tl.maximum(bids, highest), bids)
    least = tl.where(bids >= reserve, tl.maximum(least, reserve), least)
    return least, tl.where(bids >= reserve, tl.maximum(most, reserve), most)


@triton.jit
def index_terms(bids, pctr, pcvr, value, lane, bid_range, alpha, N: tl.constexpr, INDEX: tl.constexpr):
    """The greedy index's fixed part and the factor of ``pctr * bid``; sums run advertiser by advertiser, as numba's do."""
    fixed = pctr * pcvr * value
    factor = fixed * 0.0
    if INDEX == "f2":
        factor += alpha
    if INDEX == "sigma":
        worth = pcvr * value
        counted = tl.where(bids > 0, worth, 0.0)
        total = tl.sum(tl.where(lane == 0, counted, 0.0), 0)
        for i in range(1, N):
            total += tl.sum(tl.where(lane == i, counted, 0.0), 0)
        count = tl.sum((bids > 0).to(tl.int32), 0).to(tl.float64)
        relative = tl.where(total > 0.0, worth * count / tl.where(total > 0.0, total, 1.0), 1.0)
        fixed = factor
        factor = 1.0 + tilt(relative, True) * bid_range
    return fixed, factor


@triton.jit
def greedy(bids, lower, weight, pctr, fixed, factor, lane, SLOTS: tl.constexpr):
    """Algorithm 1 of the OCPC paper: adjusted bids, and the pick order (SLOTS for the first, 0 for who was not picked)."""
    upper = bids.to(tl.float64) * weight
    upper = tl.where(upper > 0.0, upper, -1.0)
    floor = lower.to(tl.float64) * weight
    order = upper * 0.0
    for k in tl.static_range(SLOTS):
        threshold = tl.maximum(tl.max(floor, 0), 0.0)
        worth = fixed + factor * (pctr * bids.to(tl.float64))
        worth = tl.where((upper >= threshold) & (upper > 0.0), worth, -1.0)
        best = tl.max(worth, 0)
        first = tl.min(tl.where((worth == best) & (worth >= 0.0), lane, 2147483647), 0)
        picked = lane == first
        ceiling = tl.where(best >= 0.0, tl.sum(tl.where(picked, upper, 0.0), 0), float("inf"))
        order = tl.where(picked, SLOTS - k, order)
        upper = tl.where(picked, -1.0, upper)
        floor = tl.where(picked, -1.0, floor)
        above = upper > ceiling
        bids = tl.where(above, tl.minimum(bids, largest_bid_not_above(ceiling, weight)), bids)
        upper = tl.where(above, bids.to(tl.float64) * weight, upper)
    return bids, order
