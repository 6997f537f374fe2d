"""A synthetic shop that people search: items with a past, sellers, queries, and what is true of them. A design of ours.

It stands on a shop's catalogue (``tribid.envs.catalogue.Items``), that of a scenario or one of its own. The past of an
item is drawn from the same truth that its future is, so that what is counted says something of what will happen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom, poisson

from tribid.envs.catalogue import Items, stock
from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.search.config import Search
from tribid.envs.search.shelf import Counts, Shelf

Floats = NDArray[np.float64]

_WORLD = 2**31 - 1
"""The "day" whose draws make the world; traffic has the days before it."""

_TITLE, _ATTRIBUTES, _SELLER, _HISTORY, _QUALITY, _SCORES, _QUERY = (k << 20 for k in range(1, 8))
"""First words of the draws of each kind."""

_TITLE_SHARE = 0.4
_SHARED_VOCABULARY = 2
"""So many neighbouring categories name their items with the same words (a case is for a phone or for glasses)."""


@dataclass(frozen=True)
class Queries:
    """Q kinds of queries: ``category`` [Q], ``words`` [Q, W], ``attributes`` [Q, T] (-1 asks for none), ``share`` [Q]."""

    category: NDArray[np.int32]
    words: NDArray[np.bool_]
    attributes: NDArray[np.int8]
    share: Floats

    def __len__(self) -> int:
        return len(self.category)


@dataclass(frozen=True)
class Hidden:
    """What no ranking sees of items [I]: ``quality`` and ``taste``, standard normals."""

    quality: Floats
    taste: Floats


@dataclass(frozen=True)
class SearchWorld:
    """Everything that a search scene is made of."""

    seed: int
    search: Search
    shelf: Shelf
    queries: Queries
    hidden: Hidden


def own_items(seed: int, items: int, categories: int, dims: int = 8) -> Items:
    """A catalogue for a scene that stands alone: ``items`` items with lognormal prices around 50."""
    ads = min(items, 1000)
    price = 50.0 * np.exp(0.7 * normals(seed, Stream.SEARCH, _WORLD, request=np.arange(ads))[:, 0])
    return stock(seed, items, categories, dims, 1.0, np.arange(ads) % categories, price)


def search_world(seed: int, search: Search, items: Items) -> SearchWorld:
    """The world of these items; the same arguments give the same world."""
    index, count = np.arange(len(items)), len(items)
    words = _title_words(seed, search, items.category)
    drawn = normals(seed, Stream.SEARCH, _WORLD, request=index, ad=_QUALITY)
    seller = (uniforms(seed, Stream.SEARCH, _WORLD, request=index, ad=_SELLER)[:, 0] * search.sellers).astype(np.int32)
    of_sellers = normals(seed, Stream.SEARCH, _WORLD, request=np.arange(search.sellers), ad=_SCORES)
    quality = 0.6 * of_sellers[seller, 0] + 0.8 * drawn[:, 0]
    hidden = Hidden(quality, drawn[:, 1])
    values = uniforms(
        seed, Stream.SEARCH, _WORLD, request=index[:, None], ad=_ATTRIBUTES + np.arange(search.attributes)
    )
    shelf = Shelf(
        category=items.category,
        price_micros=np.rint(items.price.astype(np.float64) * 1e6).astype(np.int64),
        seller=seller,
        words=words,
        attributes=(values[..., 0] * search.attribute_values).astype(np.int8),
        interests=items.interests,
        shelf_hour=24.0 * search.shelf_days * uniforms(seed, Stream.SEARCH, _WORLD, request=index, ad=_SELLER)[:, 1],
        service_scores=np.clip(4.4 + 0.25 * of_sellers[:, :1] + 0.15 * of_sellers[:, 1:4], 1.0, 5.0),
        mobile_ready=uniforms(seed, Stream.SEARCH, _WORLD, request=index, ad=_SELLER)[:, 2] < 0.5,
        **_history(seed, search, items, hidden, count),
    )
    return SearchWorld(seed, search, shelf, _queries(seed, search, items), hidden)


def _vocabulary(search: Search, category: NDArray[np.int32]) -> NDArray[np.int64]:
    """Columns [n, words] of the words with which these categories' items are named."""
    columns: NDArray[np.int64] = (category[:, None] // _SHARED_VOCABULARY) * search.words + np.arange(search.words)
    return columns


def _all_words(search: Search, category: NDArray[np.int32]) -> int:
    return (int(category.max()) // _SHARED_VOCABULARY + 1) * search.words


def _title_words(seed: int, search: Search, category: NDArray[np.int32]) -> NDArray[np.bool_]:
    index = np.arange(len(category))
    drawn = uniforms(seed, Stream.SEARCH, _WORLD, request=index[:, None], ad=_TITLE + np.arange(search.words))[..., 0]
    words = np.zeros((len(category), _all_words(search, category)), bool)
    np.put_along_axis(words, _vocabulary(search, category), drawn < _TITLE_SHARE, axis=1)
    return words


def _queries(seed: int, search: Search, items: Items) -> Queries:
    """Queries of one to three words in a category of the catalogue, some with attributes; few are asked often (Zipf)."""
    index = np.arange(search.queries)
    drawn = uniforms(seed, Stream.SEARCH, _WORLD, request=index, ad=_QUERY)
    category = items.category[(drawn[:, 0] * len(items)).astype(np.int64)]
    picks = uniforms(seed, Stream.SEARCH, _WORLD, request=index[:, None], ad=_QUERY + 1 + np.arange(search.words))[
        ..., 0
    ]
    asked = np.argsort(np.argsort(picks, axis=1), axis=1) < 1 + (drawn[:, 1:2] * 3).astype(np.int64)
    words = np.zeros((search.queries, _all_words(search, items.category)), bool)
    np.put_along_axis(words, _vocabulary(search, category), asked, axis=1)
    wants = uniforms(
        seed, Stream.SEARCH, _WORLD, request=index[:, None], ad=_QUERY + 1000 + np.arange(search.attributes)
    )
    value = (wants[..., 1] * search.attribute_values).astype(np.int8)
    share = 1.0 / (1.0 + index)
    return Queries(category, words, np.where(wants[..., 0] < 0.3, value, np.int8(-1)), share / share.sum())


def _history(seed: int, search: Search, items: Items, hidden: Hidden, count: int) -> dict[str, Any]:
    """The counts of each item's past, each drawn by inverting its distribution at one uniform."""
    u = uniforms(seed, Stream.SEARCH, _WORLD, request=np.arange(count)[:, None], ad=_HISTORY + np.arange(4)).reshape(
        count, 16
    )
    law, quality, mobile = search.shoppers, hidden.quality, search.mobile.share

    def some(column: int, trials: Counts, chance: Floats | float) -> Counts:
        drawn: Counts = binom.ppf(u[:, column], trials, chance).astype(np.int64)
        return drawn

    appeal = np.exp(law.taste_spread * hidden.taste + law.click_quality * quality)
    mean = search.history_clicks * items.weight.astype(np.float64) * appeal
    clicks = poisson.ppf(u[:, 0], mean / np.exp(0.5)).astype(np.int64)
    median = float(np.median(items.price))
    odds = law.order_base + law.order_relevance + law.order_quality * quality
    orders = some(1, clicks, expit(odds + law.order_price * np.log(items.price.astype(np.float64) / median)))
    rated = some(2, orders, 0.4)
    mobile_clicks = some(3, clicks, mobile)
    return {
        "clicks": clicks,
        "orders": orders,
        "returned": some(4, orders, expit(-2.2 - 0.6 * quality)),
        "rated": rated,
        "praised": some(5, rated, expit(1.8 + 0.7 * quality)),
        "bounced": some(6, clicks, expit(law.bounce_base - 1.0 - 0.5 * quality)),
        "dwell_s": np.rint(clicks * 45.0 * np.exp(0.3 * quality + 0.2 * (u[:, 7] - 0.5))),
        "favourited": some(8, clicks, expit(-3.0 + 0.3 * quality + 0.3 * hidden.taste)),
        "carted": some(9, clicks, expit(-2.5 + 0.4 * quality)),
        "week_orders": some(10, orders, expit(-2.5 + law.taste_spread * hidden.taste)),
        "mobile_clicks": mobile_clicks,
        "mobile_orders": np.minimum(some(11, orders, mobile), mobile_clicks),
    }  # fmt: skip
