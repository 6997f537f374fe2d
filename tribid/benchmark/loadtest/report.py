"""``LoadReport``: the percentiles and counts of a load, as JSON and as a table."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from tribid.benchmark.loadtest.generator import Loaded
from tribid.benchmark.loadtest.samples import NAMES, TIMEOUT, UNSENT, Samples

PERCENTS = (50.0, 90.0, 99.0, 99.9)
_LATE_MS, _BUSY = 2.0, 0.9
"""The generator is called overloaded where 1 of 100 requests began so late, or it used so much of a core."""


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds that so many of the requests kept; ``p999`` is that of 999 in 1,000."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    mean: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> "Spread | None":
        """Of so many seconds; None where there are none. A percentile is a value that was measured, none in between.

        >>> Spread.of(np.arange(1, 101) / 1e3).p99
        99.0
        """
        if not len(seconds):
            return None
        ordered = 1e3 * np.sort(seconds)
        place = np.ceil(len(ordered) * np.array(PERCENTS) / 100 - 1e-6).astype(int) - 1
        return cls(*(round(float(one), 4) for one in (*ordered[place], ordered[-1], ordered.mean())))


class Window(msgspec.Struct, frozen=True):
    """Requests that were due in one second of the load, and their latencies."""

    second: int
    due: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Events(msgspec.Struct, frozen=True):
    """What became of impressions and clicks."""

    posts: int
    failed: int
    receipts: dict[str, int]
    charged_micros: int
    post_ms: Spread | None


class LoadReport(msgspec.Struct, frozen=True):
    """What a load found. Times are of requests that were due after the warm-up.

    ``latency_ms`` is from the time at which a request was due, ``service_ms`` from when it was sent; both are of requests
    that were answered well, timed out or were never sent (these at least with the time until they were given up), since
    a quick refusal is no fast answer. ``late_ms`` is the generator's own lateness, which is in the latency.
    """

    url: str
    arrivals: str
    seed: int
    asked_rate: float
    sent_rate: float
    answered_rate: float
    seconds: float
    warmup: float
    connections: int
    batch: int
    requests: int
    answered: int
    errors: dict[str, int]
    latency_ms: Spread | None
    service_ms: Spread | None
    late_ms: Spread | None
    generator_cpu_share: float
    slots_per_page: float
    empty_share: float
    events: Events
    windows: tuple[Window, ...]
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether anything was not answered as asked."""
        refused = sum(count for status, count in self.events.receipts.items() if status != "accepted")
        return bool(self.errors or self.events.failed or refused or not self.answered)


def report_of(loaded: Loaded) -> LoadReport:
    """The report of a load."""
    load, samples, clicks = loaded.load, loaded.samples, loaded.clicks
    counted = _counted(samples)
    pages = max(1, int(samples.answered.sum()) * load.batch)
    late = Spread.of(samples.late)
    return LoadReport(
        url=load.url,
        arrivals=load.arrivals,
        seed=load.seed,
        asked_rate=load.rate,
        sent_rate=round(float((samples.status != UNSENT).sum()) / load.seconds, 2),
        answered_rate=round(float(samples.answered.sum()) / _lasted(samples, load.seconds, load.warmup), 2),
        seconds=load.seconds,
        warmup=load.warmup,
        connections=load.connections,
        batch=load.batch,
        requests=len(samples.due),
        answered=int(samples.answered.sum()),
        errors=_errors(samples),
        latency_ms=Spread.of(samples.latency[counted]),
        service_ms=Spread.of(samples.service[counted]),
        late_ms=late,
        generator_cpu_share=round(loaded.cpu_share, 3),
        slots_per_page=round(float(samples.slots.sum()) / pages, 3),
        empty_share=round(float((samples.slots[samples.answered] == 0).mean()) if samples.answered.any() else 0.0, 4),
        events=Events(
            clicks.posts, clicks.failed, clicks.receipts, clicks.charged_micros, Spread.of(np.array(clicks.took))
        ),
        windows=tuple(_windows(samples, load.warmup)),
        notes=tuple(_notes(loaded, late)),
    )


def load_table(report: LoadReport) -> Table:
    """Percentiles in milliseconds, then rates, errors and events in words."""
    title = f"{report.url}: {report.asked_rate:g} requests/s ({report.arrivals}) for {report.seconds:g} s"
    table = Table("ms", title=title, title_justify="left")
    for name in ("p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right")
    for words, spread in (
        ("latency, from when it was due", report.latency_ms),
        ("service, from when it was sent", report.service_ms),
        ("generator late", report.late_ms),
        ("POST of events", report.events.post_ms),
    ):
        if spread is not None:
            values = (spread.p50, spread.p90, spread.p99, spread.p999, spread.max)
            table.add_row(words, *(f"{value:,.2f}" for value in values))
    return table


def summary(report: LoadReport, *, pages: bool = True) -> list[str]:
    """Lines below the table; ``pages`` says whether pages of ads were asked for."""
    lines = [
        f"{report.answered:,} of {report.requests:,} answered, {report.answered_rate:,.1f} a second (asked "
        f"{report.asked_rate:g}, sent {report.sent_rate:,.1f})"
        + (
            f"; {report.slots_per_page:.2f} slots sold a page, {report.empty_share:.1%} of the answers empty"
            if pages
            else ""
        ),
        "errors: " + (_counts(report.errors) or "none"),
    ]
    events = report.events
    if events.posts:
        lines.append(
            f"events: {_counts(events.receipts) or 'none received'}; {events.charged_micros / 1e6:,.2f} charged; "
            f"{events.failed} of {events.posts} posts failed"
        )
    return [*lines, *report.notes]


def as_json(report: LoadReport) -> Any:
    """The report as plain values."""
    return msgspec.to_builtins(report)


def _counted(samples: Samples) -> NDArray[np.bool_]:
    counted: NDArray[np.bool_] = samples.answered | np.isin(samples.status, (TIMEOUT, UNSENT))
    return counted


def _lasted(samples: Samples, seconds: float, warmup: float) -> float:
    """Seconds in which the answers came: those of the load, and longer where the server fell behind."""
    if not samples.answered.any():
        return seconds
    return max(seconds, float(samples.done[samples.answered].max()) - warmup)


def _errors(samples: Samples) -> dict[str, int]:
    statuses = Counter(samples.status[~samples.answered].tolist())
    return {NAMES.get(status, f"HTTP {status}"): count for status, count in sorted(statuses.items())}


def _windows(samples: Samples, warmup: float) -> list[Window]:
    second, counted, found = np.floor(samples.due - warmup).astype(int), _counted(samples), []
    for one in np.unique(second):
        here = second == one
        spread = Spread.of(samples.latency[here & counted])
        p50, p99, most = (spread.p50, spread.p99, spread.max) if spread else (0.0, 0.0, 0.0)
        found.append(Window(int(one), int(here.sum()), int((here & ~samples.answered).sum()), p50, p99, most))
    return found


def _notes(loaded: Loaded, late: Spread | None) -> list[str]:
    notes = []
    if late is not None and late.p99 > _LATE_MS:
        notes.append(
            f"the generator itself was late: 1 request in 100 began more than {late.p99:.1f} ms after it was due; the "
            "latencies above hold that wait too"
        )
    if loaded.cpu_share > _BUSY:
        notes.append(f"the generator used {loaded.cpu_share:.0%} of a core: this machine cannot send more than this")
    if len(loaded.samples.due) < 1000:
        notes.append(f"p99.9 of {len(loaded.samples.due)} requests is the slowest of them")
    return notes


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
