"""``Ranker``: predict, bid with the loaded policies, OCPC, auction, one request at a time, by the simulator's own code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tribid.agents.bidder import Bidder, Lineup
from tribid.envs import market
from tribid.envs.action import to_multiplier
from tribid.envs.decision import Decision as Rows
from tribid.envs.decision import decide
from tribid.envs.feed import Feed
from tribid.envs.observation import observe
from tribid.envs.platform import Forecaster, Platform, Rates, Requests
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.shop import Shop
from tribid.ranker.answer import Answers, Choice
from tribid.ranker.lineups import loaded_lineup
from tribid.ranker.messages import Decision, Request
from tribid.ranker.pipeline import Pipeline, as_they_are
from tribid.ranker.stages import Stages
from tribid.ranker.time_budget import Clock, TimeBudget


class Ranker:
    """Answers requests of a scenario's feed or shop with learnt policies, in this process and by hand.

    ``scenario``: a name, a YAML path or a ``Scenario`` of a feed. ``policies``: a folder of policy files (safetensors and
    JSON card, never pickles), a bidder's name (``pid``), a ``Bidder``, or a ``Lineup`` for everybody. Advertisers that a
    folder has no policy for bid by ``others``; a policy of another scenario is refused unless ``any_scenario``. ``seed``
    names the stand-in forecaster's errors and the tie-breaks.

    ``forecaster`` and ``platform`` (in a shop) are learnt parts, as in ``market.reset``; ``stages`` and ``clock`` are those
    of ``Pipeline``; ``timeout_ms`` is the time budget of requests that name none.

    A request costs only arithmetic: multipliers are set for a tick by ``refresh`` from the advertisers' own books, as in
    the simulator. The same rows, budgets and multipliers give the simulator's decisions bit for bit. ``LiveRanker`` keeps
    the books, the budgets and the clock itself.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario = "feed",
        policies: str | Path | Bidder | Lineup = "truthful",
        *,
        others: str = "truthful",
        any_scenario: bool = False,
        seed: int = 0,
        forecaster: Forecaster | None = None,
        platform: Platform | None = None,
        stages: Callable[[Stages], Stages] = as_they_are,
        clock: Clock = perf_counter,
        timeout_ms: float | None = None,
    ) -> None:
        self.scenario = load_scenario(scenario)
        self._state = market.reset(self.scenario, seed, forecaster=forecaster, platform=platform)
        self._world = served_world(self._state)
        self._platform, self._forecaster = platform, forecaster
        self._seed, self._timeout_ms = seed, timeout_ms
        self.pipeline = Pipeline(self.scenario, self._world, seed, forecaster, stages, clock)
        self._answers = Answers(
            self.scenario, self._world.advertisers.names, seed, has_creatives=isinstance(self._world, Shop)
        )
        loaded = loaded_lineup(
            self.scenario, policies, others, self._state.advertisers.names, any_scenario=any_scenario
        )
        self._policy, self._lineup = "own@" + loaded.version, loaded.lineup
        self._lineup_states: Mapping[str, Any] = {}
        self.left_micros: NDArray[np.int64] = self._state.left_micros.copy()
        self.multipliers: NDArray[np.float64] = self._state.multipliers
        self.refresh(self._state)

    def refresh(self, state: market.MarketState) -> NDArray[np.float64]:
        """Set the tick's multipliers [A, S] from what the advertisers see, and the budgets that are left; returns them."""
        actions, self._lineup_states = self._lineup.act(observe(state), dict(self._lineup_states))
        self.multipliers = to_multiplier(actions, self.scenario.rules.max_multiplier)
        self.left_micros = state.left_micros.copy()
        self.pipeline.fallback.count_clicks(state.total.counts.clicks)
        self._state = state
        return self.multipliers

    def play_to(self, tick: int) -> None:
        """Let the simulated day run up to ``tick``, so that budgets, books and multipliers are those of that hour."""
        if tick < self._state.tick:
            self._lineup_states = {}
            self.refresh(market.reset(self.scenario, self._seed, forecaster=self._forecaster, platform=self._platform))
        while self._state.tick < min(tick, self._world.n_ticks - 1):
            self.refresh(market.step(self._state, self.multipliers)[0])

    def rank(self, request: Request, *, explain: bool = False) -> Decision:
        """Decide one page; ``explain`` says how long each stage took.

        A request without a tick or day is of those that were refreshed last. ``ValueError`` names a field that the
        scenario does not have. ``outcome`` is for ``LiveRanker``: nothing is charged here.
        """
        self.pipeline.check(request)
        timeout_ms = self._timeout_ms if request.timeout_ms is None else request.timeout_ms
        budget = TimeBudget(timeout_ms, self.pipeline.clock)
        day = self._state.day.day if request.day is None else request.day
        tick = min(self._state.tick, self._world.n_ticks - 1) if request.tick is None else request.tick
        page = self.pipeline.prepare(request, day, tick, budget)
        choice = Choice(self._policy, *self.pipeline.decide(page, self.multipliers, self.left_micros, budget))
        return self._answers.decision(page, choice, explain)

    def decide_rows(self, requests: Requests, predicted: Rates) -> Rows:
        """Decide requests whose predictions are given, against the budgets left; nothing is charged."""
        return decide(
            self.scenario.rules,
            self._world.advertisers,
            self.multipliers,
            self.left_micros,
            requests,
            predicted,
            self._seed,
        )

    def charge(self, ad: int, amount_micros: int) -> None:
        """Take a click's price from an advertiser's budget; ``ValueError`` if it has less left: nothing is charged then."""
        for name, given in (("ad", ad), ("amount_micros", amount_micros)):
            if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
                raise ValueError(f"{name} is {given!r}; allowed is a whole number")
        if not 0 <= ad < len(self.left_micros):
            raise ValueError(f"ad is {ad}; allowed is 0 to {len(self.left_micros) - 1}")
        left = int(self.left_micros[ad])
        if amount_micros < 0 or amount_micros > left:
            raise ValueError(
                f"charge to {self._world.advertisers.names[ad]} is {amount_micros} micros; allowed is 0 to the {left} left"
            )
        self.left_micros[ad] = left - amount_micros


def served_world(state: market.MarketState) -> Feed | Shop:
    """The world of a state, if requests of it can be answered; ``ValueError`` otherwise."""
    if not isinstance(state.world, (Feed, Shop)):
        raise ValueError(f"scenario {state.scenario.name} is no feed; a ranker answers requests of a feed or a shop")
    return state.world
