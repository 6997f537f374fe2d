"""The one code path that decides: bid, OCPC, rank and price of one request, for the simulator and for the ranker.

``decide_row`` sees one request at a time, so a batch of one gives bit for bit what a batch of a million gives.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.auctions import kernels
from tribid.auctions.kernels import price_row, rank_row
from tribid.auctions.ocpc import INDICES, STRATEGIES
from tribid.auctions.ocpc_kernels import ocpc_row
from tribid.auctions.score import quality_weight
from tribid.envs.advertisers import Advertisers
from tribid.envs.chance import Stream, unit4
from tribid.envs.platform import Rates, Requests
from tribid.envs.scenario import Rules

_MECHANISMS = {"gsp": kernels.GSP, "vcg": kernels.VCG, "first_price": kernels.FIRST_PRICE}


class Law(NamedTuple):
    """The rules as numbers that a kernel takes."""

    mechanism: int
    strategy: int
    ocpc_index: int
    bid_range: float
    alpha: float
    squash: float
    per_impression: bool


class Terms(NamedTuple):
    """What decides an advertiser's bid, each [A]; see ``Advertisers``."""

    bid_per_click: NDArray[np.float64]
    bid_per_pcvr: NDArray[np.float64]
    mean_pcvr: NDArray[np.float64]
    price_micros: NDArray[np.int64]
    opted_in: NDArray[np.bool_]
    cap_micros: NDArray[np.int64]


class Desk(NamedTuple):
    """Working memory of one request: [N] arrays, ``ocpc`` [5, N], and ``top`` and ``top_score`` [K + 1], ``price`` [K]."""

    bids: NDArray[np.int64]
    weight: NDArray[np.float64]
    cap: NDArray[np.int64]
    lower: NDArray[np.int64]
    ocpc: NDArray[np.float64]
    tie: NDArray[np.float64]
    score: NDArray[np.float64]
    top: NDArray[np.int64]
    top_score: NDArray[np.float64]
    price: NDArray[np.int64]


class Decision(NamedTuple):
    """Who is shown and at what price, for B requests.

    ``winner`` [B, K] (-1 for an empty slot), ``price_micros`` [B, K], ``score`` [B, K], ``runner_up`` [B] (-1 where
    nobody was left), ``runner_up_score`` [B], ``bid_micros`` [B, N] after OCPC.
    """

    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    score: NDArray[np.float64]
    runner_up: NDArray[np.int64]
    runner_up_score: NDArray[np.float64]
    bid_micros: NDArray[np.int64]


def law_of(rules: Rules) -> Law:
    """The scenario's rules as numbers."""
    return Law(
        _MECHANISMS[rules.auction],
        STRATEGIES[rules.ocpc.strategy],
        INDICES[rules.ocpc.index],
        rules.ocpc.bid_range,
        rules.ocpc.alpha,
        rules.squash,
        rules.charge == "impression",
    )


def slot_effects_of(rules: Rules) -> NDArray[np.float64]:
    """How likely each slot is seen, [K]."""
    return np.array(rules.slot_effects, np.float64)


def terms_of(advertisers: Advertisers) -> Terms:
    """The advertisers' bidding terms."""
    return Terms(*(getattr(advertisers, name) for name in Terms._fields))


def new_desk(candidates: int, slots: int) -> Desk:
    """Fresh working memory."""
    n = candidates
    return Desk(
        bids=np.zeros(n, np.int64),
        weight=np.zeros(n),
        cap=np.zeros(n, np.int64),
        lower=np.zeros(n, np.int64),
        ocpc=np.zeros((5, n)),
        tie=np.zeros(n),
        score=np.zeros(n),
        top=np.zeros(slots + 1, np.int64),
        top_score=np.zeros(slots + 1),
        price=np.zeros(slots, np.int64),
    )


@njit(cache=True, error_model="numpy", forceinline=True)
def _bid_row(
    per_impression: Any, bid_per_click: Any, bid_per_pcvr: Any, cap_micros: Any, multiplier: Any, segment: Any,
    left: Any, pctr: Any, pcvr: Any, b: Any, reserve: Any, bids: Any, cap: Any, exact: Any,
) -> None:  # fmt: skip
    """Each advertiser's whole-micro bid, cut to what it has left, 0 below the reserve; ``cap`` gets the cut.

    Several short loops over few arrays each: those become vector instructions, one long loop does not.
    """
    n = bids.shape[0]
    for i in range(n):
        cap[i] = max(np.int64(0), min(cap_micros[i], left[i]))
    for i in range(n):
        exact[i] = bid_per_click[i] + bid_per_pcvr[i] * np.float64(pcvr[b, i])
    for i in range(n):
        exact[i] = multiplier[segment, i] * exact[i]
    if per_impression:
        for i in range(n):
            exact[i] = exact[i] * np.float64(pctr[b, i])
    for i in range(n):
        limit = np.float64(cap[i])
        exact[i] = exact[i] if exact[i] < limit else limit
    for i in range(n):
        whole = np.int64(exact[i])
        bids[i] = whole if whole >= reserve else np.int64(0)


@njit(cache=True, error_model="numpy", forceinline=True)
def decide_row(
    law: Law, slot_effects: Any, bid_per_click: Any, bid_per_pcvr: Any, mean_pcvr: Any, price_micros: Any,
    opted_in: Any, cap_micros: Any, multiplier: Any, segment: Any, left: Any, pctr: Any, pcvr: Any, b: Any,
    reserve: Any, seed: Any, day: Any, request: Any, bids: Any, weight: Any, cap: Any, lower: Any, ocpc: Any,
    tie: Any, score: Any, top: Any, top_score: Any, price: Any,
) -> None:  # fmt: skip
    """Decide request ``b``: afterwards the desk's arrays hold adjusted bids, the ranking and the prices.

    ``multiplier`` [S, N] are the policies' multipliers, ``left`` [N] the budgets left in micros: a bid is never above
    its advertiser's budget, so no charge can be. The arrays come one by one, and the predictions whole with their row's
    number: a tuple of arrays, or a row cut out, would have its references counted for every request.
    """
    n = bids.shape[0]
    _bid_row(
        law.per_impression, bid_per_click, bid_per_pcvr, cap_micros, multiplier, segment, left, pctr, pcvr, b, reserve,
        bids, cap, score,
    )  # fmt: skip
    if law.per_impression:
        for i in range(n):
            weight[i] = 1.0
    elif law.squash == 1.0:
        for i in range(n):
            weight[i] = np.float64(pctr[b, i])
    else:
        for i in range(n):
            weight[i] = quality_weight(np.float64(pctr[b, i]), law.squash)
    for i in range(n):
        tie[i] = 0.0
    if law.strategy != 0:
        ocpc_row(
            law.strategy, law.ocpc_index, bids, weight, pctr[b], pcvr[b], mean_pcvr, price_micros, opted_in, cap, reserve,
            law.bid_range, law.alpha, slot_effects.shape[0], lower, ocpc, tie,
        )  # fmt: skip
    if rank_row(bids, weight, reserve, tie, score, top, top_score):
        for i in range(n):
            tie[i] += unit4(seed, Stream.TIE, day, request, i)[0]
        rank_row(bids, weight, reserve, tie, score, top, top_score)
    price_row(law.mechanism, bids, weight, slot_effects, reserve, top, top_score, price)


@njit(cache=True, error_model="numpy")
def _decide_rows(
    law: Law, slot_effects: Any, terms: Terms, multiplier: Any, left: Any, segment: Any, pctr: Any, pcvr: Any,
    reserve: Any, seed: Any, day: Any, request: Any, desk: Desk, out: Decision,
) -> None:  # fmt: skip
    slots = slot_effects.shape[0]
    bid_per_click, bid_per_pcvr, mean_pcvr, price_micros, opted_in, cap_micros = terms
    bids, weight, cap, lower, ocpc, tie, score, top, top_score, price = desk
    for b in range(pctr.shape[0]):
        decide_row(
            law, slot_effects, bid_per_click, bid_per_pcvr, mean_pcvr, price_micros, opted_in, cap_micros, multiplier,
            segment[b], left, pctr, pcvr, b, reserve[b], seed, day, request[b], bids, weight, cap, lower, ocpc, tie,
            score, top, top_score, price,
        )  # fmt: skip
        for k in range(slots):
            out.winner[b, k] = top[k]
            out.price_micros[b, k] = price[k]
            out.score[b, k] = top_score[k]
        out.runner_up[b] = top[slots]
        out.runner_up_score[b] = top_score[slots]
        for i in range(bids.shape[0]):
            out.bid_micros[b, i] = bids[i]


def decide(
    rules: Rules, advertisers: Advertisers, multipliers: NDArray[np.float64], left_micros: NDArray[np.int64],
    requests: Requests, predicted: Rates, seed: int,
) -> Decision:  # fmt: skip
    """Decide B requests against the same budgets: nothing is charged between them.

    ``multipliers`` is [A, S] (S user segments), ``left_micros`` [A], ``predicted`` [B, A].
    """
    count, n = predicted.ctr.shape
    slots = len(rules.slot_effects)
    out = Decision(
        winner=np.empty((count, slots), np.int64),
        price_micros=np.empty((count, slots), np.int64),
        score=np.empty((count, slots)),
        runner_up=np.empty(count, np.int64),
        runner_up_score=np.empty(count),
        bid_micros=np.empty((count, n), np.int64),
    )
    _decide_rows(
        law_of(rules), slot_effects_of(rules), terms_of(advertisers), np.ascontiguousarray(multipliers.T),
        left_micros, requests.segment,
        predicted.ctr, predicted.cvr, requests.reserve_micros, np.uint64(seed), requests.day, requests.request,
        new_desk(n, slots), out,
    )  # fmt: skip
    return out
