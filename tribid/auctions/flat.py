"""The bare auction: everybody bids one amount for every request. Rank, GSP price, click draw and hard charge, no more.

What a market costs that has nothing else to do: the predictions are read once from memory, nothing [B, N] is written.
``tribid benchmark`` compares it with the machine's read bandwidth and with plain numpy (``flat_reference``).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tribid.auctions.bids import checked_micros, checked_reals
from tribid.auctions.kernels import gsp_price, select_tied
from tribid.auctions.ranking import CHUNK, LANES, NARROW, best_cells, fold_products, key_mask, rank_narrow

_ROWS = 64
_WIDE_ROWS = 32


class FlatOutcome(NamedTuple):
    """``winner`` [B, K] (-1: empty), ``price_micros`` [B, K] a click, ``clicked`` [B, K], ``left_micros`` [N] afterwards."""

    winner: NDArray[np.int64]
    price_micros: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    left_micros: NDArray[np.int64]


def flat_gsp(
    bid_micros: ArrayLike, pctr: ArrayLike, slot_effects: ArrayLike, draws: ArrayLike, budget_micros: ArrayLike
) -> FlatOutcome:
    """GSP for B requests in order: bids [N] (micros per click), pctr [B, N], slot effects [K], draws [B, K], budgets [N].

    A bid is cut to the money left. Slot k's winner is clicked where ``draws[b, k] < slot_effects[k] * pctr`` and then
    pays the least micros that keep its slot. Ties go to the lower index. ``ValueError`` names a malformed field.

    The first bids 10 but has 6; it pays 4 for its click and then bids the 2 that are left, which the other pays for its own:

    >>> flat_gsp([10, 4], [[0.5, 0.5]] * 3, [1.0], [[0.1], [0.9], [0.1]], [6, 9]).left_micros
    array([2, 7])
    """
    bids = checked_micros("bid_micros", bid_micros)
    if bids.ndim != 1 or bids.size == 0:
        raise ValueError(f"bid_micros has shape {list(bids.shape)}; allowed: [N], at least one candidate")
    rates = np.ascontiguousarray(checked_reals("pctr", pctr, most=1.0), np.float32)
    effects = np.asarray(checked_reals("slot_effects", slot_effects, most=1.0), np.float64)
    if rates.ndim != 2 or rates.shape[1] != bids.size or effects.ndim != 1 or effects.size == 0:
        raise ValueError(
            f"pctr has shape {list(rates.shape)}, slot_effects {list(effects.shape)}; allowed: [B, {bids.size}] and [K]"
        )
    uniforms = np.asarray(checked_reals("draws", draws, (len(rates), effects.size)), np.float64)
    left = checked_micros("budget_micros", budget_micros, bids.shape).copy()
    shape = uniforms.shape
    outcome = FlatOutcome(np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(shape, np.bool_), left)
    flat_rows(bids, rates, effects, uniforms, left, outcome.winner, outcome.price_micros, outcome.clicked)
    return outcome


@njit(cache=True, error_model="numpy")
def _cut_bids(bids: Any, left: Any, money: Any) -> None:
    for i in range(bids.shape[0]):
        money[i] = np.float64(max(np.int64(0), min(bids[i], left[i])))


@njit(cache=True, error_model="numpy")
def _rank_rows(
    pctr: Any, first: Any, rows: Any, money: Any, score: Any, cell: Any, best: Any, carried: Any, places: Any, top: Any,
    clear: Any,
) -> None:  # fmt: skip
    """The best K + 1 of each row into ``top``; rows that may hold ties are ranked by the scores themselves."""
    n = pctr.shape[1]
    if n <= NARROW:
        for r in range(rows):
            for i in range(n):
                score[r, i] = np.float64(pctr[first + r, i]) * money[i]
        rank_narrow(score, rows, n, carried, places, top, clear)
    else:
        fold_products(pctr, first, rows, money, cell)
        pop_products(pctr, first, rows, money, cell, best, top, clear)
    for r in range(rows):
        if not clear[r]:
            row, none = np.empty(n), np.empty(0)
            best_score = np.empty(top.shape[1])
            for i in range(n):
                product = np.float64(pctr[first + r, i]) * money[i]
                row[i] = product if product > 0.0 else -1.0
            select_tied(row, none, top[r], best_score)


@njit(cache=True, error_model="numpy")
def pop_products(
    pctr: Any, first: Any, rows: Any, money: Any, cell: Any, best: Any, top: Any, clear: Any
) -> None:  # fmt: skip
    """``pop_cells`` for scores that are made again where they are needed: a cell's eight products."""
    flat = cell.reshape((cell.shape[0], cell.shape[1] * LANES))
    scratch = np.empty(LANES)
    bits = scratch.view(np.int64)
    places, n, mask = top.shape[1], pctr.shape[1], key_mask(flat.shape[1])
    keep = ~mask
    for r in range(rows):
        clear[r] = True
    for k in range(places + 1):
        best_cells(flat, rows, k, mask, best, clear)
        if k == places:
            return
        for r in range(rows):
            if best[r] <= mask:
                top[r, k] = -1
                continue
            c, high = best[r] & mask, best[r] & keep
            start = (c >> 3) * CHUNK + (c & 7)
            where, next_best, equals = np.int64(-1), np.int64(0), np.int64(0)
            for h in range(LANES):
                i = start + h * LANES
                scratch[h] = np.float64(pctr[first + r, min(i, n - 1)]) * money[i]
            for h in range(LANES):
                own = bits[h] & keep
                equals += np.int64(own == high)
                where = start + h * LANES if own == high else where
                next_best = max(next_best, own if own < high else np.int64(0))
            clear[r] &= equals == 1
            top[r, k] = where
            flat[r, c] = next_best | c


@njit(cache=True, error_model="numpy", nogil=True)
def flat_rows(
    bids: Any, pctr: Any, slot_effects: Any, draws: Any, left: Any, winner: Any, price: Any, clicked: Any
) -> Any:  # fmt: skip
    """``flat_gsp`` without its checks: int64 ``bids`` [N], float32 ``pctr`` [B, N]; the rest is written. The revenue.

    ``winner``, ``price`` and ``clicked`` may have no rows: then only money is kept. A block of requests is ranked under
    the budgets at its start; it ends with the first click that leaves an advertiser less than its bid.
    """
    total, n, slots = pctr.shape[0], pctr.shape[1], slot_effects.shape[0]
    width = _ROWS if n <= NARROW else _WIDE_ROWS
    pages, columns = winner.shape[0] > 0, -(-n // CHUNK) * CHUNK
    money = np.zeros(columns)
    score = np.full((width, columns), -1.0) if n <= NARROW else np.empty((0, 0))
    cell = np.zeros((width, columns // CHUNK, LANES), np.int64)
    best, carried, places = np.zeros(width, np.int64), np.zeros(width), np.zeros((slots + 2, width))
    top, clear = np.empty((width, slots + 1), np.int64), np.empty(width, np.bool_)
    pay, start, revenue = np.empty((width, slots), np.int64), 0, np.int64(0)
    _cut_bids(bids, left, money)
    while start < total:
        rows = min(width, total - start)
        _rank_rows(pctr, start, rows, money, score, cell, best, carried, places, top, clear)
        for k in range(slots):
            for r in range(rows):
                i, j = top[r, k], top[r, k + 1]
                pay[r, k] = 0
                if i >= 0:
                    below = np.float64(pctr[start + r, j]) * money[j] if j >= 0 else 0.0
                    pay[r, k] = gsp_price(below, np.float64(pctr[start + r, i]), 0)
        done, stale = 0, False
        while done < rows and not stale:
            b = start + done
            for k in range(slots):
                i = top[done, k]
                click = i >= 0 and draws[b, k] < slot_effects[k] * np.float64(pctr[b, i])
                if pages:
                    winner[b, k], price[b, k], clicked[b, k] = i, pay[done, k], click
                if click:
                    charge = min(pay[done, k], left[i])
                    left[i] -= charge
                    revenue += charge
                    stale |= left[i] < bids[i]
            done += 1
        start += done
        if stale:
            _cut_bids(bids, left, money)
    return revenue
