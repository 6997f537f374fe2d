"""What every learner of journeys is given alike: so many consumers, in days, and how many of them are for trying things."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import Table
from tribid.envs.sequential.play import OPEN_BUDGET, Record, draw_consumers, play


@dataclass(frozen=True, kw_only=True)
class LessonPlan:
    """``consumers`` journeys over ``days`` days. Of a day's, half are met as the policy says and tell what it costs.

    The other half are for trying: each of their requests is answered at random with a chance that falls from 1 to
    ``least_exploring`` over the first ``exploring`` of the days.
    """

    consumers: int = 20_000
    days: int = 100
    exploring: float = 0.5
    least_exploring: float = 0.2

    def __post_init__(self) -> None:
        if self.days < 1 or self.consumers < 2 * self.days:
            raise ValueError(f"consumers is {self.consumers}, days {self.days}; allowed is 2 consumers a day or more")
        if not (0 < self.exploring <= 1 and 0 <= self.least_exploring <= 1):
            raise ValueError(
                f"exploring is {self.exploring}, least_exploring {self.least_exploring}; allowed are shares of 1"
            )

    @property
    def consumers_a_day(self) -> int:
        """Journeys of each day; an even number."""
        return self.consumers // self.days // 2 * 2


class Day(NamedTuple):
    """What was seen of consumers met as the policy says, and of those on whom things were tried."""

    steady: Record
    tried: Record


class Lessons:
    """The days of one training, drawn by counters of ``seed``; evaluation consumers come from other seeds."""

    def __init__(self, world: ConsumerWorld, plan: LessonPlan, seed: int) -> None:
        self.world, self.rule, self.seed = world, plan, seed

    def day(self, day: int, table: Table, allowed: NDArray[np.bool_] | None = None) -> Day:
        """Play day ``day`` under a policy; tries are drawn among the ``allowed`` [A] actions (None: all)."""
        half = self.rule.consumers_a_day // 2
        first = 2 * half * day
        which = np.zeros(half, np.int64)
        steady = draw_consumers(self.world, self.seed, half, first)
        others = draw_consumers(self.world, self.seed, half, first + half)
        done = min(1.0, day / max(1.0, self.rule.exploring * self.rule.days))
        chance = 1.0 - done * (1.0 - self.rule.least_exploring)
        choices = np.flatnonzero(np.ones(self.world.actions, bool) if allowed is None else allowed)
        drawn = uniforms(self.seed, Stream.POLICY, day, np.arange(half)[:, None], np.arange(self.world.steps)[None])
        forced = choices[(drawn[..., 1] * len(choices)).astype(int)]
        forced = np.where(drawn[..., 0] < chance, forced, -1).astype(np.int8)
        return Day(
            play(self.world, steady, table[None], which, OPEN_BUDGET),
            play(self.world, others, table[None], which, OPEN_BUDGET, forced),
        )
