"""Stage flows and scenes of journeys: how consumers moved between stages, and what each scene's pages brought.

Reports show no group of fewer than ``K_ANONYMOUS`` users: such a row says so, and its numbers stay out of results.json, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.envs import market
from tribid.envs.journey.memory import Memory
from tribid.envs.journey.world import Journey
from tribid.envs.market import MarketState, Tick
from tribid.envs.platform import Forecaster, Platform
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.stages import STAGES

K_ANONYMOUS = 50
_SUMS = ("pages", "exposures", "clicks", "orders", "gmv_micros", "revenue_micros")


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Pairs of user and brand by stage before (rows) and after (columns), ``pairs`` [5, 5]; ``users`` [5] of each row."""

    pairs: NDArray[np.int64]
    users: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share [5, 5] of each row's pairs by where they ended; rows sum to 1, that of an empty stage stays in place."""
        total = self.pairs.sum(axis=1, keepdims=True)
        return np.where(total > 0, self.pairs / np.maximum(total, 1), np.eye(len(STAGES)))


def flows_of(before: Memory, after: Memory) -> Flows:
    """What happened between two memories of the same users, such as a day's first and a later day's last."""
    n, start, end = len(STAGES), before.stages, after.stages
    if start.shape != end.shape:
        raise ValueError(f"memories are of {start.shape} and {end.shape} users and brands; allowed are two of the same")
    moved = np.bincount(start.ravel().astype(np.int64) * n + end.ravel(), minlength=n * n)
    users = np.array([(start == stage).any(axis=1).sum() for stage in range(n)], np.int64)
    return Flows(pairs=moved.reshape(n, n), users=users)


def added(flows: Sequence[Flows]) -> Flows:
    """Flows of several days: pairs add up; users of a row are at least those of its fullest day."""
    if not flows:
        raise ValueError("no flows; allowed are those of one or more days")
    pairs = np.sum([one.pairs for one in flows], axis=0)
    return Flows(pairs=pairs, users=np.max([one.users for one in flows], axis=0))


@dataclass(frozen=True, kw_only=True)
class SceneSums:
    """What S scenes' pages brought: ``sums`` [S, 6] of pages served, exposures, clicks, orders, GMV and revenue (micros).

    ``users`` [S] saw a page there.
    """

    names: tuple[str, ...]
    sums: NDArray[np.float64]
    users: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class JourneyDay:
    """A journey's day: how its consumers moved, and what its scenes brought."""

    flows: Flows
    scenes: SceneSums


class JourneyWatch:
    """Follows a day of a journey tick by tick."""

    def __init__(self, opened: MarketState) -> None:
        assert isinstance(opened.world, Journey)
        self._world, self._before, self._price = opened.world, opened.memory, opened.advertisers.price_micros
        count = len(opened.world.journey.scenes)
        self._sums = np.zeros((count, len(_SUMS)))
        self._users: list[set[int]] = [set() for _ in range(count)]

    def count(self, tick: Tick) -> None:
        """Add a tick's pages."""
        requests, slots = tick.requests, tick.slots
        assert requests.scene is not None
        value = np.where(slots.winner >= 0, self._price[slots.winner], 0)
        columns = (
            ~slots.skipped, slots.exposed.sum(axis=1), slots.clicked.sum(axis=1), slots.converted.sum(axis=1),
            (slots.converted * value).sum(axis=1), slots.charge_micros.sum(axis=1),
        )  # fmt: skip
        for k, column in enumerate(columns):
            self._sums[:, k] += np.bincount(requests.scene, column, minlength=len(self._sums))
        for s, users in enumerate(self._users):
            users.update(requests.user[(requests.scene == s) & ~slots.skipped].tolist())

    def day(self, ended: MarketState) -> JourneyDay:
        """The day, of the state at its end."""
        return JourneyDay(flows=flows_of(self._before, ended.memory), scenes=self._scenes())

    def _scenes(self) -> SceneSums:
        names = tuple(scene.name for scene in self._world.journey.scenes)
        return SceneSums(names=names, sums=self._sums, users=np.array([len(users) for users in self._users]))


def play_days(
    scenario: Scenario, seed: int, days: int, *, policy: Callable[[MarketState], NDArray[np.float64]] | None = None,
    forecaster: Forecaster | None = None, platform: Platform | None = None,
) -> tuple[list[JourneyDay], Flows, Memory]:  # fmt: skip
    """Days of one seed on end, each with the memory of the one before: the days, the flows over all of them, the memory.

    ``policy`` gives a tick's multipliers for the state before it; left out, everybody bids its unit bid.
    """
    if days < 1:
        raise ValueError(f"days is {days}; allowed is 1 or more")
    played, memory, first = [], None, None
    for day in range(days):
        state = market.reset(scenario, seed, day, forecaster=forecaster, platform=platform, memory=memory)
        if not isinstance(state.world, Journey):
            raise ValueError(f"scenario {scenario.name} is of kind {scenario.world.kind}; allowed is a journey")
        watch, first = JourneyWatch(state), state.memory if first is None else first
        while not state.done:
            state, tick = market.step(state, np.ones(len(state.advertisers)) if policy is None else policy(state))
            watch.count(tick)
        played.append(watch.day(state))
        memory = state.memory
    assert isinstance(first, Memory) and isinstance(memory, Memory)
    return played, flows_of(first, memory), memory


def journey_results(days: Sequence[JourneyDay]) -> dict[str, Any]:
    """Days as plain data: ``stages``; ``flows``, a row a stage; ``scenes``, a row a scene.

    A row's ``users`` is None where it has fewer than ``K_ANONYMOUS`` of them, and then so is every number of the row.
    """
    flows = added([day.flows for day in days])
    names = days[0].scenes.names
    sums = np.sum([day.scenes.sums for day in days], axis=0)
    users = np.max([day.scenes.users for day in days], axis=0)
    return {
        "days": len(days),
        "stages": list(STAGES),
        "flows": [_flow_row(flows, stage) for stage in range(len(STAGES))],
        "scenes": [_scene_row(names[s], sums[s], int(users[s])) for s in range(len(names))],
    }


def _flow_row(flows: Flows, stage: int) -> dict[str, Any]:
    users, pairs = int(flows.users[stage]), int(flows.pairs[stage].sum())
    if users < K_ANONYMOUS:
        return {"stage": STAGES[stage], "users": None, "pairs": None, "to": None}
    return {"stage": STAGES[stage], "users": users, "pairs": pairs, "to": flows.shares[stage].tolist()}


def _scene_row(name: str, sums: NDArray[np.float64], users: int) -> dict[str, Any]:
    keys = ("pages", "ctr", "cvr", "gmv_per_page", "revenue", "revenue_per_page")
    if users < K_ANONYMOUS:
        return {"name": name, "users": None} | dict.fromkeys(keys)
    pages, exposures, clicks, orders, gmv, revenue = sums.tolist()
    numbers = (
        pages, _ratio(clicks, exposures), _ratio(orders, clicks), _ratio(gmv / MICROS, pages), revenue / MICROS,
        _ratio(revenue / MICROS, pages),
    )  # fmt: skip
    return {"name": name, "users": users} | dict(zip(keys, numbers, strict=True))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
