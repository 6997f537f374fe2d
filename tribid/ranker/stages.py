"""The stages of the request path, each a function that can be swapped; they come in the order of ``Stages``."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tribid.envs.feed import Feed
from tribid.envs.journey.world import Journey
from tribid.envs.market import checked_rates
from tribid.envs.platform import Forecaster, Rates, Requests
from tribid.envs.shop import Shop
from tribid.envs.stages import stage_of
from tribid.ranker.page import NO_SHELF, Belief, Found, Page


class Stages(NamedTuple):
    """What is asked of a page, in this order; what each may read is what those before it have written.

    A click rate depends on the creative, and a segment on the state: hence ``predict`` comes after both. After these come,
    for each policy that decides the page, the bid (``bid``: its multipliers [N] for the page's candidates, from those of
    everybody [A, S]) and the auction with OCPC, which is one kernel and never skipped (``tribid.ranker.auction``).
    """

    retrieve: Callable[[Page], Found]
    state: Callable[[Page], Belief]
    creative: Callable[[Page], NDArray[np.int8] | None]
    predict: Callable[[Page], Rates]
    bid: Callable[[Page, NDArray[np.float64]], NDArray[np.float64]]


def stages_of(world: Feed | Shop, seed: int, forecaster: Forecaster | None = None) -> Stages:
    """The stages that a feed or a shop has, with its own forecaster or another."""
    if isinstance(world, Shop):
        shop = (JourneyStages if isinstance(world, Journey) else ShopStages)(world, seed, forecaster)
        return Stages(shop.retrieve, shop.state, shop.creative, shop.predict, multipliers_of)
    feed = FeedStages(world, seed, forecaster)
    return Stages(feed.retrieve, feed.state, feed.creative, feed.predict, multipliers_of)


def multipliers_of(page: Page, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The multipliers [N] of the page's candidates in its segment, of ``multipliers`` [A, S]."""
    own = multipliers[:, page.segment]
    return own if page.found.ads is None else own[page.found.ads[0]]


class TrueRates:
    """The true rates [1, N] of a page, worked out when a stand-in first reads them: a learnt model never does.

    It is read as ``Rates`` are.
    """

    def __init__(self, make: Callable[[], Rates]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Rates:
        return self._make()

    @property
    def ctr(self) -> NDArray[np.float32]:
        """Click rates."""
        return self._made.ctr

    @property
    def cvr(self) -> NDArray[np.float32]:
        """Conversion rates."""
        return self._made.cvr

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._made)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        return self._made[index]

    def __len__(self) -> int:
        return len(Rates._fields)


class FeedStages:
    """Stages of a feed: shelves are looked up, a visit's state is as told, and nobody has creatives."""

    def __init__(self, feed: Feed, seed: int, forecaster: Forecaster | None = None) -> None:
        self._feed, self._seed = feed, seed
        self._is_own = forecaster is None or forecaster is feed.forecaster
        self._forecaster = feed.forecaster if forecaster is None else forecaster
        self._knows_state = feed.config.prediction.knows_state

    def retrieve(self, page: Page) -> Found:
        """The ads on the user's shelf; everybody where the feed has none."""
        shelf = self._feed.shelf_of(page.user)
        return Found(None) if shelf is None else Found(self._feed.places.who[shelf : shelf + 1], shelf)

    def state(self, page: Page) -> Belief:
        """What the request tells; Bayes' rule from there, where ranking is dynamic."""
        request, feed = page.request, self._feed
        if not feed.is_dynamic:
            return Belief(None, page.is_buying)
        buying = feed.beliefs[int(page.is_buying)] if request.buying is None else request.buying
        return Belief(np.array([buying], np.float32), page.is_buying)

    def creative(self, page: Page) -> NDArray[np.int8] | None:
        """None: an ad of a feed has one creative."""
        return None

    def predict(self, page: Page) -> Rates:
        """The forecaster's rates; of candidates that stand on no shelf, made for just those."""
        feed, requests = self._feed, page.requests()
        whole = page.found.ads is None or page.found.shelf != NO_SHELF
        who = page.found.ads

        def truth() -> Rates:
            if whole:
                return feed.truth(requests.user, np.array([page.is_buying]))
            assert who is not None
            return feed.rates_of(requests.user, np.array([page.is_buying], np.float32), who)

        if self._is_own and not whole:
            assert who is not None
            share = float(page.is_buying) if self._knows_state else feed.config.users.buying_share
            believed = feed.rates_of(requests.user, np.array([share], np.float32), who)
            return feed.noisy.predict(self._seed, requests, believed)
        rates = TrueRates(truth)
        predicted = self._forecaster.predict(self._seed, requests, cast(Rates, rates))
        return predicted if self._is_own else _checked(predicted, _width(page, len(feed.advertisers)))


class ShopStages:
    """Stages of a shop: its own parts, or the learnt ones of its platform."""

    def __init__(self, shop: Shop, seed: int, forecaster: Forecaster | None = None) -> None:
        self._shop, self._seed = shop, seed
        self._is_own = forecaster is None or forecaster is shop.forecaster
        self._forecaster = shop.forecaster if forecaster is None else forecaster

    def requests(self, page: Page) -> Requests:
        """The page as the simulator has it."""
        return page.requests()

    def retrieve(self, page: Page) -> Found:
        """What the platform's retriever finds; without one, the ads on the user's shelf."""
        shop = self._shop
        if shop.platform.retriever is None:
            shelf = shop.feed.shelf_of(page.user)
            return Found(None) if shelf is None else Found(shop.feed.places.who[shelf : shelf + 1], shelf)
        found = shop.candidates(self._seed, page.day, np.array([page.user], np.int64))
        return Found(found)

    def state(self, page: Page) -> Belief:
        """What the state model makes of the events; without one, what the request tells. ``buying`` overrides the belief."""
        request, shop = page.request, self._shop
        belief = shop.belief(page.events(), np.array([page.is_buying]))
        guess = page.is_buying if shop.platform.state is None else bool(belief[0] >= 0.5)
        if request.buying is not None:
            belief = np.array([request.buying], np.float32)
        return Belief(belief, guess)

    def creative(self, page: Page) -> NDArray[np.int8] | None:
        """The picker's choice; without one, the first."""
        if self._shop.platform.picker is None:
            return None
        requests = self.requests(page)
        return self._shop.platform.picker.pick(
            self._seed, requests._replace(candidates=self._shop.candidates_of(requests))
        )

    def predict(self, page: Page) -> Rates:
        """The forecaster's rates."""
        shop, requests = self._shop, self.requests(page)
        truth = TrueRates(lambda: shop.rates(self._seed, requests, np.array([page.is_buying], np.float32)))
        predicted = self._forecaster.predict(self._seed, requests, cast(Rates, truth))
        return predicted if self._is_own else _checked(predicted, _width(page, len(shop.advertisers)))


class JourneyStages(ShopStages):
    """Stages of a journey: a shop's, of a page in a scene, for a user whose profile the request tells."""

    def __init__(self, journey: Shop, seed: int, forecaster: Forecaster | None = None) -> None:
        super().__init__(journey, seed, forecaster)
        assert isinstance(journey, Journey)
        self._journey, scenes = journey, journey.journey.scenes
        self._ad_of = {name: ad for ad, name in enumerate(journey.advertisers.names)}
        self._scene_of = {scene.name: place for place, scene in enumerate(scenes)}
        self._first = next(place for place, scene in enumerate(scenes) if scene.needs == "nothing")
        self._has_results = journey.results is not None  # asked now: the first page would wait for them to be made

    def scene(self, page: Page) -> int:
        """The page's scene, the first that needs nothing where the request names none."""
        told = page.request.scene
        return self._first if told is None else self._scene_of[told]

    def retrieve(self, page: Page) -> Found:
        """The candidates by the scene's rule; a search page gets its reserve, too."""
        journey, request = self._journey, page.request
        if self._is_search(page):
            return self._searched(page)
        rule = journey.journey.scenes[self.scene(page)].candidates
        about = request.bought if rule == "complement" else request.category
        listed = journey.listed(
            rule, np.array([-1 if about is None else about], np.int32), self._seed, page.day,
            np.array([page.user], np.int64),
        )  # fmt: skip
        return super().retrieve(page) if listed is None else Found(listed[:, listed[0] >= 0])

    def predict(self, page: Page) -> Rates:
        """The forecaster's rates. A search page with candidates that were brought to it gets its reserve first."""
        if page.request.candidates is not None and self._is_search(page):
            self._searched(page)
        return super().predict(page)

    def _is_search(self, page: Page) -> bool:
        """Whether the page is one of ranked results, where the world has those."""
        rule = self._journey.journey.scenes[self.scene(page)].candidates
        return rule == "category" and self._has_results

    def _searched(self, page: Page) -> Found:
        """What the page's search lists; its reserve is written to the page."""
        about = -1 if page.request.category is None else page.request.category
        who, reserve_micros = self._journey.searched(
            self.scene(page), np.array([about], np.int32), self._seed, page.day, page.tick,
            np.array([page.request.request], np.int64), np.array([page.user], np.int64),
        )  # fmt: skip
        page.reserve_micros = int(reserve_micros[0])
        return Found(who[:, who[0] >= 0])

    def requests(self, page: Page) -> Requests:
        """The page with its scene and what the profile tells of the user, and with contents where some are picked."""
        request, requests, brands = page.request, page.requests(), len(self._ad_of)
        who = self._journey.candidates_of(requests)
        marks, shown = np.zeros(brands, np.uint8), np.zeros(brands, np.int16)
        for column, told in ((marks, request.marks), (shown, request.shown)):
            for name, value in told.items():
                column[self._ad_of[name]] = value
        seen = requests._replace(
            scene=np.array([self.scene(page)], np.int8), stage=stage_of(marks[who]), shown=shown[who],
            bought=np.array([-1 if request.bought is None else request.bought], np.int32),
        )  # fmt: skip
        if page.content is None:
            page.content = self._journey.with_content(self._seed, seen).content
        return seen._replace(content=page.content)


def _width(page: Page, everybody: int) -> int:
    return everybody if page.found.ads is None else page.found.ads.shape[1]


def _checked(predicted: Rates, width: int) -> Rates:
    like = np.broadcast_to(np.float32(0.0), (1, width))
    return checked_rates(predicted, Rates(like, like))
