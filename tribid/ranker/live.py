"""``LiveRanker``: requests, events and policies of a live scenario, with hard budgets and books that follow the day."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from msgspec import structs

from tribid.envs import market
from tribid.envs.platform import Forecaster, Platform
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.shop import Shop
from tribid.ranker.answer import Answers
from tribid.ranker.answered import MAX_PAGES, Answered, Conflict, digest_of
from tribid.ranker.decided import Decided
from tribid.ranker.ledger.interface import Ledger
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.live_books import LiveBooks
from tribid.ranker.live_day import ClockKind, LiveDay
from tribid.ranker.live_events import LiveEvents
from tribid.ranker.live_pages import LivePages
from tribid.ranker.live_state import Balance, LiveState
from tribid.ranker.messages import MAX_BATCH, Decision, Event, Receipt, Request, Slot
from tribid.ranker.pipeline import Pipeline, as_they_are
from tribid.ranker.ranker import served_world
from tribid.ranker.rehearsal import rehearse
from tribid.ranker.releases import Mode, Policies, Releases, load_release
from tribid.ranker.stages import Stages
from tribid.ranker.time_budget import Clock

_log = logging.getLogger("tribid.ranker")
_AT_ONCE = 32
_PROFILE_S = 0.02
"""How long a page waits for what its user's profile says."""


__all__ = ["Closed", "Conflict", "LiveRanker", "LiveState"]


class Closed(RuntimeError):  # noqa: N818 - it reads as what it is where it is caught
    """The ranker has been closed."""


class _Asked(NamedTuple):
    """A checked request: the page's id, the digest of what was asked, the field's name in errors, and its time."""

    request: Request
    page: str
    digest: bytes
    at: str
    day: int
    tick: int
    known: "Known | None" = None


class Known(NamedTuple):
    """What a profile knows of a user, by advertiser, as a journey's requests may bring it.

    ``marks`` are those of ``tribid.envs.stages``, ``shown`` the exposures of ``day``, counted since 1970 in UTC.
    """

    marks: dict[str, int]
    shown: dict[str, int]
    day: int


STRANGER = Known({}, {}, 0)


class Shown(NamedTuple):
    """Whom a page was for, when it was answered (Unix milliseconds), and what stood in one of its slots."""

    user: int
    answered_ms: int
    slot: Slot


KnownOf = Callable[[int], Awaitable[Known]]
"""Tells what is known of a user now."""


class LiveRanker:
    """Answers requests of a scenario with learnt policies and hard budgets: decides, reserves, settles, counts, logs.

    Made by ``open``; one process, one event loop. The same (day, request) with the same content gets the same decision
    again and reserves nothing more; with other content it is a ``Conflict``. See ``Answered`` for how long that is known,
    ``LiveDay`` for the clocks, ``LivePages`` and ``LiveEvents`` for the money.
    """

    def __init__(
        self, scenario: Scenario, pipeline: Pipeline, ledger: Ledger, releases: Releases, day: LiveDay, pages: LivePages,
        events: LiveEvents, answered: Answered, *, hold_ms: int, now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self.scenario, self.names = scenario, pipeline.check.names
        self._pipeline, self._ledger, self._releases = pipeline, ledger, releases
        self._day, self._pages, self._events, self._answered = day, pages, events, answered
        self._hold_ms, self._now_ms, self._is_closed = hold_ms, now_ms, False
        self.trouble = ""
        self.known_of: KnownOf | None = None
        self._is_late = False

    @classmethod
    async def open(
        cls, scenario: str | Path | Scenario, policies: Mapping[str, str | Path], *,
        active: str | None = None, ledger: Ledger | None = None, log: Callable[[Decided], None] | None = None,
        others: str = "truthful", any_scenario: bool = False, seed: int = 0,
        forecaster: Forecaster | None = None, platform: Platform | None = None,
        clock: ClockKind = "request", hold_ms: int = 600_000, timeout_ms: float | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        stages: Callable[[Stages], Stages] = as_they_are, monotonic: Clock = perf_counter, max_pages: int = MAX_PAGES,
    ) -> "LiveRanker":  # fmt: skip
        """A ranker that has its day open, its multipliers set and its kernels loaded (see ``rehearse``).

        ``policies``: releases by name, each a folder of policy files or a bidder's name (``pid``); ``active`` (the first)
        answers. ``ledger`` keeps the budgets (in memory unless given), ``log`` is called for every decision and must be
        cheap. ``clock``: see ``LiveDay``. ``hold_ms`` is how long a page's money is held for its clicks, ``timeout_ms`` the
        time budget of requests that name none, measured with ``monotonic``. ``others``, ``any_scenario``, ``seed``,
        ``forecaster``, ``platform`` and ``stages`` are those of ``Ranker``. At most ``max_pages`` answers are remembered.
        """
        loaded = load_scenario(scenario)
        if loaded.rules.outcomes == "expected":
            _log.info("scenario %s counts expected outcomes; live events are counted as they come", loaded.name)
        state = market.reset(loaded, seed, forecaster=forecaster, platform=platform)
        world = served_world(state)
        names = world.advertisers.names
        releases = Releases(
            {
                name: load_release(loaded, name, source, others, names, any_scenario=any_scenario)
                for name, source in policies.items()
            },
            active,
        )
        book = MemoryLedger(names) if ledger is None else ledger
        if book.names != names:
            raise ValueError(f"ledger has the advertisers {book.names}; allowed are the scenario's, {names}")
        pipeline = Pipeline(loaded, world, seed, forecaster, stages, monotonic)
        books = LiveBooks(loaded, world, seed, by_shelf=state.forecaster is world.forecaster)
        day = LiveDay(clock, books, book, releases, pipeline.fallback, world.n_ticks)
        answered = Answered(max_pages)
        paid = loaded.rules.charge
        pages = LivePages(
            pipeline, Answers(loaded, names, seed, has_creatives=isinstance(world, Shop)), book, releases, books,
            slots=len(loaded.rules.slot_effects), paid=paid, timeout_ms=timeout_ms, log=log,
        )  # fmt: skip
        events = LiveEvents(answered, book, books, paid=paid)
        ranker = cls(
            loaded, pipeline, book, releases, day, pages, events, answered, hold_ms=hold_ms, now_ms=now_ms
        )  # fmt: skip
        await day.open(*(day.of_wall(now_ms()) if clock == "wall" else (max(0, book.day), 0)))
        await asyncio.to_thread(rehearse, pipeline, books, releases.in_use[0].multipliers, day.day, day.tick)
        return ranker

    async def rank(self, request: Request, *, explain: bool = False) -> Decision:
        """Decide one page; ``explain`` says how long each stage took. ``ValueError`` names a field that cannot be."""
        return (await self._rank_all((request,), explain, ("$",)))[0]

    async def rank_many(self, requests: Sequence[Request], *, explain: bool = False) -> list[Decision]:
        """Decide pages in order; all are checked before the first is decided."""
        if len(requests) > MAX_BATCH:
            raise ValueError(f"$.requests has {len(requests)} entries; allowed is at most {MAX_BATCH}")
        return await self._rank_all(requests, explain, [f"$.requests[{place}]" for place in range(len(requests))])

    async def events(self, events: Sequence[Event]) -> list[Receipt]:
        """Record what happened to answered pages; one receipt for each event, in order."""
        self._check_open()
        self._events.check(events)
        return await self._events.take(events, self._now_ms())

    def shown(self, event: Event) -> Shown | None:
        """Whose page an event is about, and the slot; None where the page is forgotten or was nobody's."""
        whose, decision = self._answered.whose(event.decision), self._answered.decision(event.decision)
        if whose is None or decision is None or event.slot >= len(decision.slots):
            return None
        return Shown(whose[0], whose[1] - self._hold_ms, decision.slots[event.slot])

    async def release(self, holds: Sequence[str]) -> int:
        """Give back what these holds (``"DAY.REQUEST.SLOT"``) still hold: slots that will not be shown."""
        self._check_open()
        return await self._ledger.release(holds)

    def policies(self) -> Policies:
        """Which releases there are, and what each does."""
        return self._releases.told()

    async def activate(self, name: str, *, mode: Mode = "active", percent: float | None = None) -> Policies:
        """Give a release another part: ``active``, ``shadow``, ``split`` (``percent`` of the users) or ``off``.

        It takes over once its multipliers are there, between two pages; nothing is dropped.
        """
        self._check_open()
        await self._day.change(name, lambda: self._releases.planned(name, mode, percent))
        return self.policies()

    async def rollback(self) -> Policies:
        """Make the previous release active again, at once: its multipliers have been kept up."""
        self._check_open()
        self._releases.plan = self._releases.rolled_back()
        return self.policies()

    async def tend(self, every_s: float = 0.2) -> None:
        """Until cancelled: move the wall clock on, give back what was held beyond its time, forget old answers.

        ``trouble`` says what failed the last time, such as a ledger that takes no more work; empty where nothing did.
        """
        while not self._is_closed:
            trouble = ""
            try:
                now_ms = self._now_ms()
                if self._day.kind == "wall":
                    await self._day.move_to(*self._day.of_wall(now_ms))
                await self._ledger.expire(now_ms)
                self._answered.expire(now_ms)
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
                if trouble != self.trouble:
                    _log.exception("tending failed; trying again every %s s", every_s)
            self.trouble = trouble
            await asyncio.sleep(every_s)

    async def close(self) -> None:
        """Answer nothing more and close the ledger."""
        if not self._is_closed:
            self._is_closed = True
            await self._ledger.close()

    def state(self) -> LiveState:
        """Where the day is, what was done, and everybody's money."""
        free, spent = self._ledger.free_micros().tolist(), self._ledger.spent_micros().tolist()
        budget = self._pipeline.budget_micros.tolist()
        return LiveState(
            scenario=self.scenario.hash, day=self._day.day, tick=self._day.tick, decided=self._pages.decided,
            slots_sold=self._pages.slots_sold, refused_reserves=self._pages.refused_reserves,
            fallbacks=dict(self._pipeline.fallbacks),
            advertisers={
                name: Balance(f, max(0, b - f - s), s)
                for name, f, b, s in zip(self.names, free, budget, spent, strict=True)
            },
            policy=self._releases.all[self._releases.plan.active].label,
            failed_refreshes=dict(self._day.failures),
            unlogged=self._pages.unlogged,
        )  # fmt: skip

    async def _rank_all(self, requests: Sequence[Request], explain: bool, where: Sequence[str]) -> list[Decision]:
        self._check_open()
        asked = self._placed(requests, where)
        if self.known_of is not None:
            asked = await self._recognised(asked, self.known_of)
        decisions: list[Decision] = []
        for (day, tick), group in groupby(asked, key=lambda one: (one.day, one.tick)):
            pages = list(group)
            if (day, tick) > (self._day.day, self._day.tick) and self._day.kind == "request":
                await self._day.move_to(day, tick)
            if len(pages) == 1 or any(one.request.outcome is not None for one in pages):
                decisions.extend([await self._answer(one, explain) for one in pages])
                continue
            for first in range(0, len(pages), _AT_ONCE):  # others are answered between the slices of a long batch
                # Tasks start in order, and each sets its money aside before the next: only the ledger's writes overlap.
                part = pages[first : first + _AT_ONCE]
                decisions.extend(await asyncio.gather(*(self._answer(one, explain) for one in part)))
        return decisions

    async def _recognised(self, asked: list[_Asked], known_of: KnownOf) -> list[_Asked]:
        """With what is known of the users whose requests do not tell all, as of now; without where that takes too long.

        Nothing may wait later, between a page's day and its money.
        """
        wanted = {
            one.request.user for one in asked
            if one.request.user is not None and not (one.request.marks and one.request.shown)
            and self._answered.digest(one.page) is None
        }  # fmt: skip
        users = sorted(user for user in wanted if user is not None)
        try:
            async with asyncio.timeout(_PROFILE_S):
                found = dict(zip(users, await asyncio.gather(*map(known_of, users)), strict=True))
        except TimeoutError:
            if not self._is_late:
                _log.warning("profiles take longer than %g s; pages are decided without, told once", _PROFILE_S)
            self._is_late, found = True, {}
        return [
            one._replace(known=found.get(one.request.user)) if one.request.user is not None else one for one in asked
        ]

    def _placed(self, requests: Sequence[Request], where: Sequence[str]) -> list[_Asked]:
        """Checked requests with their day, tick, digest and name, in a time that never runs backwards."""
        day, tick = self._day.day, self._day.tick
        digests: dict[str, bytes] = {}
        placed = []
        for request, at in zip(requests, where, strict=True):
            self._pipeline.check(request, at)
            own_day = day if request.day is None else request.day
            page, digest = f"{own_day}.{request.request}", digest_of(request)
            known = self._answered.digest(page)
            if digests.setdefault(page, digest if known is None else known) != digest:
                raise Conflict(f"{at}.request is {request.request}; page {page} was answered for other content")
            if known is not None:
                placed.append(_Asked(request, page, digest, at, day, tick))
                continue
            own_tick = request.tick if request.tick is not None else tick if own_day == day else 0
            self._check_time(at, own_day, own_tick, day, tick)
            if self._day.kind == "request":
                day, tick = own_day, own_tick
            placed.append(_Asked(request, page, digest, at, own_day, own_tick))
        return placed

    def _check_time(self, at: str, day: int, tick: int, now_day: int, now_tick: int) -> None:
        if self._day.kind == "wall":
            if day != now_day:
                raise ValueError(f"{at}.day is {day}; allowed is the clock's, {now_day}, or none")
        elif day < now_day:
            raise ValueError(f"{at}.day is {day}; allowed is the clock's, {now_day}, or a later one")
        elif day == now_day and tick < now_tick:
            raise ValueError(f"{at}.tick is {tick}; allowed is the clock's, {now_tick}, or a later one of the day")

    async def _answer(self, asked: _Asked, explain: bool) -> Decision:
        page = asked.page
        while (known := self._answered.digest(page)) is not None:
            if known != asked.digest:
                raise Conflict(f"{asked.at}.request: page {page} was answered for other content")
            decision = await self._again(asked)
            if decision is not None:
                return decision
        await self._day.is_open()
        if asked.day != self._day.day:
            if asked.request.day is None:  # the day went on since the request came in
                again = self._placed((asked.request,), (asked.at,))[0]
                return await self._answer(again._replace(known=asked.known), explain)
            raise ValueError(f"{asked.at}.day is {asked.day}; allowed is the clock's, {self._day.day}: it has moved on")
        now_ms, request = self._now_ms(), asked.request
        answer = self._answered.open(page, asked.digest, now_ms + self._hold_ms, request.user)
        try:
            if asked.known is not None:
                request = self._with_known(request, asked.known, asked.day)
            await self._pages.decide(answer, request, asked.day, asked.tick, now_ms, explain)
            self._answered.keep(page, answer)
            assert answer.decision is not None
            return answer.decision
        except asyncio.CancelledError:
            if answer.decision is None:
                self._answered.drop(page)
            raise  # what was decided may be held already: asked again, the page is reserved again, which changes nothing
        except BaseException:
            self._answered.drop(page)
            raise
        finally:
            answer.finish()

    def _with_known(self, request: Request, known: Known, day: int) -> Request:
        """With what the request does not tell itself; under the request clock no day is one of the wall clock's."""
        shown = known.shown if self._day.kind == "wall" and known.day == day else {}
        return structs.replace(request, marks=request.marks or known.marks, shown=request.shown or shown)

    async def _again(self, asked: _Asked) -> Decision | None:
        """The answer that a page got, once it is safe; None where it came to nothing after all."""
        page = asked.page
        answer = self._answered.opened(page)
        if answer is not None and answer.is_busy:
            await answer.wait()
        elif answer is not None:
            answer.is_busy = True
            try:
                if await self._pages.reserve_again(answer, asked.request, self._now_ms()):
                    self._answered.keep(page, answer)
                else:
                    self._answered.drop(page)
            finally:
                answer.finish()
        return self._answered.decision(page)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed("the ranker has been closed; it answers nothing more")
