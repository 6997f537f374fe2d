"""``OpenTimeSettings``: how long filling a slot may take, how long it stays the same, how often a token may be used."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tribid.ranker.open_time.card import check_currency
from tribid.ranker.stock.item import check_url
from tribid.ranker.stock.source import SHOP_URL


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class OpenTimeSettings:
    """What open-time rendering allows; ``ValueError`` names the field on creation.

    A slot that is not picked and drawn within ``budget_ms`` shows the fallback picture. It shows the same item for
    ``same_ms``, unless that sells out. An image token may be used ``opens_per_minute`` times in a minute and ``opens``
    times in all, a click token ``clicks_per_minute`` and ``clicks`` times. ``shop_url`` is where a click leads while
    nothing can be had; ``currency`` stands before prices. ``now_ms`` is the wall clock, ``clock_s`` one that never goes
    backwards.
    """

    budget_ms: float = 20.0
    same_ms: int = 3_600_000
    opens_per_minute: int = 60
    opens: int = 1_000
    clicks_per_minute: int = 20
    clicks: int = 100
    shop_url: str = SHOP_URL
    currency: str = "USD"
    now_ms: Callable[[], int] = _wall_ms
    clock_s: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        for name in ("same_ms", "opens_per_minute", "opens", "clicks_per_minute", "clicks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is a whole number from 1")
        if not 0 < self.budget_ms <= 60_000:
            raise ValueError(f"budget_ms is {self.budget_ms}; allowed is above 0, up to 60000")
        check_url(self.shop_url, "shop_url")
        check_currency(self.currency)
