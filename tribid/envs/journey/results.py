"""Search pages of a journey: what a search asks for, the ads that it lists, and the least bid that earns a place. Ours.

A search page is that of a ``SearchScene`` on the shop's catalogue: organic results by the search score, and ads among
them by the shadow bid (``tribid.auctions.merge``). A market settles its auctions before pages are merged, so an ad that
would lose to the result beside it must not win at all. An ad is clicked with the chance ``p`` and engages, clicked and not
left at once, with ``u``; paid for with ``b`` a click, it is worth its place where ``theta (b p + alpha u) > alpha
u_organic``: its own least bid is ``alpha (u_organic / theta - u) / p``. Results and ads are measured alike, by what is
true in the search scene: a prediction without an error, and not the market's own click rate, which knows of no query. An
auction has one reserve for all its candidates. It is raised to the least bid at which most of them would stand by what
they usually bid, and those who would have to bid more are no candidates.

Exact: a merge of the page shows every ad that wins, for none pays less than the reserve. Approximate: an ad is left out
that would have bid more than it usually does, and every ad has to beat the results beside all of the page's ad places.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.auctions.merge import GAP_FORMS
from tribid.auctions.score import MAX_MICROS
from tribid.envs.chance import Stream, uniforms
from tribid.envs.journey.scores import Scores
from tribid.envs.places import NOBODY
from tribid.envs.search.config import Search
from tribid.envs.search.scene import SearchScene
from tribid.envs.search.truth import Searches

Floats = NDArray[np.float64]

_ASKED = 2**30
"""The "ad" of the draws that say what is asked for: beyond all items, below a search's other draws for its request."""


class Listed(NamedTuple):
    """Of B searches: candidates ``who`` [B, N] by score (``NOBODY`` where a place is empty), ``reserve_micros`` [B]."""

    who: NDArray[np.int32]
    reserve_micros: NDArray[np.int64]


class Results:
    """The search pages of a world in which the item of a brand's number is the brand's ad.

    ``own`` [C + 1, W] are the brands of each category (``NOBODY`` behind the end; row -1: none), ``bid_micros`` [A] what
    each usually bids a click, ``reserve_micros`` the scenario's least bid.
    """

    def __init__(self, scene: SearchScene, own: NDArray[np.int32], bid_micros: Floats, reserve_micros: int) -> None:
        self.scene = scene
        fine = np.where((own != NOBODY) & scene.listed[own], own, NOBODY).astype(np.int64)
        self._own = np.take_along_axis(fine, np.argsort(fine == NOBODY, axis=1, kind="stable"), axis=1)
        self._ads = Scores(scene, self._own[scene.world.queries.category])
        self._organic = Scores(scene, scene.candidates)
        self._bid_micros, self._reserve_micros = bid_micros, reserve_micros
        self._queries, self._shares = _by_category(scene, len(own))

    def searches(
        self, seed: int, day: int, hour: float, request: NDArray[np.int64], category: NDArray[np.int32],
        interests: Floats,
    ) -> Searches:  # fmt: skip
        """What requests [B] of users with these interests [B, d] ask for in these categories [B].

        The query, -1 in a category that has none, is a pure function of seed, day, request and category: that of
        ``SearchScene.queries_for`` at a draw of the request's own.
        """
        drawn = uniforms(seed, Stream.SEARCH, day, request, _ASKED)
        shares = self._shares[category]
        place = (shares <= (drawn[:, 0] * shares[:, -1])[:, None]).sum(axis=1)
        return Searches(
            seed=seed, day=day, request=request, query=self._queries[category, place], interests=interests,
            mobile=drawn[:, 1] < self.scene.search.mobile.share, hour=np.full(len(request), hour),
        )  # fmt: skip

    def listed(self, searches: Searches, category: NDArray[np.int32], slots: int, width: int) -> Listed:
        """At most ``width`` ads of each search [B] in the order of its score, for a page of so many slots.

        They are of the searched category [B], and none is below its floor. Where no query is known, the first of
        them come at the scenario's reserve: there are no results that they could lose to.
        """
        who = np.full((len(searches), width), NOBODY, np.int32)
        reserve = np.full(len(searches), self._reserve_micros, np.int64)
        known = searches.query >= 0
        if not known.all():
            own = self._own[category[~known], :width]
            who[~known, : own.shape[1]] = own
        if known.any():
            asked = searches.part(np.flatnonzero(known))
            ads = self._ads.best(asked, width)
            least = np.maximum(self.least_bids(asked, ads, slots), self._reserve_micros)
            shared = shared_reserve(least, np.where(ads == NOBODY, -1.0, self._bid_micros[ads]))
            stands = (least <= shared[:, None]) & (least < MAX_MICROS)
            who[known, : ads.shape[1]] = np.where(stands, ads, NOBODY)
            reserve[known] = np.where(stands.any(axis=1), shared, self._reserve_micros)
        return Listed(who, reserve)

    def least_bids(self, searches: Searches, ads: NDArray[np.int64], slots: int) -> NDArray[np.int64]:
        """The least micros a click [B, N] at which each ad beats the results beside all places of so many ads.

        ``MAX_MICROS`` for nobody, and for ads for which the page has no room within the guardrails.
        """
        rule, scene = self.scene.search.merge, self.scene
        beside = rule.top_slot - 1 + rule.min_gap * np.arange(slots)
        results = self._organic.best(searches, int(beside[-1]) + 1)
        count = (results != NOBODY).sum(axis=1)
        results = np.where(beside < count[:, None], results[:, np.minimum(beside, results.shape[1] - 1)], NOBODY)
        rates = scene.rates(searches, np.hstack([results, ads]))
        engagement = rates.appeal * (1.0 - rates.bounce)
        rival, engages, clicked = engagement[:, :slots], engagement[:, slots:], rates.appeal[:, slots:]
        above = np.minimum(count, rule.top_slot - 1)
        gap = np.where(np.arange(slots) == 0, above[:, None], rule.min_gap)
        theta = GAP_FORMS[rule.gap_form](np.exp(rule.beta * gap)[:, None, :], clicked[:, :, None])
        short = (rival[:, None, :] / theta).max(axis=2) - engages
        room = 1 + (count - above) // rule.min_gap if rule.min_gap else np.full(len(ads), slots)
        fits = (clicked > 0.0) & ((np.arange(ads.shape[1]) < room[:, None]) | (room >= slots)[:, None])
        least = rule.alpha * short / np.where(fits, clicked, 1.0)
        micros = np.floor(np.clip(least, 0.0, MAX_MICROS - 1.0)).astype(np.int64) + 1
        return np.where(fits, micros, MAX_MICROS)


def _by_category(scene: SearchScene, rows: int) -> tuple[NDArray[np.int64], Floats]:
    """The queries [C + 1, M + 1] of each category, -1 behind the end, and their cumulated shares [C + 1, M]."""
    asked = [np.flatnonzero(scene.world.queries.category == category) for category in range(rows - 1)]
    most = max(map(len, asked))
    queries, shares = np.full((rows, most + 1), -1), np.zeros((rows, most))
    for category, known in enumerate(asked):
        if len(known):
            queries[category, : len(known)] = known
            shares[category] = np.pad(np.cumsum(scene.world.queries.share[known]), (0, most - len(known)), mode="edge")
    return queries, shares


def shared_reserve(least: NDArray[np.int64], bid: Floats) -> NDArray[np.int64]:
    """The reserve [B] at which most candidates [B, N] stand: their own least bid is no higher, and what they bid no lower.

    It is one of the least bids: the lowest of those that serve as many.

    >>> shared_reserve(np.array([[10, 30, 50]]), np.array([[40.0, 60.0, 20.0]]))  # the first two at 30
    array([30])
    """
    reserve = np.sort(least, axis=1)
    stands = (least[:, None, :] <= reserve[:, :, None]) & (bid[:, None, :] >= reserve[:, :, None])
    best = stands.sum(axis=2).argmax(axis=1)
    return np.take_along_axis(reserve, best[:, None], axis=1)[:, 0]


def check_merge(search: Search, slots: int, scene: str) -> None:
    """Raise ``ValueError`` for guardrails that leave no place for an ad in each slot of a scene, or that no merge takes."""
    rule = search.merge
    if rule.max_ads < slots:
        raise ValueError(
            f"search.merge.max_ads is {rule.max_ads}; allowed is at least {slots}, the slots of scene {scene}"
        )
    last = rule.top_slot + (slots - 1) * (rule.min_gap + 1)
    if last > search.results:
        raise ValueError(
            f"search.results is {search.results}; allowed is at least {last}, the last place of an ad in scene {scene} "
            f"by search.merge.top_slot and min_gap"
        )
    if abs(rule.beta) * search.results > 300.0:
        raise ValueError(
            f"search.merge.beta is {rule.beta} over {search.results} results; allowed is a product of at most 300"
        )
