"""Settlement: a tick's requests in order, each decided, shown, clicked and charged before the next one is decided."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.auctions.ocpc_block import WIDTH, OcpcTile
from tribid.auctions.ocpc_kernels import OCPC_GREEDY, OCPC_SIMPLE
from tribid.envs.chance import Stream, unit4
from tribid.envs.decision import Desk, Law, decide_block
from tribid.envs.places import Places, advertiser, fill_caps, set_cap

_LEAST_WIDTH = 8


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


def new_counts(*shape: int) -> Counts:
    """All zero, of shape [A] or [M, A]."""
    return Counts(*(np.zeros(shape) for _ in Counts._fields))


@njit(cache=True)
def counts_of(counts: Counts, m: Any) -> Counts:
    """Market m's own [A] of counts [M, A]; views."""
    return Counts(
        counts.served[m], counts.took_part[m], counts.wins[m], counts.exposures[m], counts.clicks[m],
        counts.conversions[m], counts.price[m], counts.gap[m], counts.pctr[m], counts.pcvr[m],
    )  # fmt: skip


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


def slots_of(pages: Slots, rows: slice) -> Slots:
    """Some of the pages; views."""
    return pages._replace(**{name: column[rows] for name, column in pages._asdict().items()})


class Block(NamedTuple):
    """Requests settled side by side: R = ``WIDTH`` of them, K slots.

    ``rows`` [R] their places in the tick, ``at`` [R] their rows of the predictions, ``shelf`` [R] of their candidates;
    ``winner`` [K, R] advertisers (0 where a slot is empty: its draws are not looked at), ``ctr`` and ``cvr`` [K, R] the
    winners' true rates; ``depth``, ``leave`` [R], ``click``, ``convert`` [K, R] uniform draws; ``shown`` [R] False for a
    visit that ended within the block.
    """

    rows: NDArray[np.int64]
    at: NDArray[np.int64]
    shelf: NDArray[np.int64]
    request: NDArray[np.int64]
    winner: NDArray[np.int64]
    ctr: NDArray[np.float64]
    cvr: NDArray[np.float64]
    depth: NDArray[np.float64]
    leave: NDArray[np.float64]
    click: NDArray[np.float64]
    convert: NDArray[np.float64]
    shown: NDArray[np.bool_]


def new_block(slots: int) -> Block:
    """Fresh working memory."""
    r, k = WIDTH, slots
    return Block(
        rows=np.zeros(r, np.int64), at=np.zeros(r, np.int64), shelf=np.zeros(r, np.int64), request=np.zeros(r, np.int64),
        winner=np.zeros((k, r), np.int64), ctr=np.zeros((k, r)), cvr=np.zeros((k, r)), depth=np.zeros(r),
        leave=np.zeros(r), click=np.zeros((k, r)), convert=np.zeros((k, r)), shown=np.zeros(r, np.bool_),
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def gather_block(start: Any, width: Any, session: Any, gone: Any, block: Block) -> Any:
    """The next requests from ``start`` on whose visits go on, into ``block.rows``; their number and where to go on."""
    rows, count, b = block.rows, 0, start
    while count < width and b < session.shape[0]:
        if not gone[session[b]]:
            rows[count] = b
            count += 1
        b += 1
    return count, b


@njit(cache=True, error_model="numpy", forceinline=True)
def next_width(count: Any, done: Any) -> Any:
    """How many requests to decide next: few where budgets run out and blocks end early; results do not depend on it."""
    return min(WIDTH, max(_LEAST_WIDTH, 2 * done))


@njit(cache=True, error_model="numpy")
def draw_block(seed: Any, day: Any, request: Any, who: Any, count: Any, leaves: Any, desk: Desk, block: Block) -> None:
    """Name the block's winners and draw what its users would do."""
    rows, shelf, own, winner, top = block.rows, block.shelf, block.request, block.winner, desk.top
    depth, leave, click, convert = block.depth, block.leave, block.click, block.convert
    for r in range(count):
        own[r] = request[rows[r]]
    for k in range(winner.shape[0]):
        for r in range(count):
            winner[k, r] = max(np.int64(0), advertiser(who, shelf, r, top[r, k]))
    for r in range(count):
        depth[r] = unit4(seed, Stream.DEPTH, day, own[r], 0)[0]
    for k in range(winner.shape[0]):
        for r in range(count):
            click[k, r], convert[k, r], _, _ = unit4(seed, Stream.OUTCOME, day, own[r], winner[k, r])
    if leaves:
        for r in range(count):
            leave[r] = unit4(seed, Stream.LEAVE, day, own[r], 0)[0]


@njit(cache=True, error_model="numpy", forceinline=True)
def _leaves(leaving: Leaving, slot_effects: Any, top: Any, ctr: Any, r: Any, draw: Any) -> Any:
    shortfall, shown = 0.0, 0.0
    for k in range(slot_effects.shape[0]):
        if top[r, k] >= 0:
            shown += slot_effects[k]
            relative = ctr[k, r] / leaving.reference_ctr
            shortfall += slot_effects[k] * max(0.0, 1.0 - relative)
    chance = leaving.base
    if shown > 0.0:
        chance += leaving.irrelevance * shortfall / shown
    return draw < chance


@njit(cache=True, error_model="numpy")
def _changes_later_bids(
    law: Law, places: Places, left: Any, i: Any, r: Any, count: Any, desk: Desk, block: Block
) -> Any:
    """Whether one of advertiser i's bids after request r of the block is above what it has left now."""
    adjusts = (law.strategy == OCPC_GREEDY) | (law.strategy == OCPC_SIMPLE)
    bids, shelf, n = desk.asked if adjusts else desk.bids, block.shelf, places.click.shape[1]
    money = np.float64(left[i])
    if money >= (desk.most[0] * (1.0 + law.bid_range) + 1.0 if adjusts else desk.most[0]):
        return False
    for p in range(places.first[i], places.first[i + 1]):
        g, j = places.place[p] // n, places.place[p] % n
        for later in range(r + 1, count):
            if shelf[later] == g and bids[later, j] > 0.0:
                most = bids[later, j]
                if adjusts:
                    most = max(most * (1.0 + law.bid_range) + 1.0, desk.floor[later])
                if most > money:
                    return True
    return False


@njit(cache=True, error_model="numpy")
def settle_block(
    law: Law, expected: Any, slot_effects: Any, leaving: Leaving, places: Places, left: Any, cap: Any, session: Any,
    gone: Any, count: Any, counts: Counts, desk: Desk, block: Block, out: Slots,
) -> Any:  # fmt: skip
    """Show, click and charge the block's requests in order; the number settled.

    The block was decided under the budgets at its start. It ends early with the first request after which a charged
    advertiser has less left than one of its later bids of the block: what follows has to be decided anew. ``left`` [A],
    ``cap`` [G, N], ``gone`` [sessions], ``counts`` and ``out`` (pages; may be empty) are written in place.
    """
    top, top_score, price, cap_micros = desk.top, desk.top_score, desk.price, places.cap_micros
    rows, winner, ctr, cvr, depth, click, convert = (
        block.rows, block.winner, block.ctr, block.cvr, block.depth, block.click, block.convert
    )  # fmt: skip
    wins, exposures, clicks, conversions, price_sum = (
        counts.wins, counts.exposures, counts.clicks, counts.conversions, counts.price
    )  # fmt: skip
    slots, pages = slot_effects.shape[0], out.winner.shape[0] > 0
    leaves = (leaving.base > 0.0) | (leaving.irrelevance > 0.0)
    for r in range(count):
        b, stale = rows[r], False
        block.shown[r] = not gone[session[b]]
        if gone[session[b]]:
            continue
        for k in range(slots):
            if top[r, k] < 0:
                break
            i, effect = winner[k, r], slot_effects[k]
            if expected:
                exposed, clicked = effect, effect * ctr[k, r]
                converted = clicked * cvr[k, r]
            else:
                exposed = 1.0 if depth[r] < effect else 0.0
                clicked = exposed if click[k, r] < ctr[k, r] else 0.0
                converted = clicked if convert[k, r] < cvr[k, r] else 0.0
            event = exposed if law.per_impression else clicked
            charge = min(np.int64(np.floor(np.float64(price[r, k]) * event + 0.5)), left[i])
            left[i] -= charge
            if charge > 0 and left[i] < cap_micros[i]:
                set_cap(places, left, i, cap)
                stale = stale or _changes_later_bids(law, places, left, i, r, count, desk, block)
            wins[i] += 1.0
            exposures[i] += exposed
            clicks[i] += clicked
            conversions[i] += converted
            price_sum[i] += np.float64(price[r, k])
            if pages:
                out.winner[b, k], out.price_micros[b, k], out.score[b, k] = i, price[r, k], top_score[r, k]
                out.exposed[b, k], out.clicked[b, k], out.converted[b, k] = exposed, clicked, converted
                out.charge_micros[b, k] = charge
                out.relevance[b] += effect * ctr[k, r]
        if leaves and _leaves(leaving, slot_effects, top, ctr, r, block.leave[r]):
            gone[session[b]] = True
            if pages:
                out.left[b] = True
        if stale:
            return r + 1
    return count


@njit(cache=True, error_model="numpy")
def observe_block(
    reserve: Any, who: Any, pctr: Any, pcvr: Any, n: Any, done: Any, seen: Any, desk: Desk, block: Block, out: Slots
) -> None:
    """Add up, on each place, what its advertiser is told of the first ``done`` requests of the block.

    ``seen`` [5, G, N] float64: requests served, auctions taken part in, gaps, sums of pctr and of pcvr.
    """
    rows, at, shelf = block.rows, block.at, block.shelf
    weight, score, top, top_score = desk.weight, desk.score, desk.top, desk.top_score
    took_part, gap, pctr_sum, pcvr_sum = seen[1], seen[2], seen[3], seen[4]
    slots, pages = desk.price.shape[1], out.winner.shape[0] > 0
    for r in range(done):
        if not block.shown[r]:
            continue
        a, b, g = at[r], rows[r], shelf[r]
        if pages:
            out.runner_up[b] = advertiser(who, shelf, r, top[r, slots])
            out.runner_up_score[b] = top_score[r, slots]
        to_beat = top_score[r, slots - 1]
        inverse = 1.0 / to_beat if to_beat > 0.0 else np.inf
        seen[0, g, 0] += 1.0
        for i in range(n):
            above = score[r, i] * inverse - 1.0
            above = above if above < 1.0 else 1.0
            gap[g, i] += above if score[r, i] > 0.0 else 0.0
            took_part[g, i] += 1.0 if score[r, i] > 0.0 else 0.0
        for i in range(n):
            pctr_sum[g, i] += pctr[a, i]
            pcvr_sum[g, i] += pcvr[a, i]
        for k in range(slots):
            i = top[r, k]
            if i >= 0:
                rival = max(top_score[r, slots], np.float64(reserve[b]) * weight[r, i])
                above = min(1.0, score[r, i] / rival - 1.0) if rival > 0.0 else 1.0
                gap[g, i] += above - min(1.0, score[r, i] * inverse - 1.0)


@njit(cache=True, error_model="numpy")
def tell(who: Any, seen: Any, counts: Counts) -> None:
    """Add what was seen on the places to their advertisers' counts [A]; all places of a shelf were served alike."""
    for g in range(seen.shape[1]):
        for i in range(seen.shape[2]):
            w = i if who.shape[0] == 0 else who[g, i]
            if w < 0:
                continue  # nobody's place
            counts.served[w] += seen[0, g, 0]
            counts.took_part[w] += seen[1, g, i]
            counts.gap[w] += seen[2, g, i]
            counts.pctr[w] += seen[3, g, i]
            counts.pcvr[w] += seen[4, g, i]


@njit(cache=True, error_model="numpy", nogil=True)
def settle_table(
    law: Law, slot_effects: Any, places: Places, leaving: Leaving, expected: Any, multiplier: Any, left: Any,
    counts: Counts, out: Slots, desk: Desk, tile: OcpcTile, block: Block, shelf: Any, segment: Any, session: Any,
    reserve: Any, buying: Any, pctr: Any, pcvr: Any, ctr: Any, cvr: Any, seed: Any, day: Any, request: Any, gone: Any,
) -> None:  # fmt: skip
    """Settle a tick whose rates are given: ``left`` [A] (micros), ``gone`` [sessions], ``counts``, ``out`` in place.

    ``multiplier`` is [S, G, N], ``shelf`` [B]; ``pctr``, ``pcvr`` [B, N] and ``buying`` ([B], see ``beliefs_of``) are what
    the platform believes, ``ctr``, ``cvr`` [B, N] what is true.
    """
    n, who = pctr.shape[1], places.who
    leaves = (leaving.base > 0.0) | (leaving.irrelevance > 0.0)
    rows, winner, start, width = block.rows, block.winner, 0, WIDTH
    before, cap, seen = gone.copy(), np.zeros(places.click.shape), np.zeros((5, *places.click.shape))
    fill_caps(places, left, cap)
    while start < pctr.shape[0]:
        count, after = gather_block(start, width, session, gone, block)
        for r in range(count):
            block.at[r], block.shelf[r] = rows[r], shelf[rows[r]]
        decide_block(
            law, slot_effects, places, multiplier, cap, block.shelf, segment, reserve, buying, seed, day, request, pctr,
            pcvr, block.at, rows, count, n, desk, tile,
        )  # fmt: skip
        draw_block(seed, day, request, who, count, leaves, desk, block)
        for k in range(winner.shape[0]):
            for r in range(count):
                place = max(np.int64(0), desk.top[r, k])
                block.ctr[k, r], block.cvr[k, r] = ctr[rows[r], place], cvr[rows[r], place]
        done = settle_block(
            law, expected, slot_effects, leaving, places, left, cap, session, gone, count, counts, desk, block, out
        )
        observe_block(reserve, who, pctr, pcvr, n, done, seen, desk, block, out)
        start = after if done == count else rows[done - 1] + 1
        width = next_width(count, done)
    tell(who, seen, counts)
    mark_skipped(session, before, out)


@njit(cache=True, error_model="numpy")
def mark_skipped(session: Any, gone: Any, out: Slots) -> None:
    """Requests after their visit's last page never came; ``gone`` [sessions]: visits that were over before."""
    if out.winner.shape[0] == 0:
        return
    over = gone.copy()
    for b in range(session.shape[0]):
        out.skipped[b] = over[session[b]]
        over[session[b]] |= out.left[b]
