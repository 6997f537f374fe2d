"""Messages that a cause sets off in a journey: an abandoned cart, an order that something goes with. Ours.

The scenario's triggers (``tribid.envs.triggers``) are played of those kinds whose causes a memory holds; prices and stock do
not move in a journey, so price drops and returns to stock never happen there. Nothing needs to be remembered of what was
sent: a cause is due in one tick, which follows from when it came about, and is looked at in that tick alone. What users do
by themselves, outside the auction's pages, a journey learns on the next morning: what was due before then is not written
about.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.config import Channel, checked_channels
from tribid.envs.channels.delivery import TICKS
from tribid.envs.channels.outreach import OUTSIDE, on_list
from tribid.envs.channels.sends import Sends, no_sends
from tribid.envs.journey.categories import Categories
from tribid.envs.journey.memory import NOTHING, Memory
from tribid.envs.stages import ENGAGED, STAGES
from tribid.envs.triggers import Trigger

PLAYED = ("cart_abandoned", "complementary")
"""The kinds of triggers whose causes a journey's memory holds."""

BY_STAGE = (0, 1, 2, 0, 0)
"""Which content a message shows at each stage, unless one says otherwise: show, review, trial, show, show."""

_BRANDS = 10_000_000


class Cause(NamedTuple):
    """Who has a reason to be written to, [U]: whether it holds, since which hour, and the category that it is about."""

    holds: NDArray[np.bool_]
    hour: NDArray[np.float64]
    category: NDArray[np.int32]


def cause_of(trigger: Trigger, memory: Memory) -> Cause:
    """What a memory knows of a trigger's cause: a cart after which nothing was ordered, or the last order."""
    if trigger.kind == "cart_abandoned":
        kept = (memory.cart != NOTHING) & ~(memory.bought_hour > memory.cart_hour)
        return Cause(kept, memory.cart_hour, memory.cart)
    return Cause(memory.bought != NOTHING, memory.bought_hour, memory.bought)


class TriggeredOutreach:
    """Writes ``wait_hours`` after an abandoned cart, or after an order, of those that the triggers name.

    The brand of a cart is the one whose item was put into it, as far as the log knows; of a cart from before the log, a
    brand of its category that the user engaged with. After an order it is a brand of a category that goes with the order,
    of those the one that the user is closest to. Equals are drawn. Only brands on whose list the user is write.

    A message that falls into quiet hours waits for the first tick after them, and then goes out if its cause still holds
    and it is not later than ``window_hours``. A user who got ``cap`` messages of any kind and brand since midnight gets
    none; the higher ``priority`` comes first. ``ticks`` are those of a day; ``contents`` [5] is the content by stage.
    ``ValueError`` where no trigger can be played, one goes by a channel that is part of the auction, counts its cap over
    more than the day, or is quiet at every tick.
    """

    def __init__(
        self, triggers: tuple[Trigger, ...], channels: tuple[Channel, ...], categories: Categories, ticks: int, *,
        contents: tuple[int, ...] = BY_STAGE,
    ) -> None:  # fmt: skip
        if ticks < 1 or len(contents) != len(STAGES):
            raise ValueError(
                f"ticks is {ticks}, contents {contents}; allowed are 1 or more, and {len(STAGES)} contents"
            )
        played = [trigger for trigger in triggers if trigger.kind in PLAYED]
        if not played:
            raise ValueError(
                f"triggers are of kinds {[one.kind for one in triggers]}; allowed is one or more of {PLAYED}"
            )
        self.triggers = tuple(sorted(played, key=lambda one: (-one.priority, one.name)))
        self.channels, self.categories, self.ticks = checked_channels(channels), categories, ticks
        self.contents = np.array(contents, np.int64)
        self._by = {one.name: checked_channel(one) for one in played}
        self._put_off = {one.name: put_off(one, ticks) for one in played}

    def send(self, seed: int, day: int, tick: int, memory: Memory) -> Sends:
        """What is to be sent at the tick's start; each cause is written about in one tick at most."""
        due = [(trigger, self._due(trigger, day * self.ticks + tick, memory)) for trigger in self.triggers]
        if not any(len(users) for _, users in due):
            return no_sends()
        stage, got, parts = memory.stages, memory.written.copy(), []
        for trigger, users in due:
            users = users[got[users] < trigger.cap]
            by = self._by[trigger.name]
            category = cause_of(trigger, memory).category[users]
            wanted = self._wanted(trigger, memory, users, category, stage)
            brand = self._brand(wanted, seed, day * TICKS + tick, users, by)
            users, brand = users[brand >= 0], brand[brand >= 0]
            got[users] += 1
            parts.append(Sends(users, brand, np.full(len(users), by, np.int64), self.contents[stage[users, brand]]))
        return Sends(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _due(self, trigger: Trigger, now: int, memory: Memory) -> NDArray[np.int64]:
        """The users [n] whose cause is due in tick ``now``, counted from the start of day 0."""
        cause = cause_of(trigger, memory)
        hour = np.where(cause.holds, cause.hour, 0.0) + trigger.wait_hours
        at = np.ceil(hour * self.ticks / 24.0 - 1e-9).astype(np.int64)
        at += self._put_off[trigger.name][at % self.ticks]
        in_time = now * 24.0 / self.ticks - hour <= trigger.window_hours
        return np.flatnonzero(cause.holds & (at == now) & in_time)

    def _wanted(
        self, trigger: Trigger, memory: Memory, user: NDArray[np.int64], category: NDArray[np.int32],
        stage: NDArray[np.int8],
    ) -> NDArray[np.float64]:  # fmt: skip
        """How much each brand [n, A] is the one to write to each user, for the category of the cause; 0 is not at all."""
        tables = self.categories
        if trigger.kind == "complementary":
            return np.where(tables.goes_with[category][:, tables.category], 1.0 + stage[user], 0.0)
        own = tables.category == category[:, None]
        wanted = np.where(own & (memory.marks[user] & ENGAGED > 0), 1.0, 0.0)
        last = memory.cart_brand[user]
        row = np.flatnonzero(last != NOTHING)
        wanted[row, last[row]] = 2.0
        return wanted

    def _brand(
        self, wanted: NDArray[np.float64], seed: int, counter: int, user: NDArray[np.int64], by: int
    ) -> NDArray[np.int64]:
        """The brand [n] that is wanted most of those on whose list the user is, equals by chance; -1 where there is none."""
        brands = np.arange(wanted.shape[1])
        chance = uniforms(seed, Stream.OUTREACH, counter, user[:, None], _BRANDS + brands)[..., 0]
        listed = on_list(seed, user[:, None], brands, by, self.channels)
        score = np.where((wanted > 0) & listed, wanted + chance, -1.0)
        best = score.argmax(axis=1) if len(user) else np.zeros(0, np.int64)
        return np.where(score[np.arange(len(user)), best] > 0, best, -1)


def checked_channel(trigger: Trigger) -> int:
    """The channel's index; ``ValueError`` where the auction is the only way there, or the cap is over several days."""
    by = CHANNELS.index(trigger.channel)
    if by not in OUTSIDE:
        allowed = ", ".join(CHANNELS[one] for one in OUTSIDE)
        raise ValueError(f"trigger {trigger.name}: channel is {trigger.channel}; allowed in a journey are {allowed}")
    if trigger.cap_days != 1:
        raise ValueError(f"trigger {trigger.name}: cap_days is {trigger.cap_days}; allowed in a journey is 1")
    return by


def put_off(trigger: Trigger, ticks: int) -> NDArray[np.int64]:
    """How many ticks a message waits that is due in each tick of the day, [ticks], so that it starts in no quiet hour.

    >>> put_off(Trigger(quiet_from=18, quiet_to=6), 4).tolist()
    [1, 0, 0, 2]
    """
    hour = 24.0 * np.arange(ticks) / ticks + trigger.utc_offset_hours
    quiet = (hour - trigger.quiet_from) % 24.0 < (trigger.quiet_to - trigger.quiet_from) % 24.0
    if quiet.all():
        raise ValueError(
            f"trigger {trigger.name}: quiet from {trigger.quiet_from:g} to {trigger.quiet_to:g} o'clock are all {ticks} "
            "ticks of the day; allowed is at least one that is not"
        )
    ahead = (np.arange(ticks)[:, None] + np.arange(ticks)) % ticks
    waits: NDArray[np.int64] = (~quiet)[ahead].argmax(axis=1)
    return waits
