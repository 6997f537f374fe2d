"""How long stages take, and whether there is time for the next one: the time budget of a request."""

from collections import deque
from collections.abc import Callable
from time import perf_counter

Clock = Callable[[], float]
"""A monotonic clock in seconds; ``time.perf_counter`` unless a test passes its own."""

_KEPT = 64
_EACH = 8
_HIGH = 0.95
_SHRINK = 0.98


class StageTimes:
    """What a stage took lately.

    ``high_ms`` is the 95th percentile of the last 64 times, worked out anew every 8 (the largest before that), so that a
    single pause says little. Each time that a stage is passed over for want of time it shrinks by 2 %: otherwise a stage
    that was slow once would never be tried again.

    >>> times = StageTimes()
    >>> times.add(2.0), times.add(1.0), times.high_ms
    (None, None, 2.0)
    """

    def __init__(self) -> None:
        self.high_ms = 0.0
        self._last: deque[float] = deque(maxlen=_KEPT)
        self._since = 0

    def add(self, took_ms: float) -> None:
        """The stage ran and took this long."""
        self._last.append(took_ms)
        self._since += 1
        if len(self._last) < _EACH:
            self.high_ms = max(self.high_ms, took_ms)
        elif self._since >= _EACH:
            self._since = 0
            self.high_ms = sorted(self._last)[int(_HIGH * (len(self._last) - 1))]

    def passed_over(self) -> None:
        """The stage was not run for want of time."""
        self.high_ms *= _SHRINK


class TimeBudget:
    """The time budget of one request, counted from its making; ``timeout_ms`` None has no end.

    >>> budget = TimeBudget(5.0, clock=iter([0.0, 0.004]).__next__)
    >>> round(budget.left_ms(), 6)
    1.0
    """

    __slots__ = ("_clock", "_end", "took_ms")

    def __init__(self, timeout_ms: float | None = None, clock: Clock = perf_counter) -> None:
        self._clock = clock
        self._end = None if timeout_ms is None else clock() + timeout_ms / 1000.0
        self.took_ms: dict[str, float] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is an end."""
        return self._end is not None

    def left_ms(self) -> float:
        """Milliseconds left; below 0 once the time is over."""
        return float("inf") if self._end is None else 1000.0 * (self._end - self._clock())

    def now(self) -> float:
        """The clock, in seconds."""
        return self._clock()
