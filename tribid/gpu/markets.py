"""Many markets in step on one device: arrays in, arrays out, nothing on the host but the clock."""

from operator import index
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tribid.envs.advertisers import Advertisers
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world
from tribid.gpu.device import device_named
from tribid.gpu.engine import engine_for
from tribid.gpu.law import law_of
from tribid.gpu.observation import Observer
from tribid.gpu.plan import Plan
from tribid.gpu.requests import Standing, new_standing
from tribid.gpu.reward import REWARDS, Payment, score
from tribid.gpu.state import State, opened, terms_of
from tribid.gpu.traffic import device_world

_ELEMENTS = {"cuda": 2**25, "cpu": 2**21}
"""Requests times advertisers that are drawn at once, at about 100 bytes each; a larger tick comes in several batches."""


class Step(NamedTuple):
    """What a tick brought: ``observations`` float32 [M, A, D] of the next one, ``rewards`` float32 [M, A], and ``done``.

    At a day's end ``done`` is true, ``observations`` are those of the next day's start, and the closing ones are in
    ``DeviceMarkets.terminal_observations``.
    """

    observations: Tensor
    rewards: Tensor
    done: bool


class DeviceMarkets:
    """``num_markets`` independent days in lockstep, everything resident on one torch device.

    Market m plays days 0, 1, 2, ... of seed ``seed + m``, as ``FeedAuctionVecEnv`` does; ``days`` bounds the days of a seed
    before it starts again (None: never). Every advertiser acts through ``step``.

    ``engine``: "triton" settles a tick in one fused kernel, "eager" by torch operations on any device, "auto" takes Triton
    on a CUDA device where the scenario's rules allow it. All give the same winners and the same money as
    ``tribid.envs.market.step``, to the micro; sums of fractions over requests (the score gap, predictions, and events in
    the expected-value mode) agree to about 1e-12, observations and rewards to a unit in the last place of float32.

    On the CPU multipliers are checked at every step. On a CUDA device that would stop the queue, so they are checked at the
    end of the day, or at a reset before it: a multiplier that is not finite or outside 0 to ``rules.max_multiplier`` then
    raises ``ValueError``. A day that ended so is over; ``reset`` opens the next one.

    ``advertisers``, ``n_ticks``, ``n_segments``, ``scenario``, ``device`` and ``num_markets`` say what is played; ``tick``
    counts the day's ticks; ``state`` holds money and ledgers.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario,
        num_markets: int,
        *,
        device: str | torch.device = "cuda",
        seed: int = 0,
        days: int | None = None,
        engine: str = "auto",
    ) -> None:
        num_markets = _whole("num_markets", num_markets, 1, 2**31 - 1)
        seed = _whole("seed", seed, 0, 2**63 - num_markets)
        days = None if days is None else _whole("days", days, 1, 2**32)
        self.scenario = load_scenario(scenario)
        self.num_markets, self.device = num_markets, device_named(device)
        world = build_world(self.scenario)
        self.advertisers: Advertisers = world.advertisers
        self.n_ticks, self.n_segments = world.n_ticks, world.n_segments
        self._host, self._world = world, device_world(self.scenario, world, self.device)
        self._law = law_of(self.scenario, world.advertisers, tuple(world.leaving), self.device)
        self._settle = engine_for(engine, self._law, self.device)
        self._terms = terms_of(world.advertisers, self.device)
        self._seeds, self._days, self._next_day = range(seed, seed + num_markets), days, 0
        self._plan = self._planned(0)
        self._observer = Observer(self.scenario.rules, self._terms, self._plan.expected_share, self.n_segments)
        self._state = opened(self._terms, num_markets, self.n_segments)
        self._unfit = torch.zeros((), dtype=torch.bool, device=self.device)
        self._checks_each_step = self.device.type == "cpu"
        self.terminal_observations: Tensor | None = None
        self.terminal_score: Tensor | None = None

    @property
    def tick(self) -> int:
        """The tick that the next step plays."""
        return self._state.tick

    @property
    def day(self) -> int:
        """The day in play, the same for every market; -1 before the first ``reset``."""
        return -1 if self._next_day == 0 else self._plan.days[0]

    @property
    def state(self) -> State:
        """Money left and ledgers, on the device."""
        return self._state

    @property
    def observation_size(self) -> int:
        """D, the numbers of an observation."""
        return self._observer.size

    def reset(self) -> Tensor:
        """Open the next day in every market: observations float32 [M, A, D].

        Raises ``ValueError``, once, where the day in play had unfit multipliers that were not told yet.
        """
        self._raise_if_unfit()
        self.terminal_observations = self.terminal_score = None
        return self._open()

    def step(self, multipliers: Tensor) -> Step:
        """Play one tick with these bid multipliers, float64 [M, A, S] on the device (0 stays out)."""
        if self._next_day == 0 or self._state.tick == self.n_ticks:
            raise ValueError("no day is open; reset the markets first")
        self._check(multipliers)
        before, standing = self._state, self._played(multipliers)
        after = before.after(multipliers, standing.left_micros, standing.counts)
        part, rules, share = self.scenario.reward, self.scenario.rules, float(self._plan.expected_share[before.tick])
        rewards = REWARDS[part.part](Payment(self._terms, part, rules.max_multiplier, share, before, after))
        self._state, done = after, after.tick == self.n_ticks
        self.terminal_observations = self.terminal_score = None
        if done:
            self._raise_if_unfit()
        self.terminal_observations = self._observer(after) if done else None
        self.terminal_score = self.score() if done else None
        seen = self._open() if done else self._observer(after)
        return Step(seen, rewards.to(torch.float32), done)

    def score(self) -> Tensor:
        """The score of the day so far (``tribid.envs.reward.score``), [M, A]; a day just ended: ``terminal_score``."""
        return score(self._terms, self._state.total, self.scenario.reward.penalty_exponent)

    def _played(self, multipliers: Tensor) -> Standing:
        plan, tick = self._plan, self._state.tick
        visits = self._world.visits(plan, tick)
        standing = new_standing(self._state.left_micros, visits.most)
        by_segment = multipliers.transpose(1, 2).contiguous()
        requests = plan.most_requests(tick)
        size = max(1, _ELEMENTS.get(self.device.type, 2**21) // (self.num_markets * len(self.advertisers)))
        for start in range(0, requests, size):
            batch = self._world.batch(plan, tick, visits, start, min(start + size, requests))
            standing, _ = self._settle(self._law, batch, by_segment, standing)
        return standing

    def _planned(self, number: int) -> Plan:
        day = number if self._days is None else number % self._days
        return Plan(self._host, self._seeds, [day] * self.num_markets, self.device)

    def _open(self) -> Tensor:
        if self._next_day > 0:
            self._plan = self._planned(self._next_day)
        self._next_day += 1
        self._state = opened(self._terms, self.num_markets, self.n_segments)
        return self._observer(self._state)

    def _check(self, multipliers: Tensor) -> None:
        shape, most = (self.num_markets, len(self.advertisers), self.n_segments), self.scenario.rules.max_multiplier
        fits = multipliers.device == self.device and multipliers.dtype == torch.float64
        if tuple(multipliers.shape) != shape or not fits:
            raise ValueError(
                f"multipliers are {multipliers.dtype} of shape {tuple(multipliers.shape)} on {multipliers.device}; "
                f"allowed is float64 of shape {shape} on {self.device}"
            )
        self._unfit = self._unfit | ~((multipliers >= 0.0) & (multipliers <= most)).all()
        if self._checks_each_step:
            self._raise_if_unfit()

    def _raise_if_unfit(self) -> None:
        if bool(self._unfit):
            self._unfit = torch.zeros_like(self._unfit)
            most = self.scenario.rules.max_multiplier
            raise ValueError(f"some multipliers are not finite, or outside what is allowed: 0 to {most:g}")


def _whole(name: str, value: object, low: int, high: int) -> int:
    """The value as an int; NumPy's integers will do, fractions and truth values will not."""
    try:
        number = None if isinstance(value, bool | np.bool_) else index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number from {low} to {high}")
    return int(number)
