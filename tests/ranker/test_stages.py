"""Stages can be swapped, give way when time runs short, and never lose a page by failing."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.envs.test_shop import SMALL
from tribid.envs.platform import Platform, Rates, Requests
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.world import build_world
from tribid.ranker import Offer, Ranker, Request
from tribid.ranker.page import Belief, Found, Page
from tribid.ranker.stages import Stages
from tribid.ranker.time_budget import StageTimes

TINY = load_scenario("tiny").with_changes(rules__ocpc__index="dynamic")
SHOP = load_scenario("shop").with_changes(**SMALL, rules__ocpc__index="dynamic")


class Watch:
    """A clock that stands still unless a stage is said to take time."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def slow(self, stage: Callable[..., Any], took_ms: float) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            self.seconds += took_ms / 1000.0
            return stage(*given)

        return run


class Backwards:
    def retrieve(self, items: Any, age_days: Any, length: Any, count: int, allowed: Any = None) -> Any:
        return np.tile(np.flatnonzero(allowed)[::-1][:count].astype(np.int32), (len(items), 1))


class LastCreative:
    def pick(self, seed: int, requests: Any) -> Any:
        return np.full(requests.candidates.shape, 3, np.int8)


class Sure:
    def predict(self, kind: Any, category: Any, seconds: Any, length: Any) -> Any:
        return np.full(len(kind), 0.97, np.float32)


PARTS = Platform(retriever=Backwards(), picker=LastCreative(), state=Sure())


def ranker_with(name: str, took_ms: float, watch: Watch, scenario: Scenario = SHOP) -> Ranker:
    def stages(own: Stages) -> Stages:
        return own._replace(**{name: watch.slow(getattr(own, name), took_ms)})

    return Ranker(scenario, "truthful", seed=3, platform=PARTS, stages=stages, clock=watch)


FALLBACKS = ("retrieve:popularity", "state:prior", "creative:first", "predict:last_known", "bid:base_bid")


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_stage_that_took_longer_than_what_is_left_gives_way(fallback: str) -> None:
    watch = Watch()
    ranker = ranker_with(fallback.split(":")[0], 20.0, watch)
    assert ranker.rank(Request(request=0, user=1)).fallbacks == ()  # nothing is passed over without a time budget
    assert ranker.rank(Request(request=1, user=1, timeout_ms=19.0)).fallbacks == (fallback,)
    assert ranker.rank(Request(request=2, user=1, timeout_ms=21.0)).fallbacks == ()
    assert ranker.pipeline.fallbacks == {fallback: 1}


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_stage_that_raises_gives_way(fallback: str) -> None:
    def broken(*given: Any) -> Any:
        raise RuntimeError("the model is ill")

    name = fallback.split(":")[0]
    ranker = Ranker(SHOP, "truthful", platform=PARTS, stages=lambda own: own._replace(**{name: broken}))
    page = ranker.rank(Request(request=0, user=1))
    assert page.fallbacks == (fallback,)
    assert page.slots
    assert ranker.rank(Request(request=1, user=1)).fallbacks == (fallback,)
    assert ranker.pipeline.fallbacks == {fallback: 2}


def test_an_answer_that_cannot_be_gives_way_too() -> None:
    rates = Rates(np.full((1, 12), np.nan, np.float32), np.full((1, 12), 0.1, np.float32))
    for change in (
        {"predict": lambda page: rates},
        {"predict": lambda page: Rates(rates.cvr[:, :3], rates.cvr[:, :3])},
        {"state": lambda page: Belief(np.array([1.5], np.float32), True)},
        {"retrieve": lambda page: Found(np.array([[1, 1, 2]], np.int32))},
        {"retrieve": lambda page: Found(np.array([[1, 20]], np.int32))},
        {"creative": lambda page: np.zeros((1, 3), np.int8)},
        {"bid": lambda page, multipliers: np.full(12, np.nan)},
    ):
        ranker = Ranker(SHOP, "truthful", platform=PARTS, stages=lambda own, change=change: own._replace(**change))
        told = ranker.rank(Request(request=0, user=1)).fallbacks
        assert [name.split(":")[0] for name in told] == list(change)


def test_a_stage_that_was_slow_once_is_tried_again() -> None:
    watch = Watch()
    ranker = ranker_with("predict", 0.0, watch)
    ranker.pipeline.times["predict"].add(20.0)
    told = [ranker.rank(Request(request=r, user=1, timeout_ms=10.0)).fallbacks for r in range(60)]
    assert told[0] == ("predict:last_known",)
    assert told[-1] == ()


def test_a_high_quantile_forgets_a_single_pause() -> None:
    times = StageTimes()
    for took in [1.0] * 30 + [500.0] + [1.0] * 33:
        times.add(took)
    assert times.high_ms == 1.0


def test_popularity_offers_the_ads_with_most_clicks() -> None:
    ranker = Ranker(SHOP, "truthful")
    clicks = np.zeros(20)
    clicks[[4, 17, 9]] = [5.0, 9.0, 2.0]
    ranker.pipeline.fallback.count_clicks(clicks)
    popular = ranker.pipeline.fallback.popular
    assert popular.shape == (1, 12)
    assert popular[0, :3].tolist() == [17, 4, 9]
    rest = popular[0, 3:]
    mean = build_world(SHOP).advertisers.mean_pctr
    assert (np.diff(mean[rest]) <= 0).all()
    assert len(set(popular[0].tolist())) == 12


def test_last_known_is_the_last_prediction_of_a_visit_in_the_same_state() -> None:
    seen: list[Page] = []

    def remember(own: Stages) -> Stages:
        def bid(page: Page, multipliers: Any) -> Any:
            seen.append(page)
            return own.bid(page, multipliers)

        return own._replace(bid=bid)

    ranker = Ranker(TINY, "truthful", stages=remember, clock=Watch())
    a = ranker._world.advertisers
    ranker.pipeline.times["predict"].high_ms = 50.0
    for request, state in enumerate(("browsing", "buying", "browsing")):
        timeout_ms = 1.0 if request != 1 else None
        ranker.rank(Request(request=request, user=request, state=state, timeout_ms=timeout_ms))  # type: ignore[arg-type]
    ranker.rank(Request(request=3, user=9, state="buying", timeout_ms=1.0))
    rates = [page.predicted for page in seen]
    assert all(rate is not None for rate in rates)
    np.testing.assert_array_equal(rates[0].ctr[0], a.mean_pctr.astype(np.float32))  # nothing known yet: the mean
    np.testing.assert_array_equal(rates[2].cvr[0], a.mean_pcvr.astype(np.float32))
    np.testing.assert_array_equal(rates[3].ctr, rates[1].ctr)
    assert not np.array_equal(rates[1].ctr, rates[0].ctr)


def test_without_a_timeout_time_says_nothing() -> None:
    watch = Watch()
    slow = Ranker(
        SHOP, "pid", platform=PARTS, clock=watch, stages=lambda own: Stages(*(watch.slow(s, 1e6) for s in own))
    )
    plain = Ranker(SHOP, "pid", platform=PARTS)
    for request in range(30):
        asked = Request(request=request, user=request)
        assert slow.rank(asked) == plain.rank(asked)


def test_the_default_timeout_is_that_of_requests_that_name_none() -> None:
    watch = Watch()
    ranker = Ranker(
        TINY, clock=watch, timeout_ms=5.0, stages=lambda own: own._replace(predict=watch.slow(own.predict, 9.0))
    )
    ranker.rank(Request(request=0, user=0, timeout_ms=100.0))
    assert ranker.rank(Request(request=1, user=0)).fallbacks == ("predict:last_known",)


def test_stage_times_are_told_only_where_they_are_asked_for() -> None:
    watch = Watch()
    ranker = ranker_with("predict", 7.0, watch)
    request = Request(request=0, user=1)
    assert ranker.rank(request).stage_ms == {}
    told = ranker.rank(request, explain=True).stage_ms
    assert list(told) == ["retrieve", "state", "creative", "predict", "bid", "auction"]
    assert told["predict"] == pytest.approx(7.0)


# Candidates that the caller brings


def test_all_candidates_brought_are_the_page_that_the_feed_would_decide() -> None:
    ranker = Ranker(TINY, "pid")
    names = ranker._world.advertisers.names
    for request in range(40):
        own = ranker.rank(Request(request=request, user=request))
        brought = Request(request=request, user=request, candidates=tuple(Offer(name) for name in names))
        assert ranker.rank(brought) == own


def test_brought_candidates_of_a_feed_with_shelves_are_predicted_as_on_their_shelf() -> None:
    scenario = load_scenario("tiny").with_changes(
        generated__count=24, world__retrieval={"candidates": 7, "cells": 5}, world__prediction__knows_state=False
    )
    ranker = Ranker(scenario, "truthful")
    feed = build_world(scenario)
    for user in range(40):
        shelf = feed.candidates(np.array([user]))[0]  # type: ignore[attr-defined]
        offers = tuple(Offer(feed.advertisers.names[ad]) for ad in shelf)
        request = Request(request=user, user=user)
        assert ranker.rank(Request(request=user, user=user, candidates=offers)) == ranker.rank(request)


def test_a_learnt_forecaster_predicts_on_the_brought_candidates() -> None:
    class Rising:
        def predict(self, seed: int, requests: Any, truth: Rates) -> Rates:
            return Rates(*(0.01 * (1 + requests.candidates.astype(np.float32)) for _ in range(2)))

    ranker = Ranker(TINY, "truthful", forecaster=Rising())
    page = ranker.rank(Request(request=0, user=0, candidates=(Offer("adv_03"), Offer("adv_01"))))
    assert {slot.ad: slot.pctr for slot in page.slots} == {3: np.float32(0.04), 1: np.float32(0.02)}


def test_brought_rates_need_no_user_and_no_prediction() -> None:
    def never(page: Page) -> Any:
        raise AssertionError("asked for what was brought")

    ranker = Ranker(
        TINY, "truthful", stages=lambda own: own._replace(retrieve=never, state=never, creative=never, predict=never)
    )
    offers = (Offer("adv_02", 0.25, 0.5), Offer("adv_04", 0.125, 0.25))
    page = ranker.rank(Request(request=7, candidates=offers))
    assert page.fallbacks == ()
    assert {slot.advertiser: (slot.pctr, slot.pcvr) for slot in page.slots} == {
        "adv_02": (0.25, 0.5), "adv_04": (0.125, 0.25)
    }  # fmt: skip


@pytest.mark.parametrize("strategy", ["greedy", "simple", "off"])
def test_any_number_of_brought_candidates_is_decided_as_a_batch_would_decide_it(strategy: str) -> None:
    scenario = load_scenario("tiny").with_changes(generated__count=300, rules__ocpc__strategy=strategy)
    ranker = Ranker(scenario, "pid", seed=3)
    names = ranker._world.advertisers.names
    draws = np.random.default_rng(0)
    for request, n in enumerate([1, 2, 3, 31, 63, 64, 65, 100, 128, 129, 200, 300, 17, 1]):
        ads = draws.permutation(300)[:n].astype(np.int32)
        levels = draws.integers(1, 4, (2, n)) / 8.0  # few levels, so that scores tie
        offers = tuple(Offer(names[ad], *rates) for ad, rates in zip(ads, levels.T.tolist(), strict=True))
        page = ranker.rank(Request(request=request, candidates=offers))
        nothing, reserve = np.zeros(1, np.int64), np.array([round(scenario.rules.reserve * 1e6)])
        rows = Requests(0, 0, np.array([request]), np.array([-1]), nothing, nothing, reserve, ads[None])
        rates = Rates(*(level[None].astype(np.float32) for level in levels))
        batch = ranker.decide_rows(rows, rates)
        taken = batch.winner[0] >= 0
        assert [slot.ad for slot in page.slots] == batch.winner[0][taken].tolist()
        assert [slot.price_micros for slot in page.slots] == batch.price_micros[0][taken].tolist()
        assert [slot.score for slot in page.slots] == batch.score[0][taken].tolist()
    assert len(ranker.pipeline.auction._kept) == 4


@pytest.mark.parametrize(
    ("offers", "told"),
    [
        ((Offer("adv_00"), Offer("x")), r"\$\.candidates\[1\]\.advertiser is 'x'; allowed is one of"),
        ((Offer("adv_00"), Offer("adv_00")), r"\$\.candidates\[1\]\.advertiser is 'adv_00' a second time"),
        ((Offer("adv_00", 0.1, 0.1), Offer("adv_01")), r"\$\.candidates\[1\]\.pctr is None; allowed are both rates"),
        ((Offer("adv_00"), Offer("adv_01", None, 0.1)), r"\$\.candidates\[1\]\.pcvr is 0.1; allowed are both rates"),
        ((Offer("adv_00", 0.1, None),), r"\$\.candidates\[0\]\.pcvr is None"),
        ((Offer("adv_00", float("nan"), 0.1),), r"\$\.candidates\[0\]\.pctr is nan; allowed is 0 to 1"),
        ((Offer("adv_00", 0.1, 1.1),), r"\$\.candidates\[0\]\.pcvr is 1.1; allowed is 0 to 1"),
        ((), r"\$\.candidates has 0 entries; allowed is 1 to 2000"),
    ],
)
def test_offers_that_cannot_be_are_refused_by_name(offers: tuple[Offer, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Ranker(TINY).rank(Request(request=0, user=0, candidates=offers))


def test_true_rates_are_not_worked_out_for_who_does_not_read_them() -> None:
    class Flat:
        def predict(self, seed: int, requests: Any, truth: Rates) -> Rates:
            return Rates(*(np.full((1, 5), 0.1, np.float32) for _ in range(2)))

    ranker = Ranker("tiny", forecaster=Flat())
    ranker._world.truth, kept = None, ranker._world.truth  # type: ignore[union-attr,method-assign,assignment]
    try:
        assert ranker.rank(Request(request=0, user=0)).fallbacks == ()
    finally:
        ranker._world.truth = kept  # type: ignore[union-attr,method-assign]


def test_a_clock_is_read_no_more_than_twice_a_stage() -> None:
    reads: Iterator[int] = iter(range(10_000))
    ranker = Ranker("tiny", clock=lambda: float(next(reads)))
    ranker.rank(Request(request=0, user=0))
    assert next(reads) <= 13
