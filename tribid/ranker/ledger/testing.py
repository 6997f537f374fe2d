"""The checker of the ledger's contract, for ledgers of third parties too."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from tribid.ranker.ledger.errors import HoldExistsError, LedgerUnavailableError
from tribid.ranker.ledger.interface import Charge, Charged, Hold, Ledger, Refused

NAMES = ("ann", "bob", "cy")
_MORNING = 1_000_000  # when the checks begin, in Unix milliseconds
_LATER = _MORNING + 600_000

MakeLedger = Callable[[Sequence[str]], Awaitable[Ledger]]


async def check_ledger(make: MakeLedger) -> None:
    """Raise ``AssertionError`` where a ledger breaks the contract of ``tribid.ranker.ledger.interface.Ledger``.

    ``make`` opens a new, empty ledger for some advertisers; every check opens one and closes it.

    >>> from tribid.ranker.ledger.memory import MemoryLedger
    >>> async def make(names):
    ...     return MemoryLedger(names)
    >>> asyncio.run(check_ledger(make))
    """
    for check in (
        _days, _pages, _page_again, _known_holds, _wrong_holds, _charges, _charges_again, _charges_too_late, _wrong_charges,
        _releases, _expiries, _holds_across_days, _whole_numbers, _copies, _crowd, _closed,
    ):  # fmt: skip
        ledger = await make(NAMES)
        try:
            await check(ledger)
        finally:
            await ledger.close()


async def _open(ledger: Ledger, *micros: int, day: int = 0) -> None:
    await ledger.open_day(day, dict(zip(NAMES, micros, strict=True)))


@contextmanager
def _refused(error: type[Exception], what: str) -> Iterator[None]:
    try:
        yield
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{what} raised {type(other).__name__}; {error.__name__} was expected") from other
    raise AssertionError(f"{what} was taken; {error.__name__} was expected")


def _expect(ledger: Ledger, free: Sequence[int], spent: Sequence[int], what: str) -> None:
    assert ledger.free_micros().tolist() == list(free), (
        f"{what}: free is {ledger.free_micros().tolist()}, not {list(free)}"
    )
    found = ledger.spent_micros().tolist()
    assert found == list(spent), f"{what}: spent is {found}, not {list(spent)}"


def _hold(name: str, ad: int, micros: int, until: int = _LATER) -> Hold:
    return Hold(name, ad, micros, until)


def _click(event: str, hold: str, at: int = _MORNING, micros: int | None = None) -> Charge:
    return Charge(event, "click", hold, at, micros)


async def _days(ledger: Ledger) -> None:
    _expect(ledger, [0, 0, 0], [0, 0, 0], "before the first day")
    assert (ledger.names, ledger.day) == (NAMES, -1), f"before the first day: {ledger.names}, day {ledger.day}"
    with _refused(ValueError, "a page before the first day"):
        await ledger.reserve([_hold("0.1.0", 0, 1)])
    await _open(ledger, 10, 20, 0)
    _expect(ledger, [10, 20, 0], [0, 0, 0], "a day that was opened")
    await ledger.reserve([_hold("0.1.0", 0, 4)])
    await ledger.charge([_click("e1", "0.1.0")])
    await _open(ledger, 99, 99, 99)
    _expect(ledger, [6, 20, 0], [4, 0, 0], "the same day again")
    await _open(ledger, 7, 8, 9, day=2)
    _expect(ledger, [7, 8, 9], [0, 0, 0], "the next day")
    assert ledger.day == 2, f"on day 2 the ledger's is {ledger.day}"
    wrong = [(1, {"ann": 1, "bob": 1, "cy": 1}), (3, {"ann": 1}), (3, {"ann": 1, "bob": 1, "cy": 1, "dee": 1})]
    for day, budgets in [*wrong, (3, {"ann": -1, "bob": 1, "cy": 1}), (3, {"ann": 2**63, "bob": 1, "cy": 1})]:
        with _refused(ValueError, f"day {day} with budgets {budgets}"):
            await ledger.open_day(day, budgets)
    with _refused(ValueError, "more money than 64 bits hold"):
        await _open(ledger, 2**62, 2**62, 2**62, day=3)  # each fits, the sum does not
    _expect(ledger, [7, 8, 9], [0, 0, 0], "a day that was refused")


async def _pages(ledger: Ledger) -> None:
    await _open(ledger, 10, 5, 5)
    assert await ledger.reserve([_hold("0.1.0", 0, 4), _hold("0.1.1", 1, 5), _hold("0.1.2", 0, 3)]) is None
    _expect(ledger, [3, 0, 5], [0, 0, 0], "a page")
    refused = await ledger.reserve([_hold("0.2.0", 2, 5), _hold("0.2.1", 0, 2), _hold("0.2.2", 0, 2)])
    assert refused == Refused(0, 3), f"4 of 3 micros gave {refused}"
    _expect(ledger, [3, 0, 5], [0, 0, 0], "a page that was refused holds nothing")
    assert await ledger.charge([_click("e", "0.2.0")]) == [Charged("unknown", 0, -1)]
    assert await ledger.reserve([_hold("0.3.0", 0, 3), _hold("0.3.1", 2, 0)]) is None
    assert await ledger.reserve([]) is None
    _expect(ledger, [0, 0, 5], [0, 0, 0], "the last micro, and a hold of nothing")


async def _page_again(ledger: Ledger) -> None:
    await _open(ledger, 10, 10, 10)
    page = [_hold("0.1.0", 0, 4), _hold("0.1.1", 1, 5)]
    for _ in range(2):
        assert await ledger.reserve(page) is None
        _expect(ledger, [6, 5, 10], [0, 0, 0], "the same page twice")
    await ledger.charge([_click("e", "0.1.0")])
    assert await ledger.reserve(page) is None
    with _refused(HoldExistsError, "a page with a slot more"):
        await ledger.reserve([*page, _hold("0.1.2", 2, 1)])
    _expect(ledger, [6, 5, 10], [4, 0, 0], "the same page after a click")
    await ledger.release(["0.1.1"])
    with _refused(HoldExistsError, "a page for another amount"):
        await ledger.reserve([page[0], _hold("0.1.1", 1, 6)])
    with _refused(HoldExistsError, "a page whose money was given back"):
        await ledger.reserve(page)
    _expect(ledger, [6, 10, 10], [4, 0, 0], "a page that came too late")


async def _known_holds(ledger: Ledger) -> None:
    await _open(ledger, 10, 10, 10)
    asked = ["0.1.2", "0.1.1", "0.2.0", "0.1.0"]
    assert await ledger.known(asked) == [], "holds that nobody reserved are known"
    await ledger.reserve([_hold("0.1.0", 0, 4), _hold("0.1.1", 1, 5), _hold("0.1.2", 2, 0)])
    assert await ledger.reserve([_hold("0.2.0", 0, 7)]) == Refused(0, 6)
    await ledger.charge([_click("e", "0.1.0")])
    await ledger.release(["0.1.1"])
    await ledger.expire(_LATER + 1)
    known = await ledger.known(asked)
    assert known == ["0.1.2", "0.1.1", "0.1.0"], f"of a page whose holds have ended {known} are known"
    assert await ledger.known([]) == []


async def _wrong_holds(ledger: Ledger) -> None:
    await _open(ledger, 10, 10, 10)
    await ledger.reserve([_hold("0.1.0", 0, 4)])
    for wrong in (
        _hold("0.1.0", 0, 5), _hold("0.1.0", 1, 4), _hold("0.2.1", 3, 1), _hold("0.2.1", -1, 1), _hold("0.2.1", 0, -1),
        _hold("0.2.1", 0, 2**63), _hold("0.2.1", 0, 1, -1), _hold("", 0, 1), _hold("a\0b", 0, 1), _hold("\ud800", 0, 1),
        _hold("x" * 201, 0, 1), _hold("0.2.1", 0, 1.5),  # type: ignore[arg-type]
    ):  # fmt: skip
        with _refused(ValueError, f"{wrong}"):
            await ledger.reserve([_hold("0.2.0", 1, 1), wrong])
    with _refused(ValueError, "one id for two amounts"):
        await ledger.reserve([_hold("0.2.0", 1, 1), _hold("0.2.0", 1, 2)])
    _expect(ledger, [6, 10, 10], [0, 0, 0], "pages that were wrong hold nothing")


async def _charges(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50), _hold("0.1.2", 2, 0)])
    found = await ledger.charge(
        [
            Charge("view", "impression", "0.1.0", _MORNING, 0),
            _click("click", "0.1.0"),
            Charge("sale", "conversion", "0.1.0", _MORNING, 0),
            _click("cheap", "0.1.1", micros=20),
            _click("free", "0.1.2"),
            _click("lost", "0.9.0"),
        ]
    )
    told = [("accepted", 0, 0), ("accepted", 40, 0), ("accepted", 0, 0), ("accepted", 20, 1), ("accepted", 0, 2)]
    assert found == [*told, ("unknown", 0, -1)], found
    _expect(ledger, [60, 80, 100], [40, 20, 0], "clicks")
    late = await ledger.charge([Charge("sale2", "conversion", "0.1.1", _LATER, None)])
    assert late == [("accepted", 0, 1)], f"a hold that was charged has no more to take: {late}"
    _expect(ledger, [60, 80, 100], [40, 20, 0], "an event of a hold that was charged")
    assert await ledger.charge([]) == []


async def _charges_again(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50)])
    found = await ledger.charge([_click("a", "0.1.0"), _click("a", "0.1.0"), _click("b", "0.1.0")])
    assert found == [("accepted", 40, 0), *[("duplicate", 0, 0)] * 2], found
    other = [_click("a", "0.1.1"), Charge("a", "impression", "0.1.0", _MORNING, 0), _click("a", "0.9.9")]
    told = await ledger.charge(other)
    assert told == [("refused", 0, 1), ("refused", 0, 0), ("refused", 0, -1)], f"an id that was used otherwise: {told}"
    assert await ledger.charge([_click("a", "0.1.0", _LATER + 1)]) == [("duplicate", 0, 0)]
    _expect(ledger, [60, 50, 100], [40, 0, 0], "events that came again")
    assert await ledger.charge([_click("c", "0.1.1")]) == [("accepted", 50, 1)], "its click under an id of its own"


async def _charges_too_late(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50), _hold("0.1.2", 2, 60)])
    assert await ledger.charge([_click("a", "0.1.0", _LATER + 1)]) == [("expired", 0, 0)]
    assert await ledger.charge([_click("b", "0.1.0", _LATER)]) == [("accepted", 40, 0)]
    await ledger.release(["0.1.1"])
    assert await ledger.charge([_click("c", "0.1.1")]) == [("expired", 0, 1)], "a hold that was given back"
    assert await ledger.expire(_LATER + 1) == 1
    assert await ledger.charge([_click("d", "0.1.2")] * 2) == [("expired", 0, 2)] * 2, "a hold that was expired"
    _expect(ledger, [60, 100, 100], [40, 0, 0], "events that came too late")


async def _wrong_charges(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50)])
    for wrong in (
        _click("b", "0.1.1", micros=51), _click("b", "0.1.1", micros=-1), _click("b", "0.1.1", -1), _click("", "0.1.1"),
        _click("b" * 201, "0.1.1"), _click("\ud800", "0.1.1"), _click("b", "\0"),
        Charge("b", "sale", "0.1.1", _MORNING),  # type: ignore[arg-type]
    ):  # fmt: skip
        with _refused(ValueError, f"{wrong}"):
            await ledger.charge([_click("a", "0.1.0"), wrong])
    _expect(ledger, [60, 50, 100], [0, 0, 0], "a batch with a wrong event charges nothing")
    assert await ledger.charge([_click("a", "0.1.0")]) == [("accepted", 40, 0)]


async def _releases(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50), _hold("0.1.2", 2, 0)])
    await ledger.charge([_click("a", "0.1.0")])
    assert await ledger.release(["0.1.0", "0.1.1", "0.1.1", "0.1.2", "0.9.9"]) == 1
    _expect(ledger, [60, 100, 100], [40, 0, 0], "what was not clicked")
    assert await ledger.release(["0.1.0", "0.1.1"]) == 0
    assert await ledger.release([]) == 0


async def _expiries(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50), _hold("0.1.2", 2, 60, _LATER + 5)])
    await ledger.charge([_click("a", "0.1.0", micros=10)])
    assert await ledger.expire(_LATER) == 0, "a hold lasts through its last millisecond"
    assert await ledger.expire(_LATER + 1) == 1
    _expect(ledger, [90, 100, 40], [10, 0, 0], "one hold of three has expired")
    assert await ledger.expire(_LATER + 1) == 0
    assert await ledger.expire(_LATER + 10**9) == 1
    _expect(ledger, [90, 100, 100], [10, 0, 0], "all holds have ended")


async def _holds_across_days(ledger: Ledger) -> None:
    await _open(ledger, 100, 100, 100)
    await ledger.reserve([_hold("0.1.0", 0, 40), _hold("0.1.1", 1, 50), _hold("0.1.2", 2, 60)])
    await _open(ledger, 10, 10, 10, day=1)
    _expect(ledger, [10, 10, 10], [0, 0, 0], "the next day")
    assert await ledger.charge([_click("a", "0.1.0", micros=30)]) == [("accepted", 30, 0)]
    assert await ledger.release(["0.1.1"]) == 1
    assert await ledger.expire(_LATER + 1) == 1
    _expect(ledger, [10, 10, 10], [0, 0, 0], "yesterday's money is no budget of today, nor spent of it")


async def _whole_numbers(ledger: Ledger) -> None:
    most = 2**63 - 1
    await _open(ledger, most, 0, 0)
    assert await ledger.reserve([_hold("0.1.0", 0, most - 1)]) is None
    _expect(ledger, [1, 0, 0], [0, 0, 0], "the largest number of micros, less one")
    assert await ledger.reserve([_hold("0.2.0", 0, most), _hold("0.2.1", 0, most)]) == Refused(0, 1)
    assert await ledger.charge([_click("a", "0.1.0")]) == [("accepted", most - 1, 0)]
    _expect(ledger, [1, 0, 0], [most - 1, 0, 0], "the largest charge")


async def _copies(ledger: Ledger) -> None:
    await _open(ledger, 10, 20, 30)
    ledger.free_micros()[:] = 0
    ledger.spent_micros()[:] = 7
    _expect(ledger, [10, 20, 30], [0, 0, 0], "arrays that a caller changed")
    assert ledger.free_micros().dtype == ledger.spent_micros().dtype == "int64"


async def _crowd(ledger: Ledger) -> None:
    await _open(ledger, 100, 7, 0)

    async def client(number: int) -> int:
        won = 0
        for page in range(5):
            name = f"0.{number * 10 + page}.0"
            if await ledger.reserve([_hold(name, 1, 1), _hold(name[:-1] + "1", 0, 1)]) is None:
                won += 1
                told = await ledger.charge([_click(f"e{name}", name)])
                assert told == [("accepted", 1, 1)], told
        return won

    won = sum(await asyncio.gather(*(client(number) for number in range(64))))
    assert won == 7, f"64 clients were given {won} of 7 micros"
    _expect(ledger, [93, 0, 0], [0, 7, 0], "64 clients on one nearly empty budget")


async def _closed(ledger: Ledger) -> None:
    await _open(ledger, 10, 10, 10)
    await ledger.close()
    await ledger.close()
    for call in (
        _open(ledger, 1, 1, 1, day=1),
        ledger.reserve([]),
        ledger.known(["0.1.0"]),
        ledger.charge([]),
        ledger.release([]),
        ledger.expire(0),
    ):
        with _refused(LedgerUnavailableError, "a call after close"):
            await call
