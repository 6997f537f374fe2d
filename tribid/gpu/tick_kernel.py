"""Triton's kernel of a tick: one program settles one market's requests in order, lanes over advertisers.

Python floats are float32 in a kernel, so the rules' numbers come as a float64 array: ``tribid.gpu.law.Law.numbers``.
"""

import triton
import triton.language as tl

from tribid.envs.chance import Stream
from tribid.gpu.kernels import bounds, greedy, index_terms, least_bid_reaching, select, select_tied, unit2, vcg_price

_TIE, _DEPTH, _LEAVE, _OUTCOME = (
    tl.constexpr(int(stream)) for stream in (Stream.TIE, Stream.DEPTH, Stream.LEAVE, Stream.OUTCOME)
)


@triton.jit
def _bid(
    multiplier, bid_per_click, bid_per_pcvr, pctr, pcvr, cap_micros, left, reserve,
    SQUASH: tl.constexpr, PER_IMPRESSION: tl.constexpr,
):  # fmt: skip
    """Whole-micro bids, what they are cut to, and the weights that they are ranked by."""
    cap = tl.maximum(tl.minimum(cap_micros, left), 0)
    limit = cap.to(tl.float64)
    exact = multiplier * (bid_per_click + bid_per_pcvr * pcvr)
    weight = pctr
    if PER_IMPRESSION:
        exact = exact * pctr
    if PER_IMPRESSION or SQUASH == 0:
        weight = pctr * 0.0 + 1.0
    elif SQUASH == 2:
        weight = pctr * pctr
    bids = tl.where(exact < limit, exact, limit).to(tl.int64)
    return tl.where(bids >= reserve, bids, 0), cap, weight


@triton.jit
def _decide(
    bids, cap, weight, pctr, pcvr, mean_pcvr, value, opted_in, reserve, numbers, lane, seed, day, request,
    N: tl.constexpr, SLOTS: tl.constexpr, STRATEGY: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Adjust the bids and rank: bids, weight, score, place, following score, score to beat, runner-up's score."""
    order = weight * 0.0
    if STRATEGY != "off":
        bid_range, alpha = tl.load(numbers), tl.load(numbers + 1)
        least, most = bounds(bids, pcvr, mean_pcvr, opted_in, reserve, bid_range, STRATEGY)
        bids = tl.minimum(most, cap)
        if STRATEGY == "conversion_rank":
            weight = weight * pcvr
        if STRATEGY == "greedy":
            fixed, factor = index_terms(bids, pctr, pcvr, value, lane, bid_range, alpha, N, INDEX)
            bids, order = greedy(bids, tl.minimum(least, cap), weight, pctr, fixed, factor, lane, SLOTS)
    product = bids.to(tl.float64) * weight
    score = tl.where((bids >= tl.maximum(reserve, 1)) & (product > 0.0), product, -1.0)
    place, following, to_beat, runner_up, equal = select(score, SLOTS)
    if equal:
        place, following, to_beat, runner_up, tied = select_tied(score, order, lane, SLOTS)
        if tied:
            draw, _ = unit2(seed, _TIE, day, request, lane)
            place, following, to_beat, runner_up, tied = select_tied(score, order + draw, lane, SLOTS)
    return bids, weight, score, place, following, to_beat, runner_up


@triton.jit
def _gap(score, place, weight, to_beat, runner_up, reserve, SLOTS: tl.constexpr):
    """What an auction adds to each lane's gap, in the two steps that numba adds: over the score to beat, a winner's own."""
    inverse = tl.where(to_beat > 0.0, 1.0 / tl.where(to_beat > 0.0, to_beat, 1.0), float("inf"))
    above = tl.where(score > 0.0, tl.minimum(tl.where(score > 0.0, score, 1.0) * inverse - 1.0, 1.0), 0.0)
    rival = tl.maximum(runner_up, reserve.to(tl.float64) * weight)
    own = tl.where(rival > 0.0, tl.minimum(score / tl.where(rival > 0.0, rival, 1.0) - 1.0, 1.0), 1.0)
    return above, tl.where(place < SLOTS, own - above, 0.0)


@triton.jit
def _in_order(amount, place, SLOTS: tl.constexpr):
    """The sum over slots, the first slot first."""
    total = tl.sum(tl.where(place == 0, amount, 0.0), 0)
    for k in tl.static_range(1, SLOTS):
        total += tl.sum(tl.where(place == k, amount, 0.0), 0)
    return total


@triton.jit
def _show(
    ctr, cvr, effect, place, lane, seed, day, request, EXPECTED: tl.constexpr, SLOTS: tl.constexpr
):  # fmt: skip
    """What the user does with each lane's ad: exposed, clicked, converted."""
    shown = place < SLOTS
    if EXPECTED:
        exposed = effect
        clicked = effect * ctr
        converted = clicked * cvr
    else:
        depth, _ = unit2(seed, _DEPTH, day, request, lane * 0)
        draw_click, draw_conversion = unit2(seed, _OUTCOME, day, request, lane)
        exposed = tl.where(depth < effect, 1.0, 0.0).to(tl.float64)
        clicked = tl.where(draw_click < ctr, exposed, 0.0)
        converted = tl.where(draw_conversion < cvr, clicked, 0.0)
    return tl.where(shown, exposed, 0.0), tl.where(shown, clicked, 0.0), tl.where(shown, converted, 0.0)


@triton.jit
def _leaves(ctr, effect, place, lane, seed, day, request, numbers, SLOTS: tl.constexpr):
    """Whether the user leaves after this page (``tribid.envs.settlement.Leaving``)."""
    base, irrelevance, reference = tl.load(numbers + 2), tl.load(numbers + 3), tl.load(numbers + 4)
    seen = _in_order(effect, place, SLOTS)
    shortfall = _in_order(effect * tl.maximum(1.0 - ctr / reference, 0.0), place, SLOTS)
    chance = base + tl.where(seen > 0.0, irrelevance * shortfall / tl.where(seen > 0.0, seen, 1.0), 0.0)
    draw, _ = unit2(seed, _LEAVE, day, request, lane * 0)
    return tl.max((draw < chance).to(tl.int32), 0) > 0


@triton.jit
def _price(
    bids, weight, place, following, effect, reserve, effects, MECHANISM: tl.constexpr, SLOTS: tl.constexpr
):  # fmt: skip
    """Price per click of each lane that has a slot, 0 for the rest."""
    won = place < SLOTS
    if MECHANISM == "first_price":
        price = bids
    else:
        price = tl.maximum(least_bid_reaching(tl.where(won, following, 0.0), weight), reserve)
        if MECHANISM == "vcg":
            price = vcg_price(price, place, following, weight, effect, reserve, effects, SLOTS)
    return tl.where(won, price, 0)


@triton.jit
def _charge(price, event, left):
    """The price of what happened, to the nearest micro, and never above the money left."""
    return tl.minimum(tl.floor(price.to(tl.float64) * event + 0.5).to(tl.int64), left)


@triton.jit
def _end_visit(leaves, gone_, ended_, RECORD: tl.constexpr):
    """Write that the user has left, where ``leaves`` says so."""
    if leaves:
        tl.store(gone_, 1)
        if RECORD:
            tl.store(ended_, 1)
        # Other threads of the program read it when the visit's next request comes.
        tl.debug_barrier()


@triton.jit
def _write(
    row, lane, place, price, score, exposed, clicked, converted, charge, relevance, winner_, price_, score_, exposed_,
    clicked_, converted_, charge_, runner_up_, runner_up_score_, relevance_, SLOTS: tl.constexpr,
):  # fmt: skip
    """Write the page of request ``row``: each lane its slot."""
    slot, won, next_best = row * SLOTS + place, place < SLOTS, place == SLOTS
    tl.store(winner_ + slot, lane.to(tl.int64), won)
    tl.store(price_ + slot, price, won)
    tl.store(score_ + slot, score, won)
    tl.store(exposed_ + slot, exposed, won)
    tl.store(clicked_ + slot, clicked, won)
    tl.store(converted_ + slot, converted, won)
    tl.store(charge_ + slot, charge, won)
    tl.store(runner_up_ + row + lane * 0, lane.to(tl.int64), next_best)
    tl.store(runner_up_score_ + row + lane * 0, score, next_best)
    tl.store(relevance_ + row, relevance)


@triton.jit(do_not_specialize=["counts_stride", "requests", "visits", "segments"])
def settle_kernel(
    length, seed_, day_, request_, segment_, session_, reserve_, pctr_, pcvr_, ctr_, cvr_, multiplier_, left_, gone_,
    counts_, counts_stride, bid_per_click_, bid_per_pcvr_, mean_pcvr_, value_, opted_in_, cap_micros_, numbers,
    winner_, price_, score_, exposed_, clicked_, converted_, charge_, runner_up_, runner_up_score_, relevance_, ended_,
    skipped_, requests, visits, segments,
    N: tl.constexpr, LANES: tl.constexpr, SLOTS: tl.constexpr, MECHANISM: tl.constexpr, STRATEGY: tl.constexpr,
    INDEX: tl.constexpr, SQUASH: tl.constexpr, PER_IMPRESSION: tl.constexpr, EXPECTED: tl.constexpr,
    LEAVING: tl.constexpr, RECORD: tl.constexpr,
):  # fmt: skip
    """One market's batch: ``left_``, ``gone_`` and ``counts_`` (and the pages, where RECORD) are written in place."""
    market, lane = tl.program_id(0).to(tl.int64), tl.arange(0, LANES)
    here, seed, day = lane < N, tl.load(seed_ + market), tl.load(day_ + market)
    bid_per_click, bid_per_pcvr = tl.load(bid_per_click_ + lane, here, 0.0), tl.load(bid_per_pcvr_ + lane, here, 0.0)
    mean_pcvr, value = tl.load(mean_pcvr_ + lane, here, 0.0), tl.load(value_ + lane, here, 0).to(tl.float64)
    opted_in, cap_micros = tl.load(opted_in_ + lane, here, 0) != 0, tl.load(cap_micros_ + lane, here, 0)
    left = tl.load(left_ + market * N + lane, here, 0)
    sums_ = counts_ + market * N + lane
    served, took_part, wins, exposures, clicks, conversions, paid, gap, pctr_sum, pcvr_sum = _load_counts(
        sums_, counts_stride, here
    )
    for b in range(tl.load(length + market)):
        row = market * requests + b
        visit = market * visits + tl.load(session_ + row)
        if tl.load(gone_ + visit) != 0:
            if RECORD:
                tl.store(skipped_ + row, 1)
        else:
            request, reserve = tl.load(request_ + row), tl.load(reserve_ + row)
            pctr, pcvr = _rates(pctr_, pcvr_, row * N + lane, here)
            ctr, cvr = _rates(ctr_, cvr_, row * N + lane, here)
            multiplier = tl.load(multiplier_ + (market * segments + tl.load(segment_ + row)) * N + lane, here, 0.0)
            bids, cap, weight = _bid(
                multiplier, bid_per_click, bid_per_pcvr, pctr, pcvr, cap_micros, left, reserve, SQUASH, PER_IMPRESSION
            )
            bids, weight, score, place, following, to_beat, runner_up = _decide(
                bids, cap, weight, pctr, pcvr, mean_pcvr, value, opted_in, reserve, numbers, lane, seed, day, request,
                N, SLOTS, STRATEGY, INDEX,
            )  # fmt: skip
            effect = tl.load(numbers + 5 + tl.minimum(place, SLOTS))
            price = _price(bids, weight, place, following, effect, reserve, numbers + 5, MECHANISM, SLOTS)
            exposed, clicked, converted = _show(ctr, cvr, effect, place, lane, seed, day, request, EXPECTED, SLOTS)
            charge = _charge(price, exposed if PER_IMPRESSION else clicked, left)
            left -= charge
            above, own = _gap(score, place, weight, to_beat, runner_up, reserve, SLOTS)
            served, took_part = served + 1.0, took_part + tl.where(score > 0.0, 1.0, 0.0)
            wins, exposures, clicks = wins + tl.where(place < SLOTS, 1.0, 0.0), exposures + exposed, clicks + clicked
            conversions, paid, gap = conversions + converted, paid + price.to(tl.float64), (gap + above) + own
            pctr_sum, pcvr_sum = pctr_sum + pctr, pcvr_sum + pcvr
            if RECORD:
                _write(
                    row, lane, place, price, score, exposed, clicked, converted, charge,
                    _in_order(effect * ctr, place, SLOTS), winner_, price_, score_, exposed_, clicked_, converted_,
                    charge_, runner_up_, runner_up_score_, relevance_, SLOTS,
                )  # fmt: skip
            if LEAVING:
                left_page = _leaves(ctr, effect, place, lane, seed, day, request, numbers, SLOTS)
                _end_visit(left_page, gone_ + visit, ended_ + row, RECORD)
    tl.store(left_ + market * N + lane, left, here)
    _store_counts(
        sums_, counts_stride, here, served, took_part, wins, exposures, clicks, conversions, paid, gap, pctr_sum,
        pcvr_sum,
    )  # fmt: skip


@triton.jit
def _rates(ctr_, cvr_, place, here):
    return tl.load(ctr_ + place, here, 0.0).to(tl.float64), tl.load(cvr_ + place, here, 0.0).to(tl.float64)


@triton.jit
def _load_counts(sums_, stride, here):
    return (
        tl.load(sums_, here, 0.0),
        tl.load(sums_ + stride, here, 0.0),
        tl.load(sums_ + 2 * stride, here, 0.0),
        tl.load(sums_ + 3 * stride, here, 0.0),
        tl.load(sums_ + 4 * stride, here, 0.0),
        tl.load(sums_ + 5 * stride, here, 0.0),
        tl.load(sums_ + 6 * stride, here, 0.0),
        tl.load(sums_ + 7 * stride, here, 0.0),
        tl.load(sums_ + 8 * stride, here, 0.0),
        tl.load(sums_ + 9 * stride, here, 0.0),
    )


@triton.jit
def _store_counts(
    sums_, stride, here, served, took_part, wins, exposures, clicks, conversions, paid, gap, pctr, pcvr
):  # fmt: skip
    tl.store(sums_, served, here)
    tl.store(sums_ + stride, took_part, here)
    tl.store(sums_ + 2 * stride, wins, here)
    tl.store(sums_ + 3 * stride, exposures, here)
    tl.store(sums_ + 4 * stride, clicks, here)
    tl.store(sums_ + 5 * stride, conversions, here)
    tl.store(sums_ + 6 * stride, paid, here)
    tl.store(sums_ + 7 * stride, gap, here)
    tl.store(sums_ + 8 * stride, pctr, here)
    tl.store(sums_ + 9 * stride, pcvr, here)
