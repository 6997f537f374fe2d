"""A classroom in which all policies learn from the same days at once, tick by tick, each by a method of its own."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger, configure

from tribid.agents.bidder import Bidder
from tribid.agents.divergence import LastGood, check_finite
from tribid.agents.networks.card import ServedPolicy
from tribid.agents.plan import Roster, TrainingPlan
from tribid.agents.registry import make_bidder
from tribid.agents.training import Progress
from tribid.envs.action import to_multiplier
from tribid.envs.market import MarketState, reset_many, step_many
from tribid.envs.observation import observe
from tribid.envs.reward import score

TAUGHT_DAYS = 6
"""How many days of every market a pupil is driven as its teacher would, at most; and at most a third of all days."""


class Pupil(Protocol):
    """One policy that learns: it drives R advertisers in each of M markets. Arrays are [M, R, ...] in its rows' order."""

    def open(self, day: int, state: MarketState) -> None:
        """A day begins, the ``day``-th from 0."""
        ...

    def choose(self, seen: NDArray[np.float32], left: float, taught: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The multipliers [M, R, S] to try at observations [M, R, D].

        ``left`` is the share of the training that is still to come; ``taught`` [M, R, S] are the teacher's multipliers
        while there is one.
        """
        ...

    def earn(self, before: MarketState, after: MarketState, seen: NDArray[np.float32]) -> None:
        """What came of it: the states around the tick, and the observations [M, R, D] after it."""
        ...

    def learn(self) -> dict[str, float]:
        """Some updates; the losses by name (none while there is nothing to learn from)."""
        ...

    def export(self) -> ServedPolicy:
        """The policy as it stands."""
        ...


class Days:
    """The markets of a plan side by side, one day after another; rivals act by themselves.

    Market m opens day 0 of seed ``plan.first_market_seed + m``, then its day 1, and so on. ``seen`` [M, A, D] are the
    observations of ``state``.
    """

    def __init__(self, plan: TrainingPlan, roster: Roster) -> None:
        self.scenario = plan.scenario.with_changes(rules__outcomes=plan.outcomes)
        self.seeds = [plan.first_market_seed + m for m in range(plan.num_markets)]
        self._most = self.scenario.rules.max_multiplier
        drivers = roster.rivals.mapping
        idle = [who for who in range(len(drivers)) if who not in roster.learners]
        self._rivals: dict[str, tuple[Bidder, list[int]]] = {
            name: (roster.rivals.bidders[name], [who for who in idle if drivers[who] == name])
            for name in dict.fromkeys(drivers[who] for who in idle)
        }
        self.open(0)

    def open(self, day: int) -> None:
        """Open a day in every market."""
        self.day = day
        self.state = reset_many(self.scenario, self.seeds, [day] * len(self.seeds))
        self.seen = observe(self.state)
        self._carried: dict[str, Any] = {}

    def play(self, learners: Mapping[str, tuple[Sequence[int], NDArray[np.float64]]]) -> None:
        """Play a tick with the multipliers [M, R, S] of each pupil's rows; the rivals see what they saw."""
        multipliers = np.empty(self.state.multipliers.shape)
        for rows, chosen in learners.values():
            multipliers[:, rows] = chosen
        for name, (bidder, rows) in self._rivals.items():
            multipliers[:, rows], self._carried[name] = answer(
                bidder, self.seen[:, rows], self._carried.get(name), self._most
            )
        self.state = step_many(self.state, multipliers)
        self.seen = observe(self.state)


def answer(
    bidder: Bidder, seen: NDArray[np.float32], carried: Any, max_multiplier: float
) -> tuple[NDArray[np.float64], Any]:
    """A bidder's multipliers [M, R, S] for observations [M, R, D], and what it carries on."""
    actions, after = bidder.predict(seen.reshape(-1, seen.shape[-1]), carried)
    return to_multiplier(actions, max_multiplier).reshape(*seen.shape[:2], -1), after


class DayClassroom:
    """All policies of a plan learn at once from the days that they play together; a method gives the pupils (``make``).

    Trains whole days until every policy has had ``plan.steps`` advertiser-steps; ``plan.rounds`` is ignored. While the
    first days last (``TAUGHT_DAYS``) the pupils are driven as the bidder ``plan.warm_start`` would drive them, as far as
    their own actions allow it. The same plan gives the same policies, bit for bit, on the same machine.
    """

    def __init__(self, plan: TrainingPlan, folder: Path, progress: Progress | None = None) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.roster = Roster.of(plan)
        self.learning: list[dict[str, float]] = []
        self.last_good = LastGood()
        self._market = Days(plan, self.roster)
        ticks, markets = self._market.state.world.n_ticks, plan.num_markets
        fewest = ticks * markets * min(len(rows) for rows in self.roster.rows.values())
        self.days = math.ceil(plan.steps / fewest)
        self._tick_steps = markets * len(self.roster.learners)
        self._total = self.days * ticks * self._tick_steps
        self._done = 0
        self._teacher = make_bidder(plan.warm_start, self.roster.space) if plan.warm_start else None
        self._taught_days = min(TAUGHT_DAYS, self.days // 3) if self._teacher else 0
        self.pupils = {name: self.make(place, rows) for place, (name, rows) in enumerate(self.roster.rows.items())}

    def make(self, place: int, rows: list[int]) -> Pupil:
        """The pupil of the policy at this place of the roster, which drives these advertisers."""
        raise NotImplementedError

    def snapshot(self, name: str) -> ServedPolicy:
        """The policy as it stands, in the runtime that serves it."""
        return self.pupils[name].export()

    def run(self) -> None:
        """Play and learn day after day."""
        loggers = self._loggers()
        for name, pupil in self.pupils.items():
            self.last_good.offer(name, pupil.export)  # so that there is one, whatever the first update does
        self._tell()
        try:
            for day in range(self.days):
                self._market.open(day)
                for pupil in self.pupils.values():
                    pupil.open(day, self._market.state)
                self._close_day(self._play(day < self._taught_days), loggers)
        finally:
            for logger in loggers.values():
                logger.close()

    def _play(self, taught: bool) -> dict[str, dict[str, float]]:
        """One day; the mean of each pupil's losses by name."""
        told: dict[str, list[dict[str, float]]] = {name: [] for name in self.pupils}
        lessons: dict[str, Any] = {}
        while not self._market.state.done:
            before, seen = self._market.state, self._market.seen
            chosen = {}
            for name, pupil in self.pupils.items():
                rows, lesson = self.roster.rows[name], None
                if taught and self._teacher:
                    most = self.roster.space.max_multiplier
                    lesson, lessons[name] = answer(self._teacher, seen[:, rows], lessons.get(name), most)
                chosen[name] = (rows, pupil.choose(seen[:, rows], 1.0 - self._done / self._total, lesson))
            self._market.play(chosen)
            for name, pupil in self.pupils.items():
                pupil.earn(before, self._market.state, self._market.seen[:, self.roster.rows[name]])
                told[name].append(pupil.learn())
            self._done += self._tick_steps
            self._tell()
        return {name: _means(losses) for name, losses in told.items()}

    def _close_day(self, told: dict[str, dict[str, float]], loggers: dict[str, Logger]) -> None:
        """Scores and losses into the learning curve and the logs; the policies are good while all is finite."""
        state = self._market.state
        scores = score(state.advertisers, state.total, self.plan.scenario.reward.penalty_exponent)
        for name, losses in told.items():
            check_finite(self._done, **losses)
            self.last_good.offer(name, self.pupils[name].export)
            if name in loggers:
                own = float(scores[:, self.roster.rows[name]].mean())
                for key, value in {"day/score": own, **{f"train/{key}": v for key, v in losses.items()}}.items():
                    loggers[name].record(key, value)
                loggers[name].dump(self._done)
        self.learning.append({"steps": self._done, "score": float(scores[:, list(self.roster.learners)].mean())})
        self._tell()

    def _tell(self) -> None:
        if self.progress:
            self.progress(self._done, self._total, self.learning[-1]["score"] if self.learning else None)

    def _loggers(self) -> dict[str, Logger]:
        home = self.folder / "tensorboard"
        names = self.roster.names if self.plan.tensorboard else ()
        return {name: configure(str(home / name), ["tensorboard"]) for name in names}


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for loss in losses for name in loss)
    return {name: float(np.mean([loss[name] for loss in losses if name in loss])) for name in names}
