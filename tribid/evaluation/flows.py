"""Stage flows and scenes of journeys: how consumers moved between stages, and what each scene's pages brought.

Results tell of no group of fewer than ``LEAST_USERS`` users (``tribid.evaluation.lift``): not of a stage, of those who went
from one stage to another, of a scene, or of those who were shown an ad, clicked or ordered there. Where such a group could
be had by taking the others from their sum, the smallest of the others is hidden with it.
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
from tribid.evaluation.lift import LEAST_USERS, shown_groups

_SUMS = ("pages", "exposures", "clicks", "orders", "gmv_micros", "revenue_micros")


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Pairs of user and brand by stage before (rows) and after (columns), ``pairs`` [5, 5].

    ``users`` [5] have pairs in each row, ``movers`` [5, 5] in each cell.
    """

    pairs: NDArray[np.int64]
    users: NDArray[np.int64]
    movers: NDArray[np.int64]

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
    cell = start.astype(np.int64) * n + end
    by_user = np.bincount((np.arange(len(cell))[:, None] * n * n + cell).ravel(), minlength=len(cell) * n * n)
    by_user = by_user.reshape(-1, n, n)
    users = (by_user.sum(axis=2) > 0).sum(axis=0)
    return Flows(pairs=by_user.sum(axis=0), users=users, movers=(by_user > 0).sum(axis=0))


def added(flows: Sequence[Flows]) -> Flows:
    """Flows of several days: pairs add up; users of a row or a cell are at least those of its fullest day."""
    if not flows:
        raise ValueError("no flows; allowed are those of one or more days")
    pairs = np.sum([one.pairs for one in flows], axis=0)
    users, movers = (np.max([getattr(one, name) for one in flows], axis=0) for name in ("users", "movers"))
    return Flows(pairs=pairs, users=users, movers=movers)


@dataclass(frozen=True, kw_only=True)
class SceneSums:
    """What S scenes' pages brought: ``sums`` [S, 6] of pages served, exposures, clicks, orders, GMV and revenue (micros).

    ``users`` [S, 4] came to a page there, were shown an ad, clicked one, and ordered what it was for.
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
        self._users = np.zeros((count, 4, opened.world.journey.users.count), np.bool_)

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
        happened = (slots.exposed, slots.clicked > 0, slots.converted > 0)
        for k, did in enumerate((~slots.skipped, *(each.any(axis=1) for each in happened))):
            self._users[requests.scene[did], k, requests.user[did]] = True

    def day(self, ended: MarketState) -> JourneyDay:
        """The day, of the state at its end."""
        return JourneyDay(flows=flows_of(self._before, ended.memory), scenes=self._scenes())

    def _scenes(self) -> SceneSums:
        names = tuple(scene.name for scene in self._world.journey.scenes)
        return SceneSums(names=names, sums=self._sums, users=self._users.sum(axis=2))


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

    A row's ``users`` is None where it is hidden, and then so is every number of the row; in a row that is told, so is the
    share of a cell, and a scene's rate or money, that rests on too few users: GMV on those who ordered, revenue and CVR on
    those who clicked, CTR on those who were shown an ad.
    """
    flows = added([day.flows for day in days])
    rows = shown_groups(flows.users)
    names = days[0].scenes.names
    sums = np.sum([day.scenes.sums for day in days], axis=0)
    users = np.max([day.scenes.users for day in days], axis=0)
    told = shown_groups(users[:, 0])
    return {
        "days": len(days),
        "stages": list(STAGES),
        "flows": [_flow_row(flows, stage, is_shown=bool(rows[stage])) for stage in range(len(STAGES))],
        "scenes": [_scene_row(names[s], sums[s], users[s], is_shown=bool(told[s])) for s in range(len(names))],
    }


def _flow_row(flows: Flows, stage: int, *, is_shown: bool) -> dict[str, Any]:
    users, pairs = int(flows.users[stage]), int(flows.pairs[stage].sum())
    if not is_shown or users == 0:
        return {"stage": STAGES[stage], "users": None, "pairs": None, "to": None}
    cells = zip(flows.shares[stage].tolist(), shown_groups(flows.movers[stage]).tolist(), strict=True)
    return {"stage": STAGES[stage], "users": users, "pairs": pairs, "to": [s if told else None for s, told in cells]}


def _scene_row(name: str, sums: NDArray[np.float64], users: NDArray[np.int64], *, is_shown: bool) -> dict[str, Any]:
    keys = ("pages", "ctr", "cvr", "gmv_per_page", "revenue", "revenue_per_page")
    if not is_shown or users[0] == 0:
        return {"name": name, "users": None} | dict.fromkeys(keys)
    pages, exposures, clicks, orders, gmv, revenue = sums.tolist()
    _, saw, clicked, ordered = (who >= LEAST_USERS for who in users.tolist())
    numbers = (
        pages, _ratio(clicks, exposures) if saw else None, _ratio(orders, clicks) if clicked else None,
        _ratio(gmv / MICROS, pages) if ordered else None, revenue / MICROS if clicked else None,
        _ratio(revenue / MICROS, pages) if clicked else None,
    )  # fmt: skip
    return {"name": name, "users": int(users[0])} | dict(zip(keys, numbers, strict=True))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
