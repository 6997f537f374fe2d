"""Messages outside the auction in a journey: opened and answered, then sent, at the start of each tick.

What is opened during a tick is answered at the start of the next one, at the hour of its opening, and what is opened in a
day's last tick at the day's end: so every answer is known on the day on which it happens. What is sent counts for the
frequency cap from then on. Orders that follow a message are touches, not conversions of the auction's ledger.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.config import Caps, Channel
from tribid.envs.channels.delivery import Messages, Odds, respond
from tribid.envs.channels.outreach import OUTSIDE, on_list, post
from tribid.envs.channels.prices import unit_micros
from tribid.envs.channels.sends import Sends
from tribid.envs.journey.effects import shifted
from tribid.envs.journey.memory import Memory, joined, remembered, touches_of
from tribid.envs.platform import Requests
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.stages import Event
from tribid.envs.world import Day

if TYPE_CHECKING:
    from tribid.envs.journey.world import Journey


def checked_outreach(channels: tuple[Channel, ...]) -> None:
    """Raise ``ValueError`` where a scenario's channels cannot carry messages."""
    if not channels:
        raise ValueError("the scenario has no world.channels; messages of a journey need them to go by")
    for index, channel in enumerate(channels):
        if index not in OUTSIDE and channel.capacity is not None:
            raise ValueError(
                f"channel {channel.name}: capacity is {channel.capacity}; allowed is none where a journey's auctions decide "
                f"on exposures"
            )
        if index in OUTSIDE and channel.pricing not in ("message", "mille"):
            raise ValueError(
                f"channel {channel.name}: pricing is {channel.pricing!r}; allowed is 'message' or 'mille' where a journey "
                f"sends messages"
            )


def reached(
    journey: "Journey", memory: Memory, day: Day, tick: int, left_micros: NDArray[np.int64]
) -> tuple[Memory, NDArray[np.int64]]:
    """The memory after the messages that are opened until this tick and those that are sent now; their cost to budgets.

    Without an outreach, messages of days before are still opened, and none is sent.
    """
    hour, outreach = journey.hour(day.day, tick), journey.platform.outreach
    memory = answered(journey, memory, day, tick, hour)
    if outreach is None or memory.outbox is None:
        return memory, np.zeros_like(left_micros)
    wanted = checked(outreach.send(day.seed, day.day, tick, memory), memory)
    wanted = wanted.take(on_list(day.seed, wanted.user, wanted.brand, wanted.channel, journey.journey.channels))
    channels, cap = journey.journey.channels, journey.journey.fatigue.cap
    posted = post(
        memory.outbox, wanted, channels, left_micros, memory.shown, seed=day.seed, day=day.day, tick=tick, hour=hour,
        caps=Caps(per_day=cap, per_channel=(1000, 1000, 1000, 1000)), sent=memory.messages,
    )  # fmt: skip
    return replace(sent_out(journey, memory, posted.messages.sent), outbox=posted.outbox), posted.charge_micros


def sent_out(journey: "Journey", memory: Memory, sent: Sends) -> Memory:
    """The memory with messages that have just gone out counted, and what they and their contents cost booked.

    No budget pays for contents, not even a channel's own.
    """
    shown, written, messages = memory.shown.copy(), memory.written.copy(), memory.messages.copy()
    booked = memory.booked_micros.copy()
    cost = np.array([unit_micros(channel) for channel in journey.journey.channels], np.int64)[sent.channel]
    cost += np.where(sent.content >= 0, journey.journey.contents.cost_micros[sent.content], 0)
    np.add.at(shown, (sent.user, sent.brand), 1)
    np.add.at(written, sent.user, 1)
    np.add.at(messages, (sent.brand, sent.channel), 1)
    np.add.at(booked, (sent.brand, sent.channel), cost)
    return replace(memory, shown=shown, written=written, messages=messages, booked_micros=booked)


def checked(wanted: Sends, memory: Memory) -> Sends:
    """The messages, or ``ValueError`` for users, brands, channels and contents that there are not; -1 is no content."""
    users, brands = memory.marks.shape
    for name, least, most in (("user", 0, users), ("brand", 0, brands), ("content", -1, len(CONTENTS))):
        column = getattr(wanted, name)
        if len(column) and not (column.min() >= least and column.max() < most):
            raise ValueError(
                f"{name} of a message is {column.min()} to {column.max()}; allowed is {least} to {most - 1}"
            )
    if not np.isin(wanted.channel, OUTSIDE).all():
        raise ValueError(f"channels of messages are {np.unique(wanted.channel)}; allowed are {OUTSIDE}")
    return wanted


def answered(journey: "Journey", memory: Memory, day: Day, tick: int, hour: float) -> Memory:
    """The memory after the messages that were opened before ``hour``, with the chances of ``tick``."""
    if memory.outbox is None:
        return memory
    outbox, opened = memory.outbox.due(hour)
    if not len(opened.open_hour):
        return memory
    sent = opened.sent
    answer = respond(opened, odds_of(journey, memory, day, tick, opened))
    everyone = np.ones(len(sent.user), np.bool_)
    touches = joined(
        [
            touches_of(sent.user[which], sent.brand[which], opened.open_hour[which], sent.channel[which], event)
            for which, event in (
                (everyone, Event.EXPOSURE), (answer.clicked, Event.CLICK), (answer.ordered, Event.ORDER)
            )
        ]
    )  # fmt: skip
    return remembered(replace(memory, outbox=outbox.heard(opened, answer.left)), touches, journey.categories.category)


def odds_of(journey: "Journey", memory: Memory, day: Day, tick: int, opened: Messages) -> Odds:
    """What opened messages lead to: the pair's own rates, by stage, fatigue and content, moved by the channel's effects."""
    sent, channels = opened.sent, journey.journey.channels
    count = len(sent.user)
    nothing = np.zeros(count, np.int64)
    requests = Requests(
        day.day, tick, nothing, sent.user, nothing, nothing, nothing, sent.brand.astype(np.int32)[:, None]
    )
    requests = journey.seen_by(requests, memory, journey.hour(day.day, tick))
    assert requests.shown is not None
    itself = (opened.sent_hour >= journey.hour(day.day, 0))[:, None]  # was counted when it was sent, if that was today
    requests = requests._replace(
        content=sent.content.astype(np.int8)[:, None], shown=(requests.shown - itself).astype(np.int16)
    )
    share = np.full(count, journey.feed.buying_share(tick), np.float32)
    rates = journey.rates(day.seed, requests, share)
    effects = np.array([[c.ctr_effect, c.cvr_effect, c.unsubscribe] for c in channels])[sent.channel]
    click, order = (shifted(rate[:, 0].astype(np.float64), effects[:, k]) for k, rate in enumerate(rates))
    return Odds(click, order, effects[:, 2])
