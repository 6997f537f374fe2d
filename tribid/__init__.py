"""Tribid: a multi-agent bidding environment for e-commerce feed ads, the learners that bid in it, and their ranker.

Importing the package registers its environments: ``gymnasium.make("tribid/SingleBidder-v0")`` (or, in one step,
``gymnasium.make("tribid:tribid/SingleBidder-v0")``), likewise ``ConsumerJourney-v0`` and ``ChannelSplit-v0``, and
``pettingzoo.make("parallel", "tribid/feed_auction-v0")``.
"""

import gymnasium
import pettingzoo
from gymnasium.envs.registration import registry

__version__ = "0.1.0"

if "tribid/SingleBidder-v0" not in registry:
    gymnasium.register("tribid/SingleBidder-v0", entry_point="tribid.agents.rivals:single_bidder")
    gymnasium.register("tribid/ConsumerJourney-v0", entry_point="tribid.envs.sequential.journey_env:ConsumerJourney")
    gymnasium.register("tribid/ChannelSplit-v0", entry_point="tribid.agents.channel_split.split_env:ChannelSplit")
    pettingzoo.register("parallel", "tribid/feed_auction-v0", "tribid.envs.feed_auction_v0:parallel_env")
    pettingzoo.register("aec", "tribid/feed_auction-v0", "tribid.envs.feed_auction_v0:env")
