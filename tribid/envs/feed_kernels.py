"""Compiled traffic of the feed: visits, rates and prediction errors, and whole ticks settled without storing any of it.

Candidates stand on *shelves*: the feed has one shelf with all its ads, or, with ``world.candidates``, one per cell of
users. G shelves of N candidates each, D interests, U users, A ads; every rate is float32.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from tribid.auctions.ocpc_block import OcpcTile
from tribid.envs.chance import Stream, finalise64, first64, unit4
from tribid.envs.decision import Desk, Law, decide_block
from tribid.envs.places import Places, fill_caps
from tribid.envs.settlement import (
    Block,
    Counts,
    Leaving,
    Slots,
    counts_of,
    draw_block,
    gather_block,
    mark_skipped,
    observe_block,
    settle_block,
    tell,
)

KEPT_RATES = 1 << 20
"""The most rates (visits times candidates) of a tick that are kept for a visit's next pages; 4 MiB a kind."""


class Crowd(NamedTuple):
    """The population: ``interests`` [U, D], log-odds of ``activity`` and ``power``, consumer cluster and shelf [U]."""

    interests: NDArray[np.float32]
    activity: NDArray[np.float32]
    power: NDArray[np.float32]
    cluster: NDArray[np.int64]
    shelf: NDArray[np.int64]


class Shelves(NamedTuple):
    """What an ad brings to its places: interests [G, D, N], levels, biases and hash strides (``strides64``) [G, N]."""

    interests: NDArray[np.float32]
    ctr: NDArray[np.float32]
    cvr: NDArray[np.float32]
    ctr_bias: NDArray[np.float32]
    cvr_bias: NDArray[np.float32]
    strides: NDArray[np.uint64]


class Errors(NamedTuple):
    """Prediction errors: tables of equally likely factors (empty: none), and whether a visit's state is known.

    ``state_share`` stands for the state where it is not known.
    """

    ctr_table: NDArray[np.float32]
    cvr_table: NDArray[np.float32]
    knows_state: bool
    state_share: float


class TickPlan(NamedTuple):
    """One tick of M days: seeds, days, first request and number of requests, keys of the errors, all [M]."""

    seed: NDArray[np.uint64]
    day: NDArray[np.int64]
    first: NDArray[np.int64]
    total: NDArray[np.int64]
    ctr_key: NDArray[np.uint64]
    cvr_key: NDArray[np.uint64]
    session_length: int
    buying_share: float
    accuracy: float
    segments: int
    reserve: int


BY_NOBODY, BY_STATE, BY_CLUSTER = 0, 1, 2


@njit(cache=True)
def visits_of(requests: Any, session_length: Any) -> Any:
    """How many visits a tick's requests belong to; at least one."""
    return max(1, -(-requests // session_length))


@njit(cache=True)
def draw_visits(
    seed: Any, day: Any, first: Any, users: Any, buying_share: Any, accuracy: Any, user: Any, buying: Any, guess: Any
) -> None:
    """User, true state and the platform's guess of it for each visit, all [V]."""
    for s in range(user.shape[0]):
        who, state, known, _ = unit4(seed, Stream.SESSION, day, first + s, 0)
        user[s] = int(who * users)
        buying[s] = state < buying_share
        guess[s] = buying[s] == (known < accuracy)


@njit(cache=True, nogil=True)
def true_rates(
    user: Any, buying: Any, crowd: Crowd, shelves: Shelves, effects: Any, ctr: Any, cvr: Any
) -> None:  # fmt: skip
    """Rates [B, N] of each user's shelf into ``ctr`` and ``cvr``; ``buying`` [B] float32 is the share of the state."""
    interests, activity, power, shelf = crowd.interests, crowd.activity, crowd.power, crowd.shelf
    ad_interests, ad_ctr, ad_cvr = shelves.interests, shelves.ctr, shelves.cvr
    n_ads = ad_ctr.shape[1]
    match, odds, scale = np.empty(n_ads, np.float32), np.empty(n_ads, np.float32), np.empty(n_ads, np.float32)
    for b in range(user.shape[0]):
        u = user[b]
        g = shelf[u]
        for i in range(n_ads):
            match[i] = np.float32(0.0)
        whole = interests.shape[1] // 4 * 4
        for d in range(0, whole, 4):
            x0, x1, x2, x3 = interests[u, d], interests[u, d + 1], interests[u, d + 2], interests[u, d + 3]
            for i in range(n_ads):
                two = match[i] + x0 * ad_interests[g, d, i] + x1 * ad_interests[g, d + 1, i]
                match[i] = two + x2 * ad_interests[g, d + 2, i] + x3 * ad_interests[g, d + 3, i]
        for d in range(whole, interests.shape[1]):
            for i in range(n_ads):
                match[i] += interests[u, d] * ad_interests[g, d, i]
        shift = activity[u] + effects[2] * buying[b]
        for i in range(n_ads):
            odds[i] = ad_ctr[g, i] + shift + effects[0] * match[i]
        _logistic(odds, scale, ctr[b])
        shift = power[u] + effects[3] * buying[b]
        for i in range(n_ads):
            odds[i] = ad_cvr[g, i] + shift + effects[1] * match[i]
        _logistic(odds, scale, cvr[b])


@njit(cache=True, nogil=True)
def _logistic(x: Any, scale: Any, out: Any) -> None:
    """``out = 1 / (1 + exp(-x))`` for float32 [n], in vector instructions and the same on every machine.

    exp(-x) = 2^k exp(r) with r within ln(2) / 2 of zero: exp(r) by its Taylor polynomial of degree 7 (error below 1e-7),
    2^k by writing the float's exponent. The mathematical library's exp is slower and differs by an ulp between machines.
    """
    one, bits = np.float32(1.0), scale.view(np.int32)
    for i in range(x.shape[0]):
        y = max(np.float32(-80.0), min(np.float32(80.0), -x[i]))
        k = np.floor(y * np.float32(1.44269504) + np.float32(0.5))
        r = (y - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
        p = np.float32(1.0 / 5040.0) * r + np.float32(1.0 / 720.0)
        p = p * r + np.float32(1.0 / 120.0)
        p = p * r + np.float32(1.0 / 24.0)
        p = p * r + np.float32(1.0 / 6.0)
        p = p * r + np.float32(0.5)
        x[i] = (p * r + one) * r + one
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
    for i in range(x.shape[0]):
        out[i] = one / (one + x[i] * scale[i])


@njit(cache=True)
def _winner_rates(
    crowd: Crowd, shelves: Shelves, effects: Any, user: Any, buying: Any, count: Any, top: Any, odds: Any, out: Any,
    block: Block,
) -> None:  # fmt: skip
    """True rates of the block's winners alone, as ``true_rates`` has them, into ``block.ctr`` and ``block.cvr``."""
    interests, ad_interests, slots = crowd.interests, shelves.interests, block.winner.shape[0]
    ctr_odds, cvr_odds, scale = odds[0], odds[1], odds[2]
    place = 0
    for k in range(slots):
        for r in range(count):
            u, g, i = user[r], block.shelf[r], max(np.int64(0), top[r, k])
            match = np.float32(0.0)
            for d in range(interests.shape[1]):
                match += interests[u, d] * ad_interests[g, d, i]
            shift = crowd.activity[u] + effects[2] * buying[r]
            ctr_odds[place] = shelves.ctr[g, i] + shift + effects[0] * match
            shift = crowd.power[u] + effects[3] * buying[r]
            cvr_odds[place] = shelves.cvr[g, i] + shift + effects[1] * match
            place += 1
    _logistic(ctr_odds[:place], scale[:place], out[0, :place])
    _logistic(cvr_odds[:place], scale[:place], out[1, :place])
    place = 0
    for k in range(slots):
        for r in range(count):
            block.ctr[k, r], block.cvr[k, r] = out[0, place], out[1, place]
            place += 1


@njit(cache=True)
def _add_errors(
    key: Any, first: Any, shelves: Shelves, base: Any, table: Any, count: Any, base_row: Any, block: Block, out: Any
) -> None:
    """``out[r] = min(1, base * factor)``, the factor drawn by hash for each (request, ad); see ``NoisyTruth``."""
    rows, strides, n, shift = block.rows, shelves.strides, out.shape[1], uint64(52)
    for r in range(count):
        b, g = base_row[r], block.shelf[r]
        start = first64(key, first + rows[r])
        if table.shape[0] == 0:
            for i in range(n):
                out[r, i] = min(np.float32(1.0), base[b, i])
        else:
            for i in range(n):
                out[r, i] = min(np.float32(1.0), base[b, i] * table[finalise64(start + strides[g, i]) >> shift])


@njit(cache=True)
def _biased(user: Any, crowd: Crowd, bias: Any, rates: Any) -> None:
    for b in range(user.shape[0]):
        g = crowd.shelf[user[b]]
        for i in range(rates.shape[1]):
            rates[b, i] = rates[b, i] * bias[g, i]


@njit(cache=True, error_model="numpy", nogil=True)
def _settle_market(
    law: Law, slot_effects: Any, places: Places, leaving: Leaving, expected: Any, multiplier: Any, left: Any, crowd: Crowd,
    shelves: Shelves, errors: Errors, effects: Any, plan: TickPlan, m: Any, begin: Any, end: Any, gone: Any,
    counts: Counts, out: Slots, desk: Desk, tile: OcpcTile, block: Block,
) -> None:  # fmt: skip
    """Requests ``begin`` to ``end - 1`` of a tick of market ``m``: traffic, predictions, decisions and outcomes in blocks.

    ``multiplier`` [S, A], ``left`` [A], ``gone`` [visits], ``counts`` [A] and ``out`` are the market's own; see
    ``settle_table``. The rates are those that ``Feed.arrivals`` and the feed's own forecaster would give.
    """
    seed, day, tick_first, total = plan.seed[m], plan.day[m], plan.first[m], end - begin
    first = tick_first + begin
    visits, n, who = gone.shape[0], shelves.ctr.shape[1], places.who
    user, buying, guess = np.empty(visits, np.int64), np.empty(visits, np.bool_), np.empty(visits, np.bool_)
    users = crowd.activity.shape[0]
    draw_visits(seed, day, tick_first, users, plan.buying_share, plan.accuracy, user, buying, guess)
    segment, session = np.zeros(total, np.int64), np.empty(total, np.int64)
    reserve, request = np.full(total, plan.reserve, np.int64), np.empty(total, np.int64)
    v = begin % visits - 1
    for b in range(total):
        v = v + 1 if v + 1 < visits else 0
        session[b], request[b] = v, first + b
        if plan.segments == BY_STATE:
            segment[b] = guess[v]
        elif plan.segments == BY_CLUSTER:
            segment[b] = crowd.cluster[user[v]]
    believed = np.empty(visits, np.float32)
    for v in range(visits):
        believed[v] = buying[v] if errors.knows_state else np.float32(errors.state_share)
    kept = visits * n <= KEPT_RATES
    lines = visits if kept else block.rows.shape[0]
    base_ctr, base_cvr = np.empty((lines, n), np.float32), np.empty((lines, n), np.float32)
    if kept:
        true_rates(user, believed, crowd, shelves, effects, base_ctr, base_cvr)
        _biased(user, crowd, shelves.ctr_bias, base_ctr)
        _biased(user, crowd, shelves.cvr_bias, base_cvr)
    width = block.rows.shape[0]
    pctr, pcvr = np.empty((width, n), np.float32), np.empty((width, n), np.float32)
    odds, rates = (
        np.empty((3, width * slot_effects.shape[0]), np.float32),
        np.empty((2, width * slot_effects.shape[0]), np.float32),
    )
    block_user, block_state, block_belief = (
        np.empty(width, np.int64),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    base_row = np.empty(width, np.int64)
    before, leaves = gone.copy(), (leaving.base > 0.0) | (leaving.irrelevance > 0.0)
    start, cap, seen = 0, np.empty(places.click.shape), np.zeros((5, *places.click.shape))
    fill_caps(places, left, cap)
    while start < total:
        count, after = gather_block(start, session, gone, block)
        for r in range(count):
            v = session[block.rows[r]]
            block.at[r], block_user[r], block_state[r], block_belief[r] = r, user[v], buying[v], believed[v]
            block.shelf[r] = crowd.shelf[user[v]]
            base_row[r] = v if kept else r
        if not kept:
            true_rates(block_user[:count], block_belief, crowd, shelves, effects, base_ctr, base_cvr)
            _biased(block_user[:count], crowd, shelves.ctr_bias, base_ctr)
            _biased(block_user[:count], crowd, shelves.cvr_bias, base_cvr)
        _add_errors(plan.ctr_key[m], first, shelves, base_ctr, errors.ctr_table, count, base_row, block, pctr)
        _add_errors(plan.cvr_key[m], first, shelves, base_cvr, errors.cvr_table, count, base_row, block, pcvr)
        decide_block(
            law, slot_effects, places, multiplier, cap, block.shelf, segment, reserve, seed, day, request, pctr, pcvr,
            block.at, block.rows, count, n, desk, tile,
        )  # fmt: skip
        draw_block(seed, day, request, who, count, leaves, desk, block)
        _winner_rates(crowd, shelves, effects, block_user, block_state, count, desk.top, odds, rates, block)
        done = settle_block(
            law, expected, slot_effects, leaving, places, left, cap, session, gone, count, counts, desk, block, out
        )
        observe_block(reserve, who, pctr, pcvr, n, done, seen, desk, block, out)
        start = after if done == count else block.rows[done - 1] + 1
    tell(who, seen, counts)
    mark_skipped(session, before, out)


@njit(cache=True, error_model="numpy", nogil=True)
def settle_feed(
    law: Law, slot_effects: Any, places: Places, leaving: Leaving, expected: Any, multiplier: Any, left: Any, counts: Counts,
    out: Slots, desk: Desk, tile: OcpcTile, block: Block, crowd: Crowd, shelves: Shelves, errors: Errors, effects: Any,
    plan: TickPlan,
) -> None:  # fmt: skip
    """Settle a tick of each of M markets: ``multiplier`` [M, S, A], ``left`` and ``counts`` [M, A]; ``out`` of one only."""
    for m in range(left.shape[0]):
        own, count = counts_of(counts, m), plan.total[m]
        gone = np.zeros(visits_of(count, plan.session_length), np.bool_)
        _settle_market(
            law, slot_effects, places, leaving, expected, multiplier[m], left[m], crowd, shelves, errors, effects, plan, m,
            0, count, gone, own, out, desk, tile, block,
        )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def settle_part(
    law: Law, slot_effects: Any, places: Places, leaving: Leaving, expected: Any, multiplier: Any, left: Any, counts: Counts,
    out: Slots, desk: Desk, tile: OcpcTile, block: Block, crowd: Crowd, shelves: Shelves, errors: Errors, effects: Any,
    plan: TickPlan, begin: Any, end: Any, gone: Any,
) -> None:  # fmt: skip
    """Settle requests ``begin`` to ``end - 1`` of a tick of one market (M = 1); ``gone`` [visits] goes from part to part.

    Parts in order give what ``settle_feed`` gives; only the sums of float64 predictions may round elsewhere.
    """
    _settle_market(
        law, slot_effects, places, leaving, expected, multiplier[0], left[0], crowd, shelves, errors, effects, plan, 0,
        begin, end, gone, counts_of(counts, 0), out, desk, tile, block,
    )  # fmt: skip
