"""``Pages``: the bodies of requests for ``POST /v1/rank``, made of parts that are encoded before the load begins."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from tribid.benchmark.loadtest.load import Load
from tribid.envs.scenario import Scenario
from tribid.envs.world import build_world
from tribid.envs.worlds import FeedWorld
from tribid.ranker.messages import MAX_CANDIDATES, Offer, VisitEvent

_PARTS = 512
"""Different lists of candidates, and of events, which requests share in turn."""

_KINDS: tuple[Literal["view", "search", "favourite", "cart"], ...] = (
    "view",
    "view",
    "view",
    "search",
    "favourite",
    "cart",
)
"""Of what a visit did, as often as they stand here."""

_NUMBERS = 2**32
"""Request numbers of a day."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What each request asks for: page ``first + i`` of a day, by a random user of the scenario.

    ``candidates`` advertisers with random rates are brought by each (0: the server retrieves and predicts); ``events`` are
    what a visit did before, random too. ``day`` and ``tick`` are left to the server where they are None.
    """

    users: tuple[int, ...]
    parts: tuple[bytes, ...]
    first: int
    day: int | None = None
    tick: int | None = None

    def one(self, page: int) -> bytes:
        """The page's request as JSON."""
        when = (b"" if self.day is None else b'"day":%d,' % self.day) + (
            b"" if self.tick is None else b'"tick":%d,' % self.tick
        )
        number, user = (self.first + page) % _NUMBERS, self.users[page % len(self.users)]
        return b'{"request":%d,"user":%d,%s%s}' % (number, user, when, self.parts[page % len(self.parts)])

    def body(self, post: int, batch: int = 1) -> bytes:
        """The body of one POST: a single request, or a batch of them."""
        if batch == 1:
            return self.one(post)
        return b'{"requests":[%s]}' % b",".join(self.one(post * batch + i) for i in range(batch))


def pages_of(
    scenario: Scenario, load: Load, *, candidates: int = 64, events: int = 0, first: int | None = None,
    day: int | None = None, tick: int | None = None,
) -> Pages:  # fmt: skip
    """Pages of a feed's or shop's scenario. ``first`` is random where it is None: a page is answered anew only once.

    ``ValueError`` where the scenario has fewer advertisers than ``candidates``, or is no feed.
    """
    if not isinstance(scenario.world, FeedWorld):
        raise ValueError(f"scenario {scenario.name} is of kind {scenario.world.kind}; a ranker serves feeds and shops")
    names = build_world(scenario).advertisers.names
    if not 0 <= candidates <= min(len(names), MAX_CANDIDATES):
        raise ValueError(
            f"candidates is {candidates}; allowed is 0 to the {min(len(names), MAX_CANDIDATES)} that the ranker can take "
            f"in scenario {scenario.name}"
        )
    rng = np.random.default_rng(load.seed)
    fresh = int(np.random.default_rng().integers(_NUMBERS)) if first is None else first
    parts = tuple(_part(scenario.world, names, candidates, events, rng) for _ in range(_PARTS))
    users = tuple(rng.integers(scenario.world.users.count, size=_PARTS * 7 + 1).tolist())
    return Pages(users=users, parts=parts, first=fresh, day=day, tick=tick)


def _part(world: FeedWorld, names: tuple[str, ...], candidates: int, events: int, rng: np.random.Generator) -> bytes:
    """The fields of a request that cost something to encode, without braces."""
    fields: dict[str, Any] = {"state": ("browsing", "buying")[int(rng.random() < world.users.buying_share)]}
    if candidates:
        chosen = rng.choice(len(names), candidates, replace=False)
        ctr, cvr = (rate * np.exp(rng.normal(0, 0.5, candidates)) for rate in (world.rates.ctr, world.rates.cvr))
        fields["candidates"] = [
            Offer(names[ad], round(min(float(c), 1.0), 6), round(min(float(v), 1.0), 6))
            for ad, c, v in zip(chosen, ctr, cvr, strict=True)
        ]
    if events:
        fields["events"] = [
            VisitEvent(
                _KINDS[rng.integers(len(_KINDS))], int(rng.integers(world.categories)), round(rng.exponential(20), 1)
            )
            for _ in range(events)
        ]
    return msgspec.json.encode(fields)[1:-1]
