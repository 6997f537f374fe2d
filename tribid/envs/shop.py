"""The world of ``kind: shop``: a feed in a shop, where users leave behaviour from which the platform can learn. Ours.

The truth is a feed's (see ``tribid.envs.feed``) with two changes: a user's interests of a day are lasting ones and a need
of some weeks (``tribid.envs.behaviour``), and each ad's creative moves its click odds (``tribid.envs.creatives``). What
can be seen of a user is the history of the days before and the events of the visit, never the interests themselves.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.envs.behaviour import Past, PastEvents
from tribid.envs.catalogue import Items, stock
from tribid.envs.creatives import Looks, looks_of
from tribid.envs.feed import Feed
from tribid.envs.feed_kernels import logistic
from tribid.envs.platform import Forecaster, NoisyTruth, Platform, Rates, Requests
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.visit_events import VisitEvents, visit_events
from tribid.envs.world import Arrivals, Day
from tribid.envs.worlds import ShopWorld


@dataclass(frozen=True)
class Visits:
    """A tick's visits: ``user``, whether they mean to buy, the platform's guess of it, and what they did first."""

    user: NDArray[np.int64]
    buying: NDArray[np.bool_]
    guess: NDArray[np.bool_]
    events: VisitEvents


class Shop:
    """A shop. Items, users and creatives depend on the world's seed alone; needs and behaviour on the day's seed, too."""

    def __init__(self, scenario: Scenario) -> None:
        assert isinstance(scenario.world, ShopWorld)
        self.config = config = scenario.world
        self.rules = scenario.rules
        self.feed = feed = Feed(scenario)
        self.advertisers, self.leaving = feed.advertisers, feed.leaving
        self.n_ticks, self.n_segments = feed.n_ticks, feed.n_segments
        self.items: Items = stock(
            config.seed, config.catalogue.items, config.categories, config.users.interests,
            config.catalogue.popularity_spread, feed.ads.category, feed.ads.price,
        )  # fmt: skip
        self.past = Past(config, self.items, feed.users.interests)
        self.looks: Looks = looks_of(config.creatives, config.seed, len(feed.ads.price), config.users.count)
        self.platform = Platform()
        self.forecaster: Forecaster = self.own_forecaster()

    def own_forecaster(self) -> Forecaster:
        """The shop's own predictions."""
        return ShopTruth(self, self.feed.noisy)

    def with_platform(self, platform: Platform) -> Self:
        """The same shop with these learnt parts; ``ValueError`` for parts that only a world with a memory has."""
        self.check_platform(platform)
        other = copy.copy(self)
        other.platform = platform
        other.forecaster = other.own_forecaster()
        return other

    def check_platform(self, platform: Platform) -> None:
        """Raise for parts that this world has no place for."""
        for name in ("content", "outreach"):
            if getattr(platform, name) is not None:
                raise ValueError(f"platform.{name} was given; allowed is none in a world of kind {self.config.kind}")

    def day(self, seed: int, day: int) -> Day:
        """Counts of each tick."""
        return self.feed.day(seed, day)

    def visits(self, day: Day, tick: int) -> Visits:
        """The visits of a tick, whose requests take turns: request j belongs to visit j mod V."""
        user, buying, guess = self.feed.visits(day, tick, self.feed.n_visits(int(day.counts[tick])))
        odds = self.past.category_odds(self.past.interests(day.seed, day.day, user))
        events = visit_events(self.config.visits, day.seed, day.day, int(day.first[tick]), buying, odds)
        return Visits(user, buying, guess, events)

    def arrivals(self, day: Day, tick: int) -> Arrivals:
        """Requests of the tick with their candidates and creatives, and the true rates of those."""
        count, visits = int(day.counts[tick]), self.visits(day, tick)
        request = day.first[tick] + np.arange(count, dtype=np.int64)
        return self.pages(day.seed, day.day, tick, request, visits, np.arange(count) % len(visits.user))

    def pages(
        self, seed: int, day: int, tick: int, request: NDArray[np.int64], visits: Visits, visit: NDArray[np.int64]
    ) -> Arrivals:
        """Pages ``request`` [B] of these visits; ``visit`` [B] says whose each is."""
        requests = self.with_creatives(seed, self.asked(seed, day, tick, request, visits, visit))
        return Arrivals(requests, self.rates(seed, requests, visits.buying[visit].astype(np.float32)))

    def asked(
        self, seed: int, day: int, tick: int, request: NDArray[np.int64], visits: Visits, visit: NDArray[np.int64]
    ) -> Requests:
        """The requests of those pages with their candidates, before creatives are picked."""
        belief = self.belief(visits.events, visits.guess)
        guess = visits.guess if self.platform.state is None else belief >= 0.5
        candidates = self.candidates(seed, day, visits.user)
        return Requests(
            day=day,
            tick=tick,
            request=request,
            user=visits.user[visit],
            session=visit.astype(np.int64),
            segment=self.feed.segment(visits.user, guess)[visit],
            reserve_micros=np.full(len(request), round(self.rules.reserve * MICROS), np.int64),
            candidates=None if candidates is None else candidates[visit],
            buying=belief[visit],
        )

    def with_creatives(self, seed: int, requests: Requests) -> Requests:
        """The requests with the creatives that the platform's picker chooses, if it has one."""
        if self.platform.picker is None:
            return requests
        named = requests._replace(candidates=self.candidates_of(requests))
        return requests._replace(creative=self.platform.picker.pick(seed, named))

    def rates(self, seed: int, requests: Requests, buying: NDArray[np.float32]) -> Rates:
        """True rates [B, N] of the requests' candidates for visits that mean to buy with this chance [B]."""
        who, feed = self.candidates_of(requests), self.feed
        extras = self.extras(requests)
        user, visitor = np.unique(requests.user, return_inverse=True)
        z = self.past.interests(seed, requests.day, user)[visitor]
        out = Rates(np.empty(who.shape, np.float32), np.empty(who.shape, np.float32))
        effects = feed.effects
        for rate, level, trait, kind in (
            (out.ctr, feed.ads.ctr, feed.users.activity, 0),
            (out.cvr, feed.ads.cvr, feed.users.power, 1),
        ):
            shift = trait[requests.user] + effects[2 + kind] * buying
            _rates(z, shift, who, self.items.interests, level, effects[kind], extras[kind], rate)
        return out

    def extras(self, requests: Requests) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What more is added to the log-odds [B, N] of clicks and of conversions; an empty array adds nothing."""
        return self.look(requests), np.zeros((0, 0), np.float32)

    def look(self, requests: Requests) -> NDArray[np.float32]:
        """What the creatives do to the log-odds of a click, [B, N]."""
        who = self.candidates_of(requests)
        creative = np.zeros(who.shape, np.int8) if requests.creative is None else requests.creative
        return self.looks.effect(requests.user[:, None], who.astype(np.int64), creative.astype(np.int64))

    def candidates_of(self, requests: Requests) -> NDArray[np.int32]:
        """The requests' candidates [B, N], also where that is everybody."""
        if requests.candidates is not None:
            return requests.candidates
        everybody = np.arange(len(self.advertisers), dtype=np.int32)
        return np.broadcast_to(everybody, (len(requests.request), len(everybody)))

    @cached_property
    def advertised(self) -> NDArray[np.bool_]:
        """Which items [I] are advertised: the first ones."""
        return np.arange(len(self.items)) < len(self.advertisers)

    def belief(self, events: VisitEvents, guess: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What the platform holds for the chance that a visit means to buy, [V], from its events or a guess of it."""
        if self.platform.state is not None:
            return self.platform.state.predict(*events)
        return self.feed.beliefs[guess.astype(np.int64)]

    def candidates(self, seed: int, day: int, user: NDArray[np.int64]) -> NDArray[np.int32] | None:
        """The advertisers [B, N] that are retrieved for these users on a day; None where everybody is."""
        found = self.feed.candidates(user)
        if self.platform.retriever is None or found is None:
            return found
        past: PastEvents = self.past.histories(seed, day, user)
        count = found.shape[1]
        got = self.platform.retriever.retrieve(past.item, past.age_days, past.length, count, self.advertised)
        return filled(got, found)


class ShopTruth:
    """The shop's own predictions: a feed's noisy truth, with or without knowing a visit's state."""

    def __init__(self, shop: Shop, noisy: NoisyTruth) -> None:
        self._shop, self._noisy = shop, noisy

    def predict(self, seed: int, requests: Requests, truth: Rates) -> Rates:
        """Predicted rates [B, N]."""
        config = self._shop.config
        if not config.prediction.knows_state:
            share = np.full(len(requests.request), config.users.buying_share, np.float32)
            truth = self._shop.rates(seed, requests, share)
        return self._noisy.predict(seed, requests, truth)


def filled(found: NDArray[np.int32], spare: NDArray[np.int32]) -> NDArray[np.int32]:
    """``found`` [B, N] with every -1 replaced by the next of ``spare`` [B, N] that is not there yet.

    >>> filled(np.array([[3, -1, -1]], np.int32), np.array([[1, 2, 3]], np.int32))
    array([[3, 1, 2]], dtype=int32)
    """
    out = found.copy()
    for row in np.flatnonzero((found < 0).any(axis=1)):
        holes = np.flatnonzero(out[row] < 0)
        unused = spare[row][~np.isin(spare[row], out[row])]
        out[row, holes] = unused[: len(holes)]
    return out


@njit(cache=True, nogil=True)
def _rates(
    z: Any, shift: Any, who: Any, interests: Any, level: Any, weight: Any, extra: Any, out: Any
) -> None:  # fmt: skip
    """``out = logistic(level[i] + shift[b] + weight * z[b] . interests[i] + extra[b, j])`` for i = who[b, j], float32."""
    n = who.shape[1]
    odds, scale = np.empty(n, np.float32), np.empty(n, np.float32)
    for b in range(who.shape[0]):
        for j in range(n):
            i = who[b, j]
            match = np.float32(0.0)
            for d in range(z.shape[1]):
                match += z[b, d] * interests[i, d]
            odds[j] = level[i] + shift[b] + weight * match
        if extra.shape[0] > 0:
            for j in range(n):
                odds[j] += extra[b, j]
        logistic(odds, scale, out[b])
