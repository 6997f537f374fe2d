"""Search pages of a journey: queries, floors, the order of scores, and that a merge shows every ad that wins."""

from itertools import pairwise

import numpy as np
import pytest

from tests.envs.journey.test_world import played
from tribid.auctions.merge import merge
from tribid.envs.journey.results import shared_reserve
from tribid.envs.journey.scenes import searched
from tribid.envs.journey.scores import Scores
from tribid.envs.places import NOBODY
from tribid.envs.search.scene import guardrails
from tribid.envs.world import build_world

SEARCH = 2
FEW = {"world__categories": 5}


def _with_search(scenario, **search):
    return scenario.with_changes(**FEW, world__search=search)


def _pages(scenario, **how):
    """Of each tick: the world, the requests, the slots and the predicted rates of search pages, and what was searched."""
    for before, tick, _ in played(scenario, **how):
        world, requests = before.world, tick.requests
        first, last = np.searchsorted(requests.scene, [SEARCH, SEARCH + 1])
        rows, visits = slice(int(first), int(last)), world.visits(before.day, tick.number)
        own = requests.rows(rows)
        yield world, own, tick.slots.winner[rows], tick.slots.price_micros[rows], searched(visits.events)[own.session]


def _asked(world, requests, category):
    interests = world.past.interests(3, requests.day, requests.user).astype(np.float64)
    hour = world.hour(requests.day, requests.tick)
    return world.results.searches(3, requests.day, hour, requests.request, category, interests)


@pytest.mark.parametrize("merge", [{"alpha": 0.0}, {}, {"alpha": 4e6}], ids=["no shadow bid", "default", "ten times"])
def test_candidates_are_of_the_searched_category_and_never_below_its_floor(scenario, merge):
    strict = _with_search(scenario, prices={"floors": (40.0, 90.0), "floor_share": 0.8}, merge=merge)
    pages, barred = 0, 0
    for world, requests, _, _, category in _pages(strict):
        scene, who = world.results.scene, requests.candidates
        floor = scene.prices.floor_micros[category][:, None]
        price = scene.world.shelf.price_micros[who]
        there = who != NOBODY
        assert (price >= floor)[there].all()
        assert (world.categories.category[who] == category[:, None])[there].all()
        everybody = world.categories.own[category]
        barred += ((everybody != NOBODY) & ~scene.listed[everybody]).sum()
        pages += len(who)
    assert pages > 100
    assert barred > 100


def test_candidates_come_in_the_order_of_the_search_score(scenario):
    met = 0
    for world, requests, _, _, category in _pages(_with_search(scenario), ticks=3):
        scene, asked = world.results.scene, _asked(world, requests, category)
        who = requests.candidates.astype(np.int64)
        score = (scene.features(asked, who) * scene.weights).sum(axis=2)
        for row in range(len(who)):
            kept = score[row][who[row] != NOBODY]
            assert (np.diff(kept) <= 1e-9).all()
            met += len(kept) > 1
    assert met > 30


def test_scores_with_their_lasting_part_kept_are_the_scenes_scores(scenario):
    scene = build_world(_with_search(scenario)).results.scene
    searches = scene.searches(5, 2, 400)
    scores = Scores(scene, scene.candidates)
    want = scene.organic(searches)
    assert np.array_equal(scores.best(searches, 10), want.items)
    got = -np.sort(-scores.of(searches), axis=1)[:, :10]
    there = want.items >= 0
    assert np.allclose(got[there], want.score[there], rtol=0, atol=1e-9)
    assert len(set(searches.mobile.tolist())) == 2


def test_a_query_is_a_pure_function_of_seed_day_request_and_category(scenario):
    world = build_world(_with_search(scenario))
    results, count = world.results, 500
    request, category = np.arange(count), (np.arange(count) % 5).astype(np.int32)
    nobody = np.zeros((count, 8))
    many = results.searches(7, 4, 10.0, request, category, nobody)
    again = results.searches(7, 4, 99.0, request, category, nobody + 1.0)
    assert np.array_equal(many.query, again.query)
    assert np.array_equal(many.mobile, again.mobile)
    for one in range(0, count, 50):
        part = slice(one, one + 1)
        assert results.searches(7, 4, 10.0, request[part], category[part], nobody[part]).query == many.query[one]
    assert (results.scene.world.queries.category[many.query] == category).all()
    assert (results.searches(7, 5, 10.0, request, category, nobody).query != many.query).any()
    assert (results.searches(8, 4, 10.0, request, category, nobody).query != many.query).any()


def test_queries_are_drawn_by_their_shares_as_the_scene_draws_them(scenario):
    results = build_world(_with_search(scenario)).results
    count = 20_000
    asked = results.searches(7, 4, 0.0, np.arange(count), np.full(count, 2, np.int32), np.zeros((count, 8)))
    queries = results.scene.world.queries
    own = np.flatnonzero(queries.category == 2)
    share = queries.share[own] / queries.share[own].sum()
    got = np.bincount(asked.query, minlength=len(queries))[own] / count
    assert np.abs(got - share).max() < 4.0 * 0.5 / count**0.5
    draw = np.arange(count) / count
    quantile = np.searchsorted(np.cumsum(share), draw, side="right")
    assert (own[quantile] == results.scene.queries_for(np.full(count, 2), draw)).mean() > 0.999


RAILS = {
    "default": {},
    "ten times": {"merge": {"alpha": 4e6}},
    "lower places": {"merge": {"top_slot": 3, "min_gap": 3}},
    "no gap": {"merge": {"min_gap": 0}},
    "fatigue of ads": {"merge": {"beta": -0.1, "gap_form": "logistic"}},
    "rare ads do better": {"merge": {"beta": 0.3}},
    "few results": {"candidates": 2, "merge": {"top_slot": 2}},
}


@pytest.mark.parametrize("auction", ["gsp", "vcg", "first_price"])
@pytest.mark.parametrize("search", RAILS.values(), ids=RAILS.keys())
def test_a_merge_of_the_page_shows_every_ad_that_wins_at_the_price_that_it_pays(scenario, search, auction):
    asked = _with_search(scenario, **search).with_changes(rules__auction=auction)
    shown = 0
    for world, requests, winner, price, category in _pages(asked, ticks=3):
        won, left_out = _merged(world, requests, winner, price, category)
        assert left_out == 0
        shown += won
    assert shown > (2 if search == RAILS["ten times"] else 20)


def test_without_the_raised_reserve_a_merge_would_leave_winners_out(scenario):
    """Pages that are sold at a shadow bid of nothing, and merged by a high one."""
    high, left_out = build_world(_with_search(scenario, merge={"alpha": 4e6})), 0
    for _, requests, winner, price, category in _pages(_with_search(scenario, merge={"alpha": 0.0}), ticks=3):
        left_out += _merged(high, requests, winner, price, category)[1]
    assert left_out > 20


def _merged(world, requests, winner, price, category):
    """How many ads won, and how many of them a merge of organic results and the winners leaves out."""
    scene, asked = world.results.scene, _asked(world, requests, category)
    organic, won = scene.organic(asked), winner >= 0
    results, ads = scene.rates(asked, organic.items), scene.rates(asked, winner)
    page = merge(
        price * ads.appeal, ads.appeal * (1.0 - ads.bounce), results.appeal * (1.0 - results.bounce),
        alpha=scene.search.merge.alpha, slots=scene.search.results, rails=guardrails(scene.search.merge),
        pctr=ads.appeal, ads=won, results=organic.items >= 0,
    )  # fmt: skip
    return won.sum(), won.sum() - (page.ad >= 0).sum()


def test_without_a_shadow_bid_all_listed_brands_of_the_category_stand_at_the_scenarios_reserve(scenario):
    free = _with_search(scenario, merge={"alpha": 0.0}).with_changes(world__fatigue__cap=None)
    for world, requests, _, _, category in _pages(free, ticks=2):
        assert (requests.reserve_micros == 20_000).all()
        shown = requests.candidates
        for row in range(len(shown)):
            brands = world.categories.own[category[row]]
            want = brands[(brands >= 0) & world.results.scene.listed[brands]]
            assert set(shown[row][shown[row] >= 0]) == set(want)


def test_a_higher_shadow_bid_never_lowers_an_ads_least_bid(scenario):
    world = build_world(_with_search(scenario))
    searches = world.results.scene.searches(5, 2, 200)
    ads = np.broadcast_to(np.arange(40), (200, 40))
    least = []
    for alpha in (0.0, 1e5, 4e5, 4e6):
        merge = world.results.scene.search.merge.model_copy(update={"alpha": alpha})
        scene = build_world(_with_search(scenario, merge=merge.model_dump())).results
        least.append(scene.least_bids(searches, ads, 2))
    assert (least[0] == 1).all()
    assert all((more >= less).all() for less, more in pairwise(least))
    assert (least[3] > least[1]).mean() > 0.5


def test_the_shared_reserve_serves_as_many_candidates_as_any_reserve_could():
    rng = np.random.default_rng(0)
    for _ in range(300):
        least = rng.integers(1, 20, (1, 5))
        bid = rng.integers(0, 25, (1, 5)).astype(float)
        reserve = shared_reserve(least, bid)[0]
        served = [((least <= r) & (bid >= r)).sum() for r in range(1, 20)]
        assert served[reserve - 1] == max(served)
        assert all(served[r - 1] < max(served) for r in range(1, reserve) if r in least)


def test_searches_in_a_category_without_queries_list_its_brands_by_number_at_the_scenarios_reserve(scenario):
    rare, free = 0, _with_search(scenario, queries=1).with_changes(world__fatigue__cap=None)
    for world, requests, _, _, category in _pages(free, ticks=2):
        unknown = category != world.results.scene.world.queries.category[0]
        rare += unknown.sum()
        assert (requests.reserve_micros[unknown] == 20_000).all()
        for row in np.flatnonzero(unknown):
            who = requests.candidates[row][requests.candidates[row] >= 0]
            assert len(who) > 0
            assert (np.diff(who) > 0).all()
            assert (world.categories.category[who] == category[row]).all()
    assert rare > 10


def test_pages_of_other_scenes_are_those_of_the_journey_without_a_search(scenario):
    plain, ranked = (played(one, ticks=1)[0][1] for one in (scenario.with_changes(**FEW), _with_search(scenario)))
    others = plain.requests.scene != SEARCH
    for mine, theirs in zip(plain.requests[2:], ranked.requests[2:], strict=True):
        assert (mine is None and theirs is None) or np.array_equal(mine[others], theirs[others])
    assert (plain.requests.reserve_micros == 20_000).all()
    assert (ranked.requests.reserve_micros[~others] > 20_000).any()


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"merge": {"max_ads": 1}}, r"search.merge.max_ads is 1; allowed is at least 2, the slots of scene search"),
        ({"results": 5, "merge": {"min_gap": 4}}, r"search.results is 5; allowed is at least 6, the last place"),
        (
            {"results": 400, "merge": {"beta": -1.0}},
            r"search.merge.beta is -1.0 over 400 results; allowed is a product",
        ),
    ],
)
def test_guardrails_that_leave_a_slot_without_a_place_are_refused_by_name(scenario, search, said):
    with pytest.raises(ValueError, match=said):
        build_world(_with_search(scenario, **search))
