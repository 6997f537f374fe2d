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


@njit(cache=True, error_model="numpy")
def _observe(desk: Desk, pctr: Any, pcvr: Any, reserve: Any, slots: int, counts: Counts) -> None:
    to_beat = desk.top_score[slots - 1]
    inverse = 1.0 / to_beat if to_beat > 0.0 else np.inf
    score = desk.score
    for i in range(score.shape[0]):
        counts.served[i] += 1.0
        counts.pctr[i] += pctr[i]
        counts.pcvr[i] += pcvr[i]
        takes_part = score[i] > 0.0
        counts.took_part[i] += 1.0 if takes_part else 0.0
        counts.gap[i] += min(1.0, score[i] * inverse - 1.0) if takes_part else 0.0
    for k in range(slots):
        i = desk.top[k]
        if i >= 0:
            rival = max(desk.top_score[slots], np.float64(reserve) * desk.weight[i])
            above = min(1.0, score[i] / rival - 1.0) if rival > 0.0 else 1.0
            counts.gap[i] += above - min(1.0, score[i] * inverse - 1.0)


@njit(cache=True, error_model="numpy")
def _show_row(
    law: Law, expected: Any, desk: Desk, ctr: Any, cvr: Any, seed: Any, day: Any, request: Any, b: Any, left: Any,
    counts: Counts, out: Slots,
) -> None:  # fmt: skip
    """Show the winners of request ``b``: draw what the user does, charge, and write the page."""
    depth = unit4(seed, Stream.DEPTH, day, request, 0)[0]
    for k in range(law.slot_effects.shape[0]):
        i = desk.top[k]
        if i < 0:
            break
        effect = law.slot_effects[k]
        click_rate, conversion_rate = np.float64(ctr[i]), np.float64(cvr[i])
        if expected:
            exposed, clicked = effect, effect * click_rate
            converted = clicked * conversion_rate
        else:
            draw_click, draw_conversion, _, _ = unit4(seed, Stream.OUTCOME, day, request, i)
            exposed = 1.0 if depth < effect else 0.0
            clicked = exposed if draw_click < click_rate else 0.0
            converted = clicked if draw_conversion < conversion_rate else 0.0
        event = exposed if law.per_impression else clicked
        charge = min(np.int64(np.floor(np.float64(desk.price[k]) * event + 0.5)), left[i])
        left[i] -= charge
        counts.wins[i] += 1.0
        counts.exposures[i] += exposed
        counts.clicks[i] += clicked
        counts.conversions[i] += converted
        counts.price[i] += np.float64(desk.price[k])
        out.winner[b, k], out.price_micros[b, k], out.score[b, k] = i, desk.price[k], desk.top_score[k]
        out.exposed[b, k], out.clicked[b, k], out.converted[b, k] = exposed, clicked, converted
        out.charge_micros[b, k] = charge
        out.relevance[b] += effect * click_rate


@njit(cache=True, error_model="numpy")
def _leaves(law: Law, leaving: Leaving, desk: Desk, ctr: Any, draw: Any) -> Any:
    shortfall, shown = 0.0, 0.0
    for k in range(law.slot_effects.shape[0]):
        if desk.top[k] >= 0:
            shown += law.slot_effects[k]
            relative = np.float64(ctr[desk.top[k]]) / leaving.reference_ctr
            shortfall += law.slot_effects[k] * max(0.0, 1.0 - relative)
    chance = leaving.base
    if shown > 0.0:
        chance += leaving.irrelevance * shortfall / shown
    return draw < chance


@njit(cache=True, error_model="numpy", nogil=True)
def settle_rows(
    law: Law, terms: Terms, leaving: Leaving, expected: Any, multiplier: Any, left: Any, segment: Any, session: Any,
    reserve: Any, pctr: Any, pcvr: Any, ctr: Any, cvr: Any, seed: Any, day: Any, request: Any, gone: Any, desk: Desk,
    counts: Counts, out: Slots,
) -> None:  # fmt: skip
    """Settle a tick: ``left`` [A] (micros), ``gone`` [sessions], ``counts`` and ``out`` are written in place.

    ``multiplier`` is [S, A]; ``pctr``, ``pcvr`` are what the platform believes, ``ctr``, ``cvr`` what is true, [B, A].
    """
    slots = law.slot_effects.shape[0]
    for b in range(pctr.shape[0]):
        if gone[session[b]]:
            out.skipped[b] = True
            continue
        decide_row(law, terms, multiplier[segment[b]], left, pctr[b], pcvr[b], reserve[b], seed, day, request[b], desk)
        _observe(desk, pctr[b], pcvr[b], reserve[b], slots, counts)
        out.runner_up[b], out.runner_up_score[b] = desk.top[slots], desk.top_score[slots]
        _show_row(law, expected, desk, ctr[b], cvr[b], seed, day, request[b], b, left, counts, out)
        if leaving.base > 0.0 or leaving.irrelevance > 0.0:
            draw = unit4(seed, Stream.LEAVE, day, request[b], 0)[0]
            if _leaves(law, leaving, desk, ctr[b], draw):
                out.left[b] = True
                gone[session[b]] = True
