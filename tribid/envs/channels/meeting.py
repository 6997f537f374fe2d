"""Whom a channel meets in a tick, and whom of them a brand's money is spent on. Ours.

Feed, search and display meet those who come by; e-mail can be sent to any of its list, whose turn of the day comes in one
tick or another. Who comes by is drawn per consumer and channel, the same whatever is sent.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS, DISPLAY, EMAIL, SEARCH
from tribid.envs.channels.consumers import Memory, People
from tribid.envs.channels.delivery import TICKS, Floats
from tribid.envs.channels.prices import buy
from tribid.envs.channels.sends import Sends, room
from tribid.envs.channels.world_config import ChannelWorldConfig

Ints = NDArray[np.int64]

PREFERENCE = np.zeros((len(CHANNELS), 5))
"""How much a channel that can choose prefers each stage: e-mail and display those who are close to an order."""
PREFERENCE[EMAIL] = PREFERENCE[DISPLAY] = (0.0, 2.0, 3.0, 1.0, 1.0)


class Plan(NamedTuple):
    """Touches that brands want in a tick, by their minute: each with its hour and its price."""

    sends: Sends
    hour: Floats
    price_micros: Ints


def wanted_touches(
    config: ChannelWorldConfig, people: People, memory: Memory, gone: NDArray[np.bool_], seed: int, day: int, tick: int,
    money_micros: Ints,
) -> Plan:  # fmt: skip
    """What money [A, C] buys in this tick: for each brand and channel the consumers that it prefers of those it meets.

    ``gone`` [U, A, C]: who has unsubscribed from what.
    """
    drawn = uniforms(
        seed, Stream.OUTREACH, day * TICKS + tick, np.arange(config.users)[:, None], np.arange(len(CHANNELS))
    )
    present = _present(config, memory, drawn[..., 0])
    open_to = present & people.reachable & ~gone & (room(memory.shown, config.caps) > 0)
    score = PREFERENCE[:, memory.stage].transpose(1, 2, 0) + drawn[:, None, :, 1]
    user, brand, channel, price = [], [], [], []
    for c, what in enumerate(config.channels):
        if not money_micros[:, c].any():
            continue
        bought = buy(what, money_micros[:, c], int(present[:, :, c].any(axis=1).sum()))
        for a in range(config.brands):
            chosen = _best(np.flatnonzero(open_to[:, a, c]), score[:, a, c], int(bought.touches[a]))
            user.append(chosen)
            brand.append(np.full(len(chosen), a))
            channel.append(np.full(len(chosen), c))
            price.append(np.full(len(chosen), bought.price_micros))
    who, of, by, cost = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (user, brand, channel, price))
    hours = 24.0 / config.ticks
    hour = (day * config.ticks + tick + drawn[who, by, 2]) * hours
    order = np.argsort(hour, kind="stable")
    plan = Plan(Sends(who, of, by, np.zeros(len(who), np.int64)), hour, cost)
    return Plan(plan.sends.take(order), hour[order], cost[order])


def _present(config: ChannelWorldConfig, memory: Memory, drawn: Floats) -> NDArray[np.bool_]:
    """Whom each brand could meet by each channel in this tick, [U, A, C]; in search those who look for the brand's kind."""
    visits = np.array([channel.visits for channel in config.channels]) / config.ticks
    chance = np.broadcast_to(-np.expm1(-visits), config.shape).copy()
    chance[..., SEARCH] *= np.array(config.search_by_stage)[memory.stage]
    present: NDArray[np.bool_] = drawn[:, None, :] < chance
    return present


def _best(who: Ints, score: Floats, count: int) -> Ints:
    """The ``count`` of them with the highest score."""
    if count >= len(who):
        return who
    return np.asarray(who[np.argsort(-score[who], kind="stable")[:count]])
