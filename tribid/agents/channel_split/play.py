"""Days of a splitter in a world: the multi-channel market, or channels with known curves."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.agents.channel_split.features import features_of
from tribid.agents.channel_split.knapsack import Choice, Menu, exact, menu
from tribid.agents.channel_split.splitter import Floats, Ints, Seen, Splitter, whole
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.curves import Curves
from tribid.envs.channels.market import ChannelState, DayRecord, budget_micros, open_world, play_day
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.scenario import MICROS

LEARNER = 0
"""The brand that a splitter drives; the others split equally."""


class Days(NamedTuple):
    """D days of one brand: money given [D, C] and charged [D, C] in micros, orders [D], what each channel was credited.

    ``touches``, ``opened``, ``clicks``, ``unsubscribed`` [D, C]; ``blocked`` [D].
    """

    split_micros: Ints
    charged_micros: Ints
    orders: Floats
    credit: Floats
    touches: Ints
    opened: Ints
    clicks: Ints
    unsubscribed: Ints
    blocked: Ints


def play_market(config: ChannelWorldConfig, splitter: Splitter, seed: int, *, credit: str = "linear") -> Days:
    """The market's days with this splitter for the first brand; ``credit``, ``linear`` or ``last``, is what it hears."""
    if credit not in ("linear", "last"):
        raise ValueError(f"credit is {credit!r}; allowed are linear and last")
    state, record = open_world(config, seed), None
    records, splits = [], []
    while not state.done:
        seen = seen_of(state, record)
        split = splitter.split(seen)
        state, record = play_day(state, with_rivals(config, split))
        splitter.learn(split, (record.linear if credit == "linear" else record.orders)[LEARNER])
        records.append(record)
        splits.append(split)
    return _days(np.array(splits), records, credit)


def seen_of(state: ChannelState, yesterday: DayRecord | None) -> Seen:
    """What the first brand knows on the morning of a day."""
    budget = budget_micros(state.config)
    return Seen(state.day, state.config.days, budget, features_of(state, yesterday, LEARNER))


def with_rivals(config: ChannelWorldConfig, split: Ints) -> Ints:
    """All brands' splits [A, C]: the learner's, and equal ones; ``ValueError`` for a split over other channels."""
    if np.shape(split) != (len(CHANNELS),):
        raise ValueError(
            f"split is of shape {np.shape(split)}; allowed is a number for each of {len(CHANNELS)} channels: "
            f"{', '.join(CHANNELS)}"
        )
    payable = np.array([channel.paid_from == "advertiser" for channel in config.channels])
    equal = whole(payable / max(int(payable.sum()), 1), budget_micros(config))
    return np.vstack([split, *([equal] * (config.brands - 1))])


def play_curves(curves: Curves, splitter: Splitter, seed: int, days: int, budget: int) -> Days:
    """Days with channels of known curves and ``budget`` micros a day; ``orders`` are the expected ones of the split.

    What the splitter hears are the orders that came by chance, those of each channel its own.
    """
    none = np.zeros((days, len(curves.tops)), np.int64)
    splits, credits = none.copy(), np.zeros(none.shape)
    for day in range(days):
        split = splitter.split(Seen(day, days, budget, np.zeros(0, np.float32)))
        if split.shape != none.shape[1:] or (split < 0).any() or split.sum() > budget:
            raise ValueError(
                f"the split is {split.tolist()}; allowed are micros of 0 or more for each of {none.shape[1]} channels, "
                f"together up to {budget}"
            )
        credits[day] = curves.orders(seed, day, split / MICROS)
        splitter.learn(split, credits[day])
        splits[day] = split
    expected = curves.expected(splits / MICROS).sum(axis=1)
    return Days(splits, splits, expected, credits, none, none, none, none, none[:, 0])


def levels_of(curves: Curves, budget: int, steps: int) -> Menu:
    """The true curves as a menu of equal steps of the budget."""
    cost = np.arange(steps + 1) * (budget // steps)
    return menu(cost, curves.expected(cost[:, None] / MICROS).T)


def clairvoyant(curves: Curves, budget: int, steps: int = 100) -> Choice:
    """The best split of a day for one who knows the curves."""
    return exact(levels_of(curves, budget, steps), budget)


def _days(splits: Ints, records: list[DayRecord], credit: str) -> Days:
    def of(column: str) -> NDArray[np.int64]:
        return np.array([getattr(record, column)[LEARNER] for record in records])

    credits = of("linear" if credit == "linear" else "orders").astype(np.float64)
    return Days(
        splits, of("charged_micros") - of("released_micros"), of("orders").sum(axis=1).astype(np.float64), credits,
        of("touches"), of("opened"), of("clicks"), of("unsubscribed"), of("blocked"),
    )  # fmt: skip
