"""Settlement: a tick's requests in order, each decided, shown, clicked and charged before the next one is decided."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.envs.chance import Stream, unit4
from tribid.envs.decision import Desk, Law, Terms, decide_row


class Counts(NamedTuple):
    """What happened to each advertiser in a tick, each [A] float64 (sums over requests).

    ``served`` requests that were decided at all, ``took_part`` with a bid that met the reserve, ``wins`` slots won,
    ``exposures`` seen by the user, ``clicks``, ``conversions``; ``price`` the sum of the prices per click of the slots
    won, in micros; ``gap`` the sum over auctions taken part in of ``own score / score to beat - 1``, cut to [-1, 1];
    ``pctr`` and ``pcvr`` sums of the predictions.
    """

    served: NDArray[np.float64]
    took_part: NDArray[np.float64]
    wins: NDArray[np.float64]
    exposures: NDArray[np.float64]
    clicks: NDArray[np.float64]
    conversions: NDArray[np.float64]
    price: NDArray[np.float64]
    gap: NDArray[np.float64]
    pctr: NDArray[np.float64]
    pcvr: NDArray[np.float64]


class Slots(NamedTuple):
    """What each slot of each request held, [B, K]; ``runner_up`` and its score, ``left`` and ``skipped`` are [B].

    ``exposed``, ``clicked``, ``converted`` are 0 or 1, or probabilities in the expected-value mode. ``skipped`` marks
    requests that never came, because the user had left the visit before.
    """

    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    score: NDArray[np.float64]
    exposed: NDArray[np.float64]
    clicked: NDArray[np.float64]
    converted: NDArray[np.float64]
    charge_micros: NDArray[np.int64]
    runner_up: NDArray[np.int64]
    runner_up_score: NDArray[np.float64]
    relevance: NDArray[np.float64]
    left: NDArray[np.bool_]
    skipped: NDArray[np.bool_]


class Leaving(NamedTuple):
    """Chance that a user leaves after a page: ``base + irrelevance * mean shortfall of the shown ads' click rates``.

    The shortfall of an ad is ``max(0, 1 - ctr / reference_ctr)``, weighted by the slots' effects. A design of ours: the
    published feeds report that poor ads shorten visits, none publishes a formula.
    """

    base: float
    irrelevance: float
    reference_ctr: float


def new_counts(advertisers: int) -> Counts:
    """All zero."""
    return Counts(*(np.zeros(advertisers) for _ in Counts._fields))


def new_slots(requests: int, slots: int) -> Slots:
    """Empty pages."""
    shape = (requests, slots)
    return Slots(
        winner=np.full(shape, -1, np.int64),
        price_micros=np.zeros(shape, np.int64),
        score=np.zeros(shape),
        exposed=np.zeros(shape),
        clicked=np.zeros(shape),
        converted=np.zeros(shape),
        charge_micros=np.zeros(shape, np.int64),
        runner_up=np.full(requests, -1, np.int64),
        runner_up_score=np.zeros(requests),
        relevance=np.zeros(requests),
        left=np.zeros(requests, np.bool_),
        skipped=np.zeros(requests, np.bool_),
    )


@njit(cache=True, error_model="numpy", forceinline=True)
def _observe(
    pctr: Any, pcvr: Any, b: Any, reserve: Any, slots: Any, weight: Any, score: Any, top: Any, top_score: Any,
    took_part: Any, gap: Any, pctr_sum: Any, pcvr_sum: Any,
) -> None:  # fmt: skip
    to_beat = top_score[slots - 1]
    inverse = 1.0 / to_beat if to_beat > 0.0 else np.inf
    n = score.shape[0]
    for i in range(n):
        pctr_sum[i] += pctr[b, i]
    for i in range(n):
        pcvr_sum[i] += pcvr[b, i]
    for i in range(n):
        took_part[i] += 1.0 if score[i] > 0.0 else 0.0
    for i in range(n):
        above = score[i] * inverse - 1.0
        above = above if above < 1.0 else 1.0
        gap[i] += above if score[i] > 0.0 else 0.0
    for k in range(slots):
        i = top[k]
        if i >= 0:
            rival = max(top_score[slots], np.float64(reserve) * weight[i])
            above = min(1.0, score[i] / rival - 1.0) if rival > 0.0 else 1.0
            gap[i] += above - min(1.0, score[i] * inverse - 1.0)


@njit(cache=True, error_model="numpy", forceinline=True)
def _show_row(
    per_impression: Any, expected: Any, slot_effects: Any, ctr: Any, cvr: Any, b: Any, seed: Any, day: Any,
    request: Any, left: Any, top: Any, top_score: Any, price: Any, wins: Any, exposures: Any, clicks: Any,
    conversions: Any, price_sum: Any, winner: Any, price_micros: Any, page_score: Any, exposed_: Any, clicked_: Any,
    converted_: Any, charge_micros: Any, relevance: Any,
) -> None:  # fmt: skip
    """Show the winners of request ``b``: draw what the user does, charge, and write the page."""
    depth = unit4(seed, Stream.DEPTH, day, request, 0)[0]
    for k in range(slot_effects.shape[0]):
        i = top[k]
        if i < 0:
            break
        effect = slot_effects[k]
        click_rate, conversion_rate = np.float64(ctr[b, i]), np.float64(cvr[b, i])
        if expected:
            exposed, clicked = effect, effect * click_rate
            converted = clicked * conversion_rate
        else:
            draw_click, draw_conversion, _, _ = unit4(seed, Stream.OUTCOME, day, request, i)
            exposed = 1.0 if depth < effect else 0.0
            clicked = exposed if draw_click < click_rate else 0.0
            converted = clicked if draw_conversion < conversion_rate else 0.0
        event = exposed if per_impression else clicked
        charge = min(np.int64(np.floor(np.float64(price[k]) * event + 0.5)), left[i])
        left[i] -= charge
        wins[i] += 1.0
        exposures[i] += exposed
        clicks[i] += clicked
        conversions[i] += converted
        price_sum[i] += np.float64(price[k])
        winner[b, k], price_micros[b, k], page_score[b, k] = i, price[k], top_score[k]
        exposed_[b, k], clicked_[b, k], converted_[b, k] = exposed, clicked, converted
        charge_micros[b, k] = charge
        relevance[b] += effect * click_rate


@njit(cache=True, error_model="numpy", forceinline=True)
def _leaves(leaving: Leaving, slot_effects: Any, top: Any, ctr: Any, b: Any, draw: Any) -> Any:
    shortfall, shown = 0.0, 0.0
    for k in range(slot_effects.shape[0]):
        if top[k] >= 0:
            shown += slot_effects[k]
            relative = np.float64(ctr[b, top[k]]) / leaving.reference_ctr
            shortfall += slot_effects[k] * max(0.0, 1.0 - relative)
    chance = leaving.base
    if shown > 0.0:
        chance += leaving.irrelevance * shortfall / shown
    return draw < chance


@njit(cache=True, error_model="numpy", nogil=True)
def settle_rows(
    law: Law, slot_effects: Any, terms: Terms, leaving: Leaving, expected: Any, multiplier: Any, left: Any,
    segment: Any, session: Any, reserve: Any, pctr: Any, pcvr: Any, ctr: Any, cvr: Any, seed: Any, day: Any,
    request: Any, gone: Any, desk: Desk, counts: Counts, out: Slots,
) -> None:  # fmt: skip
    """Settle a tick: ``left`` [A] (micros), ``gone`` [sessions], ``counts`` and ``out`` are written in place.

    ``multiplier`` is [S, A]; ``pctr``, ``pcvr`` are what the platform believes, ``ctr``, ``cvr`` what is true, [B, A].
    """
    slots = slot_effects.shape[0]
    bid_per_click, bid_per_pcvr, mean_pcvr, price_micros, opted_in, cap_micros = terms
    bids, weight, cap, lower, ocpc, tie, score, top, top_score, price = desk
    served, took_part, wins, exposures, clicks, conversions, price_sum, gap, pctr_sum, pcvr_sum = counts
    winner, paid, page_score, exposed, clicked, converted, charge, runner_up, runner_up_score, relevance = out[:10]
    left_page, skipped = out.left, out.skipped
    decided = 0
    for b in range(pctr.shape[0]):
        if gone[session[b]]:
            skipped[b] = True
            continue
        decided += 1
        decide_row(
            law, slot_effects, bid_per_click, bid_per_pcvr, mean_pcvr, price_micros, opted_in, cap_micros, multiplier,
            segment[b], left, pctr, pcvr, b, reserve[b], seed, day, request[b], bids, weight, cap, lower, ocpc, tie,
            score, top, top_score, price,
        )  # fmt: skip
        _observe(
            pctr, pcvr, b, reserve[b], slots, weight, score, top, top_score, took_part, gap, pctr_sum, pcvr_sum
        )  # fmt: skip
        runner_up[b], runner_up_score[b] = top[slots], top_score[slots]
        _show_row(
            law.per_impression, expected, slot_effects, ctr, cvr, b, seed, day, request[b], left, top, top_score, price,
            wins, exposures, clicks, conversions, price_sum, winner, paid, page_score, exposed, clicked, converted,
            charge, relevance,
        )  # fmt: skip
        if leaving.base > 0.0 or leaving.irrelevance > 0.0:
            draw = unit4(seed, Stream.LEAVE, day, request[b], 0)[0]
            if _leaves(leaving, slot_effects, top, ctr, b, draw):
                left_page[b] = True
                gone[session[b]] = True
    for i in range(served.shape[0]):
        served[i] += decided
