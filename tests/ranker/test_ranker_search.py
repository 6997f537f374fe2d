"""A ranker in front of a journey's search pages: query, candidates, reserve and decision are the simulator's."""

from time import perf_counter

import numpy as np
import pytest

from tests.envs.journey.conftest import SMALL
from tests.ranker.test_ranker_journey import market_row
from tribid.envs import market
from tribid.envs.journey.scenes import searched
from tribid.envs.scenario import load_scenario
from tribid.ranker import Offer, Ranker, Request
from tribid.ranker.time_budget import TimeBudget

SEARCH = 2


@pytest.fixture(scope="module")
def scenario():
    return load_scenario("journey").with_changes(**SMALL, world__categories=5, world__search={})


def _asked(world, memory, requests, row, category, guess, **more):
    """The row as a service would be told it."""
    user, names = int(requests.user[row]), world.advertisers.names
    return Request(
        request=int(requests.request[row]), user=user, day=requests.day, tick=requests.tick,
        state="buying" if guess else "browsing", buying=float(requests.buying[row]), scene="search",
        category=int(category), marks={names[b]: int(m) for b, m in enumerate(memory.marks[user]) if m},
        shown={names[b]: int(n) for b, n in enumerate(memory.shown[user]) if n},
        **({"bought": int(requests.bought[row])} if requests.bought[row] >= 0 else {}), **more,
    )  # fmt: skip


def _prepared(ranker, request):
    return ranker.pipeline.prepare(request, request.day, request.tick, TimeBudget(None, perf_counter))


@pytest.mark.parametrize("changes", [
    {}, {"rules__auction": "vcg", "world__search": {"merge": {"alpha": 4e6, "top_slot": 2, "beta": -0.1}}},
    {"world__search": {"queries": 3, "candidates": 2}},
], ids=["gsp", "vcg, dear places", "few queries"])  # fmt: skip
def test_search_pages_of_a_day_are_decided_as_the_simulator_decides_them_bit_for_bit(scenario, changes):
    own = scenario.with_changes(**changes)
    ranker, state = Ranker(own, "truthful", seed=9), market.reset(own, 9)
    rules = own.rules.model_copy(update={"slot_effects": own.world.scenes[SEARCH].slot_effects})
    rows = retrieved = raised = sold = 0
    while not state.done:
        before = state
        state, tick = market.step(state, ranker.multipliers)
        world, requests, visits = state.world, tick.requests, state.world.visits(before.day, tick.number)
        about = searched(visits.events)
        ranker.left_micros = before.left_micros.copy()
        for row in np.flatnonzero(requests.scene == SEARCH):
            session, who = requests.session[row], requests.candidates[row]
            request = _asked(world, before.memory, requests, row, about[session], visits.guess[session])
            page = _prepared(ranker, request)
            assert page.reserve_micros == requests.reserve_micros[row]
            if not np.array_equal(page.found.ads[0], who[who >= 0]):  # an earlier page of the tick used up the cap
                assert set(who[who >= 0]) < set(page.found.ads[0])
                offers = tuple(Offer(world.advertisers.names[b]) for b in who if b >= 0)
                if not offers:
                    continue
                request = _asked(
                    world, before.memory, requests, row, about[session], visits.guess[session], candidates=offers
                )
                assert _prepared(ranker, request).reserve_micros == requests.reserve_micros[row]
            else:
                retrieved += 1
            got, want = ranker.rank(request), market_row(rules, world, ranker, requests, tick.predicted, row)
            assert not got.fallbacks
            assert [slot.ad for slot in got.slots] == [ad for ad in want.winner[0].tolist() if ad >= 0]
            for slot in got.slots:
                place = who.tolist().index(slot.ad)
                assert slot.price_micros == want.price_micros[0, slot.slot] >= requests.reserve_micros[row]
                assert slot.score == want.score[0, slot.slot]
                assert slot.pctr == float(tick.predicted.ctr[row, place])
                sold += 1
            rows, raised = rows + 1, raised + (requests.reserve_micros[row] > 20_000)
    assert rows > 100
    assert retrieved > rows / 2
    assert raised > rows / 10
    assert sold > 20


def test_candidates_that_a_caller_brings_with_their_rates_stand_at_the_scenarios_reserve(scenario):
    """Nothing is predicted of such a page, and its caller has merged it by rates of its own."""
    ranker = Ranker(scenario, "truthful")
    offers = tuple(Offer(name, pctr=0.1, pcvr=0.1) for name in ("adv_01", "adv_02"))
    page = _prepared(ranker, Request(request=1, day=0, tick=0, scene="search", category=1, candidates=offers))
    assert page.reserve_micros == 20_000


def test_an_ad_below_its_categorys_floor_is_never_found_on_a_search_page(scenario):
    strict = scenario.with_changes(world__search={"prices": {"floor_share": 1.0}, "merge": {"alpha": 0.0}})
    ranker = Ranker(strict, "truthful")
    scene = ranker._world.results.scene
    found = [
        _prepared(ranker, Request(request=n, user=n, day=0, tick=0, scene="search", category=n % 5)).found.ads[0]
        for n in range(60)
    ]
    assert all(scene.listed[ads].all() for ads in found)
    assert sum(map(len, found)) > 60
    barred = np.flatnonzero(~scene.listed[:40])
    home = _prepared(ranker, Request(request=1, user=1, day=0, tick=0, scene="home")).found.ads[0]
    assert len(barred) > 5
    assert len(home) > 0
