"""What stands in for a stage that has no time left or has failed."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.feed import Feed
from tribid.envs.platform import Rates
from tribid.envs.shop import Shop
from tribid.ranker.page import Belief, Found, Page

NAMES = {
    "retrieve": "popularity", "state": "prior", "creative": "first", "predict": "last_known", "bid": "base_bid"
}  # fmt: skip
"""The fallback of each stage that has one, as decisions name it: ``"predict:last_known"``."""


class Fallbacks:
    """Answers that cost next to nothing.

    ``popularity`` offers the ads with the most clicks so far today, as many as retrieval finds (ties, and everybody before
    the first click, by mean predicted click rate); ``prior`` believes the scenario's share of buying visits; ``first``
    shows every ad's first creative; ``last_known`` gives each ad its last prediction for a visit in the same state, its mean
    one before there is any; ``base_bid`` bids with multiplier 1.
    """

    def __init__(self, world: Feed | Shop) -> None:
        feed = world.feed if isinstance(world, Shop) else world
        self._mean_pctr = world.advertisers.mean_pctr
        self._share, self._is_asked = feed.config.users.buying_share, isinstance(world, Shop) or feed.is_dynamic
        wanted = feed.config.retrieval
        self._everybody = len(world.advertisers)
        self._count = self._everybody if wanted is None else min(wanted.candidates, self._everybody)
        self._means = (world.advertisers.mean_pctr, world.advertisers.mean_pcvr)
        self.forget()
        self.popular = self._most_popular(np.zeros(self._everybody))

    def forget(self) -> None:
        """Know no predictions but the mean ones, as at first."""
        self._last = [np.tile(np.clip(rate, 0.0, 1.0).astype(np.float32), (2, 1)) for rate in self._means]

    def learn(self, page: Page, predicted: Rates) -> None:
        """Remember predictions of a page that had them made."""
        state, who = int(page.is_buying), page.found.ads
        for last, rate in zip(self._last, predicted, strict=True):
            last[state, slice(None) if who is None else who[0]] = rate[0]

    def count_clicks(self, clicks: NDArray[np.float64]) -> None:
        """Make the list of popular ads anew from everybody's clicks [A]."""
        self.popular = self._most_popular(clicks)

    def retrieve(self, page: Page) -> Found:
        """``popularity``."""
        return Found(self.popular)

    def state(self, page: Page) -> Belief:
        """``prior``; what the request itself tells still counts."""
        told = page.request.buying
        belief = self._share if told is None else told
        return Belief(np.array([belief], np.float32) if self._is_asked else None, page.is_buying)

    def creative(self, page: Page) -> NDArray[np.int8] | None:
        """``first``."""
        return None

    def predict(self, page: Page) -> Rates:
        """``last_known``."""
        state, who = int(page.is_buying), page.found.ads
        own = slice(None) if who is None else who[0]
        return Rates(*(last[state, own][None].copy() for last in self._last))

    def bid(self, page: Page) -> NDArray[np.float64]:
        """``base_bid``."""
        return np.ones(self._everybody if page.found.ads is None else page.found.ads.shape[1])

    def _most_popular(self, clicks: NDArray[np.float64]) -> NDArray[np.int32]:
        order = np.lexsort((-self._mean_pctr, -clicks))
        return np.ascontiguousarray(order[: self._count].astype(np.int32)[None])
