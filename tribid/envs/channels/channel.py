"""The channels in their one order; what a channel costs and how it delivers is said by ``tribid.envs.channels.config``."""

CHANNELS = ("feed", "search", "email", "display")
"""What a channel's number counts from 0, in every array, log and file."""

FEED, SEARCH, EMAIL, DISPLAY = range(len(CHANNELS))
