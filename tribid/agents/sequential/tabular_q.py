"""Q-learning on tables, its replay run to the fixed point: every state's and action's outcomes counted, solved backwards.

Replaying all transitions until nothing changes (Lin 1992) leaves in each cell the mean of ``r + max Q`` over what followed
it; over a finite number of steps that is one pass backwards. Value and cost are kept apart, so that a new price of cost
changes all past rewards ``r = v - price * c`` at once.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tribid.envs.sequential.consumers import OPEN_STAGES, ConsumerWorld
from tribid.envs.sequential.moves import Moves, Table, best_table, without
from tribid.envs.sequential.play import OVER, Record


class LowerLevel(Protocol):
    """Learns what to show a consumer against a price of cost."""

    def learn(self, record: Record, price: float) -> None:
        """Take in what journeys went through, and learn for this price."""
        ...

    def table(self, price: float) -> Table:
        """The policy learnt, [K, H, 4, E], for a price near that of the latest lesson."""
        ...


class TabularQ:
    """A table of Q for the world's states; ``allowed`` [A] leaves out actions (None: none), ``doubt`` pulls cells down.

    ``doubt`` counts as so many visits to each cell after which nothing followed: cells seldom met are not believed in.
    With ``pooled`` a transition is replayed for every number of steps left, not only the one at which it was seen: what an
    ad does is taken to depend on the consumer's stage and exposures, not on the step's number. Of the world it uses the
    number of states and the costs of the contents, which an advertiser knows.
    """

    def __init__(
        self, world: ConsumerWorld, allowed: NDArray[np.bool_] | None = None, *, doubt: float = 1.0, pooled: bool = True
    ) -> None:
        if doubt < 0:
            raise ValueError(f"doubt is {doubt}; allowed is 0 or more visits")
        self.allowed, self.doubt, self.pooled = allowed, doubt, pooled
        self._cost, self._tired = world.cost, world.tired
        self._starts = np.zeros(OPEN_STAGES)
        self._seen = np.zeros((*world.shape, world.actions, 4))
        self._value = np.zeros((*world.shape, world.actions))

    def learn(self, record: Record, price: float) -> None:
        """Count what journeys went through; the price changes nothing yet."""
        who, step = np.nonzero(record.action != OVER)
        cell = (
            record.kind[who], step, record.stage[who, step], record.exposures[who, step], record.action[who, step],
        )  # fmt: skip
        np.add.at(self._seen, (*cell, record.outcome[who, step]), 1.0)
        np.add.at(self._value, cell, record.value_micros[who, step] / 1e6)
        self._starts += np.bincount(record.stage[:, 0], minlength=OPEN_STAGES)

    def moves(self) -> Moves:
        """The frequencies of all that was seen."""
        seen, value = self._seen, self._value
        if self.pooled:
            seen, value = (np.broadcast_to(a.sum(axis=1, keepdims=True), a.shape) for a in (seen, value))
        visits = np.maximum(seen.sum(axis=-1) + self.doubt, 1e-9)
        return Moves(seen / visits[..., None], value / visits, self._cost, self._starts / max(1.0, self._starts.sum()))

    def table(self, price: float) -> Table:
        """The policy that is best for a price, whatever the price of the lessons."""
        moves = self.moves()
        return best_table(moves if self.allowed is None else without(moves, self.allowed), price)
