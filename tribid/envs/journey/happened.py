"""What a tick's pages did to users: exposures, clicks, carts, orders and looks into contents, as touches."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.journey.config import JourneyWorld
from tribid.envs.journey.memory import Touches, joined, touches_of
from tribid.envs.journey.scenes import Layout, effect_table
from tribid.envs.orders import after_click
from tribid.envs.platform import Requests
from tribid.envs.settlement import Slots
from tribid.envs.stages import Event
from tribid.envs.world import Arrivals


class Outcomes(NamedTuple):
    """What users did with the pages' slots, [B, K] each."""

    exposed: NDArray[np.bool_]
    clicked: NDArray[np.bool_]
    converted: NDArray[np.bool_]


def outcomes_of(seed: int, arrivals: Arrivals, slots: Slots, layouts: tuple[Layout, ...], expected: bool) -> Outcomes:
    """What happened; where ``expected`` values were settled, what the same draws would have made happen.

    So users remember events, never probabilities: in the expected-value mode a tick's money and counts are expectations,
    and the next tick's users are those of one draw of it, the draw of the sampled mode.
    """
    if not expected:
        return Outcomes(slots.exposed > 0, slots.clicked > 0, slots.converted > 0)
    requests, truth = arrivals
    assert requests.candidates is not None and requests.scene is not None
    sold = slots.winner >= 0
    row, slot = np.nonzero(sold)
    ad = slots.winner[row, slot]
    place = (requests.candidates[row] == ad[:, None]).argmax(axis=1)
    effects = effect_table(layouts, slots.winner.shape[1])
    depth = uniforms(seed, Stream.DEPTH, requests.day, requests.request[row], 0)[:, 0]
    draws = uniforms(seed, Stream.OUTCOME, requests.day, requests.request[row], ad)
    out = Outcomes(*(np.zeros(sold.shape, np.bool_) for _ in Outcomes._fields))
    out.exposed[row, slot] = depth < effects[requests.scene[row], slot]
    out.clicked[row, slot] = out.exposed[row, slot] & (draws[:, 0] < truth.ctr[row, place].astype(np.float64))
    out.converted[row, slot] = out.clicked[row, slot] & (draws[:, 1] < truth.cvr[row, place].astype(np.float64))
    return out


class Happened(NamedTuple):
    """A tick's touches, and what its contents cost each brand in each channel, [A, C] micros: no budget pays for them."""

    touches: Touches
    booked_micros: NDArray[np.int64]


def happened(
    config: JourneyWorld, seed: int, requests: Requests, slots: Slots, outcomes: Outcomes, hour: NDArray[np.float64],
    layouts: tuple[Layout, ...], category: NDArray[np.int32],
) -> Happened:  # fmt: skip
    """The touches of pages that were seen at ``hour`` [B]: exposure, click, cart and order of one slot in this order."""
    row, slot = np.nonzero(outcomes.exposed)
    ad = slots.winner[row, slot]
    assert requests.scene is not None
    channel = np.array([layout.channel for layout in layouts], np.int8)[requests.scene[row]]
    clicked, ordered = outcomes.clicked[row, slot], outcomes.converted[row, slot]
    cart, _ = after_click(
        config.orders, seed, requests.day, requests.request[row], ad, clicked, ordered, category[ad].astype(np.int64)
    )
    looked, booked = _contents(config, seed, requests, row, ad, channel, clicked, len(category))
    user, when, number = requests.user[row], hour[row], requests.request[row]
    chunks = [
        touches_of(user[which], ad[which], when[which], channel[which], event, number[which])
        for which, event in (
            (np.ones(len(row), np.bool_), Event.EXPOSURE), (looked, Event.CONTENT), (clicked, Event.CLICK),
            (cart, Event.CART), (ordered, Event.ORDER),
        )
    ]  # fmt: skip
    return Happened(joined(chunks), booked)


def _contents(
    config: JourneyWorld, seed: int, requests: Requests, row: NDArray[np.int64], ad: NDArray[np.int64],
    channel: NDArray[np.int8], clicked: NDArray[np.bool_], brands: int,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:  # fmt: skip
    """Which exposures [E] were looked into without a click, and what the contents cost in micros, [A, C]."""
    booked = np.zeros((brands, len(CHANNELS)), np.int64)
    if requests.content is None or requests.stage is None or requests.candidates is None:
        return np.zeros(len(row), np.bool_), booked
    place = (requests.candidates[row] == ad[:, None]).argmax(axis=1)
    content, stage = requests.content[row, place], requests.stage[row, place]
    given = content >= 0
    chance = np.where(given, config.contents.engage_table[content, stage], 0.0)
    draws = uniforms(seed, Stream.CONSUMER, requests.day, requests.request[row], ad)[:, 0]
    np.add.at(booked, (ad, channel), np.where(given, config.contents.cost_micros[content], 0))
    return ~clicked & (draws < chance), booked
