"""Which actions may be proposed to a user now: eligibility, expiry and repetition, checked at every request.

Other services say that an expired action may be proposed for up to two hours more; here it is gone at once.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.actions import Action, checked_actions
from tribid.envs.stages import STAGES

DAY_MS: Final = 86_400_000
_NEVER: Final = int(np.iinfo(np.int64).max)

REASONS: Final = (
    "", "the user opted out", "it has expired", "the user took it, and it is not repeated yet", "it is for members",
    "it is for those who are no members", "the user's stage is too low", "the user has not ordered before",
    "the user has ordered before", "the user is not known for long enough",
)  # fmt: skip
"""Why an action may not be proposed, by code; the first that applies is told. Code 0: it may be."""


class Standing(NamedTuple):
    """What the rules ask of a user. ``stages`` are by brand, indices of ``STAGES``; ``taken`` is when, in Unix milliseconds.

    ``days_known`` is how long ago the user was first met.
    """

    member: bool = False
    stages: Mapping[str, int] = {}
    ordered: bool = False
    days_known: float = 0.0
    taken: Mapping[str, int] = {}
    opted_out: bool = False


class ActionRules:
    """The rules of A actions as arrays, so that a request checks all of them in microseconds."""

    def __init__(self, actions: Iterable[Action]) -> None:
        self.actions = checked_actions(actions)
        self.names = tuple(action.name for action in self.actions)
        self.place = {name: index for index, name in enumerate(self.names)}
        self.value = np.array([action.value for action in self.actions], np.float64)
        wanted = [action.eligibility for action in self.actions]
        self._expires = np.array(
            [_NEVER if action.expires_ms is None else action.expires_ms for action in self.actions], np.int64
        )
        self._repeat = [
            _NEVER if action.repeat_days is None else action.repeat_days * DAY_MS for action in self.actions
        ]
        self._members = np.array([one.members == "members" for one in wanted])
        self._others = np.array([one.members == "others" for one in wanted])
        self._stage = np.array([STAGES.index(one.stage) for one in wanted], np.int8)
        self._branded = [(index, one.brand) for index, one in enumerate(wanted) if one.brand is not None]
        self._ordered = np.array([one.has_ordered is True for one in wanted])
        self._new = np.array([one.has_ordered is False for one in wanted])
        self._days = np.array([one.min_days_known for one in wanted])

    def __len__(self) -> int:
        return len(self.actions)

    def reasons(self, standing: Standing, at_ms: int) -> NDArray[np.int8]:
        """The code [A] of ``REASONS`` for each action: 0 where it may be proposed to this user at ``at_ms``."""
        count = len(self.actions)
        if standing.opted_out:
            return np.ones(count, np.int8)
        stage = np.full(count, max(standing.stages.values(), default=0), np.int8)
        for index, brand in self._branded:
            stage[index] = standing.stages.get(brand, 0)
        checks = (
            (2, at_ms >= self._expires),
            (3, self._repeats(standing.taken, at_ms)),
            (4, self._members & (not standing.member)),
            (5, self._others & standing.member),
            (6, stage < self._stage),
            (7, self._ordered & (not standing.ordered)),
            (8, self._new & standing.ordered),
            (9, standing.days_known < self._days),
        )
        codes = np.zeros(count, np.int8)
        for code, refused in reversed(checks):
            codes[refused] = code
        return codes

    def _repeats(self, taken: Mapping[str, int], at_ms: int) -> NDArray[np.bool_]:
        """Whether each action was taken too lately to be proposed again; one taken later than now was taken just now."""
        waits = np.zeros(len(self.actions), np.bool_)
        for name, when_ms in taken.items():
            index = self.place.get(name)
            if index is not None:
                waits[index] = max(at_ms - when_ms, 0) < self._repeat[index]
        return waits
