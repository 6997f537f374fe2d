"""Rivals by name: whoever drives the advertisers that are not judged, or that do not learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tribid.agents.bidder import Bidder, BidderSpace, Lineup
from tribid.agents.registry import make_bidder
from tribid.envs.crowd import Crowd
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.single_bidder import SingleBidder
from tribid.envs.world import build_world


def rivals_in_turn(rivals: Sequence[str], scenario: Scenario) -> Lineup:
    """Every advertiser driven by the named bidders in turn; learners' or contestants' places are taken out of it.

    >>> rivals_in_turn(("pid", "fixed:0.8"), load_scenario("tiny")).mapping
    ('pid', 'fixed:0.8', 'pid', 'fixed:0.8', 'pid')
    """
    if not rivals:
        raise ValueError("rivals are empty; name at least one bidder, such as pid")
    space, count = BidderSpace.of(scenario), len(build_world(scenario).advertisers)
    bidders: dict[str, Bidder] = {name: make_bidder(name, space) for name in rivals}
    return Lineup(bidders, [rivals[i % len(rivals)] for i in range(count)])


def single_bidder(
    scenario: str | Path | Scenario = "feed", *, rivals: str | Crowd = "truthful", **arguments: Any
) -> SingleBidder:
    """What ``gymnasium.make("tribid/SingleBidder-v0", ...)`` builds: rivals may be named."""
    loaded = load_scenario(scenario)
    crowd = rivals_in_turn((rivals,), loaded) if isinstance(rivals, str) else rivals
    return SingleBidder(loaded, rivals=crowd, **arguments)
