"""Greedy + DQN: policies that maximise value alone, and a budget spent on consumers by value for cost.

The strongest baseline of Hao et al. (ICML 2020): the lower level learns the policy of the largest VG, whatever it
costs; then consumers are taken in the order of VG / VC until the budget is full. Its loss is that a policy at full cost is
not the one that spends a unit of budget best.
"""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from tribid.agents.sequential.lessons import LessonPlan, Lessons
from tribid.agents.sequential.shares import even_places
from tribid.agents.sequential.tabular_q import LowerLevel
from tribid.envs.sequential.campaign import Arrivals, Moment, Plan
from tribid.envs.sequential.consumers import OPEN_STAGES, ConsumerWorld
from tribid.envs.sequential.moves import Table
from tribid.envs.sequential.play import Record


class GreedyDqn:
    """The strategy with its lower level, which may be any; ``consumer_budget`` is in currency units a consumer.

    Consumers are told apart by type and by the stage where they begin. Learnt: ``table_``, and ``served_`` [K, 4], the share
    of each kind of consumer that is shown anything.
    """

    def __init__(self, lower: LowerLevel, consumer_budget: float) -> None:
        if not consumer_budget > 0:
            raise ValueError(f"consumer_budget is {consumer_budget}; allowed is a number above 0")
        self.lower, self.consumer_budget = lower, consumer_budget
        self.table_: Table = np.zeros((0, 0, 0, 0), np.int8)
        self.served_: NDArray[np.float64] = np.zeros((0, 0))

    def fit(
        self, world: ConsumerWorld, plan: LessonPlan, seed: int, *, progress: Callable[[int], None] | None = None
    ) -> "GreedyDqn":
        """Learn from the days of ``plan``; value and cost are the means of consumers of the last quarter."""
        lessons, lower = Lessons(world, plan, seed), deepcopy(self.lower)  # each fit is a training of its own
        table: Table = np.zeros(world.shape, np.int8)
        sums = np.zeros((3, len(world.share), OPEN_STAGES))
        for day in range(plan.days):
            seen = lessons.day(day, table)
            if day >= 0.75 * plan.days:
                sums += _worth_of(seen.steady, world)
            lower.learn(seen.tried, 0.0)
            lower.learn(seen.steady, 0.0)
            table = lower.table(0.0)
            if progress:
                progress(day + 1)
        self.table_ = table
        self.served_ = _fill(sums, self.consumer_budget)
        return self

    def begin(self) -> None:
        """Count the consumers anew."""
        if not self.served_.size:
            raise ValueError("nothing is learnt yet; call fit first")
        self._met = np.zeros(self.served_.shape, np.int64)

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """The value's policy for those who are served."""
        which = np.zeros(len(arrivals.kind), np.int64)
        for n, pair in enumerate(zip(arrivals.kind, arrivals.start, strict=True)):
            which[n] = 0 if even_places(self._met[pair]) < self.served_[pair] else -1
            self._met[pair] += 1
        return Plan(self.table_[None], which)


def _worth_of(record: Record, world: ConsumerWorld) -> NDArray[np.float64]:
    """Consumers, their value and their cost, [3, K, 4] summed by type and first stage, in currency units."""
    cost = world.cost[np.maximum(record.action, 0)].sum(axis=1)
    value = record.value_micros.sum(axis=1) / 1e6
    sums = np.zeros((3, len(world.share), OPEN_STAGES))
    for row, numbers in zip(sums, (np.ones(len(cost)), value, cost), strict=True):
        np.add.at(row, (record.kind, record.stage[:, 0]), numbers)
    return sums


def _fill(sums: NDArray[np.float64], consumer_budget: float) -> NDArray[np.float64]:
    """The share of each kind served: whole kinds by value for cost, a part of the last that fits."""
    count, value, cost = sums
    left = consumer_budget * count.sum()
    ratio = np.divide(value, cost, out=np.zeros_like(value), where=cost > 0)
    served = np.zeros(count.shape)
    for place in np.argsort(-ratio, axis=None, kind="stable"):
        pair = np.unravel_index(place, count.shape)
        if cost[pair] <= 0:
            continue
        served[pair] = min(1.0, left / cost[pair])
        left -= served[pair] * cost[pair]
    return served
