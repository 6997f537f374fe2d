"""``ProfileSettings``: what a profile store needs to be told: how long it remembers, which triggers there are."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from tribid.envs.triggers import DAY_MS, Trigger


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _nothing(item: int) -> Sequence[int]:
    return ()


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """``keep_days``: events older than this are late; the ids of younger ones are remembered, so none counts twice.

    ``triggers`` have names of their own. ``complements`` tells which items go with an item, the best first; ``brand_of``
    whose brand an item is (None: nobody's), for events that name none. ``brand_cap`` is how often a brand may be before a
    user in a day, over all channels; a message over it is not sent. ``brands``, ``actions`` and the numbers of ``items`` and
    ``categories`` bound what events may name; None: anything. ``on_sale`` tells an item's price (micros) and number as of
    now; without it, the last change that the store was told of does. ``lease_s`` is for how long a message that was handed
    out is not handed out again. ``clock_ms`` must not run back.

    >>> ProfileSettings(keep_days=0)
    Traceback (most recent call last):
    ValueError: keep_days is 0; allowed is more than 0 and at most 3650
    """

    keep_days: float = 30.0
    triggers: Sequence[Trigger] = ()
    complements: Callable[[int], Sequence[int]] = _nothing
    brand_of: Callable[[int], str | None] = field(default=lambda item: None)
    brand_cap: int | None = None
    brands: Collection[str] | None = None
    items: int | None = None
    categories: int | None = None
    actions: Collection[str] | None = None
    on_sale: Callable[[int], tuple[int, int] | None] = field(default=lambda item: None)
    lease_s: float = 60.0
    clock_ms: Callable[[], int] = now_ms

    def __post_init__(self) -> None:
        if not 0 < self.keep_days <= 3650:
            raise ValueError(f"keep_days is {self.keep_days:g}; allowed is more than 0 and at most 3650")
        if not 0 <= self.lease_s <= 86_400:
            raise ValueError(f"lease_s is {self.lease_s:g}; allowed is 0 to 86400")
        names = [trigger.name for trigger in self.triggers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"triggers has two of the name {twice[0]!r}; allowed is a name of its own for each")

    @property
    def keep_ms(self) -> int:
        """How far back events count, in milliseconds."""
        return round(self.keep_days * DAY_MS)

    @property
    def forget_ms(self) -> int:
        """How far back ids are remembered: a day longer than events count, so that no journal brings one back twice."""
        return self.keep_ms + DAY_MS
