"""Rivals by name, for environments that one learner acts in."""

from pathlib import Path
from typing import Any

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs.crowd import Crowd
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.single_bidder import SingleBidder
from tribid.envs.world import build_world


def crowd_of(rivals: str, scenario: Scenario) -> Lineup:
    """Every advertiser driven by the bidder of that name (``pid``, ``fixed:0.8``, a policy file)."""
    bidder = make_bidder(rivals, BidderSpace.of(scenario))
    return Lineup({rivals: bidder}, [rivals] * len(build_world(scenario).advertisers))


def single_bidder(
    scenario: str | Path | Scenario = "feed", *, rivals: str | Crowd = "truthful", **arguments: Any
) -> SingleBidder:
    """What ``gymnasium.make("tribid/SingleBidder-v0", ...)`` builds: rivals may be named."""
    loaded = load_scenario(scenario)
    crowd = crowd_of(rivals, loaded) if isinstance(rivals, str) else rivals
    return SingleBidder(loaded, rivals=crowd, **arguments)
