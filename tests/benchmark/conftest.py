"""A made-up run, for everything that shows or compares runs: no test here asserts on time."""

from collections.abc import Callable
from typing import Any

import pytest

from tribid.benchmark.figure import duration, plain, rate
from tribid.benchmark.machine import Machine
from tribid.benchmark.results import Curve, Point, Results
from tribid.benchmark.suite import with_ratios

MACHINE = Machine(cpu="A Processor", cores=2, system="Linux x86_64", python="3.11.0", numpy="2.0", numba="0.60")


@pytest.fixture
def made_up() -> Callable[..., Results]:
    """A run on a machine that is ``speed`` times as fast, whose bare auction takes ``bare`` times as long."""

    def make(*, speed: float = 1.0, bare: float = 1.0, torch: float = 0.0, **changes: Any) -> Results:
        figures = with_ratios([
            rate("read_bandwidth", "one core reads memory", "GB/s", [0.1 / speed] * 3, 1.0, group="machine", clock="cpu"),
            rate("numpy_48", "plain numpy", "impressions/s", [1 / speed] * 3, 1e6, impressions=1e6, group="machine",
                 clock="cpu"),
            plain("multiply_max", "multiplies", "Gop/s", [100.0 * speed] * 3, better="higher", group="machine"),
            rate("bare_48", "bare auction, 48 candidates", "impressions/s", [t * bare / speed for t in (1.0, 2.0, 4.0)],
                 2e7, impressions=2e7, group="bare", clock="cpu"),
            duration("day_feed", "a day", [0.1 / speed] * 3, impressions=5e5, group="days", clock="cpu"),
            plain("day_feed_memory", "peak memory", "MB", [250.0], better="lower", group="days"),
            plain("import_torch", "torch imported", "-", [torch], better="lower", group="startup"),
        ])  # fmt: skip
        given = {
            "schema": 2, "created": "2026-01-02T03:04:05+00:00", "command": "tribid benchmark", "commit": "abc",
            "quick": False, "machine": MACHINE, "figures": figures, "notes": ["a note"],
            "curves": [Curve(name="markets", x="markets", y="seconds",
                             points=[Point(x=float(x), seconds=x / 10, low=x / 11, high=x / 9) for x in (1, 2, 4)])],
        }  # fmt: skip
        return Results(**(given | changes))

    return make
