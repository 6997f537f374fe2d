"""Random calls, one ledger against a plain model of what the money may do."""

import asyncio
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tribid.ranker.ledger.interface import Charge, Hold, Ledger, Refused
from tribid.ranker.ledger.journal import check_journal
from tribid.ranker.ledger.memory import MemoryLedger
from tribid.ranker.ledger.postgres import PostgresLedger
from tribid.ranker.ledger.sqlite import SqliteLedger

NAMES = ("ann", "bob", "cy")
IDS = st.integers(0, 23).map(lambda number: f"0.{number // 4}.{number % 4}")
MICROS = st.integers(0, 40)
KINDS = ("impression", "click", "conversion")
MIXED = st.lists(st.tuples(IDS, st.integers(0, 2), MICROS), min_size=1, max_size=4, unique_by=lambda slot: slot[0])
WHOLE = st.tuples(st.integers(0, 5), st.lists(st.tuples(st.integers(0, 2), MICROS), min_size=1, max_size=4)).map(
    lambda page: [(f"0.{page[0]}.{slot}", ad, micros) for slot, (ad, micros) in enumerate(page[1])]
)
PAGES = WHOLE | MIXED
CHARGES = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(KINDS), IDS, st.integers(-60, 5), st.sampled_from([None, 0, 3])),
    min_size=1, max_size=4,
)  # fmt: skip


class Model:
    """A ledger as one would explain it: a dict of holds, and numbers."""

    def __init__(self) -> None:
        self.day = -1
        self.free, self.spent, self.funded, self.paid = [0] * 3, [0] * 3, [0] * 3, [0] * 3
        self.holds: dict[str, dict[str, Any]] = {}
        self.events: dict[str, tuple[str, str]] = {}

    def open_day(self, day: int, budgets: list[int]) -> None:
        if day > self.day:
            self.funded = [f - left + new for f, left, new in zip(self.funded, self.free, budgets, strict=True)]
            self.day, self.free, self.spent = day, list(budgets), [0] * 3

    def conflicts(self, page: list[Hold]) -> bool:
        known = [self.holds.get(hold.id) for hold in page]
        if any(old is not None for old in known) and any(old is None for old in known):
            return True
        return any(
            old is not None
            and (old["end"] == "given back" or (old["ad"], old["amount"]) != (hold.ad, hold.amount_micros))
            for old, hold in zip(known, page, strict=True)
        )

    def reserve(self, page: list[Hold]) -> Refused | None:
        new = [hold for hold in page if hold.id not in self.holds]
        for hold in new:
            if sum(other.amount_micros for other in new if other.ad == hold.ad) > self.free[hold.ad]:
                return Refused(hold.ad, self.free[hold.ad])
        for name, ad, amount, until in new:
            self.free[ad] -= amount
            self.holds[name] = {
                "ad": ad, "amount": amount, "left": amount, "until": until, "day": self.day, "end": "", "kinds": set()
            }  # fmt: skip
        return None

    def charge(self, event: str, kind: str, name: str, time_ms: int, amount: int | None) -> tuple[str, int, int]:
        hold = self.holds.get(name)
        ad = -1 if hold is None else hold["ad"]
        if self.events.get(event, (name, kind)) != (name, kind):
            return ("refused", 0, ad)
        if event in self.events or (hold is not None and kind in hold["kinds"]):
            return ("duplicate", 0, ad)
        if hold is None:
            return ("unknown", 0, -1)
        if hold["end"] == "given back" or time_ms > hold["until"]:
            return ("expired", 0, ad)
        self.events[event] = (name, kind)
        hold["kinds"].add(kind)
        if amount == 0:
            return ("accepted", 0, ad)
        taken = hold["left"] if amount is None else min(amount, hold["left"])
        hold["left"] -= taken
        self.spent[ad] += taken if hold["day"] == self.day else 0
        self.paid[ad] += taken
        self.give_back(hold, "charged")
        return ("accepted", taken, ad)

    def give_back(self, hold: dict[str, Any], end: str) -> None:
        if hold["day"] == self.day:
            self.free[hold["ad"]] += hold["left"]
        else:
            self.funded[hold["ad"]] -= hold["left"]
        hold["left"], hold["end"] = 0, hold["end"] or end

    def end(self, names: list[str]) -> list[int]:
        """Give back these open holds; what each had."""
        open_ones = [self.holds[name] for name in dict.fromkeys(names) if name in self.holds]
        open_ones = [hold for hold in open_ones if not hold["end"]]
        had = [hold["left"] for hold in open_ones]
        for hold in open_ones:
            self.give_back(hold, "given back")
        return had


class LedgerMachine(RuleBasedStateMachine):
    """What every ledger must do; ``make`` opens the one store of a run, again and again."""

    make: Callable[[str], Any]
    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = uuid.uuid4().hex
        self.ledger: Ledger = self.runner.run(type(self).make(self.store))
        self.model = Model()
        self.now = 1_000_000

    @initialize(budgets=st.tuples(MICROS, MICROS, MICROS))
    def first_day(self, budgets: tuple[int, ...]) -> None:
        self.open_day(0, budgets)

    @rule(later=st.sampled_from([0, 0, 1, 2]), budgets=st.tuples(MICROS, MICROS, MICROS))
    def open_day(self, later: int, budgets: tuple[int, ...]) -> None:
        day = max(0, self.model.day) + later
        self.runner.run(self.ledger.open_day(day, dict(zip(NAMES, budgets, strict=True))))
        self.model.open_day(day, list(budgets))

    @rule(slots=PAGES, lasts=st.integers(0, 50))
    def reserve(self, slots: list[tuple[str, int, int]], lasts: int) -> None:
        page = [Hold(name, ad, amount, self.now + lasts) for name, ad, amount in slots]
        if self.model.conflicts(page):
            try:
                self.runner.run(self.ledger.reserve(page))
            except ValueError:
                return
            raise AssertionError("an id was taken for another amount or advertiser, or after it was given back")
        assert self.runner.run(self.ledger.reserve(page)) == self.model.reserve(page)

    @rule(pages=st.lists(PAGES, min_size=2, max_size=6), lasts=st.integers(0, 50))
    def reserve_at_once(self, pages: list[list[tuple[str, int, int]]], lasts: int) -> None:
        first = len(self.model.holds)
        all_pages = [
            [
                Hold(f"1.{first}{number}.{slot}", ad, amount, self.now + lasts)
                for slot, (_, ad, amount) in enumerate(page)
            ]
            for number, page in enumerate(pages)
        ]

        async def everybody() -> list[Refused | None]:
            return list(await asyncio.gather(*(self.ledger.reserve(page) for page in all_pages)))

        expected = [self.model.reserve(page) for page in all_pages if not self.model.conflicts(page)]
        if len(expected) == len(all_pages):
            assert self.runner.run(everybody()) == expected

    @rule(charges=CHARGES)
    def charge(self, charges: list[tuple[int, Any, str, int, int | None]]) -> None:
        asked = [
            Charge(f"e{event}", kind, name, max(0, self.now + at), amount)
            for event, kind, name, at, amount in charges
            if amount is None or name not in self.model.holds or amount <= self.model.holds[name]["amount"]
        ]
        assert self.runner.run(self.ledger.charge(asked)) == [self.model.charge(*charge) for charge in asked]

    @rule(names=st.lists(IDS, max_size=5))
    def known(self, names: list[str]) -> None:
        assert self.runner.run(self.ledger.known(names)) == [name for name in names if name in self.model.holds]

    @rule(names=st.lists(IDS, max_size=5))
    def release(self, names: list[str]) -> None:
        had = self.model.end(names)
        assert self.runner.run(self.ledger.release(names)) == sum(left > 0 for left in had)

    @rule(passed=st.integers(0, 60))
    def expire(self, passed: int) -> None:
        self.now += passed
        late = [name for name, hold in self.model.holds.items() if hold["until"] < self.now]
        assert self.runner.run(self.ledger.expire(self.now)) == len(self.model.end(late))

    @rule()
    def reopen(self) -> None:
        if self.durable:
            self.runner.run(self.ledger.close())
            self.ledger = self.runner.run(type(self).make(self.store))

    @invariant()
    def the_balances_are_the_models(self) -> None:
        assert self.ledger.free_micros().tolist() == self.model.free
        assert self.ledger.spent_micros().tolist() == self.model.spent
        held = [sum(hold["left"] for hold in self.model.holds.values() if hold["ad"] == ad) for ad in range(3)]
        for ad in range(3):
            assert self.model.funded[ad] == self.model.free[ad] + held[ad] + self.model.paid[ad]

    def teardown(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()
        self.check_books()

    def check_books(self) -> None:
        """What the journal says in the end is what the model says."""


def _run(machine: type[LedgerMachine], examples: int, steps: int = 30) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def _agree(source: str, model: Model, **where: str) -> None:
    report = check_journal(source, **where)
    assert report.problems == ()
    assert report.debits_micros == report.credits_micros
    assert [accounts.paid_micros for accounts in report.advertisers] == model.paid
    assert [accounts.free_micros for accounts in report.advertisers] == model.free
    assert [accounts.funded_micros for accounts in report.advertisers] == model.funded
    assert (report.holds, report.events) == (len(model.holds), len(model.events))
    assert report.holds_open == sum(not hold["end"] for hold in model.holds.values())


async def _in_memory(store: str) -> Ledger:
    return MemoryLedger(NAMES)


def test_memory_follows_the_model() -> None:
    class Machine(LedgerMachine):
        make = staticmethod(_in_memory)
        durable = False

    _run(Machine, 30)


def _sqlite(durability: Any, examples: int) -> None:
    with tempfile.TemporaryDirectory() as folder:

        async def make(store: str) -> Ledger:
            return await SqliteLedger.open(Path(folder, store), NAMES, durability=durability, snapshot_every=7)

        class Machine(LedgerMachine):
            def check_books(self) -> None:
                _agree(str(Path(folder, self.store)), self.model)

        Machine.make = staticmethod(make)
        _run(Machine, examples)


def test_sqlite_follows_the_model_through_every_reopening() -> None:
    _sqlite("normal", 15)


def test_sqlite_that_survives_power_cuts_follows_the_model() -> None:
    _sqlite("full", 4)


def test_postgres_follows_the_model_through_every_reopening(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def make(store: str) -> Ledger:
        return await PostgresLedger.open(dsn, NAMES, schema=f"l{store}")

    class Machine(LedgerMachine):
        def check_books(self) -> None:
            _agree(dsn, self.model, schema=f"l{self.store}")

    Machine.make = staticmethod(make)
    _run(Machine, 6, steps=20)
