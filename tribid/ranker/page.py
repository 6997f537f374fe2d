"""``Page``: a request on its way through the stages, and what each has found for it so far."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.platform import Rates, Requests
from tribid.envs.visit_events import EVENTS, VisitEvents, no_events
from tribid.ranker.messages import Request

NO_USER = -1
NO_SHELF = -1


class Found(NamedTuple):
    """Candidates of a page: ``ads`` [1, N] (None: every advertiser) and the shelf of a feed that they stand on.

    ``shelf`` is ``NO_SHELF`` where they stand on none as a whole: brought, popular, or found by a learnt retriever.
    """

    ads: NDArray[np.int32] | None
    shelf: int = NO_SHELF


class Belief(NamedTuple):
    """What the platform holds of a visit: the chance that it means to buy [1] (None: nobody asks), and its guess."""

    buying: NDArray[np.float32] | None
    guess: bool


class Page:
    """One page view of N candidates in the making; stages read what those before them have written.

    ``day`` and ``tick`` are settled, ``user`` is ``NO_USER`` where the request names none. ``found``, ``belief``,
    ``segment``, ``creative`` [1, N] (None: the first), ``content`` [1, N] of ``CONTENTS`` (None: nobody picked) and
    ``predicted`` [1, N] come from the stages; ``fallbacks`` names those that gave way, ``stage_ms`` says how long each took.
    """

    __slots__ = (
        "belief", "content", "creative", "day", "fallbacks", "found", "predicted", "request", "reserve_micros", "segment",
        "stage_ms", "tick", "user",
    )  # fmt: skip

    def __init__(self, request: Request, day: int, tick: int, reserve_micros: int) -> None:
        self.request, self.day, self.tick, self.reserve_micros = request, day, tick, reserve_micros
        self.user = NO_USER if request.user is None else request.user
        self.found = Found(None)
        self.belief = Belief(None, request.state == "buying")
        self.segment = 0
        self.creative: NDArray[np.int8] | None = None
        self.content: NDArray[np.int8] | None = None
        self.predicted: Rates | None = None
        self.fallbacks: list[str] = []
        self.stage_ms: dict[str, float] = {}

    @property
    def id(self) -> str:
        """``"DAY.REQUEST"``, the page's name in events and in the ledger."""
        return f"{self.day}.{self.request.request}"

    @property
    def is_buying(self) -> bool:
        """Whether the visit means to buy, as the request says."""
        return self.request.state == "buying"

    def requests(self) -> Requests:
        """The page as the simulator has it: a batch of one."""
        return Requests(
            self.day, self.tick, np.array([self.request.request], np.int64), np.array([self.user], np.int64),
            np.zeros(1, np.int64), np.array([self.segment], np.int64), np.array([self.reserve_micros], np.int64),
            self.found.ads, self.belief.buying, self.creative,
        )  # fmt: skip

    def events(self) -> VisitEvents:
        """What the visit did before, as a state model reads it: a visit of one row."""
        told = self.request.events
        found = no_events(1, max(1, len(told)))
        for place, event in enumerate(told):
            found.kind[0, place], found.category[0, place] = EVENTS.index(event.kind), event.category
            found.seconds[0, place] = event.seconds
        return found._replace(length=np.array([len(told)], np.int32))
