"""Shoppers: a small world in which the effect of every channel, and the meaning of every behaviour, is known. Ours.

P pairs of a consumer and a brand live through days. A pair's interest x is a lasting part and a need that fades as an
autoregression of first order, together of mean 0 and spread 1. Each day:

* channel c reaches the pair with log-odds ``reach[c] + targeting[c] * x``: targeting makes ads meet who buys anyway; and
  being reached adds ``effect[c]`` to an impulse that fades by half every ``memory_days``;
* behaviour k of the eight (``tribid.envs.stages.BEHAVIOURS``) happens a Poisson number of times with mean
  ``rate[g, k] * exp(signal[g, k] * (x + engagement * impulse))`` in industry g: it shows interest, and causes nothing;
* the pair orders with log-odds ``base + need * x + impulse``; after an order the impulse and the need are gone.

Every draw is a pure function of seed, day, pair and kind, so that worlds with and without a channel meet the same people and
the same coin flips, and the difference of their orders is what the channel did.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import poisson

from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.chance import Stream, uniforms
from tribid.envs.stages import BEHAVIOURS, Event

CHANNEL_NAMES = ("feed", "search", "email", "display")

_RATES = np.array([0.30, 0.03, 0.05, 0.05, 0.04, 0.06, 0.01, 0.08])
_SIGNALS = np.array([
    [0.4, 0.6, 1.0, 1.1, 0.5, 0.3, 0.3, 0.9],
    [0.3, 1.0, 0.6, 1.0, 1.1, 0.4, 0.2, 0.6],
    [0.5, 0.4, 1.2, 0.7, 0.3, 0.9, 0.5, 0.8],
])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ShopperLaw:
    """The numbers of the world; ``rate`` and ``signal`` have a row for each industry, the others one for each channel."""

    pairs: int = 4000
    days: int = 60
    rate: tuple[tuple[float, ...], ...] = field(default_factory=lambda: (tuple(_RATES),) * len(_SIGNALS))
    signal: tuple[tuple[float, ...], ...] = field(default_factory=lambda: tuple(tuple(row) for row in _SIGNALS))
    lasting: float = 0.5
    need_days: float = 10.0
    reach: tuple[float, ...] = (-2.2, -3.0, -2.6, -2.0)
    targeting: tuple[float, ...] = (0.2, 0.9, 0.3, 0.0)
    effect: tuple[float, ...] = (0.5, 0.7, 0.4, 0.1)
    memory_days: float = 3.0
    engagement: float = 0.3
    base: float = -5.0
    need: float = 0.9

    def __post_init__(self) -> None:
        for name, least in (("pairs", 1), ("days", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} or more")
        if not 0.0 <= self.lasting <= 1.0:
            raise ValueError(f"lasting is {self.lasting}; allowed are shares from 0 to 1")
        if not (self.need_days > 0 and self.memory_days > 0):
            raise ValueError(
                f"need_days is {self.need_days}, memory_days {self.memory_days}; allowed are positive numbers"
            )
        if len(self.reach) != len(CHANNEL_NAMES) or not len(self.reach) == len(self.targeting) == len(self.effect):
            raise ValueError(f"reach, targeting and effect need one number for each of {', '.join(CHANNEL_NAMES)}")
        if len(self.rate) != len(self.signal) or any(len(row) != len(BEHAVIOURS) for row in (*self.rate, *self.signal)):
            raise ValueError(f"rate and signal need {len(BEHAVIOURS)} numbers for each industry")


class Lived(NamedTuple):
    """What happened: ads met (exposures), behaviours, orders; users are the pairs, brands their industries, [P] each.

    Times are hours from the start; a day's ads come in its hours 1 to 9, by chance, behaviours at 10 to 17, its order at 20.
    """

    ads: Touches
    behaviours: Touches
    orders: Orders
    industry: NDArray[np.int64]


def live(
    law: ShopperLaw,
    seed: int,
    *,
    without: Collection[int] = (),
    spared: NDArray[np.bool_] | None = None,
    behaviours: bool = True,
) -> Lived:
    """Live through the days with some channels switched off, and with pairs [P] that no channel reaches (``spared``).

    The draws do not depend on either. With ``behaviours`` off none is drawn, which changes nothing else and is quicker.
    """
    industry = np.arange(law.pairs) % len(law.rate)
    rate, signal = np.array(law.rate)[industry], np.array(law.signal)[industry]
    on = np.broadcast_to(~np.isin(np.arange(len(law.reach)), list(without)), (law.pairs, len(law.reach)))
    on = on if spared is None else on & ~spared[:, None]
    keep, fade = np.exp(-1.0 / law.need_days), 0.5 ** (1.0 / law.memory_days)
    lasting, need = _normals(seed, 0, law.pairs, 0), _normals(seed, 0, law.pairs, 1)
    impulse = np.zeros(law.pairs)
    ads: list[NDArray[np.float64]] = []
    acts: list[NDArray[np.float64]] = []
    bought: list[NDArray[np.float64]] = []
    for day in range(law.days):
        if day:
            need = keep * need + np.sqrt(1.0 - keep**2) * _normals(seed, day, law.pairs, 1)
        x = np.sqrt(law.lasting) * lasting + np.sqrt(1.0 - law.lasting) * need
        met = _draws(seed, Stream.SESSION, day, law.pairs, 2 * len(law.reach))
        reached = on & (met[:, : len(law.reach)] < expit(law.reach + np.outer(x, law.targeting)))
        impulse = fade * impulse + reached @ np.array(law.effect)
        orders = _draws(seed, Stream.ORDER, day, law.pairs, 1)[:, 0] < expit(law.base + law.need * x + impulse)
        ads.append(_rows(reached.astype(np.int64), 24.0 * day + 1.0 + 8.0 * met[:, len(law.reach) :]))
        done = (
            _acts(law, seed, day, rate, signal, x + law.engagement * impulse)
            if behaviours
            else np.zeros((law.pairs, 8))
        )
        acts.append(_rows(done.astype(np.int64), 24.0 * day + 10.0 + np.broadcast_to(np.arange(8.0), done.shape)))
        bought.append(np.column_stack([np.flatnonzero(orders), np.full(orders.sum(), 24.0 * day + 20.0)]))
        impulse, need = np.where(orders, 0.0, impulse), np.where(orders, -1.0, need)
    return Lived(
        _touches(np.concatenate(ads), industry, np.full(len(law.reach), Event.EXPOSURE), True),
        _touches(np.concatenate(acts), industry, np.array(BEHAVIOURS), False),
        _orders(np.concatenate(bought), industry),
        industry,
    )


def _acts(
    law: ShopperLaw, seed: int, day: int, rate: NDArray[np.float64], signal: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How often each pair does each of the eight behaviours on a day, [P, 8]: quantiles of Poisson distributions."""
    drawn = _draws(seed, Stream.VISIT, day, law.pairs, len(BEHAVIOURS))
    times: NDArray[np.float64] = poisson.ppf(drawn, rate * np.exp(signal * x[:, None]))
    return times


def _rows(count: NDArray[np.int64], hour: NDArray[np.float64]) -> NDArray[np.float64]:
    """One row (pair, which, hour) for each of ``count`` [P, K] happenings at the hours [P, K]."""
    pair, which = np.nonzero(count)
    return np.repeat(np.column_stack([pair, which, hour[pair, which]]), count[pair, which], axis=0)


def _touches(rows: NDArray[np.float64], industry: NDArray[np.int64], event: NDArray[np.int64], by_ad: bool) -> Touches:
    pair, which = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    channel = which if by_ad else np.zeros(len(which), np.int64)
    return Touches(user=pair, brand=industry[pair], time_hours=rows[:, 2], channel=channel, event=event[which])


def _orders(rows: NDArray[np.float64], industry: NDArray[np.int64]) -> Orders:
    pair = rows[:, 0].astype(np.int64)
    return Orders(user=pair, brand=industry[pair], time_hours=rows[:, 1], value=np.ones(len(pair)))


def _draws(seed: int, stream: Stream, day: int, pairs: int, kinds: int) -> NDArray[np.float64]:
    """Uniforms [P, kinds] of a day, open at both ends."""
    blocks = np.arange(-(-kinds // 4))
    drawn = uniforms(seed, stream, day, np.arange(pairs)[:, None], blocks[None, :]).reshape(pairs, -1)[:, :kinds]
    return drawn + 0.5 / 2.0**32


def _normals(seed: int, day: int, pairs: int, which: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = ndtri(_draws(seed, Stream.NEED, day, pairs, 2)[:, which])
    return drawn
