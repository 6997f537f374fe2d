"""Journeys in Gymnasium's API, for learners of any library: one consumer's, or a campaign of several under one budget."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from tribid.envs.given import check_whole, is_number
from tribid.envs.sequential.consumers import JOURNEY, OPEN_STAGES, ConsumerWorld, make_world
from tribid.envs.sequential.moves import DOWN, ORDER, UP
from tribid.envs.sequential.play import Consumers, draw_consumers, order_micros, outcome

Observation = NDArray[np.float32]


class ConsumerJourney(gymnasium.Env[Observation, np.int64]):
    """What to show a consumer at each of several requests, until an order or the last request.

    ``world`` is one, or the seed of one. Action: 0 shows nothing, a shows content a - 1, unless the budget cannot pay it.
    By default an episode is one consumer, without a budget; ``consumers`` of several share ``budget_micros``.
    Observation [K + 10] float32 in [0, 1], see ``observation_names``: the type and the stage as indicators, the share of
    the journey's steps and of the exposures told apart that are behind, the share of the budget left, of the consumers
    left, and half their ratio (0.5 is on plan), and the last a bias of 1. Reward: ``(value - price * cost) / unit``, where
    ``unit`` is a mean order.
    End: when the last of ``consumers`` journeys is over (terminated). Each episode meets consumers that no episode of this
    seed has met. ``info`` holds ``seed``, ``value_micros`` and ``spent_micros`` of the episode so far, and ``met``, how
    many consumers of the seed are behind. Version 0.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's attribute

    def __init__(
        self,
        world: ConsumerWorld | int = 0,
        *,
        price: float = 0.0,
        consumers: int = 1,
        budget_micros: int | None = None,
    ) -> None:
        if not isinstance(world, ConsumerWorld):
            check_whole("world", world, 2**63, also="a ConsumerWorld")
            world = make_world(world)
        check_whole("consumers", consumers, 2**31, least=1)
        if budget_micros is not None:
            check_whole("budget_micros", budget_micros, 2**62, also="None")
        if not is_number(price) or price < 0.0:
            raise ValueError(f"price is {price!r:.80}; allowed is a finite number from 0")
        self.world, self.price, self.consumers, self.budget_micros = world, price, consumers, budget_micros
        self.unit = float((world.value_micros @ world.share) / 1e6)
        self.action_space = Discrete(world.actions)
        self.observation_space = Box(0.0, 1.0, (observation_size(world),), np.float32)
        self._cost = [0, *world.cost_micros.tolist()]
        self._states = observe_states(world)
        self._tire = (world.fatigue ** np.arange(world.tired)).tolist()
        self._seed, self._episode = 0, -1
        self._people: Consumers | None = None
        self._who = self._step = self._stage = self._exposures = self._spent = self._value = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode: the first of ``seed``, or without one the next of the last seed."""
        if seed is not None:
            check_whole("seed", seed, 2**63)
            seed = int(seed)  # Gymnasium takes Python's alone
        fresh = seed is not None or self._episode < 0
        super().reset(seed=seed)
        if fresh:
            self._seed = seed if seed is not None else int(self.np_random.integers(2**63 - 1))
        self._episode = 0 if fresh else self._episode + 1
        self._people = draw_consumers(self.world, self._seed, self.consumers, self._episode * self.consumers)
        self._who, self._spent, self._value = 0, 0, 0
        self._meet()
        return self._observe(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer one request."""
        people = self._people
        if people is None or self._who >= self.consumers:
            raise RuntimeError("step before reset, or after the episode's end; call reset first")
        given = np.asarray(action)
        if given.shape != () or given.dtype.kind not in "iu" or not 0 <= given < self.world.actions:
            raise ValueError(f"action is {action!r:.80}; allowed are the whole numbers below {self.world.actions}")
        chosen = int(given)
        if self.budget_micros is not None and self._cost[chosen] > self.budget_micros - self._spent:
            chosen = 0
        kind, luck = people.kind[self._who], people.luck[self._who, self._step]
        value = self._request(int(kind), chosen, luck)
        self._value += value
        self._spent += self._cost[chosen]
        reward = (value - self.price * self._cost[chosen]) / 1e6 / self.unit
        done = self._who >= self.consumers
        return self._observe(), reward, done, False, self._info()

    def _request(self, kind: int, action: int, luck: NDArray[np.float64]) -> int:
        """Let a request take its course; the value of its order in micros."""
        world, content = self.world, max(action - 1, 0)
        after = outcome(
            action > 0, self._stage, self._tire[self._exposures], world.order[kind, self._stage, content],
            world.up[kind, self._stage, content], world.cool[kind], luck[0], luck[1],
        )  # fmt: skip
        self._step += 1
        self._exposures = min(self._exposures + (action > 0), world.tired - 1)
        if after != ORDER:
            self._stage += 1 if after == UP else -1 if after == DOWN else 0
        if after == ORDER or self._step == world.steps:
            self._who += 1
            self._meet()
        return int(order_micros(world.value_micros[kind], luck[2])) if after == ORDER else 0

    def _meet(self) -> None:
        """Turn to the next consumer."""
        self._step = self._exposures = self._stage = 0
        if self._people is not None and self._who < self.consumers:
            self._stage = int(self._people.start[self._who])

    def _observe(self) -> Observation:
        who = min(self._who, self.consumers - 1)
        kind = 0 if self._people is None else int(self._people.kind[who])
        seen: Observation = self._states[kind, self._step, self._stage, self._exposures].copy()
        budget = self.budget_micros
        left = 1.0 if not budget else 1.0 - self._spent / budget
        seen[-4:-1] = pace(left, 1.0 - who / self.consumers)
        return seen

    def _info(self) -> dict[str, Any]:
        met = self._episode * self.consumers + self._who
        return {"seed": self._seed, "value_micros": self._value, "spent_micros": self._spent, "met": met}


def observation_names(world: ConsumerWorld) -> tuple[str, ...]:
    """What each number of an observation is, by its index.

    >>> observation_names(make_world(0))[-6:]
    ('steps_behind', 'exposures_behind', 'budget_left', 'consumers_left', 'pace', 'bias')
    """
    kinds = (f"type_{kind}" for kind in range(len(world.share)))
    stages = (f"stage_{stage}" for stage in JOURNEY[:OPEN_STAGES])
    return (*kinds, *stages, "steps_behind", "exposures_behind", "budget_left", "consumers_left", "pace", "bias")


def observation_size(world: ConsumerWorld) -> int:
    """D, the length of an observation."""
    return len(observation_names(world))


def pace(budget_left: float, time_left: float) -> tuple[float, float, float]:
    """The share of the budget left, of time, and half their ratio, at most 1."""
    return budget_left, time_left, min(1.0, 0.5 * budget_left / max(time_left, 1e-9))


def observe_states(world: ConsumerWorld, budget_left: float = 1.0, time_left: float = 1.0) -> Observation:
    """The observation of every state, [K, H, 4, E, D], at one moment of a campaign."""
    kinds, steps, stages, tired = world.shape
    seen = np.zeros((*world.shape, observation_size(world)), np.float32)
    seen[..., :kinds] = np.eye(kinds)[:, None, None, None]
    seen[..., kinds : kinds + stages] = np.eye(stages)[None, None, :, None]
    seen[..., -6] = (np.arange(steps) / steps)[None, :, None, None]
    seen[..., -5] = (np.arange(tired) / tired)[None, None, None]
    seen[..., -4:-1] = pace(budget_left, time_left)
    seen[..., -1] = 1.0
    return seen
