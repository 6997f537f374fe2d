"""A campaign: consumers come in periods, a strategy says before each what to show them, and one budget pays for it all."""

from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import ORDER, Table
from tribid.envs.sequential.play import Consumers, play


class Moment(NamedTuple):
    """What a strategy knows before a period.

    ``time_left`` is the share of the consumers that are still to come, ``coming`` how many come in this period of
    ``consumers`` in all, ``spent_micros`` what the last period cost (0 before the first).
    """

    time_left: float
    consumers: int
    coming: int
    budget_micros: int
    left_micros: int
    spent_micros: int

    @property
    def planned_micros(self) -> float:
        """This period's even share of the budget."""
        return self.budget_micros * self.coming / max(1, self.consumers)


class Arrivals(NamedTuple):
    """Who comes in a period: the types ``kind`` [N], and the stages ``start`` [N] where their journeys begin."""

    kind: NDArray[np.int64]
    start: NDArray[np.int64]


class Plan(NamedTuple):
    """The policies of a period ``tables`` [P, K, H, 4, E], and which of them each consumer meets, [N]; -1 is nothing."""

    tables: Table
    which: NDArray[np.int64]

    @staticmethod
    def of(table: Table, consumers: int) -> "Plan":
        """One policy for all."""
        return Plan(table[None], np.zeros(consumers, np.int64))


class Strategy(Protocol):
    """Whoever runs a campaign."""

    def begin(self) -> None:
        """A new campaign starts."""
        ...

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """What to show the consumers of a period."""
        ...


class Result(NamedTuple):
    """What a campaign brought: order values, what it spent, orders, and exposures that could not be paid."""

    value_micros: int
    spent_micros: int
    orders: int
    unpaid: int


def run_campaign(
    world: ConsumerWorld, strategy: Strategy, consumers: Consumers, budget_micros: int, periods: int = 50
) -> Result:
    """Run a campaign over ``periods`` parts of the consumers, as even as can be; the budget is never exceeded.

    ``ValueError`` for a budget below 0, and for fewer consumers than periods.
    """
    count = len(consumers.kind)
    if not 1 <= periods <= count:
        raise ValueError(f"periods is {periods}; allowed is 1 to the {count} consumers")
    ends = np.linspace(0, count, periods + 1).astype(int)
    left, spent, totals = budget_micros, 0, np.zeros(3, np.int64)
    strategy.begin()
    for first, end in pairwise(ends):
        part = consumers.part(slice(first, end))
        moment = Moment(1.0 - first / count, count, int(end - first), budget_micros, left, spent)
        plan = strategy.plan(moment, Arrivals(part.kind, part.start))
        record = play(world, part, plan.tables, plan.which, left)
        spent = record.spent_micros
        left -= spent
        totals += (record.value_micros.sum(), (record.outcome == ORDER).sum(), record.unpaid)
    return Result(int(totals[0]), budget_micros - left, int(totals[1]), int(totals[2]))
