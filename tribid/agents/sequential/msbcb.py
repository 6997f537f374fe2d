"""MSBCB: learn each consumer's policy for ``r = v - CPR_thr * c``, and the threshold at which all together cost the budget.

Hao et al., "Dynamic Knapsack Optimization Towards Efficient Multi-Channel Sequential Advertising" (ICML 2020). For a fixed
threshold the best policy of each consumer maximises ``VG - CPR_thr * VC``, whoever else there is; a consumer for whom
nothing earns the threshold is shown nothing, which is the greedy knapsack's choice. The outer controller moves the threshold
after every day of lessons, and goes on after every period of a campaign unless it is frozen.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tribid.agents.sequential.knapsack import CprController
from tribid.agents.sequential.lessons import Day, LessonPlan, Lessons
from tribid.agents.sequential.tabular_q import LowerLevel
from tribid.envs.sequential.campaign import Arrivals, Moment, Plan
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import Table

Progress = Callable[[int], None]


@dataclass
class History:
    """By day of lessons: the threshold in force, and what a consumer met by the policy brought and cost."""

    threshold: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)

    def add(self, threshold: float, day: Day) -> None:
        """Note a day, a mean consumer's value and cost."""
        count = len(day.steady.kind)
        self.threshold.append(threshold)
        self.value.append(float(day.steady.value_micros.sum()) / 1e6 / count)
        self.cost.append(day.steady.spent_micros / 1e6 / count)


class Msbcb:
    """The strategy with its lower level; ``consumer_budget`` is the budget for each consumer, in currency units.

    ``controller`` holds the gains (its threshold is that of the start; None: what a day of random exposures earned for its
    cost). ``frozen`` keeps the threshold learnt through a campaign instead of going on to move it after each period. What
    is given stays as it is: every ``fit`` is a training of its own. Learnt: ``lower_``, ``threshold_`` and ``history_``.
    """

    def __init__(
        self,
        lower: LowerLevel,
        consumer_budget: float,
        controller: CprController | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        if not consumer_budget > 0:
            raise ValueError(f"consumer_budget is {consumer_budget}; allowed is a number above 0")
        self.lower, self.consumer_budget, self.frozen = lower, consumer_budget, frozen
        self._rule = controller
        self.lower_: LowerLevel | None = None
        self.history_ = History()
        self.threshold_ = 0.0
        self._live: CprController | None = None

    def fit(
        self, world: ConsumerWorld, plan: LessonPlan, seed: int, *, allowed: NDArray[np.bool_] | None = None,
        progress: Progress | None = None,
    ) -> "Msbcb":  # fmt: skip
        """Learn from the days of ``plan``; the threshold is the mean of the last quarter's."""
        lessons, controller = Lessons(world, plan, seed), None
        lower, history = deepcopy(self.lower), History()
        table: Table = np.zeros(world.shape, np.int8)
        for day in range(plan.days):
            seen = lessons.day(day, table, allowed)
            if controller is None:
                controller = self._start(seen)
            lower.learn(seen.tried, controller.threshold)
            lower.learn(seen.steady, controller.threshold)
            history.add(controller.threshold, seen)
            if day:  # on the first day the policy shows nothing
                controller.update(history.cost[-1], self.consumer_budget)
            table = lower.table(controller.threshold)
            if progress:
                progress(day + 1)
        self.lower_, self.history_, self._live = lower, history, None
        self.threshold_ = float(np.mean(history.threshold[-max(1, plan.days // 4) :]))
        return self

    def begin(self) -> None:
        """The controller starts from the threshold learnt."""
        if self.lower_ is None:
            raise ValueError("nothing is learnt yet; call fit first")
        self._live = replace(self._rule or CprController(self.threshold_), threshold=self.threshold_)

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """One policy for all, for the threshold of the period; those of a type may be shown nothing by it."""
        if self._live is None or self.lower_ is None:
            raise ValueError("plan before begin; call begin first")
        if not self.frozen and moment.time_left < 1.0 and moment.budget_micros > 0:
            self._live.update(moment.spent_micros, moment.planned_micros)
        return Plan.of(self.lower_.table(self._live.threshold), len(arrivals.kind))

    def _start(self, seen: Day) -> CprController:
        if self._rule is not None:
            return replace(self._rule)
        earned = seen.tried.value_micros.sum() / max(1, seen.tried.spent_micros)
        return CprController(max(float(earned), 1e-3))
