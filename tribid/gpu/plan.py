"""The plan of M markets' days: how many requests each tick has, made on the host and uploaded once."""

from collections.abc import Sequence

import numpy as np
import torch

from tribid.envs.world import World


class Plan:
    """Days of M markets: ``counts`` and ``first`` int64 [M, T], ``seed`` and ``day`` int64 [M], on the device.

    ``host_counts`` [M, T] stays on the host, so that shapes are known there without asking the device;
    ``expected_share`` [T] is the same for all.
    """

    def __init__(self, world: World, seeds: Sequence[int], days: Sequence[int], device: torch.device) -> None:
        plans = [world.day(seed, day) for seed, day in zip(seeds, days, strict=True)]
        self.host_counts = np.stack([plan.counts for plan in plans])
        self.expected_share = plans[0].expected_share
        self.counts = torch.tensor(self.host_counts, device=device)
        self.first = torch.tensor(np.stack([plan.first for plan in plans]), device=device)
        self.seed = torch.tensor(np.asarray(seeds, np.int64), device=device)
        self.day = torch.tensor(np.asarray(days, np.int64), device=device)
        self.seeds, self.days = tuple(seeds), tuple(days)

    def most_requests(self, tick: int) -> int:
        """Requests of the market that has most in this tick."""
        return int(self.host_counts[:, tick].max())

    def most_visits(self, tick: int, session_length: int) -> int:
        """Visits of the market that has most in this tick; 1 at least."""
        return max(1, -(-self.most_requests(tick) // session_length))
