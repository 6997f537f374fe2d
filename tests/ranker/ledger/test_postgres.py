import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tribid.envs.scenario import load_scenario
from tribid.envs.world import build_world
from tribid.ranker import Conflict, LiveRanker, Request
from tribid.ranker.ledger.errors import LedgerUnavailableError
from tribid.ranker.ledger.interface import Charge, Hold, Refused
from tribid.ranker.ledger.journal import check_journal
from tribid.ranker.ledger.postgres import PostgresLedger

NAMES = ("ann", "bob", "cy")
BUDGETS = {"ann": 100, "bob": 100, "cy": 100}
UNTIL = 10**12


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


async def _pair(dsn: str, budgets: dict[str, int] = BUDGETS) -> tuple[PostgresLedger, PostgresLedger]:
    """Two servers on one ledger."""
    one, other = await asyncio.gather(PostgresLedger.open(dsn, NAMES), PostgresLedger.open(dsn, NAMES))
    await one.open_day(0, budgets)
    await other.open_day(0, dict.fromkeys(NAMES, 1))
    return one, other


async def _close(dsn: str, *ledgers: PostgresLedger) -> None:
    for ledger in ledgers:
        await ledger.close()
    report = check_journal(dsn)
    assert report.problems == ()
    assert report.debits_micros == report.credits_micros


def _cut(dsn: str, ledger: PostgresLedger) -> None:
    """End the server's side of a ledger's connection."""
    connection = ledger._link._connection
    assert connection is not None
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))


def test_a_page_of_one_server_is_a_conflict_at_another_that_would_leave_it_empty(
    new_database: Callable[[], str],
) -> None:
    async def check() -> None:
        dsn = new_database()
        scenario, asked = load_scenario("tiny"), Request(request=0, user=0)
        names = build_world(scenario).advertisers.names

        async def server() -> tuple[LiveRanker, PostgresLedger]:
            ledger = await PostgresLedger.open(dsn, names)
            return await LiveRanker.open(scenario, {"it": "truthful"}, ledger=ledger), ledger

        one, books = await server()
        other, _ = await server()
        page = await one.rank(asked)
        assert len(page.slots) == 2
        free = books.free_micros().tolist()
        assert await books.reserve([Hold(f"0.9.{ad}", ad, left, UNTIL * 9) for ad, left in enumerate(free)]) is None
        third, _ = await server()
        assert await other.rank(asked) == page  # it last saw full budgets: the page comes to the same holds
        with pytest.raises(Conflict, match=r"page 0\.0 was answered before, and otherwise: it held money as 0\.0\.0"):
            await third.rank(asked)
        assert (await third.rank(Request(request=1, user=0))).slots == ()
        assert third.state().decided == 1
        for ranker in (one, other, third):
            await ranker.close()
        assert check_journal(dsn).problems == ()

    _run(check())


def test_two_processes_of_many_tasks_never_overspend_a_nearly_empty_budget(new_database: Callable[[], str]) -> None:
    dsn = new_database()
    child = Path(__file__).with_name("spending_child.py")
    processes = [
        subprocess.Popen([sys.executable, child, dsn, name, "32"], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    paid = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    report = check_journal(dsn)
    assert report.problems == ()
    ann = report.advertisers[0]
    assert ann.paid_micros == sum(paid) <= 300
    assert ann.funded_micros == 300  # one of the two opened the day
    assert ann.held_micros == 0
    assert ann.free_micros < 3


def test_a_refusal_tells_what_the_other_server_has_left(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn)
        assert other.free_micros().tolist() == [100, 100, 100]
        assert await one.reserve([Hold("0.1.0", 0, 95, UNTIL)]) is None
        assert other.free_micros()[0] == 100  # it cannot know yet
        assert await other.reserve([Hold("0.2.0", 1, 5, UNTIL), Hold("0.2.1", 0, 6, UNTIL)]) == Refused(0, 5)
        assert other.free_micros().tolist() == [5, 100, 100]
        await one.charge([Charge("e", "click", "0.1.0", 1)])
        await other.expire(1)
        assert other.spent_micros().tolist() == [95, 0, 0]
        await _close(dsn, one, other)

    _run(story())


def test_what_is_about_to_be_reserved_is_not_free(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn)
        task = asyncio.create_task(one.reserve([Hold("0.1.0", 0, 95, UNTIL)]))
        await asyncio.sleep(0)
        assert one.free_micros()[0] == 5
        await task
        assert one.free_micros()[0] == 5
        await _close(dsn, one, other)

    _run(story())


def test_one_event_at_two_servers_is_charged_once(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn)
        for page in range(20):
            await one.reserve([Hold(f"0.{page}.0", page % 3, 2, UNTIL), Hold(f"0.{page}.1", (page + 1) % 3, 2, UNTIL)])
            same = [Charge(f"e{page}", "click", f"0.{page}.{page % 2}", 1)]
            different = [Charge(f"f{page}", "click", f"0.{page}.0", 1)], [Charge(f"f{page}", "click", f"0.{page}.1", 1)]
            for first, second in ((same, same), different):
                told = await asyncio.gather(one.charge(first), other.charge(second))
                assert [told[0][0].status, told[1][0].status].count("accepted") <= 1
        await _close(dsn, one, other)

    _run(story())


def test_one_id_for_two_advertisers_events_at_two_servers_is_charged_to_one_and_refused_for_the_other(
    new_database: Callable[[], str],
) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn)
        for page in range(10):
            await one.reserve([Hold(f"0.{page}.0", 0, 2, UNTIL), Hold(f"0.{page}.1", 1, 2, UNTIL)])
            told = await asyncio.gather(
                one.charge([Charge(f"e{page}", "click", f"0.{page}.0", 1)]),
                other.charge([Charge(f"e{page}", "click", f"0.{page}.1", 1)]),
            )
            assert sorted(charged.status for (charged,) in told) == ["accepted", "refused"]
            again = await one.charge([Charge(f"e{page}", "impression", f"0.{page}.{n}", 1, 0) for n in range(2)])
            assert [charged.status for charged in again] == ["refused", "refused"]
            seen = Charge(f"i{page}", "impression", f"0.{page}.0", 1, 0)
            await one.charge([seen])
            told = await other.charge([seen, seen._replace(kind="conversion")])
            assert [charged.status for charged in told] == ["duplicate", "refused"]
        await _close(dsn, one, other)

    _run(story())


def test_pages_that_want_the_same_advertisers_in_any_order_do_not_wait_for_each_other(
    new_database: Callable[[], str],
) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn, dict.fromkeys(NAMES, 10**6))

        async def pages(ledger: PostgresLedger, name: str, ads: tuple[int, ...]) -> None:
            for page in range(40):
                assert await ledger.reserve([Hold(f"0.{name}{page}.{ad}", ad, 1, UNTIL) for ad in ads]) is None

        await asyncio.gather(pages(one, "a", (0, 1, 2)), pages(other, "b", (2, 1, 0)), pages(other, "c", (1, 2, 0)))
        assert (await other.expire(1), other.free_micros().tolist()) == (0, [10**6 - 120] * 3)
        await _close(dsn, one, other)

    _run(story())


def test_one_new_id_at_two_servers_is_one_hold_or_an_error(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        one, other = await _pair(dsn)
        for page in range(10):
            alike = await asyncio.gather(
                *(ledger.reserve([Hold(f"0.{page}.0", 0, 1, UNTIL)]) for ledger in (one, other))
            )
            assert alike == [None, None]
            unlike = await asyncio.gather(
                one.reserve([Hold(f"0.{page}.1", 1, 1, UNTIL)]), other.reserve([Hold(f"0.{page}.1", 2, 1, UNTIL)]),
                return_exceptions=True,
            )  # fmt: skip
            assert sorted(type(outcome).__name__ for outcome in unlike) == ["HoldExistsError", "NoneType"]
        await one.expire(1)
        assert one.free_micros()[0] == 90
        assert int(one.free_micros()[1:].sum()) == 190
        await _close(dsn, one, other)

    _run(story())


def test_a_lost_connection_is_made_again_and_nothing_counts_twice(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES)
        await ledger.open_day(0, BUDGETS)
        _cut(dsn, ledger)
        assert await ledger.reserve([Hold("0.1.0", 0, 40, UNTIL)]) is None
        _cut(dsn, ledger)
        assert await ledger.charge([Charge("e", "click", "0.1.0", 1)]) == [("accepted", 40, 0)]
        _cut(dsn, ledger)
        assert await ledger.expire(1) == 0
        assert ledger.free_micros().tolist() == [60, 100, 100]
        await _close(dsn, ledger)

    _run(story())


def test_a_connection_lost_after_the_commit_gives_the_answer_of_that_commit(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES)
        await ledger.open_day(0, BUDGETS)
        await ledger.reserve([Hold("0.1.0", 0, 40, UNTIL)])
        transact, cuts = ledger._transact, 0

        async def lost(batch: Any, connection: Any) -> Any:
            nonlocal cuts
            outcomes = await transact(batch, connection)
            if cuts == 0:
                cuts += 1
                _cut(dsn, ledger)
                await connection.execute("SELECT 1")  # it was committed, but nobody was told
            return outcomes

        ledger._transact = lost  # type: ignore[method-assign]
        assert await ledger.charge([Charge("e", "click", "0.1.0", 1)]) == [("accepted", 40, 0)]
        assert cuts == 1
        assert await ledger.charge([Charge("e", "click", "0.1.0", 1)]) == [("duplicate", 0, 0)]
        await _close(dsn, ledger)
        assert check_journal(dsn).revenue_micros == 40

    _run(story())


def test_a_connection_lost_before_the_commit_is_done_again(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES)
        await ledger.open_day(0, BUDGETS)
        from tribid.ranker.ledger.postgres_rows import Locked

        store, cuts = Locked.store, 0

        async def lost(self: Locked, connection: Any, *rest: Any) -> None:
            nonlocal cuts
            await store(self, connection, *rest)
            if cuts == 0:
                cuts += 1
                _cut(dsn, ledger)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Locked, "store", lost)
            assert await ledger.reserve([Hold("0.1.0", 0, 40, UNTIL)]) is None
        assert cuts == 1
        assert ledger.free_micros().tolist() == [60, 100, 100]
        await _close(dsn, ledger)

    _run(story())


def test_a_server_that_cannot_be_reached_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError, match="database failed"):
        _run(PostgresLedger.open(f"host={tmp_path} dbname=none", NAMES))
    with pytest.raises(ValueError, match="cannot be reached"):
        check_journal(f"host={tmp_path} dbname=none")


def test_other_advertisers_versions_and_names_of_schemas_are_refused(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        await (await PostgresLedger.open(dsn, NAMES)).close()
        with pytest.raises(ValueError, match="advertisers here are"):
            await PostgresLedger.open(dsn, ("bob", "ann", "cy"))
        with pytest.raises(ValueError, match="small letters"):
            await PostgresLedger.open(dsn, NAMES, schema="x; DROP TABLE users")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("UPDATE tribid_ledger.ledger SET version = 1")
        with pytest.raises(ValueError, match="version"):
            await PostgresLedger.open(dsn, NAMES)

    _run(story())
    with pytest.raises(ValueError, match="no ledger in schema"):
        check_journal(dsn, schema="elsewhere")


def test_the_database_itself_refuses_money_from_nowhere(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES)
        await ledger.open_day(0, BUDGETS)
        await ledger.close()

    _run(story())
    with psycopg.connect(dsn, autocommit=True) as connection:
        for change in ("free_micros = free_micros + 1", "free_micros = -1, funded_micros = -1", "held_micros = 1"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(f"UPDATE tribid_ledger.advertiser SET {change}".encode())


def test_ended_holds_are_forgotten_in_time_so_that_the_tables_stay_small(new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def story() -> None:
        ledger = await PostgresLedger.open(dsn, NAMES, keep_ms=1_000)
        await ledger.open_day(0, BUDGETS)
        for page in range(10):
            await ledger.reserve([Hold(f"0.{page}.0", 0, 1, page * 1_000), Hold(f"0.{page}.1", 1, 1, page * 1_000)])
            await ledger.charge([Charge(f"e{page}", "click", f"0.{page}.0", page)])
            await ledger.expire(page * 1_000)
        with psycopg.connect(dsn) as connection:
            left = [
                connection.execute(f"SELECT count(*) FROM tribid_ledger.{t}".encode()).fetchone()
                for t in ("hold", "event")
            ]
        assert left == [(4,), (2,)]
        assert await ledger.charge([Charge("e0", "click", "0.0.0", 0)]) == [("unknown", 0, -1)]
        await _close(dsn, ledger)

    _run(story())
