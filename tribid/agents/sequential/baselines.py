"""Simple ways to run a campaign: a sequence made by hand, the best content of the moment, and a bandit that learns it."""

from collections.abc import Sequence

import numpy as np

from tribid.agents.sequential.tabular_q import TabularQ
from tribid.envs.sequential.campaign import Arrivals, Moment, Plan
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.moves import Moves, Table, true_moves, worth

_HALVINGS = 40


class OneTable:
    """The same policy ``table`` for everybody, as long as the budget lasts."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def begin(self) -> None:
        """Nothing to prepare."""

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        """The table."""
        return Plan.of(self.table, len(arrivals.kind))


def manual(world: ConsumerWorld, sequence: Sequence[int] = (1, 2, 3)) -> OneTable:
    """Show a fixed sequence of contents (actions), one an exposure and the last again and again, to everybody."""
    if not sequence or not all(1 <= action < world.actions for action in sequence):
        raise ValueError(f"sequence is {list(sequence)}; allowed are one or more actions from 1 to {world.actions - 1}")
    by_exposure = [sequence[min(shown, len(sequence) - 1)] for shown in range(world.tired)]
    return OneTable(np.broadcast_to(np.array(by_exposure, np.int8), world.shape).copy())


def myopic(moves: Moves, price: float) -> Table:
    """The action of the largest ``v - price * c`` at each request by itself, [K, H, 4, E]."""
    table: Table = (moves.value - price * moves.cost).argmax(axis=-1).astype(np.int8)
    return table


def myopic_greedy(world: ConsumerWorld, consumer_budget: float) -> OneTable:
    """The myopic policy that knows the laws, at the price where an expected consumer costs ``consumer_budget``.

    At every request the content that earns most at once, where it earns the price; halving finds the least such price.
    """
    if not consumer_budget > 0:
        raise ValueError(f"consumer_budget is {consumer_budget}; allowed is a number above 0")
    moves = true_moves(world)
    low, high = 0.0, float((moves.value[..., 1:] / moves.cost[1:]).max()) + 1.0

    def cost(price: float) -> float:
        return float(worth(moves, myopic(moves, price)).cost @ world.share)

    if cost(0.0) <= consumer_budget:
        return OneTable(myopic(moves, 0.0))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if cost(middle) <= consumer_budget else (middle, high)
    return OneTable(myopic(moves, high))


class ContextualBandit(TabularQ):
    """Learns what each content earns at once in each context (type, stage, exposures), and shows the best at a price.

    A lower level for ``Msbcb``, so that it has the same lessons, exploration and control of the budget; what it lacks is
    the worth of moving a consumer on (contextual bandits: Li et al., WWW 2010).
    """

    def table(self, price: float) -> Table:
        """The myopic policy of what was learnt."""
        return myopic(self.moves(), price)
