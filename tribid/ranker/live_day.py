"""``LiveDay``: the clock of a live ranker; it opens days, closes ticks, and sets the multipliers of the next one."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Literal

from tribid.envs.market import MarketState
from tribid.ranker.fallbacks import Fallbacks
from tribid.ranker.ledger.interface import Ledger
from tribid.ranker.live_books import LiveBooks
from tribid.ranker.releases import Plan, Release, Releases

DAY_MS = 86_400_000
ClockKind = Literal["request", "wall"]
_log = logging.getLogger("tribid.ranker")


def day_and_tick(now_ms: int, n_ticks: int) -> tuple[int, int]:
    """The day since 1970-01-01 UTC, and the tick of ``n_ticks`` alike, that a Unix time in milliseconds falls in.

    >>> day_and_tick(DAY_MS + DAY_MS // 2, 96)
    (1, 48)
    """
    return now_ms // DAY_MS, now_ms % DAY_MS * n_ticks // DAY_MS


class LiveDay:
    """Where the day is, and what follows from moving on.

    Under the request clock the multipliers of a tick are worked out before its first request is decided, as in the
    simulator. Under the wall clock they are worked out in a thread, and requests are decided with the old ones until then.
    A tick in which nobody came is closed like any other, so that policies see every tick of the day.
    """

    def __init__(
        self, kind: ClockKind, books: LiveBooks, ledger: Ledger, releases: Releases, fallback: Fallbacks, n_ticks: int
    ) -> None:
        if kind not in ("request", "wall"):
            raise ValueError(f"clock is {kind!r}; allowed is 'request' or 'wall'")
        self.kind: ClockKind = kind
        self._books, self._ledger, self._releases, self._fallback = books, ledger, releases, fallback
        self._n_ticks = n_ticks
        self._moving, self._opening = asyncio.Lock(), asyncio.Lock()
        self.failures: Counter[str] = Counter()

    @property
    def day(self) -> int:
        """The open day."""
        return self._books.day.day

    @property
    def tick(self) -> int:
        """The tick of the day."""
        return self._books.tick

    def of_wall(self, now_ms: int) -> tuple[int, int]:
        """The day and tick of a Unix time; see ``day_and_tick``."""
        return day_and_tick(now_ms, self._n_ticks)

    async def open(self, day: int, tick: int = 0) -> None:
        """Open the ledger's and the books' day at ``tick``, and set everybody's multipliers."""
        async with self._moving:
            await self._open_day(day, tick)
            await self._refresh(self._books.state())

    async def move_to(self, day: int, tick: int) -> None:
        """Go on to a later tick or day, tick by tick; nothing happens for one that is not later."""
        async with self._moving:
            if day > self.day:
                await self._open_day(day, 0)
                await self._refresh(self._books.state())
            while day == self.day and self.tick < min(tick, self._n_ticks - 1):
                state = self._books.close_tick(self._ledger.spent_micros())
                self._fallback.count_clicks(self._books.clicks)
                await self._refresh(state)

    async def change(self, name: str, plan_of: Callable[[], Plan]) -> None:
        """Put another plan in force, once its release ``name`` has multipliers.

        ``ValueError`` where that release's policy fails: the plan stays as it is.
        """
        async with self._moving:
            plan = plan_of()
            release = self._releases.all[name]
            if name in plan.names and release not in self._releases.in_use:
                release.forget()
                try:
                    await self._bid(release, self._books.state())
                except Exception as error:
                    release.forget()
                    told = f"{type(error).__name__}: {error}"
                    raise ValueError(
                        f"name is {name!r}, whose policy fails ({told}); the plan stays as it is"
                    ) from error
            self._releases.plan = plan_of()

    async def is_open(self) -> None:
        """Return once no day is being opened."""
        if self._opening.locked():
            async with self._opening:
                pass

    async def _open_day(self, day: int, tick: int) -> None:
        async with self._opening:
            a = self._books.advertisers
            await self._ledger.open_day(day, dict(zip(a.names, a.budget_micros.tolist(), strict=True)))
            self._books.open(day, self._ledger.spent_micros(), tick)
            for release in self._releases.all.values():
                release.start_day()
            self._fallback.count_clicks(self._books.clicks)

    async def _refresh(self, state: MarketState) -> None:
        for release in self._releases.in_use:
            await self._refresh_one(release, state)

    async def _refresh_one(self, release: Release, state: MarketState) -> None:
        """A release whose policy fails keeps the multipliers that it has, or bids without any."""
        try:
            await self._bid(release, state)
        except Exception as error:
            release.is_stale = True
            if not self.failures[release.label]:
                _log.warning("release %s failed to bid: %s: %s", release.label, type(error).__name__, error)
            self.failures[release.label] += 1

    async def _bid(self, release: Release, state: MarketState) -> None:
        if self.kind == "wall":
            await asyncio.to_thread(release.refresh, state)
        else:
            release.refresh(state)
