"""What a page of search is worth to each side, in expectation over the clicks: users, platform, sellers.

All is worked out from the true rates, so that two rankings of the same searches differ by the ranking alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.auctions import gsp
from tribid.envs.chance import Stream, normals
from tribid.envs.search.scene import Page, Ranked, SearchScene, best_places
from tribid.envs.search.truth import Searches, click_chance
from tribid.evaluation.inequality import jain
from tribid.models.search.measures import ndcg

Floats = NDArray[np.float64]

_BID_DAY, _ERROR_DAY = 2**31 - 5, 2**30
_BASE_SHARE = 0.1
"""What an advertiser bids of an order's price, times its chance; spread by a lognormal factor."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What pages bring, each [B]: per search, in expectation; money in micros. ``by_seller`` [S] is GMV of them all.

    ``relevance`` and ``wanted`` are nDCG of the organic ranking, by true relevance and by the chance of an order;
    ``satisfied`` are clicks that do not leave at once; ``net`` is what sellers keep of ``gmv`` after the platform's
    commission and their ads.
    """

    relevance: Floats
    wanted: Floats
    clicks: Floats
    satisfied: Floats
    orders: Floats
    gmv: Floats
    ad_revenue: Floats
    commission: Floats
    by_seller: Floats

    @property
    def net(self) -> Floats:
        """What sellers keep."""
        return self.gmv - self.ad_revenue - self.commission

    @property
    def income(self) -> Floats:
        """What the platform takes."""
        return self.ad_revenue + self.commission

    def sides(self) -> dict[str, float]:
        """The measures of each side; rates are of clicks, money is micros per search, fairness is Jain's index of GMV."""
        clicks = float(self.clicks.sum())
        return {
            "user nDCG": float(self.relevance.mean()),
            "user nDCG of orders": float(self.wanted.mean()),
            "user clicks": float(self.clicks.mean()),
            "user CVR": float(self.orders.sum()) / clicks,
            "user bounce": 1.0 - float(self.satisfied.sum()) / clicks,
            "platform revenue": float(self.income.mean()),
            "platform GMV": float(self.gmv.mean()),
            "seller net": float(self.net.mean()),
            "seller fairness": jain(self.by_seller),
        }


@dataclass(frozen=True)
class Ads:
    """The ads of searches [B, A]: items (-1 for none), predicted click rate and engagement, and GSP's price per click."""

    item: NDArray[np.int64]
    pctr: Floats
    engagement: Floats
    price_micros: NDArray[np.int64]


class Market:
    """Searches of a scene with all that is true of their candidates, so that many rankings of them are cheap to compare.

    Items below ``advertised`` are ads, too: on a search that brings them up they bid a share of what an order is worth,
    and the best ``most`` by GSP may be shown. Predictions are the truth times a lognormal error of log-scale ``error``.
    """

    def __init__(
        self, scene: SearchScene, searches: Searches, *, advertised: int = 400, most: int = 5, error: float = 0.2
    ) -> None:
        self.scene, self.searches = scene, searches
        self.items = scene.candidates[searches.query]
        self.features = scene.features(searches, self.items)
        self.rates = scene.rates(searches, self.items)
        noise = normals(
            searches.seed, Stream.SEARCH, _ERROR_DAY + searches.day, request=searches.request[:, None], ad=self.items
        )
        self.pctr = np.minimum(self.rates.appeal * np.exp(error * noise[..., 0] - 0.5 * error**2), 1.0)
        self.engagement = self.pctr * (1.0 - self.rates.bounce)
        self.ads = self._auction(advertised, most)

    def _auction(self, advertised: int, most: int) -> Ads:
        shelf = self.scene.world.shelf
        generous = np.exp(
            0.5 * normals(self.scene.world.seed, Stream.SEARCH, _BID_DAY, request=np.arange(len(shelf)))[:, 0]
        )
        worth = _BASE_SHARE * shelf.price_micros * (shelf.orders + 1.0) / (shelf.clicks + 20.0) * generous
        bids = np.where((self.items >= 0) & (self.items < advertised), worth[self.items], 0.0).astype(np.int64)
        sold = gsp(bids, self.pctr, np.ones(min(most, bids.shape[1])))
        rows, won = np.arange(len(bids))[:, None], sold.winner >= 0
        item = np.where(won, self.items[rows, sold.winner], -1)
        return Ads(item, self._at(self.pctr, sold.winner), self._at(self.engagement, sold.winner), sold.price_micros)

    def _at(self, values: Floats, place: NDArray[np.int64]) -> Floats:
        return np.where(place >= 0, np.take_along_axis(values, np.maximum(place, 0), axis=1), 0.0)

    def page(self, weights: Floats, alpha: float | None = None) -> Page:
        """The pages by these weights [20], ads merged by the shadow bid ``alpha`` (the scenario's)."""
        place = self._order(weights)
        organic = Ranked(np.take_along_axis(self.items, place, axis=1), np.zeros(place.shape))
        ads = self.ads
        return self.scene.page(
            organic, np.take_along_axis(self.engagement, place, axis=1), ads.item, ads.pctr * ads.price_micros,
            ads.engagement, pctr=ads.pctr, alpha=alpha,
        )  # fmt: skip

    def outcome(self, weights: Floats, alpha: float | None = None) -> Outcome:
        """What those pages bring."""
        return self.judged(weights, self.page(weights, alpha))

    def judged(self, weights: Floats, page: Page) -> Outcome:
        """What given pages bring, ``weights`` having ranked their organic results."""
        world, place, wanted = self.scene.world, self._order(weights), self.rates.appeal * self.rates.order
        rates = self.scene.rates(self.searches, page.item)
        clicks = click_chance(self.scene.search, rates.appeal)
        orders = clicks * rates.order
        gmv = orders * np.where(page.item >= 0, world.shelf.price_micros[page.item], 0)
        price = self._at(self.ads.price_micros.astype(np.float64), page.merged.ad)
        shown = page.item >= 0
        return Outcome(
            relevance=ndcg(np.take_along_axis(self.rates.relevance, place, axis=1), self.rates.relevance),
            wanted=ndcg(np.take_along_axis(wanted, place, axis=1), wanted),
            clicks=clicks.sum(axis=1),
            satisfied=(clicks * (1.0 - rates.bounce)).sum(axis=1),
            orders=orders.sum(axis=1),
            gmv=gmv.sum(axis=1),
            ad_revenue=(clicks * price).sum(axis=1),
            commission=self.scene.search.commission * gmv.sum(axis=1),
            by_seller=_summed(world.shelf.seller[page.item[shown]], gmv[shown], len(world.shelf.service_scores)),
        )

    def _order(self, weights: Floats) -> NDArray[np.int64]:
        """Where among the candidates each of the best results is, [B, K], as ``SearchScene.organic`` orders them."""
        return best_places(self.items, self.features, weights, self.scene.search.results)


def _summed(group: NDArray[np.int32], values: Floats, groups: int) -> Floats:
    total: Floats = np.bincount(group, weights=values, minlength=groups).astype(np.float64)
    return total
