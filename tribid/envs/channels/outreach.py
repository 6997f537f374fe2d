"""Messages outside the auction in a world of auctions: who is written to in a tick, as a rule over the shared profile.

A world that has an outreach asks it at the start of each tick, leaves out whom a brand cannot reach with ``on_list``, sends
with ``post``, keeps the messages in an ``Outbox`` and answers those that are due with ``respond``. Ours.
"""

from collections import Counter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL
from tribid.envs.channels.config import Caps, Channel, checked_channels
from tribid.envs.channels.delivery import Messages, dispatch
from tribid.envs.channels.outbox import Outbox
from tribid.envs.channels.prices import unit_micros
from tribid.envs.channels.sends import Sends, admitted, no_sends, occurrence
from tribid.envs.scenario import MICROS
from tribid.envs.stages import STAGES

OUTSIDE = (EMAIL, DISPLAY)
"""The channels that are no auction of the shop's own pages."""
_TURN, _REACHED = 100, 200


class Profiles(Protocol):
    """What an outreach reads of a world's memory."""

    @property
    def marks(self) -> NDArray[np.uint8]:
        """Marks [U, A] of ``tribid.envs.stages``."""
        ...

    @property
    def stages(self) -> NDArray[np.int8]:
        """The stages [U, A] that the marks give."""
        ...

    @property
    def shown(self) -> NDArray[np.int16]:
        """Today's touches, [U, A] over all channels or [U, A, C]."""
        ...


class Outreach(Protocol):
    """Decides which messages go out in a tick."""

    def send(self, seed: int, day: int, tick: int, memory: Profiles) -> Sends:
        """What is to be sent; a pure function of its arguments."""
        ...


class StageTargeted:
    """Writes to those in some stages: each user has one tick a day for each channel, and then hears from few brands.

    ``stages`` are names of ``STAGES``, the most wanted first; of a user's brands the ``brands`` most wanted write, equals
    by chance. ``contents`` [5] is the content for each stage. ``ticks`` are those of a day.
    """

    def __init__(
        self, channels: tuple[Channel, ...], ticks: int, *, caps: Caps | None = None,
        stages: tuple[str, ...] = ("interested", "aware"), brands: int = 1, contents: tuple[int, ...] = (0, 1, 2, 0, 0),
    ) -> None:  # fmt: skip
        unknown = [name for name in stages if name not in STAGES]
        if unknown or not stages or len(set(stages)) < len(stages):
            raise ValueError(f"stages is {stages}; allowed are some of {STAGES}, each once")
        if ticks < 1 or brands < 1 or len(contents) != len(STAGES):
            raise ValueError(
                f"ticks is {ticks}, brands {brands}, contents {contents}; allowed are 1 or more, and 5 contents"
            )
        self.channels, self.ticks, self.caps = checked_channels(channels), ticks, caps or Caps()
        self.brands, self.contents = brands, np.array(contents, np.int64)
        self._rank = np.full(len(STAGES), len(STAGES))
        for rank, name in enumerate(stages):
            self._rank[STAGES.index(name)] = rank

    def send(self, seed: int, day: int, tick: int, memory: Profiles) -> Sends:
        """What is to be sent, under the caps; the e-mail comes before the banner."""
        stage, parts = memory.stages, []
        users = len(stage)
        for channel in OUTSIDE:
            turn = uniforms(seed, Stream.OUTREACH, day, np.arange(users), _TURN + channel)
            mine = np.flatnonzero(
                ((turn[:, 0] * self.ticks).astype(np.int64) == tick)
                & (turn[:, 1] < -np.expm1(-self.channels[channel].visits))
            )
            parts.append(self._to(seed, day, channel, mine, stage))
        wanted = Sends(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return wanted.take(admitted(wanted, memory.shown, self.caps)) if len(wanted.user) else no_sends()

    def _to(self, seed: int, day: int, channel: int, mine: NDArray[np.int64], stage: NDArray[np.int8]) -> Sends:
        """The messages of a channel to these users [n]."""
        brands = np.arange(stage.shape[1])
        listed = on_list(seed, mine[:, None], brands, channel, self.channels)
        what = _REACHED + brands * len(CHANNELS) + channel
        chance = uniforms(seed, Stream.OUTREACH, day, mine[:, None], what)[..., 1]
        rank = self._rank[stage[mine]]
        user, brand = np.nonzero(listed & (rank < len(STAGES)))
        order = np.lexsort((chance[user, brand], rank[user, brand], user))
        user, brand = user[order], brand[order]
        first = occurrence(user) < self.brands
        who, which = mine[user[first]], brand[first].astype(np.int64)
        by = np.full(len(who), channel, np.int64)
        return Sends(who, which, by, self.contents[stage[who, which]])


def on_list(
    seed: int, user: NDArray[np.int64], brand: NDArray[np.int64], channel: NDArray[np.int64] | int,
    channels: tuple[Channel, ...],
) -> NDArray[np.bool_]:  # fmt: skip
    """Whether brands can reach users by channels at all, as the channels' ``audience`` has it; arrays broadcast."""
    drawn = uniforms(seed, Stream.OUTREACH, 0, user, _REACHED + brand * len(CHANNELS) + channel)[..., 0]
    return np.asarray(drawn < np.array([one.audience for one in channels])[channel])


class Posted(NamedTuple):
    """What went out of what an outreach wanted: the outbox with it, the messages, and what each brand paid, [A]."""

    outbox: Outbox
    messages: Messages
    charge_micros: NDArray[np.int64]


def post(
    outbox: Outbox, wanted: Sends, channels: tuple[Channel, ...], left_micros: NDArray[np.int64], shown: NDArray[np.int16],
    *, seed: int, day: int, tick: int, hour: float, caps: Caps | None = None, sent: NDArray[np.int64] | None = None,
) -> Posted:  # fmt: skip
    """Send at ``hour`` what subscriptions, the cap, the channels' capacity and the money allow, one after the other.

    A message costs its channel's ``unit_micros`` when it goes out (a click-priced one is reserved at a click's price): the
    brand, of whose money ``left_micros`` [A] are left, or the channel's own budget for the brand. ``sent`` [A, C] are the
    day's messages before these, by which own budgets and capacities were used. A message that one of the two cannot pay
    does not go out, nor does anything after it that they would pay.
    """
    wanted = wanted.take(outbox.allows(wanted))
    before = np.zeros((len(left_micros), len(channels)), np.int64) if sent is None else sent
    unit = np.array([unit_micros(channel) for channel in channels], np.int64)
    goes = _in_turn(wanted, channels, unit, left_micros, shown, caps or Caps(), before)
    wanted = wanted.take(goes)
    price = np.where([channel.paid_from == "own" for channel in channels], 0, unit)[wanted.channel]
    charge = np.zeros_like(left_micros)
    np.add.at(charge, wanted.brand, price)
    messages = dispatch(seed, day, tick, wanted, np.full(len(price), hour), channels, price)
    return Posted(outbox.posted(messages), messages, charge)


def _in_turn(
    wanted: Sends, channels: tuple[Channel, ...], unit: NDArray[np.int64], left_micros: NDArray[np.int64],
    shown: NDArray[np.int16], caps: Caps, sent: NDArray[np.int64],
) -> NDArray[np.bool_]:  # fmt: skip
    """Which messages [n] go out, in their order: only one that does uses up the cap, a channel's capacity or any money."""
    so_far, each = shown[wanted.user, wanted.brand].astype(np.int64), np.arange(len(wanted.user))
    total, alike = (so_far.sum(axis=1), so_far[each, wanted.channel]) if so_far.ndim == 2 else (so_far, 0 * so_far)
    per_day = np.inf if caps.per_day is None else caps.per_day
    most = [np.inf if channel.capacity is None else channel.capacity for channel in channels]
    room = (np.array(most) - sent.sum(axis=0)).tolist()
    own = np.array([round(channel.own_budget * MICROS) for channel in channels], np.int64) - sent * unit
    money = np.column_stack([left_micros, own]).tolist()
    purse = [1 + by if channel.paid_from == "own" else 0 for by, channel in enumerate(channels)]
    goes, met, cost = np.zeros(len(each), np.bool_), Counter[tuple[int, ...]](), unit.tolist()
    columns = (wanted.user, wanted.brand, wanted.channel, total, alike)
    for row, (user, brand, by, before, same) in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
        pair, way = (user, brand), (user, brand, by)
        if room[by] <= 0 or before + met[pair] >= per_day or same + met[way] >= caps.per_channel[by]:
            continue
        left = money[brand][purse[by]] - cost[by]
        money[brand][purse[by]] = left if left >= 0 else -1  # who cannot pay one pays for none after it
        if left >= 0:
            goes[row] = True
            room[by] -= 1
            met[pair] += 1
            met[way] += 1
    return goes
