"""The multi-channel world's rules: a day's money, split over channels, becomes touches, and touches become orders. Ours.

Within a tick every channel sees the memory of the tick's start; touches then go out in the order of their minute, so that
two channels that meet one user in one tick share what the frequency cap leaves. Money is charged for touches that went
out and for nothing else; money of a tick that found nobody is there for the next. A click-priced touch is reserved when it
goes out and released when it is opened without a click, or never.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid.envs.channels.consumers import (
    Memory,
    People,
    credits,
    no_memory,
    odds_of,
    people_of,
    remembered,
)
from tribid.envs.channels.delivery import Floats, Messages, Response, dispatch, joined, no_messages, respond
from tribid.envs.channels.meeting import wanted_touches
from tribid.envs.channels.outbox import Outbox, empty_outbox
from tribid.envs.channels.sends import admitted, occurrence
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.given import check_whole
from tribid.envs.scenario import MICROS

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ChannelState:
    """The world before day ``day`` of ``seed``: what is remembered, what is on its way and who has unsubscribed."""

    config: ChannelWorldConfig
    people: People
    seed: int
    day: int
    memory: Memory
    outbox: Outbox

    @property
    def done(self) -> bool:
        """Whether the last day has been played."""
        return self.day >= self.config.days


class DayRecord(NamedTuple):
    """What a day brought, by brand and channel [A, C]; ``log`` are its touches in the order in which they went out,
    ``sold`` those of any day that were clicked and ordered from today, by their hour.

    ``charged_micros`` is reserved for today's touches; ``released_micros`` came back today for click-priced touches of
    today or before. ``orders`` are counted for the channel that was clicked (last touch), ``linear`` shares each order
    over the touches before it. ``blocked`` [A] touches met the cap within their tick; ``value_micros`` [A] is what the
    orders are worth.
    """

    charged_micros: Ints
    released_micros: Ints
    touches: Ints
    opened: Ints
    clicks: Ints
    orders: Floats
    linear: Floats
    unsubscribed: Ints
    blocked: Ints
    value_micros: Ints
    log: Messages
    sold: Messages


def open_world(config: ChannelWorldConfig, seed: int) -> ChannelState:
    """The first morning. Equal seeds bring equal chances, whatever is sent (common random numbers)."""
    if not isinstance(config, ChannelWorldConfig):
        raise ValueError(f"config is {config!r:.80}; allowed is a ChannelWorldConfig")
    check_whole("seed", seed, 2**63)
    return ChannelState(
        config=config,
        people=people_of(config),
        seed=seed,
        day=0,
        memory=no_memory(config),
        outbox=empty_outbox(config.shape),
    )


def play_day(state: ChannelState, split_micros: ArrayLike) -> tuple[ChannelState, DayRecord]:
    """One day with this much money for each brand and channel, [A, C] micros.

    ``ValueError`` for a world that has ended, and for a split that is no money or more than a brand's budget.
    """
    if state.done:
        raise ValueError(f"the world has ended after {state.config.days} days; open it anew")
    config = state.config
    left = _money(config, split_micros)
    book = _Book(config, left)
    memory = replace(state.memory, shown=np.zeros_like(state.memory.shown))
    outbox = state.outbox
    for tick in range(config.ticks):
        memory, outbox = _tick(state, tick, memory, outbox, book)
    after = replace(state, day=state.day + 1, memory=memory, outbox=outbox)
    return after, book.record()


def budget_micros(config: ChannelWorldConfig) -> int:
    """What a brand may spend a day."""
    return round(config.budget * MICROS)


def _tick(state: ChannelState, tick: int, memory: Memory, outbox: Outbox, book: "_Book") -> tuple[Memory, Outbox]:
    """One tick: plan, cap, send, open, remember."""
    config, people = state.config, state.people
    hour = (state.day * config.ticks + tick) * 24.0 / config.ticks
    end = hour + 24.0 / config.ticks
    money = book.left // (config.ticks - tick)
    plan = wanted_touches(config, people, memory, outbox.gone, state.seed, state.day, tick, money)
    goes = admitted(plan.sends, memory.shown, config.caps)
    book.blocked += np.bincount(plan.sends.brand[~goes], minlength=config.brands)
    goes[goes] = book.within_capacity(plan.sends.channel[goes])
    sent = dispatch(
        state.seed, state.day, tick, plan.sends.take(goes), plan.hour[goes], config.channels, plan.price_micros[goes]
    )
    book.charge(sent)
    outbox, opened = outbox.posted(sent).due(end)
    response = respond(opened, odds_of(config, people, memory, opened))
    linear, last = credits(memory.path, opened, response.ordered)
    left = response.left & outbox.allows(opened.sent)
    book.hear(opened, Response(response.clicked, response.ordered, left), linear, last, today=24.0 * state.day)
    return remembered(config, memory, end, sent.sent, opened, response), outbox.heard(opened, left)


def _money(config: ChannelWorldConfig, split_micros: ArrayLike) -> Ints:
    """The day's money of each brand and channel, checked; a channel with an own budget has that."""
    split = np.asarray(split_micros)
    _, brands, channels = config.shape
    if split.shape != (brands, channels) or split.dtype.kind not in "iu" or (split < 0).any():
        raise ValueError(
            f"split is {split.dtype} of shape {split.shape}; allowed are whole micros of 0 or more, ({brands}, {channels})"
        )
    most = budget_micros(config)
    if (split.sum(axis=1) > most).any():
        raise ValueError(f"split gives {split.sum(axis=1).tolist()} micros to the brands; allowed is up to {most} each")
    own = np.array([channel.paid_from == "own" for channel in config.channels])
    if split[:, own].any():
        raise ValueError("split gives money to a channel that is paid from its own budget; allowed there is 0")
    from_own = np.array([round(channel.own_budget * MICROS) for channel in config.channels], np.int64)
    return split.astype(np.int64) + np.where(own, from_own, 0)


class _Book:
    """A day's counts while it is played; ``left`` [A, C] is what may still be charged."""

    def __init__(self, config: ChannelWorldConfig, left: Ints) -> None:
        self.config, self.left = config, left
        shape = config.shape[1:]
        self.charged, self.released, self.touches, self.opened, self.clicks, self.unsubscribed = (
            np.zeros(shape, np.int64) for _ in range(6)
        )
        self.last, self.linear = np.zeros(shape), np.zeros(shape)
        self.blocked = np.zeros(shape[0], np.int64)
        self.log, self.sold = [no_messages()], [no_messages()]
        self._by_click = np.array([channel.pricing == "click" for channel in config.channels])
        self._capacity = [channel.capacity for channel in config.channels]

    def within_capacity(self, channel: Ints) -> NDArray[np.bool_]:
        """Which touches [n], in their order, the channels still have room for today."""
        most = np.array([2**62 if limit is None else limit for limit in self._capacity], np.int64)
        used = self.touches.sum(axis=0)
        return np.asarray(used[channel] + occurrence(channel) < most[channel])

    def charge(self, sent: Messages) -> None:
        """Reserve what touches cost; those that nobody will open are released at once."""
        self.log.append(sent)
        self._add(self.touches, sent)
        self._add(self.charged, sent, sent.price_micros)
        self._add(self.left, sent, -sent.price_micros)
        never = self._by_click[sent.sent.channel] & ~np.isfinite(sent.open_hour)
        self._add(self.released, sent.take(never), sent.price_micros[never])

    def hear(self, opened: Messages, response: Response, linear: Floats, last: Floats, today: float) -> None:
        """Count what came of opened touches, and release what a click would have cost; today's comes back to be spent."""
        clicked, ordered, left = response
        self.sold.append(opened.take(ordered))
        self._add(self.opened, opened)
        self._add(self.clicks, opened.take(clicked))
        _, brands, channels = self.config.shape
        who = (opened.sent.user * brands + opened.sent.brand) * channels + opened.sent.channel
        first = np.zeros(len(who), np.bool_)
        first[left] = occurrence(who[left]) == 0
        self._add(self.unsubscribed, opened.take(first))
        back = self._by_click[opened.sent.channel] & ~clicked
        self._add(self.released, opened.take(back), opened.price_micros[back])
        fresh = back & (opened.sent_hour >= today)
        self._add(self.left, opened.take(fresh), opened.price_micros[fresh])
        self.linear += linear
        self.last += last

    def record(self) -> DayRecord:
        """The day as it ended."""
        value = np.array([round(price * MICROS) for price in self.config.prices], np.int64)
        orders = np.rint(self.last.sum(axis=1)).astype(np.int64)
        return DayRecord(
            self.charged, self.released, self.touches, self.opened, self.clicks, self.last, self.linear,
            self.unsubscribed, self.blocked, orders * value, joined(self.log), joined(self.sold),
        )  # fmt: skip

    @staticmethod
    def _add(counts: Ints, some: Messages, what: Ints | int = 1) -> None:
        np.add.at(counts, (some.sent.brand, some.sent.channel), what)
