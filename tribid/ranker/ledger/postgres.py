"""``PostgresLedger``: one ledger for several servers, in a PostgreSQL database.

All that a process's coroutines ask for while a transaction runs goes into the next one. A transaction locks the rows of the
advertisers that it is about, in order, reads the holds and events that are named, lets a ``Book`` of just those decide by
the rules that every ledger has, and writes down what that changed. So whoever finds money free in a locked row has it.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tribid.ranker.ledger.book import KEEP_MS, Book, Entry
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Refused
from tribid.ranker.ledger.postgres_link import PATIENCE_S, BeginAnewError, Link, unavailable
from tribid.ranker.ledger.postgres_rows import Locked
from tribid.ranker.ledger.postgres_tables import (
    Known,
    check_schema,
    committed,
    due_holds,
    forget,
    known_holds,
    look,
    make_tables,
)
from tribid.ranker.ledger.values import (
    MAX_TIME_MS,
    check_budgets,
    check_charge,
    check_hold,
    check_id,
    check_names,
    whole,
)

if TYPE_CHECKING:
    from tribid.ranker.ledger.postgres_tables import Connection

_T = TypeVar("_T")
_MOST_CALLS: Final = 500  # in one transaction, so that nobody's rows stay locked for long
_MOST_HOLDS: Final = 5_000  # expired or forgotten in one transaction
_MOST_WAITING: Final = 10_000  # calls; of more, the last could not be answered in time
_OPENING_S: Final = 40.0  # tables are made once, and other servers wait for that

_Rule = Callable[[Book], tuple[Any, list[Entry]]]


class _Call:
    """Something asked of the ledger: what it is about, the rule that decides it, and who waits for it."""

    def __init__(
        self,
        rule: Callable[[Book], tuple[Any, list[Entry]]],
        ads: Iterable[int],
        holds: Iterable[str],
        events: Iterable[str],
    ) -> None:
        self.rule = rule
        self.ads = set(ads)
        self.holds = list(holds)
        self.events = list(events)
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class _Batch:
    """Calls that share a transaction; ``in_doubt`` from when it may have been committed until that is known."""

    def __init__(self, calls: list[_Call]) -> None:
        self.calls = calls
        self.ads = {ad for call in calls for ad in call.ads}
        self.holds = list(dict.fromkeys(name for call in calls for name in call.holds))
        self.events = list(dict.fromkeys(name for call in calls for name in call.events))
        self.outcomes: list[Any] = []
        self.in_doubt = False


class PostgresLedger:
    """A ``Ledger`` that several processes share; made by ``PostgresLedger.open``.

    ``free_micros`` is what this process saw last, less what it is about to reserve; so ``reserve`` may be refused, and
    then ``free_micros`` is fresh. ``expire``, which a server calls all the time, refreshes it as well.

    A call waits for ``PATIENCE_S`` at most; then, or where too many wait already, it is a ``LedgerUnavailableError``. A call
    that was given up before its transaction has locked its rows is not booked. One that was given up later may have been:
    then its holds expire like any other.
    """

    def __init__(self, dsn: str, names: tuple[str, ...], schema: str, keep_ms: int) -> None:
        self.names = names
        self.day = -1
        self._link = Link(dsn)
        self._schema = schema
        self._keep_ms = keep_ms
        self._free = [0] * len(names)
        self._spent = [0] * len(names)
        self._asked = [0] * len(names)
        self._token = uuid.uuid4().hex
        self._batches = 0
        self._calls: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, dsn: str, names: Sequence[str], *, schema: str = "tribid_ledger", keep_ms: int = KEEP_MS
    ) -> "PostgresLedger":
        """Open the ledger in the database that `dsn` names, or make its tables there.

        `dsn` is libpq's: ``postgresql://user@host/database`` or ``host=... dbname=...``. ``ValueError`` where the ledger in
        `schema` is of other advertisers or another version, ``LedgerUnavailableError`` where the server cannot be reached.
        """
        keep_ms = whole("keep_ms", keep_ms, most=MAX_TIME_MS)
        ledger = cls(dsn, check_names(names), check_schema(schema), keep_ms)
        try:
            await ledger._direct(lambda connection: make_tables(connection, schema, ledger.names), _OPENING_S)
            ledger._learn(await ledger._direct(lambda connection: look(connection, schema)))
        except BaseException:
            await ledger.close()
            raise
        return ledger

    def free_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] may still promise, as far as this process knows; a copy."""
        left = [max(0, free - asked) for free, asked in zip(self._free, self._asked, strict=True)]
        return np.array(left, dtype=np.int64)

    def spent_micros(self) -> NDArray[np.int64]:
        """What each advertiser [A] has paid since the open day began, as far as this process knows; a copy."""
        return np.array(self._spent, dtype=np.int64)

    async def open_day(self, day: int, budget_micros: Mapping[str, int]) -> None:
        """Close the day before, fund this one; nothing where any server has opened it already."""
        self._check_open()
        check_budgets(self.names, budget_micros)
        await self._ask(_Call(lambda book: (None, book.open_day(day, budget_micros)), range(len(self.names)), (), ()))

    async def reserve(self, holds: Sequence[Hold]) -> Refused | None:
        """Set aside a page's holds, all or none."""
        self._check_open()
        checked = [check_hold(number, hold, len(self.names)) for number, hold in enumerate(holds)]

        def rule(book: Book) -> tuple[Refused | None, list[Entry]]:
            outcome = book.reserve(checked)
            return (outcome, []) if isinstance(outcome, Refused) else (None, outcome)

        for hold in checked:
            self._asked[hold.ad] += hold.amount_micros
        call = _Call(rule, (hold.ad for hold in checked), (hold.id for hold in checked), ())
        call.future.add_done_callback(lambda _: self._no_longer_asked(checked))
        return cast(Refused | None, await self._ask(call))

    async def known(self, holds: Sequence[str]) -> list[str]:
        """Those of these holds that any server reserved and the ledger remembers, ended ones too."""
        self._check_open()
        for number, name in enumerate(holds):
            check_id(f"holds[{number}]", name)
        found = await self._direct(lambda connection: known_holds(connection, self._schema, holds))
        return [name for name in holds if name in found]

    async def charge(self, charges: Sequence[Charge]) -> list[Charged]:
        """Record events, in order, each once."""
        self._check_open()
        checked = [check_charge(number, charge) for number, charge in enumerate(charges)]
        holds, events = [charge.hold for charge in checked], [charge.event for charge in checked]
        return cast(list[Charged], await self._ask(_Call(lambda book: book.charge(checked), (), holds, events)))

    async def release(self, holds: Sequence[str]) -> int:
        """Give back what these holds still hold; how many had something."""
        self._check_open()
        entries = await self._release(list(holds), None)
        return sum(entry.kind == "release" and entry.amount_micros > 0 for entry in entries)

    async def expire(self, now_ms: int) -> int:
        """Give back what is held beyond its time, by any server; how many holds ended. Forgets what is older still."""
        self._check_open()
        now_ms = whole("now_ms", now_ms, most=MAX_TIME_MS)
        ended = 0
        while due := await self._direct(lambda connection: due_holds(connection, self._schema, now_ms, _MOST_HOLDS)):
            entries = await self._release(due, now_ms)
            ended += sum(entry.kind == "release" for entry in entries)
        before = now_ms - self._keep_ms
        while await self._direct(lambda connection: forget(connection, self._schema, before, _MOST_HOLDS)):
            pass
        self._learn(await self._direct(lambda connection: look(connection, self._schema)))
        return ended

    async def close(self) -> None:
        """Finish what was asked for and let go of the connection; the balances stay readable."""
        self._closed = True
        if self._worker is not None:
            await asyncio.shield(self._worker)
        await self._link.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LedgerUnavailableError("the ledger is closed")

    async def _release(self, holds: list[str], time_ms: int | None) -> list[Entry]:
        for number, name in enumerate(holds):
            check_id(f"holds[{number}]", name)

        def rule(book: Book) -> tuple[list[Entry], list[Entry]]:
            entries = book.release(holds, time_ms=time_ms)
            return entries, entries

        return cast(list[Entry], await self._ask(_Call(rule, (), holds, ())))

    async def _ask(self, call: _Call) -> Any:
        if len(self._calls) >= _MOST_WAITING:
            call.future.cancel()
            raise LedgerUnavailableError(f"{_MOST_WAITING} calls wait for the ledger's database already")
        self._calls.append(call)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await call.future
        except TimeoutError:
            raise LedgerUnavailableError(f"the ledger's database did not answer within {PATIENCE_S:g} s") from None

    async def _work(self) -> None:
        while waiting := [call for call in self._calls if not call.future.done()]:  # who gave up is not heard
            batch = _Batch(waiting[:_MOST_CALLS])
            self._calls = waiting[_MOST_CALLS:]
            self._batches += 1
            try:
                outcomes = await self._link.repeat(partial(self._transact, batch))
            except asyncio.CancelledError:
                for call in (*batch.calls, *self._calls):
                    call.future.cancel()
                raise
            except Exception as error:
                outcomes = [unavailable(error) for _ in batch.calls]
            for call, outcome in zip(batch.calls, outcomes, strict=True):
                if call.future.done():
                    continue  # whoever asked gave up meanwhile; what was committed is done all the same
                if isinstance(outcome, Exception):
                    call.future.set_exception(outcome)
                else:
                    call.future.set_result(outcome)

    async def _transact(self, batch: _Batch, connection: "Connection") -> list[Any]:
        """One transaction for all calls; an outcome for each, a ``ValueError`` among them where a call was wrong."""
        if batch.in_doubt:
            async with connection.transaction():
                if await committed(connection, self._schema, self._token, self._batches):
                    return batch.outcomes
        batch.outcomes, batch.in_doubt = [], False
        locked = Locked(self._schema, self.names)
        async with connection.transaction():
            if not await locked.load(connection, batch.ads, batch.holds, batch.events):
                raise BeginAnewError
            entries: list[Entry] = []
            for call in batch.calls:
                try:  # whoever gave up while the rows were locked elsewhere wants nothing any more
                    outcome, posted = (None, []) if call.future.done() else call.rule(locked.book)
                except ValueError as error:
                    outcome, posted = error, []
                batch.outcomes.append(outcome)
                entries += posted
            if entries:
                batch.in_doubt = True
                await locked.store(connection, entries, self._token, self._batches)
        self._learn(locked.known())
        return batch.outcomes

    async def _direct(self, job: "Callable[[Connection], Awaitable[_T]]", patience_s: float | None = None) -> _T:
        async def transact(connection: "Connection") -> _T:
            async with connection.transaction():
                return await job(connection)

        try:
            return await self._link.repeat(transact, patience_s)
        except Exception as error:
            told = unavailable(error)
            if told is error:
                raise
            raise told from error

    def _learn(self, known: Iterable[Known]) -> None:
        for ad, day, free, spent in known:
            self.day, self._free[ad], self._spent[ad] = day, free, spent

    def _no_longer_asked(self, holds: Iterable[Hold]) -> None:
        for hold in holds:
            self._asked[hold.ad] -= hold.amount_micros
