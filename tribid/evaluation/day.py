"""One evaluated day: a lineup of bidders plays a market, and everything that the three sides are judged by is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Lineup
from tribid.agents.hindsight import dual_bound, slot_options
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.advertisers import Advertisers
from tribid.envs.journey.world import Journey
from tribid.envs.market import Ledger, Tick
from tribid.envs.observation import observe
from tribid.envs.platform import Forecaster, Platform
from tribid.envs.scenario import Scenario
from tribid.envs.world import World
from tribid.evaluation.flows import JourneyDay, JourneyWatch


@dataclass(frozen=True, kw_only=True)
class DayRecord:
    """A day's outcome.

    ``ledgers`` one per tick; ``total`` their sum; ``page_views`` requests served, ``lost_requests`` those that never
    came because a user had left; ``slots`` how many slots the pages served had, ``filled`` how many were sold; ``relevance``
    the sum over pages of slot effect times true click rate; ``leaves`` visits left early; ``hindsight`` [A] the bound on the
    money value that an advertiser could have won against the others' bids as they were (NaN where not asked for);
    ``journey`` how consumers moved, in a world that remembers them.
    """

    scenario: Scenario
    advertisers: Advertisers
    ledgers: tuple[Ledger, ...]
    total: Ledger
    multipliers: NDArray[np.float64]
    expected_share: NDArray[np.float64]
    page_views: int
    lost_requests: int
    slots: int
    filled: int
    relevance: float
    leaves: int
    hindsight: NDArray[np.float64]
    journey: JourneyDay | None = None

    @property
    def revenue_micros(self) -> int:
        """What all advertisers paid."""
        return int(self.total.spend_micros.sum())

    def exhausted_hour(self) -> NDArray[np.float64]:
        """Hour of the day [A] at which less than 1 % of the budget was left; 24 where that never happened."""
        spent = np.cumsum([ledger.spend_micros for ledger in self.ledgers], axis=0)
        out = spent >= 0.99 * self.advertisers.budget_micros
        ticks = len(self.ledgers)
        first = np.where(out.any(axis=0), out.argmax(axis=0) + 1, ticks)
        hours: NDArray[np.float64] = first * 24.0 / ticks
        return hours


def play_day(
    scenario: Scenario,
    lineup: Lineup,
    seed: int,
    day: int = 0,
    *,
    forecaster: Forecaster | None = None,
    platform: Platform | None = None,
    hindsight_for: Sequence[int] = (),
) -> DayRecord:
    """Play one day and keep its outcome; ``hindsight_for`` lists advertisers whose hindsight bound is wanted.

    ``forecaster`` and ``platform`` are as in ``market.reset``.
    """
    state = market.reset(scenario, seed, day, forecaster=forecaster, platform=platform)
    ledgers, multipliers, pages = [], [], _Pages(scenario, state.world)
    options: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {who: [] for who in hindsight_for}
    states: dict[str, object] = {}
    watch = JourneyWatch(state) if isinstance(state.world, Journey) else None
    while not state.done:
        actions, states = lineup.act(observe(state), states)
        state, tick = market.step(state, to_multiplier(actions, scenario.rules.max_multiplier))
        ledgers.append(tick.ledger)
        multipliers.append(tick.multipliers.mean(axis=1))
        pages.count(tick)
        if watch is not None:
            watch.count(tick)
        for who, kept in options.items():
            kept.append(slot_options(state, tick, who))
    hindsight = np.full(len(state.advertisers), np.nan)
    for who, kept in options.items():
        value, cost = (np.concatenate(column) for column in zip(*kept, strict=True))
        hindsight[who] = dual_bound(value, cost, float(state.advertisers.budget_micros[who])).value
    return DayRecord(
        scenario=scenario,
        advertisers=state.advertisers,
        ledgers=tuple(ledgers),
        total=state.total,
        multipliers=np.array(multipliers),
        expected_share=state.day.expected_share,
        hindsight=hindsight,
        page_views=pages.served,
        lost_requests=pages.lost,
        slots=pages.slots,
        filled=pages.filled,
        relevance=pages.relevance,
        leaves=pages.leaves,
        journey=None if watch is None else watch.day(state),
    )


class _Pages:
    """Running sums over pages."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self._usual = len(scenario.rules.slot_effects)
        self._of_scene = [len(page.slot_effects) for page in world.layouts] if isinstance(world, Journey) else None
        self.slots, self.served, self.lost, self.filled, self.leaves, self.relevance = 0, 0, 0, 0, 0, 0.0

    def count(self, tick: Tick) -> None:
        pages = tick.slots
        skipped = int(pages.skipped.sum())
        self.lost += skipped
        self.served += len(pages.skipped) - skipped
        if self._of_scene is None:
            self.slots += self._usual * (len(pages.skipped) - skipped)
        else:
            assert tick.requests.scene is not None
            self.slots += int(np.take(self._of_scene, tick.requests.scene[~pages.skipped]).sum())
        self.filled += int((pages.winner >= 0).sum())
        self.leaves += int(pages.left.sum())
        self.relevance += float(pages.relevance.sum())
