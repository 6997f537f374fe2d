"""The consumers of the multi-channel world: what stays of them, what is remembered of them, and how they answer touches."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tribid.envs.chance import Stream, normals, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.delivery import Floats, Messages, Odds, Response
from tribid.envs.channels.sends import Sends, count_by
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.stages import Event, mark_all, stage_of

_LISTS = 1_000_000


class People(NamedTuple):
    """What stays: click odds for each brand [U, A], order odds [U], and whom each brand's channels can reach [U, A, C]."""

    taste: Floats
    power: Floats
    reachable: NDArray[np.bool_]


@dataclass(frozen=True)
class Memory:
    """What is remembered of consumers and brands: the one profile that every channel reads and writes. Never changed.

    ``marks`` [U, A] as in ``tribid.envs.stages``; ``shown`` [U, A, C] today's touches; ``weary`` [U, A] at ``hour``;
    ``ordered_hour`` [U, A] of the last order (-inf: none); ``path`` [U, A, C] touches opened since the last order.
    """

    hour: float
    marks: NDArray[np.uint8]
    shown: NDArray[np.int16]
    weary: Floats
    ordered_hour: Floats
    path: NDArray[np.int32]

    @property
    def stage(self) -> NDArray[np.int8]:
        """The stage of each consumer with each brand, [U, A]."""
        return stage_of(self.marks)


def people_of(config: ChannelWorldConfig) -> People:
    """The consumers that the world's seed makes."""
    users, brands, channels = config.shape
    user, brand = np.arange(users)[:, None], np.arange(brands)
    taste = config.response.taste_spread * normals(config.seed, Stream.CONSUMER, 0, user, 1 + brand)[..., 0]
    power = config.response.power_spread * normals(config.seed, Stream.CONSUMER, 0, np.arange(users), 0)[:, 0]
    what = _LISTS + brand[:, None] * channels + np.arange(channels)
    drawn = uniforms(config.seed, Stream.CONSUMER, 0, user[..., None], what)[..., 0]
    return People(taste, power, drawn < np.array([channel.audience for channel in config.channels]))


def no_memory(config: ChannelWorldConfig) -> Memory:
    """The first morning: nobody knows any brand."""
    users, brands, channels = config.shape
    return Memory(
        hour=0.0,
        marks=np.zeros((users, brands), np.uint8),
        shown=np.zeros((users, brands, channels), np.int16),
        weary=np.zeros((users, brands)),
        ordered_hour=np.full((users, brands), -np.inf),
        path=np.zeros((users, brands, channels), np.int32),
    )


def odds_of(config: ChannelWorldConfig, people: People, memory: Memory, opened: Messages) -> Odds:
    """The chances of opened touches [n], as the memory stands; the last order's shadow is measured at the opening."""
    law, tired = config.response, config.weariness
    user, brand, channel, _ = opened.sent
    stage, weary = memory.stage[user, brand], memory.weary[user, brand]
    effect = np.array([[c.ctr_effect, c.cvr_effect, c.unsubscribe] for c in config.channels])[channel]
    click = logit(law.ctr) + np.array(law.ctr_by_stage)[stage] + people.taste[user, brand] + effect[:, 0]
    since_days = (opened.open_hour - memory.ordered_hour[user, brand]) / 24.0
    sated = law.after_order * np.exp(-np.maximum(since_days, 0.0) / law.need_days)
    order = logit(law.cvr) + np.array(law.cvr_by_stage)[stage] + people.power[user] + effect[:, 1] - sated
    leave = np.minimum(effect[:, 2] * np.exp(np.minimum(tired.leave * weary, 50.0)), 1.0)
    return Odds(expit(click - tired.click * weary), expit(order), leave)


def remembered(
    config: ChannelWorldConfig, memory: Memory, hour: float, sent: Sends, opened: Messages, response: Response
) -> Memory:
    """The memory at ``hour``, the end of a tick in which these touches went out and those were opened."""
    user, brand, _, _ = opened.sent
    marks = memory.marks
    for event, which in (
        (Event.EXPOSURE, slice(None)), (Event.CLICK, response.clicked), (Event.ORDER, response.ordered)
    ):  # fmt: skip
        marks = mark_all(marks, user[which], brand[which], event)
    weary = memory.weary * np.exp(-(hour - memory.hour) / config.weariness.fades_hours)
    np.add.at(weary, (user, brand), 1.0)
    ordered_hour = memory.ordered_hour.copy()
    bought = response.ordered
    ordered_hour[user[bought], brand[bought]] = opened.open_hour[bought]
    return replace(
        memory,
        hour=hour,
        marks=marks,
        shown=memory.shown + count_by(memory.shown.shape, sent),
        weary=weary,
        ordered_hour=ordered_hour,
        path=_paths(memory.path, opened, bought),
    )


def credits(path: NDArray[np.int32], opened: Messages, ordered: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Linear and last-touch credit [A, C] of a tick's orders; both sum to the orders.

    An order's path are the touches opened since the order before it, ``path`` [U, A, C] and those of this tick up to it;
    the last of them is the touch that was clicked.
    """
    brands, channels = path.shape[1], len(CHANNELS)
    linear, last = np.zeros((brands, channels)), np.zeros((brands, channels))
    user, brand, channel, _ = opened.sent
    for row in np.flatnonzero(ordered):
        same = (user == user[row]) & (brand == brand[row]) & (opened.open_hour <= opened.open_hour[row])
        touched = path[user[row], brand[row]] + np.bincount(channel[same], minlength=channels)
        linear[brand[row]] += touched / touched.sum()
        last[brand[row], channel[row]] += 1.0
    return linear, last


def _paths(path: NDArray[np.int32], opened: Messages, ordered: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Touches since the last order: an order begins the path anew, with the touches that were opened after it."""
    user, brand, channel, _ = opened.sent
    out = path.copy()
    cut = np.full(path.shape[:2], -np.inf)
    cut[user[ordered], brand[ordered]] = opened.open_hour[ordered]
    out[user[ordered], brand[ordered]] = 0
    later = opened.open_hour > cut[user, brand]
    np.add.at(out, (user[later], brand[later], channel[later]), 1)
    return out
