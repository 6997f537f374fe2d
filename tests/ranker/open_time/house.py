"""What the tests of open-time rendering share: a small stock, a clock that is set, and slots of it."""

from typing import Any

from tribid.ranker.open_time.open_time import OpenTime
from tribid.ranker.open_time.settings import OpenTimeSettings
from tribid.ranker.open_time.tokens import Purpose, Signer, Slot
from tribid.ranker.stock import LiveStock, StockItem

KEY = b"0123456789abcdef0123456789abcdef"
START_MS = 1_800_000_000_000
LIFE_MS = 86_400_000


class Clock:
    """A wall clock and a stopwatch that stand still; ``step_s`` passes on each look at the stopwatch."""

    def __init__(self) -> None:
        self.ms, self.s, self.step_s = START_MS, 0.0, 0.0

    def now_ms(self) -> int:
        return self.ms

    def clock_s(self) -> float:
        self.s += self.step_s
        return self.s


def an_item(number: int = 0, **changed: Any) -> StockItem:
    """An item with a name, a price and a URL of its own."""
    given = {
        "title": f"Lamp {number}", "price_micros": 10_000_000 + number * 1_000_000, "count": 100, "category": number % 3,
        "url": f"https://shop.example/{number}",
    }  # fmt: skip
    return StockItem(**{**given, **changed})


def a_stock(items: int = 12, **changed: Any) -> LiveStock:
    return LiveStock([an_item(number, **changed) for number in range(items)], now_ms=lambda: START_MS)


def a_slot(number: int = 0, *, user: str = "42", message: str = "m1", life_ms: int = LIFE_MS) -> Slot:
    return Slot(user=user, message=message, slot=number, issued_ms=START_MS, expires_ms=START_MS + life_ms)


def a_token(purpose: Purpose = "open", number: int = 0, **given: Any) -> str:
    return Signer([KEY]).token(purpose, a_slot(number, **given))


def open_time(
    stock: LiveStock, clock: Clock | None = None, settings: dict[str, Any] | None = None, **parts: Any
) -> OpenTime:
    """Slots of a stock; the budget is a minute unless ``settings`` say so, for tests run on busy machines."""
    clock = Clock() if clock is None else clock
    chosen = {"budget_ms": 60_000.0, "now_ms": clock.now_ms, "clock_s": clock.clock_s, **(settings or {})}
    return OpenTime(stock, Signer([KEY]), settings=OpenTimeSettings(**chosen), **parts)
