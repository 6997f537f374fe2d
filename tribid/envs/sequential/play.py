"""Journeys played under one budget: consumers come one after the other, and no exposure is shown that cannot be paid.

Every draw is a function of (seed, consumer, step): two policies meet the same consumers with the same luck.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.given import check_whole
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import DOWN, ORDER, STAY, UP, Table

_WHO, _LUCK = 2, 3  # the days of the stream under which consumers and their luck are drawn
OVER = -1
"""What a record holds after a journey's end."""

OPEN_BUDGET = 2**62
"""More micros than can be spent: for play that is only observed."""


class Consumers(NamedTuple):
    """N consumers in their order: ``kind`` [N], the stage where each begins ``start`` [N], and ``luck`` [N, H, 3].

    The uniforms of a step decide the order, the move, and the order's value.
    """

    kind: NDArray[np.int64]
    start: NDArray[np.int64]
    luck: NDArray[np.float64]

    def part(self, which: slice) -> "Consumers":
        """Some of them, as they come."""
        return Consumers(self.kind[which], self.start[which], self.luck[which])


class Record(NamedTuple):
    """What N consumers went through: [N, H] each, ``OVER`` where the journey had ended.

    ``stage`` and ``exposures`` before the request, ``action``, ``outcome`` (``DOWN``, ``STAY``, ``UP``, ``ORDER``), and
    ``value_micros`` of orders. ``spent_micros`` is what all exposures cost, ``unpaid`` how many could not be paid.
    """

    kind: NDArray[np.int64]
    stage: NDArray[np.int8]
    exposures: NDArray[np.int8]
    action: NDArray[np.int8]
    outcome: NDArray[np.int8]
    value_micros: NDArray[np.int64]
    spent_micros: int
    unpaid: int


def draw_consumers(world: ConsumerWorld, seed: int, count: int, first: int = 0) -> Consumers:
    """Consumers ``first`` to ``first + count`` of ``seed``: their types, beginnings and luck.

    ``ValueError`` names what is no world, no seed or no number of consumers.
    """
    if not isinstance(world, ConsumerWorld):
        raise ValueError(f"world is {world!r:.80}; allowed is a ConsumerWorld, such as make_world(0)")
    for name, value, least in (("seed", seed, 0), ("count", count, 1), ("first", first, 0)):
        check_whole(name, value, 2**63, least=least)
    who = np.arange(first, first + count)
    drawn = uniforms(seed, Stream.CONSUMER, _WHO, who)
    kind = np.searchsorted(np.cumsum(world.share)[:-1], drawn[:, 0], side="right")
    start = np.searchsorted(np.cumsum(world.start)[:-1], drawn[:, 1], side="right")
    luck = uniforms(seed, Stream.CONSUMER, _LUCK, who[:, None], np.arange(world.steps)[None])
    return Consumers(kind.astype(np.int64), start.astype(np.int64), np.ascontiguousarray(luck[..., :3]))


def play(
    world: ConsumerWorld,
    consumers: Consumers,
    tables: Table,
    which: NDArray[np.int64],
    budget_micros: int,
    forced: NDArray[np.int8] | None = None,
) -> Record:
    """Play the consumers under ``tables`` [P, K, H, 4, E], each under table ``which`` [N]; -1 shows them nothing.

    ``forced`` [N, H] are actions played instead where they are not negative, as exploration does. What would cost more
    than is left of ``budget_micros`` is not shown.
    """
    if budget_micros < 0:
        raise ValueError(f"budget_micros is {budget_micros}; allowed is 0 or more")
    if tables.shape[1:] != world.shape or which.shape != consumers.kind.shape:
        raise ValueError(
            f"tables have shape {tables.shape} and which {which.shape}; allowed are [P, {world.shape}] and one of each "
            f"of {len(consumers.kind)} consumers"
        )
    count, steps = len(consumers.kind), world.steps
    record = np.full((4, count, steps), OVER, np.int8)
    value = np.zeros((count, steps), np.int64)
    explored = np.full((count, steps), -1, np.int8) if forced is None else forced
    spent, unpaid = _play(
        consumers.kind, consumers.start, consumers.luck, tables, which, explored, world.order, world.up, world.cool,
        world.fatigue ** np.arange(world.tired), world.value_micros, world.cost_micros, budget_micros, record, value,
    )  # fmt: skip
    stage, exposures, action, outcomes = record
    return Record(consumers.kind, stage, exposures, action, outcomes, value, int(spent), int(unpaid))


@njit(cache=True)
def outcome(
    shown: Any, stage: Any, tire: Any, order: Any, up: Any, cool: Any, first: Any, second: Any
) -> Any:  # order and up are those of the content at the stage
    """What follows a request, from two uniforms."""
    if not shown:
        return DOWN if stage > 0 and second < cool else STAY
    if first < order * tire:
        return ORDER
    return UP if second < up * tire else STAY


@njit(cache=True)
def order_micros(mean_micros: Any, luck: Any) -> Any:
    """An order's value: 0.5 to 1.5 times the mean of its type."""
    return np.int64(mean_micros * (0.5 + luck))


@njit(cache=True)
def _play(
    kind: Any, start: Any, luck: Any, tables: Any, which: Any, forced: Any, order: Any, up: Any, cool: Any, tire: Any,
    value_micros: Any, cost_micros: Any, budget: Any, record: Any, value: Any,
) -> Any:  # fmt: skip
    left, unpaid = budget, 0
    for n in range(kind.shape[0]):
        k, s, e = kind[n], start[n], 0
        for h in range(luck.shape[1]):
            a = 0 if which[n] < 0 else tables[which[n], k, h, s, e]
            if forced[n, h] >= 0:
                a = forced[n, h]
            if a > 0 and cost_micros[a - 1] > left:
                a = 0
                unpaid += 1
            c = max(a - 1, 0)
            after = outcome(a > 0, s, tire[e], order[k, s, c], up[k, s, c], cool[k], luck[n, h, 0], luck[n, h, 1])
            record[0, n, h], record[1, n, h], record[2, n, h], record[3, n, h] = s, e, a, after
            if a > 0:
                left -= cost_micros[a - 1]
                e = min(e + 1, tire.shape[0] - 1)
            if after == ORDER:
                value[n, h] = order_micros(value_micros[k], luck[n, h, 2])
                break
            s += 1 if after == UP else -1 if after == DOWN else 0
    return budget - left, unpaid
