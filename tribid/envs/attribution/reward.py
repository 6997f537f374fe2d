"""Rewards on attributed conversions: the advertiser's score as in ``tribid.envs.reward``, with credit in place of counts.

A market's own counts credit a conversion to the click that it follows at once. Where consumers move over days and channels,
an order may come long after a touch, or owe most of itself to another channel; what a bidder is then paid for is its
channel's credit. The reward is the increase of the score, so that a day's rewards sum to the day's score.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.attribution.accounting import attributed
from tribid.envs.attribution.config import Attribution
from tribid.envs.attribution.credit import OF_ALL_PATHS, CreditMethod
from tribid.envs.attribution.histories import of_journey
from tribid.envs.attribution.paths import LOOKBACK_HOURS
from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.journey.memory import Memory
from tribid.envs.journey.memory import Touches as JourneyTouches
from tribid.envs.market import MarketState
from tribid.envs.reward import RewardPart, score
from tribid.envs.scenario import Reward
from tribid.envs.stages import Event

SHOWN_OR_CLICKED = (Event.EXPOSURE, Event.CLICK)


class Log(NamedTuple):
    """What had happened when a state was reached; the day that is rewarded starts at ``since_hours``.

    Touches and orders of days before belong in it: those are credited now, and these have used some of them up.
    """

    touches: Touches
    orders: Orders
    since_hours: float


def log_of_journey(state: MarketState) -> Log:
    """What a journey's memory holds at a state: ads shown and clicked, an ad clicked at once counting as its click.

    An order is worth its brand's price, in micros. ``ValueError`` for a state of a market that remembers nothing, and for
    several days in step.
    """
    return _log(state, memory_of(state).touches)


def rewarded_log(state: MarketState, lookback_hours: float = LOOKBACK_HOURS) -> Log:
    """The part of ``log_of_journey`` that decides who is credited with the day's orders.

    That is what users and brands with an order today did in the lookback before the day and on it: no path crosses to
    another user or brand, and what is older is credited with no order of today. So credit is the same under every rule that
    looks at an order's own path alone (not ``OF_ALL_PATHS``), and most of the log is not sorted.
    """
    memory, since = memory_of(state), 24.0 * state.day.day
    recent, brands = memory.since(since - lookback_hours), memory.marks.shape[1]
    pair = recent.user.astype(np.int64) * brands + recent.brand
    today = (recent.event == Event.ORDER) & (recent.hour >= since)
    return _log(state, recent.rows(np.isin(pair, pair[today])))


def days_of(state: MarketState) -> list[MarketState]:
    """The days of a state of many, each as a state of its own for those who read its memory; its books stay together."""
    memories = state.memory if isinstance(state.memory, tuple) else (None,) * len(state.days)
    return [replace(state, day=day, days=(), memory=own) for day, own in zip(state.days, memories, strict=True)]


def memory_of(state: MarketState) -> Memory:
    """The memory of a journey's day, or ``ValueError`` for any other state."""
    memory = state.memory
    if not isinstance(memory, Memory):
        kind = state.scenario.world.kind
        raise ValueError(f"a state of kind {kind} holds no log of touches; allowed is one day of kind journey")
    return memory


def _log(state: MarketState, happened: JourneyTouches) -> Log:
    touches, orders = of_journey(happened, state.advertisers.price_micros.astype(np.float64))
    return Log(touches.of(SHOWN_OR_CLICKED).merged(), orders, 24.0 * state.day.day)


def attributed_reward(
    read: Callable[[MarketState], Log],
    *,
    channels: int,
    paid: Sequence[int] | None = None,
    method: str | CreditMethod = "linear",
    lookback_hours: float = LOOKBACK_HOURS,
    **settings: Any,
) -> RewardPart:
    """A reward part that credits orders by ``method`` and pays for those of the ``paid`` channels (by default all).

    ``read`` finds the log of a state of one day; of a state of many, each day's own is read. Clicks are counted as ever; the
    money value, the target CPA and the target ROAS all stand on the attributed conversions.
    """

    def credited(state: MarketState) -> NDArray[np.float64]:
        log = read(state)
        told = attributed(
            log.touches, log.orders, brands=len(state.advertisers), channels=channels, method=method,
            lookback_hours=lookback_hours, since_hours=log.since_hours, **settings,
        )  # fmt: skip
        return told.paid(paid)[0]

    def scored(state: MarketState, reward: Reward) -> NDArray[np.float64]:
        conversions = np.stack([credited(one) for one in days_of(state)]) if state.days else credited(state)
        ledger = state.total._replace(counts=state.total.counts._replace(conversions=conversions))
        return score(state.advertisers, ledger, reward.penalty_exponent)

    def part(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
        return scored(after, reward) - scored(before, reward)

    return part


def attributed_own(before: MarketState, after: MarketState, reward: Reward) -> NDArray[np.float64]:
    """The reward part of a journey: credit as the reward's ``attribution`` says, by default linear over feed and search."""
    rule = reward.attribution or Attribution()
    alone = rule.method not in OF_ALL_PATHS
    part = attributed_reward(
        partial(rewarded_log, lookback_hours=rule.lookback_hours) if alone else log_of_journey, channels=len(CHANNELS),
        paid=rule.paid, method=rule.method, lookback_hours=rule.lookback_hours,
    )  # fmt: skip
    return part(before, after, reward)
