"""What a stored profile says of a user: features for the model, and the standing that the rules ask for."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tribid.envs.actions import Action
from tribid.envs.stages import STAGES, stage_of
from tribid.models.actions.examples import DAY_MS
from tribid.models.actions.features import BRANDS, COUNTS, FLAGS, LONGEST_DAYS, feature_names
from tribid.models.actions.rules import Standing
from tribid.ranker.profile.messages import Profile

HALF_LIFE_DAYS: Final = 14.0
"""After so long, a behaviour counts half."""

_WEIGHTS: Final = (1.0, 2.0, 3.0, 4.0)  # of a view, a favourite, a cart and an order, for the affinities
_STAGE: Final = stage_of(np.arange(32, dtype=np.uint8)).tolist()
_KIND_OF_FLAG: Final = {"join_club": 0, "app": 1, "newsletter": 2}

_MOST: Final = 10**9
_ITEMS: Final = 2**31
_LONGEST_MS: Final = 2**53

CategoryOf = Callable[[int], int | None]


class ProfileFeatures:
    """Reads profiles; ``category_of`` tells an item's category, None for an item that there is not."""

    def __init__(self, actions: tuple[Action, ...], categories: int, category_of: CategoryOf) -> None:
        self.names = feature_names(categories)
        self.category_of = category_of
        self._categories = categories
        self._flag = {one.name: _KIND_OF_FLAG[one.kind] for one in actions if one.kind in _KIND_OF_FLAG}
        self._first = len(self.names) - categories

    def standing(self, profile: Profile, at_ms: int) -> Standing:
        """What the rules ask of this user."""
        return Standing(
            member=self._flags(profile)[0],
            stages={brand: _STAGE[mark & 31] for brand, mark in profile.marks.items()},
            ordered=bool(profile.orders),
            days_known=_days(profile.first_ms, at_ms) if profile.first_ms else 0.0,
            taken=profile.actions,
            opted_out=profile.refused,
        )

    def vector(self, profile: Profile, at_ms: int) -> NDArray[np.float32]:
        """The features [F] of this user, in the order of ``names``."""
        counts = self._counts(profile, at_ms)
        brands = [0] * len(STAGES)
        for mark in profile.marks.values():
            brands[_STAGE[mark & 31]] += 1
        at_least = [sum(brands[stage:]) for stage in range(1, 1 + len(BRANDS))]
        latest_order = max((when for _, when in profile.orders), default=0)
        days = [
            min(_days(since, at_ms), LONGEST_DAYS) if since else LONGEST_DAYS
            for since in (profile.last_ms, latest_order)
        ]
        known = _days(profile.first_ms, at_ms) if profile.first_ms else 0.0
        given = [*counts, *at_least, *days, known, *self._flags(profile), len(profile.actions)]
        out = np.zeros(len(self.names), np.float32)
        out[: self._first] = given
        out[self._first :] = self._affinities(profile)
        return out

    def _flags(self, profile: Profile) -> list[bool]:
        flags = [False] * len(FLAGS)
        for name, when in profile.actions.items():
            place = self._flag.get(name)
            if place is not None and when > profile.left.get(name, -1):
                flags[place] = True
        return flags

    def _counts(self, profile: Profile, at_ms: int) -> list[float]:
        total = [0.0] * len(COUNTS)
        for brand, counts in profile.counts.items():
            latest = profile.last.get(brand, ())
            for place, (count, when) in enumerate(zip(counts[: len(COUNTS)], latest, strict=False)):
                if count > 0:
                    total[place] += min(count, _MOST) * 0.5 ** (_days(when, at_ms) / HALF_LIFE_DAYS)
        return total

    def _affinities(self, profile: Profile) -> NDArray[np.float64]:
        weight = np.zeros(self._categories)
        groups = (
            (item for item, _ in profile.viewed), profile.favourites, profile.cart, (item for item, _ in profile.orders),
        )  # fmt: skip
        for group, counted in zip(groups, _WEIGHTS, strict=True):
            for item in group:
                category = self.category_of(item) if 0 <= item < _ITEMS else None
                if category is not None and 0 <= category < self._categories:
                    weight[category] += counted
        shares: NDArray[np.float64] = weight / max(float(weight.sum()), 1.0)
        return shares


def _days(since_ms: int, at_ms: int) -> float:
    """Days from one time to another, 0 where it lies ahead; whatever a caller's profile says, a finite number."""
    return min(max(at_ms - since_ms, 0), _LONGEST_MS) / DAY_MS
