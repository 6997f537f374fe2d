"""What the market asks of a world: its advertisers, and each day's requests with their true rates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.ocpc_block import OcpcTile
from tribid.envs.advertisers import Advertisers
from tribid.envs.decision import Desk, Law
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.places import Places
from tribid.envs.platform import Forecaster, Rates, Requests
from tribid.envs.scenario import Scenario
from tribid.envs.settlement import Block, Counts, Leaving, Slots
from tribid.envs.worlds import AuctionNetWorld, FeedWorld, ShopWorld


class Arrivals(NamedTuple):
    """A tick's requests and the truth that decides their outcomes."""

    requests: Requests
    truth: Rates


@dataclass(frozen=True)
class Day:
    """One day's plan: ``counts`` [T] requests per tick, and the index of each tick's first request.

    ``expected_share`` [T] is what a platform would announce: the mean share of the day's traffic that falls in a tick.
    """

    seed: int
    day: int
    counts: NDArray[np.int64]
    first: NDArray[np.int64]
    expected_share: NDArray[np.float64]


class World(Protocol):
    """A source of days. Built from a scenario once; every method is a pure function of its arguments."""

    @property
    def advertisers(self) -> Advertisers:
        """The advertisers as arrays."""
        ...

    @property
    def forecaster(self) -> Forecaster:
        """The platform's own predictions."""
        ...

    @property
    def leaving(self) -> Leaving:
        """Chance that a user leaves after a page."""
        ...

    @property
    def n_ticks(self) -> int:
        """Ticks of a day."""
        ...

    @property
    def n_segments(self) -> int:
        """User segments that a policy may act on."""
        ...

    def day(self, seed: int, day: int) -> Day:
        """The plan of a day."""
        ...

    def arrivals(self, day: Day, tick: int) -> Arrivals:
        """The requests of a tick in order of arrival, with their true rates."""
        ...


class Settling(NamedTuple):
    """Everything a tick of M days needs beside their traffic; the kernels take these in this order.

    ``multiplier`` [M, S, G, N]; ``left`` [M, A] micros and ``counts`` [M, A] are written in place, and so is ``pages``,
    which is empty or, for one day, has a row for each request. ``desk``, ``tile`` and ``block`` are working memory.
    """

    law: Law
    slot_effects: NDArray[np.float64]
    places: Places
    leaving: Leaving
    expected: bool
    multiplier: NDArray[np.float64]
    left: NDArray[np.int64]
    counts: Counts
    pages: Slots
    desk: Desk
    tile: OcpcTile
    block: Block


class DirectWorld(Protocol):
    """A world that plays ticks in blocks of requests, whose rates are made, used and forgotten.

    The outcome is bit for bit the one that ``arrivals`` and the world's own forecaster would give (with retrieval, but for
    the order in which gaps are summed). A subclass that changes what ``arrivals`` gives has to change ``settle``, too.
    """

    @property
    def places(self) -> Places:
        """Who is a candidate where."""
        ...

    def settle(self, days: Sequence[Day], tick: int, job: Settling) -> None:
        """Play this tick of each day."""
        ...


class PagePart(NamedTuple):
    """Some of a tick's requests, one after the other, with the slots [K] and the leaving of their pages."""

    rows: slice
    slot_effects: NDArray[np.float64]
    leaving: Leaving


class RememberingWorld(Protocol):
    """A world whose users remember: what a tick brings depends on what the ticks before it did.

    A memory is an immutable snapshot that the market's state carries and never looks into. ``arrivals`` of such a world
    takes the memory as a third argument.
    """

    def opening(self, day: Day) -> object:
        """The memory with which a day opens that continues no other."""
        ...

    def overnight(self, memory: object, day: Day) -> object:
        """The memory at the end of the day before, taken into ``day``; ``ValueError`` for any other memory."""
        ...

    def before_tick(
        self, memory: object, day: Day, tick: int, left_micros: NDArray[np.int64]
    ) -> tuple[object, NDArray[np.int64]]:
        """The memory after what happens at a tick's start outside the auction, and what that costs each budget [A]."""
        ...

    def arrivals(self, day: Day, tick: int, memory: object) -> Arrivals:
        """The requests of a tick in the order in which they settle, with their true rates."""
        ...

    def page_parts(self, requests: Requests) -> Sequence[PagePart]:
        """All of the requests in parts that settle in turn, each with its own slots (at most those of the rules)."""
        ...

    def after_tick(self, memory: object, day: Day, tick: int, arrivals: Arrivals, slots: Slots) -> object:
        """The memory with what the tick's pages did."""
        ...


_BUILT: dict[str, World] = {}
_KEPT = 8


def build_world(scenario: Scenario) -> World:
    """The scenario's world; the last few are kept, for building one draws a whole population."""
    if scenario.hash not in _BUILT:
        while len(_BUILT) >= _KEPT:
            del _BUILT[next(iter(_BUILT))]
        _BUILT[scenario.hash] = _builder(scenario)(scenario)
    return _BUILT[scenario.hash]


def _builder(scenario: Scenario) -> Callable[[Scenario], World]:
    # Imported here because each world imports Day and Arrivals from this module.
    if isinstance(scenario.world, JourneyWorld):
        from tribid.envs.journey.world import Journey

        return Journey
    if isinstance(scenario.world, ShopWorld):
        from tribid.envs.shop import Shop

        return Shop
    if isinstance(scenario.world, FeedWorld):
        from tribid.envs.feed import Feed

        return Feed
    if isinstance(scenario.world, AuctionNetWorld):
        from tribid.envs.auctionnet import AuctionNet

        return AuctionNet
    from tribid.envs.replay import Replay

    return Replay
