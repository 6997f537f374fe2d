"""Days of a journey on end, as one variant plays them: the numbers of all measures, and what messages were sent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Lineup
from tribid.agents.rivals import rivals_in_turn
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.channels.channel import CHANNELS, FEED, SEARCH
from tribid.envs.journey.memory import Memory
from tribid.envs.journey.world import Journey
from tribid.envs.market import Ledger, MarketState
from tribid.envs.observation import observe
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.world import Arrivals, build_world
from tribid.evaluation.day import DayRecord
from tribid.evaluation.flows import JourneyWatch
from tribid.evaluation.journey.accounts import credited_numbers
from tribid.evaluation.journey.answers import Answers, answers_of
from tribid.evaluation.journey.measures import NAMES, PLACE, row_of
from tribid.evaluation.journey.variants import PLATFORMS, Counts, JourneyVariant, with_messages
from tribid.evaluation.platform.worth import numbers, with_listed

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a run came to: ``all_pages`` and ``after`` (pages after an order) are numbers of ``MEASURES``, means over days.

    ``sent`` [D, T, C] are the messages of each day, tick and channel.
    """

    all_pages: list[float]
    after: list[float]
    sent: Counts


def scenario_of(scenario: Scenario, variant: JourneyVariant) -> Scenario:
    """The scenario that a variant plays: its changes in a market whose advertisers its base has fixed.

    ``ValueError`` for a scenario that is no journey.
    """
    own = with_listed(with_messages(scenario).with_changes(**{"rules__outcomes": "expected", **variant.base}))
    return own.with_changes(**variant.changes) if variant.changes else own


def play_run(
    scenario: Scenario, variant: JourneyVariant, seed: int, days: int, *, bidders: Sequence[str] = ("truthful",),
    counts: Counts | None = None,
) -> Played:  # fmt: skip
    """Play ``days`` days of a seed on end, each with the memory of the one before.

    Clicks and orders are counted in expectation, unless the variant says otherwise. Messages that are still on their way at
    the end are answered as those of the next morning would be. ``counts`` [D, T, C] are another's messages, for a variant
    that sends as many. ``ValueError`` for a scenario that is no journey.
    """
    own = scenario_of(scenario, variant)
    world = build_world(own)
    assert isinstance(world, Journey)
    platform = PLATFORMS[variant.platform](world, counts) if variant.platform else None
    lineup, memory, told = rivals_in_turn(tuple(bidders), own), None, []
    for day in range(days):
        one = _Day(market.reset(own, seed, day, platform=platform, memory=memory))
        memory = one.play(lineup, is_last=day == days - 1)
        told.append(one)
    rows = [one.numbers() for one in told]
    if variant.credit:
        spent = np.sum([one.spend_micros for one in told], axis=0)
        rows = [credited_numbers(told[-1].state, variant.credit, spent, paid=(FEED, SEARCH))]
    after = [one.after() for one in told]
    return Played(
        all_pages=np.mean(rows, axis=0).tolist(), after=np.mean(after, axis=0).tolist(),
        sent=np.array([one.sent for one in told]),
    )  # fmt: skip


class _Day:
    """A day in play, with its running sums."""

    def __init__(self, state: MarketState) -> None:
        assert isinstance(state.world, Journey)
        self.state, self.world = state, state.world
        self._watch = JourneyWatch(state)
        count = len(state.advertisers)
        self.spend_micros = np.zeros(count, np.int64)
        self.sent = np.zeros((self.world.n_ticks, len(CHANNELS)), np.int64)
        self._answers = Answers.none(count)
        self._slots_of_scene = np.array([len(layout.slot_effects) for layout in self.world.layouts])
        self._served, self._slots, self._leaves, self._relevance, self._filled = 0, 0, 0, 0.0, 0

    def play(self, lineup: Lineup, *, is_last: bool) -> Memory:
        """Play it to its end; the memory there."""
        told: dict[str, object] = {}
        limit = self.state.scenario.rules.max_multiplier
        while not self.state.done:
            before = self.state
            self._answers += answers_of(before, before.memory, before.day, before.tick)
            actions, told = lineup.act(observe(before), told)
            self.state, tick = market.step(before, to_multiplier(actions, limit))
            self._watch.count(tick)
            self._count(tick)
            self.sent[before.tick] = (self.state.memory.messages - before.memory.messages).sum(axis=0)
        ended: Memory = self.state.memory
        if ended.outbox is not None:
            self._answers += self._at_midnight(before, tick)
        if is_last and ended.outbox is not None:
            morning = self.world.day(ended.seed, ended.day + 1)
            self._answers += answers_of(self.state, self.world.overnight(ended, morning), morning, 0, by_hour=np.inf)
        return ended

    def _at_midnight(self, before: MarketState, tick: market.Tick) -> Answers:
        """Of the messages that are opened during the last tick: the market answers them at its end, after its pages."""
        day, last = before.day, before.tick
        memory, _ = self.world.before_tick(before.memory, day, last, before.left_micros)
        memory = self.world.after_pages(memory, day, last, Arrivals(tick.requests, tick.truth), tick.slots)
        return answers_of(before, memory, day, last, by_hour=self.world.hour(day.day + 1, 0))

    def _count(self, tick: market.Tick) -> None:
        slots = tick.slots
        assert tick.requests.scene is not None
        sold = slots.winner >= 0
        self._served += len(slots.skipped) - int(slots.skipped.sum())
        self._slots += int(self._slots_of_scene[tick.requests.scene[~slots.skipped]].sum())
        self._leaves += int(slots.left.sum())
        self._relevance += float(slots.relevance.sum())
        self._filled += int(sold.sum())
        np.add.at(self.spend_micros, slots.winner[sold], slots.charge_micros[sold])

    def numbers(self) -> list[float]:
        """All measures of the day."""
        ads, answers, total = self.state.advertisers, self._answers, self.state.total
        booked = float(self.state.memory.booked_micros.sum()) / MICROS
        row = np.array([*numbers(self._record()), *[np.nan] * (len(NAMES) - len(numbers(self._record())))])
        gmv = float(answers.orders @ ads.price_micros) / MICROS
        row[PLACE["GPM"]] += 1000.0 * gmv / self._served
        row[PLACE["surplus"]] += float(ads.money_value(answers.clicks, answers.orders).sum()) / MICROS - booked
        spent, made = self.spend_micros.sum() / MICROS, float(total.counts.conversions @ ads.price_micros) / MICROS
        row[PLACE["ROI"]] = (made + gmv) / (spent + booked)
        row[PLACE["orders"]] = total.counts.conversions.sum() + answers.orders.sum()
        row[PLACE["unsubscribed"]] = answers.left
        row[PLACE["messages"]] = self.sent.sum()
        row[PLACE["own cost"]] = booked
        return list(row.tolist())

    def after(self) -> list[float]:
        """The measures that there are of the pages after an order alone."""
        scenes = self.world.journey.scenes
        sums = self._watch.day(self.state).scenes.sums[[scene.moment == "after" for scene in scenes]].sum(axis=0)
        pages, shown, clicks, orders, gmv, revenue = (sums / np.array([1, 1, 1, 1, MICROS, MICROS])).tolist()
        return row_of(
            RPM=_per(1000 * revenue, pages), GPM=_per(1000 * gmv, pages), PPC=_per(revenue, clicks), ROI=_per(gmv, revenue),
            CTR=_per(clicks, shown), CVR=_per(orders, clicks), orders=orders,
        )  # fmt: skip

    def _record(self) -> DayRecord:
        """The day's auctions alone, in which messages cost nothing."""
        state = self.state
        total = Ledger(state.total.counts, self.spend_micros)
        return DayRecord(
            scenario=state.scenario, advertisers=state.advertisers, ledgers=(total,), total=total,
            multipliers=np.zeros((0, len(state.advertisers))), expected_share=state.day.expected_share,
            page_views=self._served, lost_requests=0, slots=self._slots, filled=self._filled,
            relevance=self._relevance, leaves=self._leaves, hindsight=np.full(len(state.advertisers), np.nan),
        )  # fmt: skip


def _per(amount: float, count: float) -> float:
    return amount / count if count else float("nan")
