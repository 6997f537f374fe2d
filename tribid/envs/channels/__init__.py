"""Channels: one consumer met in the feed, in search, by e-mail and by display, under one profile and one frequency cap."""
