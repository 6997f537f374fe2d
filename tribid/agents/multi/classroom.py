"""What the classrooms of this package have in common: an arena, the count of days, and who is told of each."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tribid.agents.divergence import LastGood, check_finite
from tribid.agents.multi.arena import Arena
from tribid.agents.networks.card import ServedPolicy
from tribid.agents.plan import Roster, TrainingPlan
from tribid.agents.training import Progress


class DayClassroom:
    """All policies of a plan learn at once, from whole days, until each has had ``plan.steps`` advertiser-steps.

    ``plan.rounds`` is ignored: nobody waits for a turn. A subclass has ``run`` and ``snapshot``
    (``tribid.agents.training.Classroom``), opens the logs with ``self.notes()`` and calls ``close_day`` after each day.
    """

    def __init__(self, plan: TrainingPlan, folder: Path, progress: Progress | None = None) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.roster = Roster.of(plan)
        self.arena = Arena(plan, self.roster)
        self.learning: list[dict[str, float]] = []
        self.last_good = LastGood()
        market_ticks = self.arena.n_ticks * plan.num_markets
        self.day_steps = market_ticks * len(self.arena.learners)
        fewest = min(len(rows) for rows in self.roster.rows.values())
        self.days = math.ceil(plan.steps / (market_ticks * fewest))
        self._writer: Any = None

    def run(self) -> None:
        """Train to the plan's end."""
        raise NotImplementedError

    def snapshot(self, name: str) -> ServedPolicy:
        """A policy as it stands, in the runtime that serves it."""
        raise NotImplementedError

    @contextmanager
    def notes(self) -> Iterator[None]:
        """TensorBoard logs under ``folder/tensorboard`` where the plan wants them, closed at the end."""
        if self.plan.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # here: it costs a second, and some trainings want none

            self._writer = SummaryWriter(str(self.folder / "tensorboard"))
        try:
            yield
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def close_day(self, days: int, score: float, **numbers: float) -> None:
        """Note that ``days`` days are done, the last with this mean score; ``DivergenceError`` where a number is not finite.

        Policies are kept as the last good ones (only then is anyone told, who may press Ctrl-C).
        """
        steps = days * self.day_steps
        check_finite(steps, day_score=score, **numbers)
        for name in self.roster.names:
            self.last_good.offer(name, lambda name=name: self.snapshot(name))  # type: ignore[misc]
        self.learning.append({"steps": steps, "score": score})
        if self._writer is not None:
            for name, value in {"day/score": score, **{f"train/{k}": v for k, v in numbers.items()}}.items():
                self._writer.add_scalar(name, value, steps)
        if self.progress:
            self.progress(steps, max(steps, self.days * self.day_steps), score)
