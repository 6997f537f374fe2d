"""Compiled ranking of a block of requests at once: the K + 1 best scores of each row, exactly as ``rank_row`` ranks one.

A row of scores is folded: a *cell* holds the largest of eight scores, so that finding the best of N candidates K + 1
times reads N / 8 cells each time. Positive floats order as their bits do; the lowest bits of a cell give way to its own
number, so that one maximum tells how much and where. Where two scores agree in all other bits, or nearly win together,
the row is left to ``select_tied``, which compares the scores themselves. Folding and searching are vector instructions,
and the searches of different rows do not wait for each other. Loops over lanes take their length from an array: were it
a constant, the compiler would write them out, and then finds no vectors in them.
"""

from typing import Any

import numpy as np
from numba import njit

LANES = 8
"""Candidates of a cell; neighbouring candidates belong to different cells."""
NARROW = 64
"""Up to this many candidates ``rank_narrow`` is the faster."""
CHUNK = LANES * LANES
"""Candidates that are folded together: a row of scores is padded to a multiple of it."""


def padded(candidates: int) -> int:
    """The length of a row of scores with room for this many candidates.

    >>> padded(1), padded(64), padded(200)
    (64, 64, 256)
    """
    return -(-max(candidates, 1) // CHUNK) * CHUNK


@njit(cache=True, error_model="numpy")
def key_mask(cells: Any) -> Any:
    """The lowest bits that number this many cells."""
    mask = np.int64(1)
    while mask < cells:
        mask += mask
    return mask - np.int64(1)


@njit(cache=True, error_model="numpy")
def fold_scores(score: Any, rows: Any, cell: Any) -> None:
    """Cells of scores [R, P] (P padded, -1.0 or less where nobody takes part) into ``cell`` [R, P / 64, 8] int64."""
    largest, lanes = cell.view(np.float64), cell.shape[2]
    flat = cell.reshape((cell.shape[0], cell.shape[1] * LANES))
    keep = ~key_mask(flat.shape[1])
    for r in range(rows):
        for c in range(cell.shape[1]):
            for lane in range(lanes):
                i = c * CHUNK + lane
                a, b = score[r, i], score[r, i + 8]
                first = a if a > b else b
                a, b = score[r, i + 16], score[r, i + 24]
                second = a if a > b else b
                a, b = score[r, i + 32], score[r, i + 40]
                third = a if a > b else b
                a, b = score[r, i + 48], score[r, i + 56]
                fourth = a if a > b else b
                first = first if first > second else second
                third = third if third > fourth else fourth
                largest[r, c, lane] = first if first > third else third
        for c in range(flat.shape[1]):
            flat[r, c] = (flat[r, c] & keep) | c


@njit(cache=True, error_model="numpy")
def best_cells(flat: Any, rows: Any, k: Any, mask: Any, best: Any, clear: Any) -> None:
    """The largest cell of each row into ``best`` [R]; ``clear`` falls where it may equal the one before (k > 0)."""
    for r in range(rows):
        most = np.int64(0)
        for c in range(flat.shape[1]):
            most = max(most, flat[r, c])
        if k > 0:
            clear[r] &= ((most & ~mask) != (best[r] & ~mask)) | (most <= mask)
        best[r] = most


@njit(cache=True, error_model="numpy")
def pop_cells(score: Any, rows: Any, cell: Any, best: Any, top: Any, clear: Any) -> None:
    """The best candidates of each row, best first, into ``top`` [R, K + 1] (-1 where nobody is left).

    ``cell`` are those of ``fold_scores``; they are used up. ``best`` [R] is working memory. ``clear`` [R] becomes False
    where two scores may be equal, and then ``top`` of that row means nothing.
    """
    flat = cell.reshape((cell.shape[0], cell.shape[1] * LANES))
    bits = score.view(np.int64)
    places, mask = top.shape[1], key_mask(flat.shape[1])
    keep = ~mask
    for r in range(rows):
        clear[r] = True
    for k in range(places + 1):
        best_cells(flat, rows, k, mask, best, clear)
        if k == places:
            return
        for r in range(rows):
            c, high = best[r] & mask, best[r] & keep
            first = (c >> 3) * CHUNK + (c & 7)
            where, next_best, equals = np.int64(-1), np.int64(0), np.int64(0)
            for h in range(LANES):
                own = bits[r, first + h * LANES] & keep
                is_best = own == high
                equals += np.int64(is_best)
                where = first + h * LANES if is_best else where
                next_best = max(next_best, own if own < high else np.int64(0))
            found = best[r] > mask
            clear[r] &= (equals == 1) | (not found)
            top[r, k] = where if found else np.int64(-1)
            flat[r, c] = (next_best | c) if found else flat[r, c]


@njit(cache=True, error_model="numpy")
def _insert_columns(score: Any, rows: Any, candidates: Any, carried: Any, best: Any) -> None:
    """The K + 2 largest keys of each row into ``best`` [K + 2, R], one candidate of all rows at a time.

    A key is a score whose lowest bits give way to ``mask - i``. Each candidate sinks through the places like a card into
    a sorted hand: a maximum and a minimum per place, R rows side by side.
    """
    bits, key = score.view(np.int64), carried.view(np.int64)
    mask = key_mask(candidates)
    for k in range(best.shape[0]):
        for r in range(rows):
            best[k, r] = 0.0
    for i in range(candidates):
        for r in range(rows):
            key[r] = (bits[r, i] & ~mask) | (mask - i)
        for k in range(best.shape[0]):
            for r in range(rows):
                own, held = carried[r], best[k, r]
                best[k, r] = own if own > held else held
                carried[r] = held if own > held else own


@njit(cache=True, error_model="numpy")
def _insert_columns_of_three_slots(score: Any, rows: Any, candidates: Any, carried: Any, best: Any) -> None:
    """``_insert_columns`` for three slots and ``best`` [5, 64]: a candidate sinks through all places in one pass.

    The places lie a constant 64 apart in one array, so that the compiler sees that they do not overlap.
    """
    bits, key, held = score.view(np.int64), carried.view(np.int64), best.reshape(best.size)
    mask = key_mask(candidates)
    for r in range(held.shape[0]):
        held[r] = 0.0
    for i in range(candidates):
        for r in range(rows):
            key[r] = (bits[r, i] & ~mask) | (mask - i)
        for r in range(rows):
            own, other = carried[r], held[r]
            held[r] = own if own > other else other
            own, other = (other if own > other else own), held[r + 64]
            held[r + 64] = own if own > other else other
            own, other = (other if own > other else own), held[r + 128]
            held[r + 128] = own if own > other else other
            own, other = (other if own > other else own), held[r + 192]
            held[r + 192] = own if own > other else other
            own, other = (other if own > other else own), held[r + 256]
            held[r + 256] = own if own > other else other


@njit(cache=True, error_model="numpy")
def _read_places(rows: Any, candidates: Any, best: Any, top: Any, clear: Any) -> None:
    bits = best.view(np.int64)
    mask = key_mask(candidates)
    keep = ~mask
    for r in range(rows):
        clear[r] = True
    for k in range(best.shape[0] - 1):
        for r in range(rows):
            high = bits[k, r] & keep
            clear[r] &= (high == 0) | (high != (bits[k + 1, r] & keep))
            top[r, k] = mask - (bits[k, r] & mask) if high > 0 else np.int64(-1)


@njit(cache=True, error_model="numpy")
def rank_narrow(score: Any, rows: Any, candidates: Any, carried: Any, best: Any, top: Any, clear: Any) -> None:
    """As ``rank_wide``, for few candidates: ``carried`` [R] and ``best`` [K + 2, R] float64 are working memory."""
    if best.shape[0] == 5 and best.shape[1] == 64:
        _insert_columns_of_three_slots(score, rows, candidates, carried, best)
    else:
        _insert_columns(score, rows, candidates, carried, best)
    _read_places(rows, candidates, best, top, clear)


@njit(cache=True, error_model="numpy")
def rank_wide(score: Any, rows: Any, cell: Any, best: Any, top: Any, clear: Any) -> None:
    """Rank ``rows`` rows of ``score`` [R, P]; see ``fold_scores`` and ``pop_cells``."""
    fold_scores(score, rows, cell)
    pop_cells(score, rows, cell, best, top, clear)


@njit(cache=True, error_model="numpy")
def fold_products(pctr: Any, first: Any, rows: Any, bid: Any, cell: Any) -> None:
    """As ``fold_scores`` of ``pctr[first : first + rows] * bid``, in one pass over the predictions: flat bids.

    ``pctr`` [B, N] float32, C-contiguous, and ``bid`` [P] float64 whole micros, 0 from N on; a product of 0 takes no part.
    The chunk that a row does not fill is read on into the next row, whose predictions meet those zeros; only behind the
    last row is there nothing to read.
    """
    largest, lanes, n = cell.view(np.float64), cell.shape[2], pctr.shape[1]
    flat = cell.reshape((cell.shape[0], cell.shape[1] * LANES))
    keep, chunks = ~key_mask(flat.shape[1]), cell.shape[1]
    for r in range(rows):
        whole = chunks if first + r + 1 < pctr.shape[0] else n // CHUNK
        for c in range(whole):
            for lane in range(lanes):
                i = c * CHUNK + lane
                most = np.float64(pctr[first + r, i]) * bid[i]
                a = np.float64(pctr[first + r, i + 8]) * bid[i + 8]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 16]) * bid[i + 16]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 24]) * bid[i + 24]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 32]) * bid[i + 32]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 40]) * bid[i + 40]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 48]) * bid[i + 48]
                most = a if a > most else most
                a = np.float64(pctr[first + r, i + 56]) * bid[i + 56]
                most = a if a > most else most
                largest[r, c, lane] = most
        if whole < chunks:
            for lane in range(lanes):
                largest[r, whole, lane] = 0.0
            for start in range(whole * CHUNK, n, LANES):
                for lane in range(min(lanes, n - start)):
                    a = np.float64(pctr[first + r, start + lane]) * bid[start + lane]
                    largest[r, whole, lane] = a if a > largest[r, whole, lane] else largest[r, whole, lane]
        for c in range(flat.shape[1]):
            flat[r, c] = (flat[r, c] & keep) | c
