"""Streaming days: 10,000 advertisers, 200 candidates a request, and how memory grows with the day's length."""

import time
from collections.abc import Iterator

from tribid.benchmark import fresh
from tribid.benchmark.days import MULTIPLIER
from tribid.benchmark.figure import Figure, plain, rate
from tribid.benchmark.retrieval import CANDIDATES, crowd
from tribid.envs.stream import stream_day

ADVERTISERS = 10_000


def measured_stream(impressions: int) -> dict[str, float]:
    """One day in this process: CPU seconds, impressions served, and peak memory in MB."""
    scenario = crowd(ADVERTISERS, ocpc=False, per_tick=impressions / 48)
    began = time.process_time()
    state = stream_day(scenario, multiplier=MULTIPLIER)
    seconds = time.process_time() - began
    return {
        "seconds": seconds, "served": float(state.total.counts.served.sum()) / CANDIDATES, "peak_mb": fresh.peak_mb()
    }  # fmt: skip


def stream_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """``stream_memory_more``: peak memory of a long day's process less a day's a tenth as long; the long day's speed.

    Long is 10^7 impressions (quick: 10^6). Memory does not vary as time does: three processes of each, not more.
    """
    size = 10**6 if quick else 10**7
    fresh.call(measured_stream, 5000)
    short, long = ([fresh.call(measured_stream, n) for _ in range(min(repetitions, 3))] for n in (size // 10, size))
    served = float(long[0]["served"])
    words, power = ("10^6", "10^5") if quick else ("10^7", "10^6")
    yield rate(
        "stream_day", f"streaming day of {words} impressions, 10,000 advertisers", "impressions/s",
        [day["seconds"] for day in long], served, impressions=served, candidates=CANDIDATES, group="stream", clock="cpu",
        note="200 candidates a request, feed without OCPC, no log; the world's making is in the time",
    )  # fmt: skip
    yield plain(
        "stream_memory", "  peak memory of its process", "MB", [day["peak_mb"] for day in long], better="lower",
        group="stream",
    )  # fmt: skip
    yield plain(
        "stream_memory_more", f"  peak memory beyond that of {power} impressions", "MB",
        [a["peak_mb"] - b["peak_mb"] for a, b in zip(long, short, strict=True)], better="lower", group="stream",
    )  # fmt: skip
