"""The policies among which a consumer's is chosen: all of a tiny world, or those best for some price of cost."""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.sequential.consumers import OPEN_STAGES, ConsumerWorld
from tribid.envs.sequential.moves import Moves, Table, best_table, true_moves, worth

_LEAST_GAIN = 1e-9


class Choices(NamedTuple):
    """P policies of one type: ``tables`` [P, 1, H, 4, E], expected value ``gained`` and ``cost`` [P]; the first is none."""

    tables: Table
    gained: NDArray[np.float64]
    cost: NDArray[np.float64]


def efficient(moves: Moves, kind: int) -> Choices:
    """The policies of a type that are best for some price from 0 on, in the order of their cost: the corners of a curve.

    No mixture of any policies brings more at its cost (the curve is the upper hull of all of them). Found by splitting:
    the price at which two neighbours are worth the same either shows a better policy, or that there is none between.
    """
    one = moves._replace(chance=moves.chance[kind : kind + 1], value=moves.value[kind : kind + 1])
    none = np.zeros((1, *one.chance.shape[1:4]), np.int8)
    found = {0.0: (0.0, none)}

    def add(price: float) -> tuple[float, float]:
        table = best_table(one, price)
        told = worth(one, table)
        gained, cost = float(told.gained[0]), float(told.cost[0])
        if cost > _LEAST_GAIN:
            found.setdefault(cost, (gained, table))
        return gained, cost

    def split(low: tuple[float, float], high: tuple[float, float]) -> None:
        if high[1] - low[1] <= _LEAST_GAIN or high[0] - low[0] <= _LEAST_GAIN:
            return
        price = (high[0] - low[0]) / (high[1] - low[1])
        middle = add(price)
        if middle[0] - price * middle[1] > high[0] - price * high[1] + _LEAST_GAIN:
            split(low, middle)
            split(middle, high)

    split((0.0, 0.0), add(0.0))
    costs = sorted(found)
    return Choices(
        np.stack([found[cost][1] for cost in costs]), np.array([found[cost][0] for cost in costs]), np.array(costs)
    )


def every_policy(world: ConsumerWorld, kind: int, limit: int = 20_000) -> Choices:
    """All deterministic policies of a type in a tiny world; ``ValueError`` where there are more than ``limit``."""
    reached = _reachable(world)
    count = world.actions ** len(reached)
    if count > limit:
        raise ValueError(f"{len(reached)} states have {count:.3g} policies; allowed are up to {limit}")
    moves = true_moves(world.of_type(kind))
    tables = np.zeros((count, 1, *world.shape[1:]), np.int8)
    for table, actions in zip(tables, product(range(world.actions), repeat=len(reached)), strict=True):
        for state, action in zip(reached, actions, strict=True):
            table[0, *state] = action
    told = [worth(moves, table) for table in tables]
    return Choices(tables, np.array([w.gained[0] for w in told]), np.array([w.cost[0] for w in told]))


def _reachable(world: ConsumerWorld) -> list[tuple[int, int, int]]:
    """The states (step, stage, exposures) that some policy may reach."""
    now = {(stage, 0) for stage in range(OPEN_STAGES) if world.start[stage] > 0}
    found: list[tuple[int, int, int]] = []
    for step in range(world.steps):
        found += [(step, *state) for state in sorted(now)]
        shown = {(s + up, min(e + 1, world.tired - 1)) for s, e in now for up in (0, 1) if s + up < OPEN_STAGES}
        now |= shown | {(max(s - 1, 0), e) for s, e in now}
    return found
