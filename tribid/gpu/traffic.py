"""Where requests come from on a device: one source per kind of world."""

from typing import Protocol

import numpy as np
import torch

from tribid.envs.auctionnet import AuctionNet
from tribid.envs.feed import Feed
from tribid.envs.scenario import Scenario
from tribid.envs.world import World
from tribid.gpu.auctionnet import DeviceAuctionNet
from tribid.gpu.feed import DeviceFeed
from tribid.gpu.plan import Plan
from tribid.gpu.requests import Batch, Visits


class Source(Protocol):
    """A world's requests on a device; pure functions of the plan and the tick."""

    def visits(self, plan: Plan, tick: int) -> Visits:
        """The tick's visits."""
        ...

    def batch(self, plan: Plan, tick: int, visits: Visits, start: int, stop: int) -> Batch:
        """Requests ``start`` to ``stop`` of every market's tick."""
        ...


def device_world(scenario: Scenario, world: World, device: torch.device) -> Source:
    """The device's twin of a world, or the ``ValueError`` that names the kinds that have one."""
    if isinstance(world, Feed):
        if world.candidates(np.zeros(1, np.int64)) is not None:
            raise ValueError(
                f"world.retrieval is {world.config.retrieval!r}; a device plays feeds where every advertiser is a "
                "candidate: without retrieval, or with at least as many candidates as advertisers"
            )
        return DeviceFeed(world, device)
    if isinstance(world, AuctionNet):
        return DeviceAuctionNet(world, device)
    raise ValueError(f"world.kind is {scenario.world.kind!r}; a device plays 'feed' or 'auctionnet'")
