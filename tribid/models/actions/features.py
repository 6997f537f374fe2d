"""What an action's model reads of a user: a vector of numbers with a name for each, in the units that people use.

Counts are counts and days are days; the model takes their logarithms itself. Our choice, as is all that the public
descriptions of next-best-action services leave out.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tribid.envs.stages import BEHAVIOURS, STAGES

MAX_CATEGORIES: Final = 1000
LONGEST_DAYS: Final = 365.0
"""What never happened counts as this long ago, and so does what is longer ago."""

COUNTS: Final = tuple(f"count_{event.name.lower()}" for event in BEHAVIOURS)
"""How often the user did each of the eight behaviours, over all brands, older ones counting less."""

BRANDS: Final = tuple(f"brands_{stage}" for stage in STAGES[1:])
"""With how many brands the user is at least at that stage."""

DAYS: Final = ("days_idle", "days_since_order", "days_known")
FLAGS: Final = ("member", "has_app", "newsletter")
"""1 where the user took an action of the kind ``join_club``, ``app``, ``newsletter`` (or joined otherwise), else 0."""

TAKEN: Final = "actions_taken"
_LOGARITHMIC: Final = frozenset((*COUNTS, *BRANDS, *DAYS, TAKEN))


@lru_cache(maxsize=64)
def feature_names(categories: int) -> tuple[str, ...]:
    """The names, in the order of a vector; ``affinity_c`` is the share of category c in what the user did.

    >>> len(feature_names(2)), feature_names(2)[-2:]
    (21, ('affinity_0', 'affinity_1'))
    """
    if not 0 <= categories <= MAX_CATEGORIES:
        raise ValueError(f"categories are {categories}; allowed are 0 to {MAX_CATEGORIES}")
    return (*COUNTS, *BRANDS, *DAYS, *FLAGS, TAKEN, *(f"affinity_{c}" for c in range(categories)))


def logarithmic(names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which features [F] count something, so that their logarithm is read."""
    return np.array([name in _LOGARITHMIC for name in names], np.bool_)


def vector_of(names: tuple[str, ...], given: Mapping[str, float], place: str = "features") -> NDArray[np.float32]:
    """Named numbers as a vector [F]; what is not given is 0, days since something, if not given, ``LONGEST_DAYS``.

    ``ValueError`` names the feature that there is not, or whose value is no finite number.
    """
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"{place}.{unknown[0]:.60} is no feature; choose {', '.join(names[:24])}")
    for name, value in given.items():
        if not np.isfinite(value):
            raise ValueError(f"{place}.{name} is {value}; allowed are finite numbers")
    unsaid = {"days_idle": LONGEST_DAYS, "days_since_order": LONGEST_DAYS}
    values = np.array([given.get(name, unsaid.get(name, 0.0)) for name in names], np.float64)
    return np.clip(values, -1e30, 1e30).astype(np.float32)
