"""Messages outside the auction in a journey: opened and answered, then sent, at the start of each tick.

What is opened during a tick is answered at the start of the next one, at the hour of its opening; what is sent counts for
the frequency cap from then on. Orders that follow a message are touches, not conversions of the auction's ledger.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tribid.envs.channels.config import Caps, Channel
from tribid.envs.channels.delivery import Messages, Odds, respond
from tribid.envs.channels.outreach import OUTSIDE, post
from tribid.envs.channels.prices import unit_micros
from tribid.envs.channels.sends import Sends, occurrence
from tribid.envs.journey.memory import Memory, joined, remembered, touches_of
from tribid.envs.platform import Requests
from tribid.envs.scenario import MICROS
from tribid.envs.stages import Event
from tribid.envs.world import Day

if TYPE_CHECKING:
    from tribid.envs.journey.world import Journey


def checked_outreach(channels: tuple[Channel, ...]) -> None:
    """Raise ``ValueError`` where a scenario's channels cannot carry messages."""
    if not channels:
        raise ValueError("platform.outreach was given; the scenario has no world.channels for messages to go by")
    for index in OUTSIDE:
        if channels[index].pricing not in ("message", "mille"):
            raise ValueError(
                f"channel {channels[index].name}: pricing is {channels[index].pricing!r}; allowed is 'message' or 'mille' "
                f"where a journey sends messages"
            )


def reached(
    journey: "Journey", memory: Memory, day: Day, tick: int, left_micros: NDArray[np.int64]
) -> tuple[Memory, NDArray[np.int64]]:
    """The memory after the messages that are opened until this tick and those that are sent now; their cost to budgets."""
    hour = journey.hour(day.day, tick)
    memory = _answered(journey, memory, day, tick, hour)
    assert journey.platform.outreach is not None and memory.outbox is not None
    wanted = _outside(journey.platform.outreach.send(day.seed, day.day, tick, memory), memory, journey)
    channels, cap = journey.journey.channels, journey.journey.fatigue.cap
    posted = post(
        memory.outbox, wanted, channels, left_micros, memory.shown, seed=day.seed, day=day.day, tick=tick, hour=hour,
        caps=Caps(per_day=cap, per_channel=(1000, 1000, 1000, 1000)),
    )  # fmt: skip
    sent = posted.messages.sent
    shown, booked = memory.shown.copy(), memory.booked_micros.copy()
    np.add.at(shown, (sent.user, sent.brand), 1)
    np.add.at(booked, (sent.brand, sent.channel), np.array([unit_micros(c) for c in channels], np.int64)[sent.channel])
    return replace(memory, shown=shown, booked_micros=booked, outbox=posted.outbox), posted.charge_micros


def _outside(wanted: Sends, memory: Memory, journey: "Journey") -> Sends:
    """Checked messages, as far as the channels' own budgets reach."""
    channels = journey.journey.channels
    for name, most in (("user", memory.marks.shape[0]), ("brand", memory.marks.shape[1])):
        column = getattr(wanted, name)
        if len(column) and not (column.min() >= 0 and column.max() < most):
            raise ValueError(f"{name} of a message is {column.min()} to {column.max()}; allowed is 0 to {most - 1}")
    if not np.isin(wanted.channel, OUTSIDE).all():
        raise ValueError(f"channels of messages are {np.unique(wanted.channel)}; allowed are {OUTSIDE}")
    unit = np.array([unit_micros(channel) for channel in channels], np.int64)
    own = np.array([channel.paid_from == "own" for channel in channels])
    budget = np.array([round(channel.own_budget * MICROS) for channel in channels], np.int64)
    room = (budget - memory.booked_micros)[wanted.brand, wanted.channel]
    nth = 1 + occurrence(wanted.brand * len(channels) + wanted.channel)
    return wanted.take(~own[wanted.channel] | (nth * unit[wanted.channel] <= room))


def _answered(journey: "Journey", memory: Memory, day: Day, tick: int, hour: float) -> Memory:
    """The memory after the messages that were opened before ``hour``."""
    assert memory.outbox is not None
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
    requests = requests._replace(
        content=sent.content.astype(np.int8)[:, None], shown=np.maximum(requests.shown - 1, 0).astype(np.int16)
    )  # the message itself was counted when it was sent
    share = np.full(count, journey.feed.buying_share(tick), np.float32)
    rates = journey.rates(day.seed, requests, share)
    effects = np.array([[c.ctr_effect, c.cvr_effect, c.unsubscribe] for c in channels])[sent.channel]
    click, order = (_shifted(rate[:, 0].astype(np.float64), effects[:, k]) for k, rate in enumerate(rates))
    return Odds(click, order, effects[:, 2])


def _shifted(rate: NDArray[np.float64], effect: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = rate * np.exp(effect)
    moved: NDArray[np.float64] = odds / (1.0 - rate + odds)
    return moved
