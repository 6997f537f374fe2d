"""``Untargeted``: as many messages as another outreach sent, at the same hours and by the same channels, to anybody."""

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.config import Channel
from tribid.envs.channels.delivery import TICKS
from tribid.envs.channels.outreach import on_list
from tribid.envs.channels.sends import Sends, sends
from tribid.envs.journey.memory import Memory
from tribid.envs.journey.triggered import BY_STAGE

_WHO, _WHICH = 20_000_000, 21_000_000


class Untargeted:
    """Writes to users drawn by chance, for brands drawn by chance, with the content that suits the stage.

    ``counts`` [D, T, C] says how many messages go out on each day, in each tick, by each channel: those of the outreach that
    is compared. A user is written to once a tick and channel at most, and only by a brand on whose list the user is.
    """

    def __init__(self, counts: NDArray[np.int64], channels: tuple[Channel, ...]) -> None:
        if counts.ndim != 3 or counts.shape[2] != len(channels) or (counts < 0).any():
            raise ValueError(
                f"counts have shape {counts.shape}; allowed are numbers of 0 or more, days by ticks by {len(channels)}"
            )
        self.counts, self.channels = counts, channels

    def send(self, seed: int, day: int, tick: int, memory: Memory) -> Sends:
        """What is to be sent; as many as the counts say, unless fewer users are on a list."""
        stage = memory.stages
        users, brands = stage.shape
        parts = []
        for by, count in enumerate(self.counts[day, tick].tolist()):
            drawn = uniforms(seed, Stream.OUTREACH, day * TICKS + tick, np.arange(users), _WHO + by)
            brand = (drawn[:, 1] * brands).astype(np.int64)
            brand = self._listed(seed, day * TICKS + tick, brand, brands, by)
            order = np.argsort(np.where(brand >= 0, drawn[:, 0], 2.0), kind="stable")[:count]
            user = order[brand[order] >= 0]
            content = np.array(BY_STAGE, np.int64)[stage[user, brand[user]]]
            parts.append(sends(user, brand[user], by, content))
        return Sends(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _listed(self, seed: int, counter: int, first: NDArray[np.int64], brands: int, by: int) -> NDArray[np.int64]:
        """A brand [U] on whose list each user is: the first drawn, or one of a few more draws; -1 after those."""
        users = np.arange(len(first))
        out = np.where(on_list(seed, users, first, by, self.channels), first, -1)
        for again in range(8):
            rest = np.flatnonzero(out < 0)
            drawn = uniforms(seed, Stream.OUTREACH, counter, rest, _WHICH + 8 * by + again)[:, 0]
            brand = (drawn * brands).astype(np.int64)
            out[rest] = np.where(on_list(seed, rest, brand, by, self.channels), brand, -1)
        return out
