"""Who bids: rules, controllers, optimal control, learners, and the policy files that serve what they learnt."""

from tribid.agents.bidder import POLICY_MAPPINGS, Bidder, BidderSpace, Lineup, policy_mapping
from tribid.agents.pacing import DualPacing
from tribid.agents.pid import Pid
from tribid.agents.registry import BIDDERS, make_bidder
from tribid.agents.rules import FixedMultiplier, Off, RandomBidder, Truthful

__all__ = [
    "BIDDERS",
    "POLICY_MAPPINGS",
    "Bidder",
    "BidderSpace",
    "DualPacing",
    "FixedMultiplier",
    "Lineup",
    "Off",
    "Pid",
    "RandomBidder",
    "Truthful",
    "make_bidder",
    "policy_mapping",
]
