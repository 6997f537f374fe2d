"""A deep Q-network as the lower level, for worlds with more states than a table can hold.

Double Q-learning (van Hasselt, Guez and Silver, AAAI 2016) from a replay buffer that keeps value and cost apart, so that old
transitions are rewarded at the price of today: ``r = v - price * c``, in units of a mean order. The network also sees the
price, and each row of a mini-batch is rewarded at a price of its own near the lesson's (as universal value functions are
learnt: Schaul et al., ICML 2015); so the controller may go on moving the price when lessons are over.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tribid.agents.dense import dense_network, move_towards, orthogonal
from tribid.agents.replay_buffer import ReplayBuffer
from tribid.envs.sequential.consumers import ConsumerWorld
from tribid.envs.sequential.journey_env import observe_states
from tribid.envs.sequential.moves import DOWN, ORDER, UP, Table
from tribid.envs.sequential.play import OVER, Record


@dataclass(frozen=True, kw_only=True)
class DeepQRule:
    """``updates`` mini-batches of ``batch`` transitions after each lesson; ``follow`` moves the target network in each.

    ``near`` is the log-scale of the rows' prices around the lesson's.
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    replay: int = 200_000
    batch: int = 256
    updates: int = 50
    follow: float = 0.02
    near: float = 0.2

    def __post_init__(self) -> None:
        for name in ("replay", "batch", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is a whole number from 1")
        for name in ("learning_rate", "follow"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is above 0 up to 1")


class DeepQ:
    """Q of every action from the observation of a state, but without the budget and the time of a campaign."""

    def __init__(
        self, world: ConsumerWorld, seed: int, rule: DeepQRule | None = None, allowed: NDArray[np.bool_] | None = None
    ) -> None:
        self.rule, self._shape = rule or DeepQRule(), world.shape
        self._allowed = torch.from_numpy(np.ones(world.actions, bool) if allowed is None else allowed)
        states = observe_states(world)
        self._states = torch.from_numpy(states.reshape(-1, states.shape[-1]))
        self._cost = torch.from_numpy(world.cost.astype(np.float32))
        self._unit = float(world.value_micros @ world.share) / 1e6
        self._draws = draws = torch.Generator().manual_seed(seed)
        sizes = (states.shape[-1] + 1, *self.rule.hidden, world.actions)
        self._network, self._target = (dense_network(sizes, draws, orthogonal(last_gain=0.1)) for _ in range(2))
        self._target.load_state_dict(self._network.state_dict())
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=self.rule.learning_rate)
        self._replay = ReplayBuffer(
            self.rule.replay, dict.fromkeys(("state", "action", "after", "goes_on", "value"), ()), draws
        )

    def learn(self, record: Record, price: float) -> None:
        """Keep the transitions, then learn for this price."""
        self._replay.add(**self._transitions(record))
        for _ in range(self.rule.updates):
            self._update(price)

    @torch.no_grad()
    def table(self, price: float) -> Table:
        """The policy for a price near those of the lessons."""
        best = self._numbers(self._network, self._states, torch.full((len(self._states),), price)).argmax(dim=1)
        table: Table = best.numpy().astype(np.int8).reshape(self._shape)
        return table

    def _numbers(self, network: nn.Module, states: Tensor, price: Tensor) -> Tensor:
        numbers: Tensor = network(torch.cat([states, torch.log1p(price).unsqueeze(1)], dim=1))
        return numbers.masked_fill(~self._allowed, -torch.inf)

    def _transitions(self, record: Record) -> dict[str, NDArray[np.float64]]:
        """Flat indices of the states before and after each request, and what came of it."""
        _, steps, stages, tired = self._shape
        who, step = np.nonzero(record.action != OVER)
        stage, shown = (part[who, step].astype(np.int64) for part in (record.stage, record.exposures))
        action, outcome = record.action[who, step], record.outcome[who, step]
        goes_on = (outcome != ORDER) & (step + 1 < steps)
        moved = np.clip(stage + (outcome == UP) - (outcome == DOWN), 0, stages - 1)
        tiring = np.minimum(shown + (action > 0), tired - 1)
        kind = record.kind[who]
        before = np.ravel_multi_index((kind, step, stage, shown), self._shape)
        after = np.ravel_multi_index((kind, np.minimum(step + 1, steps - 1), moved, tiring), self._shape)
        return {
            "state": before.astype(float), "action": action.astype(float), "after": after.astype(float),
            "goes_on": goes_on.astype(float), "value": record.value_micros[who, step] / 1e6 / self._unit,
        }  # fmt: skip

    def _update(self, price: float) -> None:
        rows = self._replay.sample(self.rule.batch)
        prices = price * torch.exp(self.rule.near * torch.randn(self.rule.batch, generator=self._draws))
        action, after = rows["action"].long(), self._states[rows["after"].long()]
        reward = rows["value"] - prices / self._unit * self._cost[action]
        with torch.no_grad():
            best = self._numbers(self._network, after, prices).argmax(dim=1, keepdim=True)
            aim = reward + rows["goes_on"] * self._numbers(self._target, after, prices).gather(1, best).squeeze(1)
        seen = self._states[rows["state"].long()]
        taken = self._numbers(self._network, seen, prices).gather(1, action.unsqueeze(1)).squeeze(1)
        loss = nn.functional.mse_loss(taken, aim)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        move_towards(self._target, self._network, self.rule.follow)
