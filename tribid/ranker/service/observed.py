"""What the service observes around its ranker: how long the ledger takes, what the decision log does, how shadows agree."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.decided import Decided
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Ledger, Refused

try:
    from prometheus_client import Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as missing:  # pragma: no cover
    raise ImportError("the HTTP service needs prometheus-client: pip install 'tribid[serve]'") from missing

if TYPE_CHECKING:
    from tribid.ranker.decision_log import DecisionLog

_SECONDS = (0.00003, 0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)


def ledger_seconds() -> Histogram:
    """The metric of a ``TimedLedger``."""
    told = "Until the ledger has made it durable."
    return Histogram("tribid_ledger_seconds", told, ["operation"], buckets=_SECONDS, registry=None)


class TimedLedger:
    """A ``Ledger`` that times another one's reservations and charges."""

    def __init__(self, ledger: Ledger, seconds: Histogram) -> None:
        self._ledger = ledger
        self._reserve, self._charge = seconds.labels("reserve"), seconds.labels("charge")

    async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
        """See ``Ledger``."""
        began = perf_counter()
        try:
            return await self._ledger.reserve(holds)
        finally:
            self._reserve.observe(perf_counter() - began)

    async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
        """See ``Ledger``."""
        began = perf_counter()
        try:
            return await self._ledger.charge(charges)
        finally:
            self._charge.observe(perf_counter() - began)

    @property
    def names(self) -> tuple[str, ...]:
        """See ``Ledger``."""
        return self._ledger.names

    @property
    def day(self) -> int:
        """See ``Ledger``."""
        return self._ledger.day

    async def open_day(self, day: int, budget_micros: Mapping[str, int]) -> None:
        """See ``Ledger``."""
        await self._ledger.open_day(day, budget_micros)

    def free_micros(self) -> NDArray[np.int64]:
        """See ``Ledger``."""
        return self._ledger.free_micros()

    def spent_micros(self) -> NDArray[np.int64]:
        """See ``Ledger``."""
        return self._ledger.spent_micros()

    async def known(self, holds: Sequence[str]) -> list[str]:
        """See ``Ledger``."""
        return await self._ledger.known(holds)

    async def release(self, holds: Sequence[str]) -> int:
        """See ``Ledger``."""
        return await self._ledger.release(holds)

    async def expire(self, now_ms: int) -> int:
        """See ``Ledger``."""
        return await self._ledger.expire(now_ms)

    async def close(self) -> None:
        """See ``Ledger``."""
        await self._ledger.close()


class ObservedLog(Collector):
    """Passes decisions to a ``DecisionLog``, and counts what becomes of them and how often shadows decide alike.

    A live ranker tells each page's decision and then, at once, those of the releases in shadow. A shadow agrees where the
    same ads win the same slots, whatever they pay.
    """

    def __init__(self, log: "DecisionLog") -> None:
        self._log = log
        self._page, self._winner = "", np.zeros(0, np.int64)
        self._shadows: Tally[str] = Tally()
        self._agreed: Tally[str] = Tally()

    def __call__(self, decided: Decided) -> None:
        """Log a decision."""
        self._log.append(decided)
        if decided.arm != "shadow":
            self._page, self._winner = decided.id, decided.winner
        elif decided.id == self._page:
            release = decided.release.partition("@")[0]
            self._shadows[release] += 1
            self._agreed[release] += _same(decided.winner, self._winner)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are told when the numbers are."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The log's counts, and each shadow's."""
        state = self._log.state()
        for name, told, count in (
            ("tribid_decision_log_written", "Decisions that are in a file.", state.written),
            ("tribid_decision_log_lost", "Decisions that no file will hold.", state.lost),
            ("tribid_decision_log_files", "Files written.", state.files),
        ):
            yield CounterMetricFamily(name, told, count)
        yield GaugeMetricFamily("tribid_decision_log_waiting", "Decisions that wait for their file.", state.waiting)
        pages = CounterMetricFamily("tribid_shadow_pages", "Pages decided in shadow.", labels=["release"])
        agreed = CounterMetricFamily(
            "tribid_shadow_agreed", "Of these, pages with the same winners.", labels=["release"]
        )
        for release, count in self._shadows.items():
            pages.add_metric([release], count)
            agreed.add_metric([release], self._agreed[release])
        yield pages
        yield agreed


def _same(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    return bool(np.array_equal(one, other))
