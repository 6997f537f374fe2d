"""The bare auction at 8 to 10,000 candidates and 3 slots, and the plain numpy reference of the same auction."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.flat import flat_rows
from tribid.benchmark.clock import cpu_seconds, interleaved
from tribid.benchmark.figure import Figure, plain, rate
from tribid.benchmark.numpy_auction import numpy_auction
from tribid.envs.chance import Stream, uniforms

CANDIDATES = (8, 48, 200, 1000, 10_000)
SLOT_EFFECTS = np.array([1.0, 0.75, 0.5])

_BLOCK = 4096
"""Requests whose draws are made at once: they stay in cache."""


class Offers(NamedTuple):
    """Flat bids [N] in micros a click, and predictions [B, N]."""

    bids: NDArray[np.int64]
    pctr: NDArray[np.float32]


def offers(candidates: int, mebibytes: float) -> Offers:
    """Random bids and click rates whose predictions fill so many MiB."""
    rng, requests = np.random.default_rng(0), max(1, int(mebibytes * 2**20) // (4 * candidates))
    pctr = rng.random((requests, candidates), dtype=np.float32)
    pctr *= np.float32(0.09)
    pctr += np.float32(0.01)
    return Offers(rng.integers(100_000, 2_000_000, candidates), pctr)


def play(given: Offers, left: NDArray[np.int64]) -> None:
    """Auction every request in order, draws included; ``left`` [N] is charged."""
    pages: tuple[Any, ...] = (np.empty((0, 3), np.int64), np.empty((0, 3), np.int64), np.empty((0, 3), np.bool_))
    for start in range(0, len(given.pctr), _BLOCK):
        part = given.pctr[start : start + _BLOCK]
        draws = uniforms(0, Stream.OUTCOME, request=np.arange(start, start + len(part)))
        flat_rows(given.bids, part, SLOT_EFFECTS, draws, left, *pages)


def play_numpy(given: Offers, left: NDArray[np.int64]) -> None:
    """The same with plain numpy, draws of numpy's own included."""
    rng = np.random.default_rng(1)
    batch = numpy_batch(len(given.bids))
    for start in range(0, len(given.pctr), batch):
        part = given.pctr[start : start + batch]
        numpy_auction(given.bids, part, SLOT_EFFECTS, rng.random((len(part), 3)), left)


def numpy_batch(candidates: int) -> int:
    """The batch at which the numpy auction is about fastest: scores of 4 MiB, within bounds.

    >>> numpy_batch(8), numpy_batch(200), numpy_batch(10_000)
    (8192, 2621, 512)
    """
    return max(512, min(8192, 2**19 // candidates))


def lasting(candidates: int) -> NDArray[np.int64]:
    """Budgets that nobody uses up: an advertiser without money would make the work less."""
    return np.full(candidates, 2**50, np.int64)


def bare_seconds(candidates: int, *, quick: bool, repetitions: int) -> tuple[float, list[float]]:
    """The number of impressions, and CPU seconds of each repetition over them."""
    given = offers(candidates, 48 if quick else 128)
    return len(given.pctr), cpu_seconds(lambda: play(given, lasting(candidates)), repetitions)


def numpy_seconds(candidates: int, repetitions: int) -> tuple[float, list[float]]:
    """The same of the numpy auction, over fewer impressions."""
    given = offers(candidates, 8 if candidates < 1000 else 32)
    return len(given.pctr), cpu_seconds(lambda: play_numpy(given, lasting(candidates)), repetitions)


def bare_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``bare_N`` and, but for 48, which the suite measures all along, ``numpy_N``; and budgets that run out."""
    for n in CANDIDATES:
        if n != 48:
            count, seconds = numpy_seconds(n, repetitions)
            yield rate(
                f"numpy_{n}", f"plain numpy auction, {n:,} candidates", "impressions/s", seconds, count,
                impressions=count, candidates=n, group="bare", clock="cpu", numpy=f"numpy_{n}",
            )  # fmt: skip
        count, seconds = bare_seconds(n, quick=quick, repetitions=repetitions)
        yield rate(
            f"bare_{n}", f"bare auction, {n:,} candidates", "impressions/s", seconds, count,
            impressions=count, candidates=n, group="bare", clock="cpu", numpy=f"numpy_{n}",
            note="score, rank, GSP price, click draw, charge; 3 slots",
        )  # fmt: skip
    yield from _running_out(quick=quick, repetitions=repetitions)


def _running_out(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    given = offers(48, 48 if quick else 128)
    first = lasting(48)
    play(given, first)
    budgets = np.maximum((2**50 - first) // 2, 1)
    plenty, scarce = interleaved([lambda: play(given, lasting(48)), lambda: play(given, budgets.copy())], repetitions)
    yield rate(
        "bare_48_scarce", "bare auction, 48 candidates, budgets that run out", "impressions/s", scarce, len(given.pctr),
        impressions=len(given.pctr), candidates=48, group="bare", clock="cpu",
        note="each may spend half of what it spent with money that lasted",
    )  # fmt: skip
    yield plain(
        "bare_48_scarce_time", "  its time over that of budgets that last", "x",
        [a / b for a, b in zip(scarce, plenty, strict=True)], better="lower", group="bare",
    )  # fmt: skip


class Work(NamedTuple):
    """Counted by hand for one impression: bytes of memory read, and operations (an instruction of one lane is one)."""

    bytes: float
    operations: float


def counted_work(candidates: int, slots: int = 3) -> Work:
    """What the bare auction does for one impression; docs/performance.md says how it is counted.

    >>> counted_work(48).bytes
    192.0
    """
    draws, places, cash = 148, 5 * (slots + 1), 16 * slots
    if candidates <= 64:
        each, search = 4.0 + 2 * (slots + 2), 0.0
    else:
        each, search = 3 + (2 + slots + 2) / 8, 80.0 * (slots + 1)
    return Work(4.0 * candidates, each * candidates + search + draws + places + cash)
