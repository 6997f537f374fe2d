"""The request path: stages in order, each timed, passed over where time runs short, and replaced where it fails."""

import logging
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tribid.envs.feed import Feed
from tribid.envs.journey.world import Journey
from tribid.envs.market import checked_rates
from tribid.envs.platform import Forecaster, Rates
from tribid.envs.scenario import MICROS, Scenario
from tribid.envs.shop import Shop
from tribid.ranker.auction import Auction, Priced
from tribid.ranker.fallbacks import NAMES, Fallbacks
from tribid.ranker.messages import Request
from tribid.ranker.page import Belief, Found, Page
from tribid.ranker.request_check import RequestCheck
from tribid.ranker.scenes import first_scene, rules_by_scene
from tribid.ranker.stages import Stages, multipliers_of, stages_of
from tribid.ranker.time_budget import Clock, StageTimes, TimeBudget

_log = logging.getLogger("tribid.ranker")
_T = TypeVar("_T")

STAGES = (*Stages._fields, "auction")
"""The names of the timed stages; ``auction`` holds OCPC."""


def as_they_are(stages: Stages) -> Stages:
    """The stages that the scenario has."""
    return stages


class Pipeline:
    """Everything that a scenario's pages go through; the same for every policy.

    ``stages`` takes the scenario's own stages and returns those to run: ``lambda own: own._replace(predict=mine)``.
    ``clock`` is what time budgets are measured with. A stage is passed over where what is left of the budget is less than
    what it and the auction took lately (``StageTimes``); one that raises is replaced, too, so that a learnt part that fails
    never loses a page. Either is named in ``Page.fallbacks`` and counted in ``fallbacks``; the first failure of a stage is
    logged.
    """

    def __init__(
        self, scenario: Scenario, world: Feed | Shop, seed: int, forecaster: Forecaster | None = None,
        stages: Callable[[Stages], Stages] = as_they_are, clock: Clock = perf_counter,
    ) -> None:  # fmt: skip
        feed = world.feed if isinstance(world, Shop) else world
        self._world, self._feed, self.clock = world, feed, clock
        own = stages_of(world, seed, forecaster)
        self.stages = stages(own)
        self._is_own_predict = self.stages.predict == own.predict
        self.fallback = Fallbacks(world)
        self.fallbacks: Counter[str] = Counter()
        self.times = {name: StageTimes() for name in STAGES}
        self.auction = Auction(
            scenario.rules, world.advertisers, seed, feed.places if feed.shelf_of(0) is not None else None
        )
        self._auction_of = _scene_auctions(scenario, world, seed, self.auction)
        self.budget_micros = world.advertisers.budget_micros
        self._reserve_micros = round(scenario.rules.reserve * MICROS)
        self.check = RequestCheck(
            world.advertisers.names, users=feed.config.users.count, ticks=world.n_ticks, segments=world.n_segments,
            slots=len(scenario.rules.slot_effects),
            scenes=world.journey.scenes if isinstance(world, Journey) else (), categories=feed.config.categories,
        )  # fmt: skip
        self._cap = np.inf
        if isinstance(world, Journey) and world.journey.fatigue.cap is not None:
            self._cap = world.journey.fatigue.cap
        self._told: set[str] = set()

    def prepare(self, request: Request, day: int, tick: int, budget: TimeBudget) -> Page:
        """A checked request with candidates, belief, creatives and predictions."""
        page = Page(request, day, tick, self._reserve_micros)
        rates = None
        if request.candidates is not None:
            ads, rates = self.check.offered(request.candidates)
            page.found = Found(ads)
        else:
            page.found = self._run("retrieve", page, budget, self._retrieved)
        page.found, rates = self._within_cap(page.found, rates, request)
        if rates is None:
            page.belief = self._run("state", page, budget, self._believed)
        else:
            page.belief = self._told_belief(page)
        page.segment = self._segment(page)
        if rates is None:
            page.creative = self._run("creative", page, budget, self._picked)
            page.predicted = self._run("predict", page, budget, self._predicted)
        else:
            page.predicted = rates
        return page

    def decide(
        self, page: Page, multipliers: NDArray[np.float64] | None, left_micros: NDArray[np.int64], budget: TimeBudget,
        seen: NDArray[np.float64] | None = None, every_bid: bool = False,
    ) -> tuple[Priced, NDArray[np.float64], tuple[str, ...]]:  # fmt: skip
        """The page's auction by one policy's multipliers [A, S] (None: it has none yet).

        Returns the auction, the multipliers [N] that were bid with, and the fallbacks of the bid.
        """
        assert page.predicted is not None
        before = len(page.fallbacks)
        if multipliers is None:
            own: NDArray[np.float64] = self._give_way("bid", page)
        else:
            own = self._run("bid", page, budget, lambda page: self._bid(page, multipliers))
        fell = tuple(page.fallbacks[before:])
        del page.fallbacks[before:]
        start = budget.now()
        auction = self._auction_of.get(page.request.scene, self.auction)
        priced = auction(page, page.predicted, own, left_micros, seen, every_bid)
        self._timed("auction", page, budget, start)
        return priced, own, fell

    def forget(self) -> None:
        """As if nothing had been decided yet: no stage times, counted or told fallbacks, nor last predictions."""
        self.times = {name: StageTimes() for name in STAGES}
        self.fallbacks.clear()
        self._told.clear()
        self.fallback.forget()

    def _run(self, name: str, page: Page, budget: TimeBudget, stage: Callable[[Page], _T]) -> _T:
        times = self.times[name]
        if budget.is_limited and budget.left_ms() < times.high_ms + self.times["auction"].high_ms:
            times.passed_over()
            return cast(_T, self._give_way(name, page))
        start = budget.now()
        try:
            found = stage(page)
        except Exception as error:
            if name not in self._told:
                self._told.add(name)
                _log.warning("stage %s failed, %s stands in: %s: %s", name, NAMES[name], type(error).__name__, error)
            return cast(_T, self._give_way(name, page))
        self._timed(name, page, budget, start)
        return found

    def _timed(self, name: str, page: Page, budget: TimeBudget, start: float) -> None:
        took = 1000.0 * (budget.now() - start)
        self.times[name].add(took)
        page.stage_ms[name] = page.stage_ms.get(name, 0.0) + took

    def _give_way(self, name: str, page: Page) -> Any:
        told = f"{name}:{NAMES[name]}"
        page.fallbacks.append(told)
        self.fallbacks[told] += 1
        return getattr(self.fallback, name)(page)

    def _retrieved(self, page: Page) -> Found:
        found = self.stages.retrieve(page)
        if found.ads is None or found.shelf >= 0:
            return found
        ads, most = np.ascontiguousarray(found.ads, np.int32), len(self.check.names) - 1
        if ads.shape == (1, 0):
            return Found(ads)  # a cap may leave nobody
        in_order = np.sort(ads[0])
        if ads.ndim != 2 or len(ads) != 1 or in_order[0] < 0 or in_order[-1] > most or (np.diff(in_order) == 0).any():
            raise ValueError(f"candidates are {ads!r:.80}; allowed are advertisers 0 to {most}, each once")
        return Found(ads)

    def _within_cap(self, found: Found, rates: Rates | None, request: Request) -> tuple[Found, Rates | None]:
        """The candidates, however they were found, without the brands that a journey's user may not see again today."""
        over = [self.check.ad_of[name] for name, count in request.shown.items() if count >= self._cap]
        if not over:
            return found, rates
        ads = np.arange(len(self.check.names), dtype=np.int32) if found.ads is None else found.ads[0]
        kept = ~np.isin(ads, over)
        if kept.all():
            return found, rates
        return Found(ads[kept][None]), rates and Rates(*(np.ascontiguousarray(rate[:, kept]) for rate in rates))

    def _believed(self, page: Page) -> Belief:
        belief = self.stages.state(page)
        if belief.buying is not None and not 0.0 <= belief.buying[0] <= 1.0:
            raise ValueError(f"belief is {belief.buying[0]}; allowed is 0 to 1")
        return belief

    def _picked(self, page: Page) -> NDArray[np.int8] | None:
        picked = self.stages.creative(page)
        if picked is not None and (
            picked.shape != (1, self._width(page)) or picked.dtype != np.int8 or picked.min() < 0
        ):
            raise ValueError(f"creatives are {picked!r:.80}; allowed is one for each candidate, int8 from 0")
        return picked

    def _predicted(self, page: Page) -> Rates:
        predicted = self.stages.predict(page)
        if not self._is_own_predict:
            like = np.broadcast_to(np.float32(0.0), (1, self._width(page)))
            predicted = checked_rates(predicted, Rates(like, like))
        self.fallback.learn(page, predicted)
        return predicted

    def _bid(self, page: Page, multipliers: NDArray[np.float64]) -> NDArray[np.float64]:
        own = self.stages.bid(page, multipliers)
        if self.stages.bid is not multipliers_of and (own.shape != (self._width(page),) or not (own >= 0.0).all()):
            raise ValueError(f"multipliers are {own!r:.80}; allowed is one for each candidate, from 0")
        return own

    def _width(self, page: Page) -> int:
        return len(self.check.names) if page.found.ads is None else page.found.ads.shape[1]

    def _told_belief(self, page: Page) -> Belief:
        """Of a page that brings its own rates: what it tells, or what follows from the state that it tells."""
        buying = page.request.buying
        if buying is None:
            buying = self._feed.beliefs[int(page.is_buying)]
        return Belief(np.array([buying], np.float32), page.is_buying)

    def _segment(self, page: Page) -> int:
        """The segment that the request tells, or what follows from user and state; 0 where it needs a user and has none."""
        if page.request.segment is not None:
            return page.request.segment
        if self._world.n_segments == 1:
            return 0
        if page.user < 0 and self._feed.rules.segments == "cluster":
            return 0
        return int(self._feed.segment(np.array([max(0, page.user)]), np.array([page.belief.guess]))[0])


def _scene_auctions(scenario: Scenario, world: Feed | Shop, seed: int, usual: Auction) -> dict[str | None, Auction]:
    """An auction for each scene of a journey that has slots of its own; a page of another has the usual one."""
    if not isinstance(world, Journey):
        return {}
    shelves = world.feed.places if world.feed.shelf_of(0) is not None else None
    found: dict[str | None, Auction] = {
        name: usual if rules is scenario.rules else Auction(rules, world.advertisers, seed, shelves)
        for name, rules in rules_by_scene(scenario).items()
    }
    return found | {None: found[first_scene(scenario)]}
