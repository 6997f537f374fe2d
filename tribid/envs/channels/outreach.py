"""Messages outside the auction in a world of auctions: who is written to in a tick, as a rule over the shared profile.

A world that has an outreach asks it at the start of each tick, keeps the cap with ``admitted``, sends with ``dispatch``,
keeps the messages in an ``Outbox`` and answers those that are due with ``respond``. Ours.
"""

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
from tribid.envs.stages import STAGES, stage_of

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
        users = len(memory.marks)
        stage = stage_of(memory.marks)
        parts = []
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
        brands = stage.shape[1]
        what = _REACHED + np.arange(brands) * len(CHANNELS) + channel
        listed = uniforms(seed, Stream.OUTREACH, 0, mine[:, None], what)[..., 0] < self.channels[channel].audience
        chance = uniforms(seed, Stream.OUTREACH, day, mine[:, None], what)[..., 1]
        rank = self._rank[stage[mine]]
        user, brand = np.nonzero(listed & (rank < len(STAGES)))
        order = np.lexsort((chance[user, brand], rank[user, brand], user))
        user, brand = user[order], brand[order]
        first = occurrence(user) < self.brands
        who, which = mine[user[first]], brand[first].astype(np.int64)
        by = np.full(len(who), channel, np.int64)
        return Sends(who, which, by, self.contents[stage[who, which]])


class Posted(NamedTuple):
    """What went out of what an outreach wanted: the outbox with it, the messages, and what each brand paid, [A]."""

    outbox: Outbox
    messages: Messages
    charge_micros: NDArray[np.int64]


def post(
    outbox: Outbox, wanted: Sends, channels: tuple[Channel, ...], left_micros: NDArray[np.int64], shown: NDArray[np.int16],
    *, seed: int, day: int, tick: int, hour: float, caps: Caps | None = None,
) -> Posted:  # fmt: skip
    """Send at ``hour``, in order: what subscriptions, the cap and the money that brands have left [A] allow.

    A message costs its channel's ``unit_micros`` when it goes out (a click-priced one is reserved at a click's price); what
    does not fit into the money that is left does not go out, nor does anything of that brand after it. Channels with an
    own budget cost the brand nothing.
    """
    goes = outbox.allows(wanted)
    goes[goes] = admitted(wanted.take(goes), shown, caps or Caps())
    wanted = wanted.take(goes)
    price = np.array([0 if c.paid_from == "own" else unit_micros(c) for c in channels], np.int64)[wanted.channel]
    fits = np.zeros(len(price), np.bool_)
    charge = np.zeros_like(left_micros)
    for brand in np.unique(wanted.brand):
        own = np.flatnonzero(wanted.brand == brand)
        total = np.cumsum(price[own])
        fits[own] = total <= left_micros[brand]
        charge[brand] = total[fits[own]].max(initial=0)
    sent_hour = np.full(int(fits.sum()), hour)
    messages = dispatch(seed, day, tick, wanted.take(fits), sent_hour, channels, price[fits])
    return Posted(outbox.posted(messages), messages, charge)
