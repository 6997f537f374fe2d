"""The law of delivery: who opens a touch and when, and what then comes of it. Pure functions of counters.

A touch's fate is drawn when it is sent, as a function of the seed, the day and tick, the user, the brand, the channel and
how many of the same were sent in that tick: nothing else that is sent changes it. Rates are asked for when the touch is
opened, so that a mail that is read in the evening meets the stage of the evening.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.config import Channel
from tribid.envs.channels.sends import Sends, occurrence

Floats = NDArray[np.float64]
_SAME = 16
"""Touches of one user, brand and channel in one tick whose draws differ."""
TICKS = 10_000
"""Ticks of a day that the day's counter has room for."""


class Messages(NamedTuple):
    """Touches on their way, [n]: what was sent, hours from the start of the run, what each costs, and its draws [n, 3].

    ``open_hour`` is infinite where a touch is never opened. ``draws`` decide click, order and unsubscribing, in turn.
    """

    sent: Sends
    sent_hour: Floats
    open_hour: Floats
    price_micros: NDArray[np.int64]
    draws: Floats

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Messages":
        """Some of them, by a mask or by index."""
        return Messages(
            self.sent.take(which),
            self.sent_hour[which],
            self.open_hour[which],
            self.price_micros[which],
            self.draws[which],
        )


class Odds(NamedTuple):
    """Chances [n] of opened touches: a click, an order after a click, and the end of the subscription."""

    click: Floats
    order: Floats
    leave: Floats


class Response(NamedTuple):
    """What came of opened touches, [n]; an order comes within the visit of its click, at the hour of opening."""

    clicked: NDArray[np.bool_]
    ordered: NDArray[np.bool_]
    left: NDArray[np.bool_]


class Delivered(NamedTuple):
    """Touches with what came of them; a touch that is never opened has no click, no order and leaves nobody."""

    messages: Messages
    opened: NDArray[np.bool_]
    response: Response


def dispatch(
    seed: int, day: int, tick: int, wanted: Sends, sent_hour: Floats, channels: tuple[Channel, ...],
    price_micros: NDArray[np.int64] | None = None,
) -> Messages:  # fmt: skip
    """Send: whether and when each touch will be opened. Raises ``ValueError`` for a tick or brand that counters lack."""
    if not (0 <= tick < TICKS and 0 <= day < 2**32 // TICKS):
        raise ValueError(f"day {day}, tick {tick}; allowed are days below {2**32 // TICKS}, ticks below {TICKS}")
    if len(wanted.brand) and int(wanted.brand.max()) >= 2**32 // (2 * _SAME * len(CHANNELS)):
        raise ValueError(f"brand {int(wanted.brand.max())}; allowed is below {2**32 // (2 * _SAME * len(CHANNELS))}")
    what = wanted.brand * len(CHANNELS) + wanted.channel
    same = occurrence(wanted.user * (int(what.max(initial=0)) + 1) + what)
    counter = 2 * (what * _SAME + np.minimum(same, _SAME - 1))
    first = uniforms(seed, Stream.OPEN, day * TICKS + tick, wanted.user, counter)
    second = uniforms(seed, Stream.OPEN, day * TICKS + tick, wanted.user, counter + 1)
    rate = np.array([channel.open_rate for channel in channels])[wanted.channel]
    delay = np.zeros(len(wanted.user))
    for index, channel in enumerate(channels):
        own = wanted.channel == index
        delay[own] = delay_hours(channel, first[own, 1])
    open_hour = np.where(first[:, 0] < rate, sent_hour + delay, np.inf)
    price = np.zeros(len(wanted.user), np.int64) if price_micros is None else price_micros
    return Messages(wanted, sent_hour, open_hour, price, second[:, :3])


def delay_hours(channel: Channel, draw: Floats) -> Floats:
    """Hours from sending to opening for uniform draws [n] in [0, 1), with the channel's mean.

    >>> delay_hours(Channel(delay="none"), np.array([0.3])).tolist()
    [0.0]
    """
    if channel.delay == "none":
        return np.zeros_like(draw)
    if channel.delay == "exponential":
        return -channel.delay_hours * np.log1p(-draw)
    z = ndtri(np.clip(draw, 2.0**-33, 1.0 - 2.0**-33))
    return np.asarray(channel.delay_hours * np.exp(channel.delay_spread * z - channel.delay_spread**2 / 2))


def respond(opened: Messages, odds: Odds) -> Response:
    """What comes of touches that are opened with these chances.

    An order needs a click; of several orders of one user with one brand among these touches the first by hour stands.
    """
    clicked = opened.draws[:, 0] < odds.click
    ordered = clicked & (opened.draws[:, 1] < odds.order)
    rows = np.flatnonzero(ordered)
    rows = rows[np.argsort(opened.open_hour[rows], kind="stable")]
    pair = opened.sent.user[rows] * (int(opened.sent.brand.max(initial=0)) + 1) + opened.sent.brand[rows]
    ordered[rows[occurrence(pair) > 0]] = False
    return Response(clicked, ordered, opened.draws[:, 2] < odds.leave)


def deliver(messages: Messages, odds: Odds) -> Delivered:
    """All touches at once with chances that do not wait for the opening: for a world whose ticks are long, or for a test."""
    opened = np.isfinite(messages.open_hour)
    inner = respond(messages.take(opened), Odds(*(chance[opened] for chance in odds)))
    columns = [np.zeros(len(opened), np.bool_) for _ in inner]
    for column, found in zip(columns, inner, strict=True):
        column[opened] = found
    return Delivered(messages, opened, Response(*columns))


def joined(parts: list[Messages]) -> Messages:
    """Several lots of messages as one, in their order."""
    sent = Sends(*(np.concatenate(column) for column in zip(*(part.sent for part in parts), strict=True)))
    rest: list[Any] = [np.concatenate([part[k] for part in parts]) for k in range(1, len(Messages._fields))]
    return Messages(sent, *rest)


def no_messages() -> Messages:
    """Nothing on its way."""
    empty = np.zeros(0, np.int64)
    none = np.zeros(0)
    return Messages(Sends(empty, empty, empty, empty), none, none, empty, np.zeros((0, 3)))
