"""Parts that live in worlds of their own: search, channels of several days, sequential delivery, next best actions.

A function plays one seed of a world with everything that its rows compare; what a world has no number for is NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tribid.agents.channel_split.bandit import SplitBandit
from tribid.agents.channel_split.fitted import FittedSplit
from tribid.agents.channel_split.play import LEARNER, play_market
from tribid.agents.channel_split.splitter import FixedSplit, Splitter
from tribid.agents.sequential.baselines import manual, myopic_greedy
from tribid.agents.sequential.choices import efficient
from tribid.agents.sequential.lessons import LessonPlan
from tribid.agents.sequential.msbcb import Msbcb
from tribid.agents.sequential.optimum import enumerated
from tribid.agents.sequential.tabular_q import TabularQ
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.config import Caps
from tribid.envs.channels.world_config import ChannelWorldConfig
from tribid.envs.scenario import MICROS
from tribid.envs.search.config import Search
from tribid.envs.search.factors import NAMES as FACTORS
from tribid.envs.search.scene import SearchScene
from tribid.envs.sequential.campaign import Strategy, run_campaign
from tribid.envs.sequential.consumers import make_world
from tribid.envs.sequential.contents import CONTENTS
from tribid.envs.sequential.moves import best_table, true_moves, without, worth
from tribid.envs.sequential.play import draw_consumers
from tribid.evaluation.journey.measures import row_of
from tribid.evaluation.journey.variants import Row
from tribid.evaluation.search_sides import Market, Outcome

Numbers = dict[str, list[float]]

_SEARCHES, _ITEMS = 2000, 2000
_CONSUMERS, _CAMPAIGNS, _BUDGET_SHARE, _JUDGED = 2000, 5, 0.35, 1_000_000
_ACTION_USERS, _ACTION_VISITS, _ACTION_JUDGED = 2000, 6000, 3000
_RELEVANCE = ("keyword", "category", "attribute")


def search(seed: int) -> Numbers:
    """A search scene: all factors against relevance alone, and ads merged by the shadow bid."""
    scene = SearchScene.of(Search(), seed, count=_ITEMS)
    market = Market(scene, scene.searches(seed + 1, 1, _SEARCHES))
    relevance = np.where(np.isin(FACTORS, _RELEVANCE), scene.weights, 0.0)
    return {
        "all factors": _search(market.outcome(scene.weights)),
        "relevance alone": _search(market.outcome(relevance)),
        "by money alone": _search(market.outcome(scene.weights, 0.0)),
        "no ads": _search(market.outcome(scene.weights, 1e12)),
    }


def _search(told: Outcome) -> list[float]:
    sides, ads = told.sides(), float(told.ad_revenue.mean() + told.commission.mean())
    return row_of(
        RPM=1000.0 * sides["platform revenue"] / MICROS, GPM=1000.0 * sides["platform GMV"] / MICROS,
        ROI=sides["platform GMV"] / ads, surplus=sides["seller net"] / MICROS, CVR=sides["user CVR"],
        relevance=sides["user clicks"], leaving=sides["user bounce"], orders=float(told.orders.mean()),
    )  # fmt: skip


def channels(seed: int) -> Numbers:
    """The multi-channel market: who splits the first brand's budget, and one cap over all channels."""
    count = len(CHANNELS)
    plain = ChannelWorldConfig()
    one, each = (Caps(per_day=most, per_channel=(3, 3, 3, 3)) for most in (3, None))
    rich = ChannelWorldConfig(budget=16.0)
    return {
        "equal split": _channels(plain, FixedSplit.equal(count), seed),
        "bandit": _channels(plain, SplitBandit(count, rule="ucb", seed=seed), seed),
        "fitted": _channels(plain, FittedSplit(count, joint=True, seed=seed), seed),
        "one cap": _channels(rich.model_copy(update={"caps": one}), FixedSplit.equal(count), seed),
        "separate caps": _channels(rich.model_copy(update={"caps": each}), FixedSplit.equal(count), seed),
    }


def _channels(config: ChannelWorldConfig, splitter: Splitter, seed: int) -> list[float]:
    days = play_market(config, splitter, seed)
    orders, cost = float(days.orders.sum()), float(days.charged_micros.sum()) / MICROS
    clicks, value = float(days.clicks.sum()), orders * config.prices[LEARNER]
    return row_of(
        ROI=value / cost, surplus=(value - cost) / config.days, PPC=cost / clicks, CTR=clicks / float(days.opened.sum()),
        CVR=orders / clicks, orders=orders / config.days, unsubscribed=float(days.unsubscribed.sum()) / config.days,
    )  # fmt: skip


def sequential(seed: int) -> Numbers:
    """A campaign of contents by stage under one budget: MSBCB, alone with its best content, and two rules."""
    world = make_world(seed)
    moves = true_moves(world)
    dear = float(worth(moves, best_table(moves, 0.0)).cost @ world.share)
    budget_micros = int(_BUDGET_SHARE * dear * _CONSUMERS * MICROS)
    budget, plan = budget_micros / _CONSUMERS / MICROS, LessonPlan()

    def bound(content: str) -> float:
        """What a mean consumer brings at best with one content alone."""
        open_to = without(moves, only(content))
        choices = [efficient(open_to, kind) for kind in range(len(world.share))]
        return enumerated(choices, world.share.tolist(), budget, whole=False).value

    single = only(max(CONTENTS, key=bound))
    alone = Msbcb(TabularQ(world, single), budget).fit(world, plan, seed, allowed=single)
    strategies: dict[str, Strategy] = {
        "MSBCB": Msbcb(TabularQ(world), budget).fit(world, plan, seed),
        "single content": alone,
        "myopic greedy": myopic_greedy(world, budget),
        "manual": manual(world),
    }
    judged = [draw_consumers(world, _JUDGED + 1000 * seed + k, _CONSUMERS) for k in range(_CAMPAIGNS)]
    told: Numbers = {}
    for name, strategy in strategies.items():
        results = [run_campaign(world, strategy, consumers, budget_micros) for consumers in judged]
        value, spent = (sum(getattr(one, f"{what}_micros") for one in results) / MICROS for what in ("value", "spent"))
        orders = sum(one.orders for one in results)
        told[name] = row_of(
            ROI=value / spent, surplus=(value - spent) / _CAMPAIGNS, orders=orders / _CAMPAIGNS
        )  # fmt: skip
    return told


def only(content: str) -> NDArray[np.bool_]:
    """The actions that show one content or nothing."""
    return np.array([True, *(name == content for name in CONTENTS)])


def actions(seed: int) -> Numbers:
    """Next best actions: the first that each new user is proposed, by learnt propensity times value and by other rules."""
    from tribid.models.actions.examples import DAY_MS, examples_of
    from tribid.models.actions.log import ActionLog, Happened, Listed, events_of
    from tribid.models.actions.next_best_action import NextBestAction
    from tribid.models.actions.world import START_MS, ActionWorld, ActionWorldRule

    world = ActionWorld(ActionWorldRule(users=_ACTION_USERS, visits=_ACTION_VISITS), seed)
    records = list(world.log())
    listings = {(one.user, one.id): one for one in records if isinstance(one, Listed)}
    log = ActionLog(world.names, listings, tuple(one for one in records if isinstance(one, Happened)), 0, 0)
    until_ms = START_MS + round(world.rule.days * DAY_MS)
    examples = examples_of(events_of(log, world.rules.names).events, len(world.rules), until_ms=until_ms)
    model = NextBestAction(model="logistic").fit(examples, world.rules.names, world.names)
    features = world.features(_JUDGED + np.arange(_ACTION_JUDGED))
    truth, value = world.chance(features), np.asarray(world.rules.value, np.float64)
    may = np.array([world.rules.reasons(world.standing(row, {}), START_MS) == 0 for row in features])
    rates = model.predict(features).astype(np.float64)
    anything = may / may.sum(axis=1, keepdims=True)
    return {
        "propensity times value": _actions(_first(rates * value, may), truth, value),
        "propensity": _actions(_first(rates, may), truth, value),
        "most valuable": _actions(_first(np.broadcast_to(value, rates.shape), may), truth, value),
        "at random": _actions(anything, truth, value),
    }


def _first(score: NDArray[np.float64], may: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All on the action of the highest score that each user may be proposed, [U, A]."""
    best = np.where(may, score, -np.inf).argmax(axis=1)
    chosen: NDArray[np.float64] = np.eye(score.shape[1])[best]
    return chosen


def _actions(chosen: NDArray[np.float64], truth: NDArray[np.float64], value: NDArray[np.float64]) -> list[float]:
    taken = (chosen * truth).sum(axis=1)
    return row_of(CTR=taken.mean(), GPM=1000.0 * (chosen * truth * value).sum(axis=1).mean())


WORLDS: dict[str, Callable[[int], Numbers]] = {
    "search": search, "channels": channels, "sequential": sequential, "actions": actions,
}  # fmt: skip
"""Other worlds by name: a seed to the numbers of each variant there."""

WORLD_ROWS = (
    Row("search by all factors", "relevance alone", "all factors", "relevance alone", world="search"),
    Row("ads merged by the shadow bid", "by money alone", "all factors", "by money alone", world="search"),
    Row("ads merged by the shadow bid", "no ads", "all factors", "no ads", world="search"),
    Row("one cap of 3 over all channels", "3 in each", "one cap", "separate caps", world="channels"),
    Row("budget split by a bandit", "equal parts", "bandit", "equal split", world="channels"),
    Row("budget split by fitted totals", "equal parts", "fitted", "equal split", world="channels"),
    Row("sequential contents (MSBCB)", "its best single content", "MSBCB", "single content", world="sequential"),
    Row("sequential contents (MSBCB)", "myopic greedy", "MSBCB", "myopic greedy", world="sequential"),
    Row("sequential contents (MSBCB)", "a rule by hand", "MSBCB", "manual", world="sequential"),
    Row("next best action, times value", "at random", "propensity times value", "at random", world="actions"),
    Row("next best action, times value", "most valuable first", "propensity times value", "most valuable",
        world="actions"),
    Row("next best action, times value", "propensity alone", "propensity times value", "propensity", world="actions"),
)  # fmt: skip
"""The second block of the table."""
