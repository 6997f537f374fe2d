"""Kill a serving process without warning, again and again, and see whether any money or any event is lost or doubled."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from tribid.benchmark.chaos.audit import audit, read_books
from tribid.benchmark.chaos.crowd import Crowd, session_of
from tribid.benchmark.chaos.witness import Witness
from tribid.benchmark.served import ServedRanker, Setup
from tribid.envs.world import build_world
from tribid.ranker.messages import Event

Tell = Callable[[int, int, str], None]

SETUP = Setup(scenario="tiny", changes={"generated__budget_share": 5.0}, policies={"pid": "pid"}, hold_ms=86_400_000)
"""A small market whose budgets are used up on the way, and holds that outlast the trial: none may be given back."""

_SOON, _LATE = 0.02, 0.6
_AGAIN, _LATER_CLICKS = 20, 20
"""Pages of earlier lives that each new one is asked for again, and slots that are clicked only now."""

_OLD_EVENTS = 2000
"""Events from before the last life that are sent again; the audit looks at all of them."""


class CrashReport(msgspec.Struct, frozen=True):
    """What a trial found. ``problems`` has the first of ``problem_count`` in words; there should be none.

    ``unheard`` are events whose answer the kills cut off; each was sent again until it was answered.
    """

    kills: int
    pages: int
    events: int
    clicks: int
    unheard: int
    entries: int
    charged_micros: int
    seconds: float
    problem_count: int
    problems: tuple[str, ...]


def crash_trial(
    kills: int, *, clients: int = 16, seed: int = 0, setup: Setup = SETUP, tell: Tell | None = None
) -> CrashReport:
    """Start a server on one SQLite ledger, let clients at it, kill it with SIGKILL at a random moment; ``kills`` times.

    After every kill the journal is added up (``audit``). After every restart acknowledged events are sent again, all of
    the life before and some of those before it, and must be duplicates; so are those that nobody heard of, which may be
    either; pages of earlier lives are clicked, and must cost exactly what they were sold for. At the end the process is
    stopped as it should be, and the books audited once more.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _Trial(msgspec.structs.replace(setup, ledger=str(Path(folder) / "ledger.sqlite")), clients, seed).run(
            kills, tell or (lambda done, total, note: None)
        )


class _Trial:
    def __init__(self, setup: Setup, clients: int, seed: int) -> None:
        self._setup, self._clients = setup, clients
        self._rng = np.random.default_rng((seed, 2))
        scenario = setup.load()
        advertisers = build_world(scenario).advertisers
        self._names = advertisers.names
        self._budgets = dict(zip(advertisers.names, advertisers.budget_micros.tolist(), strict=True))
        self.witness = Witness()
        self._crowd = Crowd(self.witness, scenario.world.users.count, seed)  # type: ignore[union-attr]  # a feed
        self._unheard, self._old = 0, 0

    def run(self, kills: int, tell: Tell) -> CrashReport:
        began, entries, spent = time.perf_counter(), 0, 0
        for life in range(kills + 1):
            tell(life, kills, self._note())
            with ServedRanker(self._setup) as server:
                asyncio.run(self._live(server, is_last=life == kills))
                if life == kills and (status := server.stop()) != 0:
                    self.witness.object(f"asked to end, the server ended with status {status}")
            books = read_books(self._setup.ledger, self._names, self.witness)
            audit(books, self.witness, self._budgets)
            entries, spent = books.entries, books.balance["platform"]
        tell(kills, kills, self._note())
        self._add_up(spent)
        witness = self.witness
        return CrashReport(
            kills, len(witness.pages), len(witness.known), len(witness.clicked), self._unheard, entries, spent,
            round(time.perf_counter() - began, 1), witness.problem_count, tuple(witness.problems),
        )  # fmt: skip

    async def _live(self, server: ServedRanker, *, is_last: bool) -> None:
        """One life of the server: what was said before is held against it, then everybody comes, then it is killed."""
        async with session_of(server.url, self._clients) as session:
            await self._remember(session)
            if is_last:
                return
            await self._crowd.page(
                session
            )  # a first page may have to load what later ones have; kills should fall later
            crowd = [asyncio.create_task(self._crowd.client(session)) for _ in range(self._clients)]
            await asyncio.sleep(self._rng.uniform(_SOON, _LATE))
            server.kill()
            await asyncio.gather(*crowd)

    async def _remember(self, session: object) -> None:
        """Send again what was sent, ask again for some pages, and click some that nobody clicked."""
        witness, crowd = self.witness, self._crowd
        unheard = list(witness.asked.values())
        self._unheard += len(unheard)
        known = list(witness.known.values())
        old = self._rng.permutation(self._old)[:_OLD_EVENTS].tolist()
        await crowd.tell(session, [*(known[one] for one in old), *known[self._old :]])
        self._old = len(known)
        await crowd.tell(session, unheard)
        if witness.asked:
            witness.object(f"{len(witness.asked)} events were never answered")
        pages = list(witness.pages)
        for page in self._rng.permutation(len(pages))[:_AGAIN]:
            await crowd.page(session, witness.bodies[pages[page]])
        free = [(page, slot) for page in pages for slot in range(len(witness.pages[page]))]
        late: list[Event] = [
            crowd.click(*free[one]) for one in self._rng.permutation(len(free))[:_LATER_CLICKS]
            if f"{free[one][0]}.{free[one][1]}" not in witness.clicked
        ]  # fmt: skip
        await crowd.tell(session, late)

    def _add_up(self, spent: int) -> None:
        """All that clients were told they were charged is what the platform has: no click more, none less."""
        told = 0
        for hold in self.witness.clicked:
            page, _, slot = hold.rpartition(".")
            told += self.witness.pages[page][int(slot)].price_micros
        if told != spent:
            self.witness.object(f"clicks that were acknowledged cost {told} micros, the journal settled {spent}")

    def _note(self) -> str:
        witness = self.witness
        return f"{len(witness.known):,} events, {witness.problem_count} problems"
