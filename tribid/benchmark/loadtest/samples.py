"""``Samples``: what happened to each request of a load, in seconds since the load began."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNSENT: Final = 0
"""Status of a request that still waited for a connection when the load was given up; other statuses are HTTP's."""

TIMEOUT: Final = -1
UNREACHABLE: Final = -2
BROKEN: Final = -3
UNREADABLE: Final = -4

NAMES = {
    UNSENT: "never sent", TIMEOUT: "timed out", UNREACHABLE: "no connection", BROKEN: "connection broken",
    UNREADABLE: "unreadable answer",
}  # fmt: skip
"""Why a request has no answer; in words."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One row a request [R]: ``due``, when its turn came (``begun``), when it was ``sent`` and when it was ``done``.

    ``status`` is HTTP's or one of ``NAMES``; ``slots`` how many were sold on its pages. What was never sent or answered
    is ``done`` at the end of the load: its latency was at least that.
    """

    due: NDArray[np.float64]
    begun: NDArray[np.float64]
    sent: NDArray[np.float64]
    done: NDArray[np.float64]
    status: NDArray[np.int16]
    slots: NDArray[np.int32]

    @classmethod
    def of(cls, due: NDArray[np.float64]) -> "Samples":
        """Nothing has happened yet."""
        count = len(due)
        times = (np.full(count, np.nan) for _ in range(3))
        begun, sent, done = times
        return cls(
            due=due,
            begun=begun,
            sent=sent,
            done=done,
            status=np.zeros(count, np.int16),
            slots=np.zeros(count, np.int32),
        )

    def closed(self, now: float) -> "Samples":
        """What has not begun, been sent or been done is set to have been so ``now``; what was sent has timed out."""
        self.status[np.isnan(self.done) & ~np.isnan(self.sent)] = TIMEOUT
        for times in (self.begun, self.sent, self.done):
            times[np.isnan(times)] = now
        return self

    def since(self, warmup: float) -> "Samples":
        """The requests that were due after the warm-up."""
        kept = self.due >= warmup
        return Samples(**{name: values[kept] for name, values in vars(self).items()})

    @property
    def latency(self) -> NDArray[np.float64]:
        """Seconds [R] from when a request was due to its answer: waiting for its turn and for a connection counts."""
        return self.done - self.due

    @property
    def service(self) -> NDArray[np.float64]:
        """Seconds [R] from when a request was sent to its answer: what a closed loop would have reported."""
        return self.done - self.sent

    @property
    def late(self) -> NDArray[np.float64]:
        """Seconds [R] that the generator itself came too late, before any wait for a connection."""
        return self.begun - self.due

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether each request [R] was answered well."""
        return (self.status >= 200) & (self.status < 300)


@dataclass(kw_only=True)
class Clicks:
    """What became of the events that followed the pages; ``receipts`` counts them by status."""

    posts: int = 0
    failed: int = 0
    receipts: dict[str, int] = field(default_factory=dict)
    charged_micros: int = 0
    took: list[float] = field(default_factory=list)
    """Seconds of each POST of events."""
