"""The ranker's figures: one page in process, with its money, over HTTP under load, with learnt parts, while policies change.

Server and load generator share the machine. Latencies over HTTP are from the time at which a request was due
(``tribid.benchmark.loadtest``); they are wall-clock times, which a busy machine spoils.
"""

import statistics
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from tribid.benchmark import fresh
from tribid.benchmark.figure import Figure, plain

GROUP = "ranker"
CALLS = 5000
CANDIDATES, SERVED_CANDIDATES = 400, 64
RATE, LEARNT_RATE, SECONDS = 1000.0, 100.0, 10.0
SLOTS_RATE, EVENTS_RATE = 200.0, 200.0
ROUNDS = 3
"""Loads of each kind on one server, in turn."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_CALLED = {
    "rank": (f"rank {CANDIDATES} candidates in process", "learnt policy, OCPC, GSP; the page brings their rates"),
    "retrieved": (f"the same with the feed's own {CANDIDATES} advertisers", "stand-in forecaster"),
    "memory": (f"live, {SERVED_CANDIDATES} candidates, ledger in memory", "one page at a time"),
    "sqlite": (f"live, {SERVED_CANDIDATES} candidates, ledger on disk", "one page at a time, each waits for its fsync"),
}


def ranker_figures(*, quick: bool, repetitions: int) -> Iterator[Figure]:
    """All of them. ``ImportError`` where the service or the load generator is not installed."""
    for module, extra in (("uvicorn", "serve"), ("fastapi", "serve"), ("aiohttp", "loadtest")):
        if find_spec(module) is None:
            raise ImportError(f"the ranker's figures need {module}: pip install 'tribid[{extra}]'")
    seconds, rounds = (SECONDS / 4, 1) if quick else (SECONDS, ROUNDS)
    yield from called_figures(CALLS // (5 if quick else 1), repetitions)
    yield from served_figures(seconds, rounds)
    yield from consumer_figures(seconds)
    if find_spec("torch") is not None:
        yield from learnt_figures(seconds)


def called_figures(calls: int, repetitions: int) -> Iterator[Figure]:
    """``ranker_NAME`` with ``_p99``, ``_p999`` and ``_wall_p99``, and ``ranker_over_decide``."""
    found = fresh.call_named(
        "tribid.benchmark.ranker_calls",
        "measured_calls",
        calls,
        repetitions,
        CANDIDATES,
        SERVED_CANDIDATES,
        **_ONE_THREAD,
    )
    for name, (title, note) in _CALLED.items():
        yield from _call_figures(f"ranker_{name}", title, note, found[name])
    median = statistics.median(found["rank"]["cpu"])
    yield plain(
        "ranker_over_decide", "  one page in process over its bare auction in a batch", "x",
        [median / one for one in found["decide"]], better="lower", group=GROUP,
    )  # fmt: skip


def served_figures(seconds: float, rounds: int) -> Iterator[Figure]:
    """``http_64`` and ``http_swap`` with percentiles, errors and what they cost; ``http_swap_ratio`` of their p99."""
    found = fresh.call_named(
        "tribid.benchmark.ranker_served", "measured_plain", RATE, seconds, SERVED_CANDIDATES, rounds, **_ONE_THREAD
    )
    what = f"HTTP, {RATE:,.0f} requests/s of {SERVED_CANDIDATES} candidates"
    yield from load_figures("http_64", what, found["steady"], note=f"SQLite ledger, {rounds} x {seconds:g} s")
    yield from load_figures("http_swap", f"{what}, another policy twice a second", found["swapped"])
    failed = sum(one[1] for one in found["swaps"])
    yield _count("http_swap_failed", "  activations that failed", failed, f"of {sum(map(sum, found['swaps']))}")
    pairs = zip(found["swapped"], found["steady"], strict=True)
    ratios = [_p(one, "p99") / _p(other, "p99") for one, other in pairs]
    yield plain(
        "http_swap_ratio", "  p99 with changing policies over without", "x", ratios, better="lower", group=GROUP
    )


def learnt_figures(seconds: float) -> Iterator[Figure]:
    """``http_learnt`` with percentiles, errors and what it costs."""
    found = fresh.call_named(
        "tribid.benchmark.ranker_served", "measured_learnt", LEARNT_RATE, seconds, **_ONE_THREAD
    )  # fmt: skip
    yield from load_figures(
        "http_learnt", f"HTTP, shop, all parts learnt, {LEARNT_RATE:g} requests/s", [found],
        note="TDM, state, creatives, DIN, ESMM, policy; SQLite ledger",
    )  # fmt: skip


def consumer_figures(seconds: float) -> Iterator[Figure]:
    """``http_profiles`` (an event, then the profile that holds it) and ``http_slots`` (pictures drawn when a mail opens)."""
    found = fresh.call_named(
        "tribid.benchmark.ranker_served", "measured_consumers", SLOTS_RATE, EVENTS_RATE, seconds, **_ONE_THREAD
    )  # fmt: skip
    yield from load_figures(
        "http_profiles", f"HTTP, journey, event and then its profile, {EVENTS_RATE:g}/s", [found["profiles"]],
        note="journaled profiles, each event waits for its fsync",
    )  # fmt: skip
    yield from load_figures(
        "http_slots", f"HTTP, journey, a mail's slot picked and drawn, {SLOTS_RATE:g}/s", [found["slots"]],
        note="2,000 items, by the user's profile",
    )  # fmt: skip


def load_figures(name: str, title: str, reports: Sequence[dict[str, Any]], *, note: str = "") -> Iterator[Figure]:
    """``NAME_p50``, ``_p99``, ``_p999``, ``_errors``, ``_cpu`` (the server's for a request), ``_slots``."""
    words = {"p50": "median", "p99": "99 of 100 within", "p999": "999 of 1,000 within"}
    for end, told in words.items():
        yield _times(
            f"{name}_{end}", f"{title}: {told}" if end == "p50" else f"  {told}", [_p(one, end) for one in reports],
            note=note if end == "p50" else "",
        )  # fmt: skip
    errors = sum(sum(one["errors"].values()) for one in reports)
    yield _count(f"{name}_errors", "  not answered well", errors, f"of {sum(one['requests'] for one in reports):,}")
    cpu = [one["server_cpu_ms"] for one in reports]
    yield plain(f"{name}_cpu", "  server's CPU time a request", "ms", cpu, better="lower", group=GROUP)
    late = [one["late_ms"]["p99"] for one in reports]
    yield plain(f"{name}_late", "  generator late, 99 of 100 within", "ms", late, better="lower", group=GROUP)
    slots = [one["slots_per_page"] for one in reports]
    yield plain(f"{name}_slots", "  slots sold a page", "-", slots, better="higher", group=GROUP)


def _call_figures(name: str, title: str, note: str, found: dict[str, Any]) -> Iterator[Figure]:
    cpu, wall = ([1e3 * one for one in found[clock]] for clock in ("cpu", "wall"))
    yield _times(name, f"{title}: median", cpu, clock="cpu", note=note)
    for end, percent, values, clock in (
        ("p99", 99.0, cpu, "cpu"),
        ("p999", 99.9, cpu, "cpu"),
        ("wall", 50.0, wall, "wall"),
        ("wall_p99", 99.0, wall, "wall"),
    ):
        value = float(np.percentile(values, percent, method="higher"))
        told = f"  {percent:g} of 100 within" + (", wall clock" if clock == "wall" else "")
        yield _times(f"{name}_{end}", told, [value], clock=clock)


def _p(report: dict[str, Any], percentile: str) -> float:
    """A percentile of a report; infinite figures are none, so a load without any answer counts as its longest wait."""
    spread = report["latency_ms"]
    return float(spread[percentile]) if spread is not None else 1e3 * float(report["seconds"])


def _times(name: str, title: str, values: Sequence[float], *, clock: str = "wall", note: str = "") -> Figure:
    return plain(
        name, title, "ms", values, better="lower", seconds=statistics.median(values) / 1e3, group=GROUP, clock=clock,
        note=note,
    )  # fmt: skip


def _count(name: str, title: str, count: int, note: str) -> Figure:
    return plain(name, title, "-", [float(count)], better="lower", group=GROUP, note=note)
