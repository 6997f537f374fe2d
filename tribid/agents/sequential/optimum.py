"""The most that a budget can bring when the laws are known: whole consumers by integer programme, shares by linear one.

Each consumer gets one policy; expected value is maximised and expected cost kept within the budget. Hao et al. (ICML 2020)
call the first the enumerated optimum and the second, a bound on every policy, the offline optimum.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from tribid.agents.sequential.choices import Choices, efficient
from tribid.agents.sequential.shares import even_places
from tribid.envs.sequential.campaign import Arrivals, Moment, Plan
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import true_moves


class Optimum(NamedTuple):
    """``numbers`` says for each type how many consumers meet each of its policies; value and cost in currency units."""

    numbers: tuple[NDArray[np.float64], ...]
    value: float
    cost: float


def enumerated(choices: Sequence[Choices], consumers: Sequence[int], budget: float, *, whole: bool = True) -> Optimum:
    """The best split of each type's ``consumers`` over its policies; ``whole=False`` allows parts of one (the LP bound).

    With every deterministic policy as choices this is the exact optimum of one policy for each consumer; the efficient
    ones lose at most what the linear programme has beyond it.
    """
    if len(choices) != len(consumers) or budget < 0:
        raise ValueError(
            f"{len(choices)} types of choices, {len(consumers)} of consumers, budget {budget}; allowed: as many"
        )
    sizes = [len(choice.cost) for choice in choices]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    gained, cost = (np.concatenate([np.asarray(choice[place]) for choice in choices]) for place in (1, 2))
    member = (owner[None] == np.arange(len(sizes))[:, None]).astype(float)
    found = milp(
        -gained,
        constraints=[
            LinearConstraint(cost[None], -np.inf, budget),
            LinearConstraint(member, np.asarray(consumers, float), np.asarray(consumers, float)),
        ],
        integrality=np.full(len(gained), int(whole)),
        bounds=Bounds(0, np.inf),
        options={"mip_rel_gap": 0.0},
    )
    if not found.success:
        raise ValueError(f"no optimum: {found.message}; allowed are choices of which one of each type costs nothing")
    numbers = np.round(found.x) if whole else found.x
    parts = tuple(np.split(numbers, np.cumsum(sizes)[:-1]))
    return Optimum(parts, float(gained @ numbers), float(cost @ numbers))


class EnumeratedOptimum:
    """The strategy that plays the enumerated optimum of a world, its policies mixed evenly.

    It knows the laws and how many consumers of each type come (``consumers`` [K]). ``optimum`` is what it expects to bring,
    ``bound`` what no policy can exceed in expectation. ``choices`` are those of ``efficient``, where they are already known.
    """

    def __init__(
        self,
        world: ConsumerWorld,
        consumers: Sequence[int],
        budget_micros: int,
        choices: Sequence[Choices] | None = None,
    ) -> None:
        kinds, steps, stages, tired = world.shape
        moves = true_moves(world)
        self._choices = choices or [efficient(moves, kind) for kind in range(kinds)]
        self.optimum = enumerated(self._choices, consumers, budget_micros / 1e6)
        self.bound = enumerated(self._choices, consumers, budget_micros / 1e6, whole=False)
        self._ends = [np.cumsum(part) / max(1.0, part.sum()) for part in self.optimum.numbers]
        self._first = np.cumsum([0, *(len(choice.cost) for choice in self._choices)])
        self._tables = np.zeros((self._first[-1], kinds, steps, stages, tired), np.int8)
        for kind, choice in enumerate(self._choices):
            self._tables[self._first[kind] : self._first[kind + 1], kind] = choice.tables[:, 0]
        self._met = np.zeros(kinds, np.int64)

    def begin(self) -> None:
        """Count the consumers anew."""
        self._met[:] = 0

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """Each consumer's policy, by its place in a sequence that is even at every length."""
        kinds = arrivals.kind
        which = np.empty(len(kinds), np.int64)
        for kind in np.unique(kinds):
            mine = np.flatnonzero(kinds == kind)
            places = even_places(self._met[kind] + np.arange(len(mine)))
            policy = np.searchsorted(self._ends[kind], places, side="right")
            which[mine] = self._first[kind] + np.minimum(policy, len(self._ends[kind]) - 1)
            self._met[kind] += len(mine)
        return Plan(self._tables, which)
