"""Scores of a search scene's items by query, with what is the same in every search worked out once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs.places import NOBODY
from tribid.envs.search import factors
from tribid.envs.search.scene import SearchScene
from tribid.envs.search.shelf import hours_left
from tribid.envs.search.truth import Searches

Floats = NDArray[np.float64]

_OFF_SHELF, _PERSONAL = factors.NAMES.index("off_shelf"), factors.NAMES.index("personal")


class Scores:
    """Scores of ``items`` [Q, N], a row for each query (``NOBODY`` where there is none); rows are put in order of number.

    Of all factors only nearness to going off the shelf and the match with the user change from search to search; the sum
    of the others is kept for either device. So scores are the scene's own up to the rounding of a sum in another order.
    """

    def __init__(self, scene: SearchScene, items: NDArray[np.int64]) -> None:
        self.items = items = np.sort(items, axis=1)
        weights, shelf, there = scene.weights.copy(), scene.world.shelf, np.maximum(items, 0)
        self._period = 24.0 * scene.search.shelf_days
        self._shelf_weight = weights[_OFF_SHELF]
        self._direction = weights[_PERSONAL] * _unit(shelf.interests[there])
        self._counts = np.array([1.0, scene.search.mobile.discount])
        weights[[_OFF_SHELF, _PERSONAL]] = 0.0
        devices = (False, True)
        lasting = np.stack([factors.score(scene.features(_nobodys(scene, one), items), weights) for one in devices])
        self._lasting = np.where(items == NOBODY, -np.inf, lasting)
        self._shelf_hour = shelf.shelf_hour[there]

    def of(self, searches: Searches) -> Floats:
        """The scores [B, N] of the items of each search's query; -inf where there is none."""
        query, device = searches.query, searches.mobile.astype(np.int64)
        left = hours_left(self._shelf_hour[query], searches.hour[:, None], self._period)
        changing = self._shelf_weight * factors.off_shelf(left, self._period)
        changing += (_unit(searches.interests)[:, None] * self._direction[query]).sum(axis=2)
        score: Floats = self._lasting[device, query] + self._counts[device][:, None] * changing
        return score

    def best(self, searches: Searches, places: int) -> NDArray[np.int64]:
        """The items of the highest scores [B, places], best first, equal ones by number; at most N places."""
        order = np.argsort(-self.of(searches), axis=1, kind="stable")[:, :places]
        return np.take_along_axis(self.items[searches.query], order, axis=1)


def _unit(interests: NDArray[Any]) -> Floats:
    """Interests [..., d] at length 1, as ``factors.personal`` compares them; nothing stays nothing."""
    given = np.asarray(interests, np.float64)
    length = np.sqrt((given * given).sum(axis=-1, keepdims=True))
    unit: Floats = given / np.where(length > 0.0, length, 1.0)
    return unit


def _nobodys(scene: SearchScene, on_mobile: bool) -> Searches:
    """Each query once, by a user of whom nothing is known."""
    count = len(scene.world.queries)
    return Searches(
        seed=0, day=0, request=np.arange(count), query=np.arange(count), mobile=np.full(count, on_mobile),
        interests=np.zeros((count, scene.world.shelf.interests.shape[1])), hour=np.zeros(count),
    )  # fmt: skip
