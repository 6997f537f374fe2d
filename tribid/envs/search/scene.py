"""The search scene: what a query brings up, in which order, and the page that it becomes with ads.

Listing, candidates and price bands depend on the world alone and are worked out once. A ranking is a sum of factors by
weights, one row at a time, so that a search's results do not depend on what else is in the batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.auctions.merge import Guardrails, Merged, merge
from tribid.envs.catalogue import Items
from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.search import factors
from tribid.envs.search.config import FactorWeights, Merge, Search
from tribid.envs.search.shelf import PriceModel, price_model
from tribid.envs.search.truth import Searches, SearchRates, true_rates
from tribid.envs.search.world import SearchWorld, own_items, search_world

Floats = NDArray[np.float64]

_TIE_DAY = 2**31 - 3
_WHO = 2**31 + 1
"""The "ad" of the draws that say who searches, beyond all items."""


@dataclass(frozen=True)
class Ranked:
    """Organic results [B, K]: items, best first (-1 where there are no more), and their scores (-inf there)."""

    items: NDArray[np.int64]
    score: Floats


@dataclass(frozen=True)
class Page:
    """Pages [B, K] of organic results and ads: the ``item`` of each place (-1 for none) and whether it ``is_ad``."""

    item: NDArray[np.int64]
    is_ad: NDArray[np.bool_]
    merged: Merged


class SearchScene:
    """A search scene of a world. ``listed`` [I] is false below the price floor; ``candidates`` [Q, N] is padded by -1."""

    def __init__(self, world: SearchWorld) -> None:
        self.world, self.search = world, world.search
        self.prices: PriceModel = price_model(world.shelf, world.search.prices)
        self.listed = self.prices.listed(world.shelf)
        self.candidates = _candidates(world, self.listed)
        self.weights = weight_vector(world.search)

    @classmethod
    def of(
        cls, search: Search, seed: int, items: Items | None = None, *, count: int = 2000, categories: int = 6
    ) -> "SearchScene":
        """A scene on a shop's items, or on a catalogue of its own of ``count`` items."""
        return cls(search_world(seed, search, items if items is not None else own_items(seed, count, categories)))

    def searches(self, seed: int, day: int, count: int, first: int = 0) -> Searches:
        """Searches ``first`` ... of a day: query, user, device and hour are drawn; the same numbers give the same ones."""
        request = first + np.arange(count, dtype=np.int64)
        drawn = uniforms(seed, Stream.SEARCH, day, request=request, ad=_WHO)
        dims = self.world.shelf.interests.shape[1]
        words = np.arange(1, 1 + -(-dims // 4))
        who = normals(seed, Stream.SEARCH, day, request=request[:, None], ad=_WHO + words).reshape(count, -1)[:, :dims]
        query = np.searchsorted(np.cumsum(self.world.queries.share), drawn[:, 0], side="right")
        return Searches(
            seed=seed, day=day, request=request, query=np.minimum(query, len(self.world.queries) - 1),
            interests=who, mobile=drawn[:, 1] < self.search.mobile.share, hour=24.0 * (day + drawn[:, 2]),
        )  # fmt: skip

    def queries_for(self, category: NDArray[np.int64], draw: Floats) -> NDArray[np.int64]:
        """A kind of query in each of these categories [B], by its share and a uniform draw [B]; -1 where there is none.

        For a world in which a user's need leads to a search.
        """
        query = np.full(len(category), -1)
        for c in np.unique(category):
            known, rows = np.flatnonzero(self.world.queries.category == c), category == c
            if len(known):
                share = np.cumsum(self.world.queries.share[known])
                query[rows] = known[
                    np.searchsorted(share, draw[rows] * share[-1], side="right").clip(max=len(known) - 1)
                ]
        return query

    def features(self, searches: Searches, items: NDArray[np.int64]) -> Floats:
        """All factors [B, N, 20] of ``items`` [B, N], in the order of ``factors.NAMES``, as they count on each device."""
        queries = self.world.queries
        facts = self.world.shelf.facts(items, searches.hour, self.search, self.prices) | {
            "asked_words": queries.words[searches.query][:, None],
            "asked_category": queries.category[searches.query][:, None],
            "asked_attributes": queries.attributes[searches.query][:, None],
            "interests_of_user": searches.interests[:, None],
        }
        return factors.features(facts, searches.mobile[:, None], self.search.mobile.discount)

    def organic(self, searches: Searches, weights: ArrayLike | None = None, places: int | None = None) -> Ranked:
        """The best ``places`` (the scenario's ``results``) of each search by ``weights`` [20] (the scenario's)."""
        items = self.candidates[searches.query]
        return ranked(
            items,
            self.features(searches, items),
            checked_weights(self.weights if weights is None else weights),
            places or self.search.results,
        )

    def rates(self, searches: Searches, items: NDArray[np.int64]) -> SearchRates:
        """What is true of these items as results."""
        return true_rates(self.world, searches, items)

    def page(
        self, organic: Ranked, engagement: Floats, ads: NDArray[np.int64], revenue_micros: Floats, ad_engagement: Floats,
        *, pctr: Floats | None = None, alpha: float | None = None,
    ) -> Page:  # fmt: skip
        """Organic results [B, K], whose ``engagement`` is predicted, and ``ads`` [B, A] (-1 for none) in one page.

        The ads' ``revenue_micros`` and engagement are per view. An item under its category's floor is no ad either, and an
        item that is shown as an ad may be among the results, too. ``alpha`` takes the place of the scenario's.
        """
        rule = self.search.merge
        fine = (ads >= 0) & self.listed[ads]
        merged = merge(
            revenue_micros, ad_engagement, engagement, alpha=rule.alpha if alpha is None else alpha,
            slots=self.search.results, rails=guardrails(rule), pctr=pctr, ads=fine, results=organic.items >= 0,
        )  # fmt: skip
        rows = np.arange(len(ads))[:, None]
        item = np.where(merged.organic >= 0, organic.items[rows, merged.organic], -1)
        is_ad = merged.ad >= 0
        return Page(np.where(is_ad, ads[rows, merged.ad], item) if ads.shape[1] else item, is_ad, merged)


def best_places(items: NDArray[np.int64], of_features: Floats, weights: Floats, places: int) -> NDArray[np.int64]:
    """Where among ``items`` [B, N] those of the highest scores stand, best first, [B, places]; equal ones by item number."""
    total = np.where(items >= 0, factors.score(of_features, weights), -np.inf)
    return np.lexsort((items, -total), axis=1)[:, :places]


def ranked(items: NDArray[np.int64], of_features: Floats, weights: Floats, places: int) -> Ranked:
    """The ``places`` items [B, N] of the highest scores, best first."""
    best = best_places(items, of_features, weights, places)
    rows = np.arange(len(items))[:, None]
    total = np.where(items >= 0, factors.score(of_features, weights), -np.inf)
    return Ranked(items[rows, best], total[rows, best])


def weight_vector(search: Search) -> Floats:
    """A scenario's weights [20] in the order of ``factors.NAMES``."""
    own = search.mobile
    return np.array(
        [*(getattr(search.weights, name) for name in factors.FACTORS), own.sales, own.conversion, own.bonus]
    )


def with_weights(search: Search, weights: ArrayLike) -> Search:
    """The scenario's search with these weights [20], such as learnt ones."""
    values = dict(zip(factors.NAMES, checked_weights(weights).tolist(), strict=True))
    own = {name.removeprefix("mobile_"): values.pop(name) for name in factors.MOBILE_FACTORS}
    mobile = search.mobile.model_copy(update=own)
    return search.model_copy(update={"weights": FactorWeights(**values), "mobile": mobile})


def checked_weights(weights: ArrayLike) -> Floats:
    """Weights as an array; ``ValueError`` names the factor whose weight is no finite number."""
    given = np.asarray(weights, np.float64)
    if given.shape != (len(factors.NAMES),):
        raise ValueError(f"weights have shape {given.shape}; allowed is one for each of {', '.join(factors.NAMES)}")
    wrong = ~np.isfinite(given)
    if wrong.any():
        raise ValueError(
            f"weight of {factors.NAMES[int(wrong.argmax())]} is {given[wrong][0]}; allowed is a finite number"
        )
    return given


def guardrails(rule: Merge) -> Guardrails:
    """A scenario's guardrails as the merge takes them."""
    return Guardrails(
        top_slot=rule.top_slot, min_gap=rule.min_gap, max_ads=rule.max_ads, beta=rule.beta, gap_form=rule.gap_form
    )


def _candidates(world: SearchWorld, listed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Listed items [Q, N] that share a word with a query or lie in its category: those with a word first, drawn at random.

    It is coarse on purpose: the ranking has to tell these apart.
    """
    queries, shelf, index = world.queries, world.shelf, np.flatnonzero(listed)
    out = np.full((len(queries), world.search.candidates), -1, np.int64)
    tie = uniforms(world.seed, Stream.SEARCH, _TIE_DAY, request=index)[:, 0]
    for q in range(len(queries)):
        word = np.asarray(shelf.words[index][:, queries.words[q]].any(axis=1))
        near = np.flatnonzero(word | (shelf.category[index] == queries.category[q]))
        best = index[near[np.lexsort((tie[near], ~word[near]))][: world.search.candidates]]
        out[q, : len(best)] = best
    return out
