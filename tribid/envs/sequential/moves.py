"""What a journey's states lead to, and the policy that is best against a price of cost: exact backward induction.

For a price ``p`` the policy that maximises a consumer's ``VG - p * VC`` (expected value less the price of the expected cost)
is the one that Hao et al. (ICML 2020) call optimal for the threshold ``CPR_thr = p``. The same two functions serve the true
laws and the frequencies that a learner has counted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.sequential.consumers import OPEN_STAGES, ConsumerWorld

Floats = NDArray[np.float64]
Table = NDArray[np.int8]
"""What a policy does in each state, [K, H, 4, E]: 0 shows nothing, a shows content a - 1."""

DOWN, STAY, UP, ORDER = range(4)
"""What may follow a request."""


class Moves(NamedTuple):
    """What follows action a in state (k, h, s, e): ``chance`` [K, H, 4, E, A, 4] of each outcome, and ``value``.

    ``value`` [K, H, 4, E, A] is the expected value of the request alone; ``cost`` [A] what an action costs, both in
    currency units. An order ends the journey, as the last step does.
    """

    chance: Floats
    value: Floats
    cost: Floats
    start: Floats


class Worth(NamedTuple):
    """Expected value ``gained`` (VG) and cost ``cost`` (VC) of a journey of each type, [K] in currency units."""

    gained: Floats
    cost: Floats


def true_moves(world: ConsumerWorld) -> Moves:
    """The laws of a world as moves; a step's number changes nothing but how many are left."""
    kinds, steps, stages, tired = world.shape
    tire = world.fatigue ** np.arange(tired)
    chance = np.zeros((kinds, stages, tired, world.actions, 4))
    chance[:, 1:, :, 0, DOWN] = world.cool[:, None, None]
    chance[..., 0, STAY] = 1.0 - chance[..., 0, DOWN]
    order = world.order[:, :, None, :] * tire[None, None, :, None]
    up = (1.0 - order) * world.up[:, :, None, :] * tire[None, None, :, None]
    chance[..., 1:, ORDER], chance[..., 1:, UP] = order, up
    chance[..., 1:, STAY] = 1.0 - order - up
    value = chance[..., ORDER] * (world.value_micros / 1e6)[:, None, None, None]
    every = np.broadcast_to(chance[:, None], (kinds, steps, *chance.shape[1:]))
    return Moves(every, np.broadcast_to(value[:, None], (kinds, steps, *value.shape[1:])), world.cost, world.start)


def ahead(chance: Floats, later: Floats) -> Floats:
    """Expected ``later`` [..., 4, E] after one step with ``chance`` [..., 4, E, A, 4]; [..., 4, E, A].

    An exposure is counted up to the last that is told apart.
    """
    tired = later.shape[-1]
    shown = later[..., np.minimum(np.arange(tired) + 1, tired - 1)]
    after = np.stack([later] + [shown] * (chance.shape[-2] - 1), axis=-1)
    stages = np.arange(OPEN_STAGES)
    down = after[..., np.maximum(stages - 1, 0), :, :]
    up = after[..., np.minimum(stages + 1, OPEN_STAGES - 1), :, :]
    return chance[..., DOWN] * down + chance[..., STAY] * after + chance[..., UP] * up


def action_values(moves: Moves, price: float) -> Floats:
    """The most that each action leads to, [K, H, 4, E, A], where a unit of value counts 1 and one of cost ``-price``."""
    values = moves.value - price * moves.cost
    later = np.zeros((values.shape[0], *values.shape[2:4]))
    found = np.empty(values.shape)
    for step in reversed(range(values.shape[1])):
        found[:, step] = values[:, step] + ahead(moves.chance[:, step], later)
        later = found[:, step].max(axis=-1)
    return found


def best_table(moves: Moves, price: float, allowed: NDArray[np.bool_] | None = None) -> Table:
    """The policy that maximises ``VG - price * VC``; of actions as good, the first. ``allowed`` [A] leaves out actions."""
    values = action_values(moves if allowed is None else without(moves, allowed), price)
    table: Table = values.argmax(axis=-1).astype(np.int8)
    return table


def without(moves: Moves, allowed: NDArray[np.bool_]) -> Moves:
    """The moves without the actions that are not ``allowed`` [A]: they bring nothing at an endless loss."""
    if not allowed[0]:
        raise ValueError("allowed leaves out action 0; showing nothing is always allowed")
    return moves._replace(value=np.where(allowed, moves.value, -1e12))


def worth(moves: Moves, table: Table) -> Worth:
    """What a policy brings and costs over a journey, by type."""
    kinds, steps = table.shape[:2]
    gained, cost = np.zeros((2, kinds, *table.shape[2:]))
    chosen = table[..., None].astype(np.int64)
    for step in reversed(range(steps)):
        index = chosen[:, step]
        told = [moves.value[:, step], np.broadcast_to(moves.cost, moves.value[:, step].shape)]
        gained, cost = (
            np.take_along_axis(now + ahead(moves.chance[:, step], later), index, axis=-1)[..., 0]
            for now, later in zip(told, (gained, cost), strict=True)
        )
    return Worth(gained[:, :, 0] @ moves.start, cost[:, :, 0] @ moves.start)
