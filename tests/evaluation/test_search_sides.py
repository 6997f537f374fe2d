"""What a page is worth to each side: sums that must agree, what ads and the shadow bid do, and expectation against draws."""

import numpy as np
import pytest

from tribid.envs.search.config import Merge, Search
from tribid.envs.search.scene import SearchScene
from tribid.envs.search.truth import feedback
from tribid.evaluation.search_sides import Market


@pytest.fixture(scope="module")
def market():
    """A thousand searches of a small world."""
    scene = SearchScene.of(Search(queries=40, candidates=30, sellers=20), 2, count=500, categories=4)
    return Market(scene, scene.searches(3, 1, 1000), advertised=200)


def test_money_is_what_commission_ads_and_sellers_share(market):
    found = market.outcome(market.scene.weights)
    assert found.net + found.income == pytest.approx(found.gmv)
    assert found.commission == pytest.approx(0.03 * found.gmv)
    assert found.by_seller.sum() == pytest.approx(found.gmv.sum())
    assert (found.satisfied <= found.clicks).all() and (found.orders <= found.clicks).all()


def test_organic_results_are_the_scenes_own_in_its_order(market):
    page, shown = market.page(market.scene.weights), market.scene.organic(market.searches).items
    for row in range(100):
        organic = page.item[row][~page.is_ad[row]]
        assert len(organic) >= 7 and organic.tolist() == shown[row][: len(organic)].tolist()


def test_what_is_expected_is_what_is_drawn(market):
    page, found = market.page(market.scene.weights), market.outcome(market.scene.weights)
    done = feedback(market.scene.world, market.searches, page.item, market.scene.rates(market.searches, page.item))
    assert done.clicked.sum() == pytest.approx(found.clicks.sum(), rel=0.1)
    assert (done.clicked & ~done.bounced).sum() == pytest.approx(found.satisfied.sum(), rel=0.1)


def test_without_room_for_ads_the_platform_earns_commission_alone(market):
    none = Search(queries=40, candidates=30, sellers=20, merge=Merge(max_ads=0))
    bare = Market(SearchScene.of(none, 2, count=500, categories=4), market.searches, advertised=200)
    found = bare.outcome(bare.scene.weights)
    assert (found.ad_revenue == 0).all() and found.income == pytest.approx(found.commission)
    assert market.outcome(market.scene.weights).ad_revenue.sum() > 0


def test_a_higher_shadow_bid_takes_ads_away_and_gives_clicks(market):
    weights = market.scene.weights
    low, high = (market.outcome(weights, alpha) for alpha in (0.0, 1e8))
    ads = [market.page(weights, alpha).is_ad.sum() for alpha in (0.0, 1e8)]
    assert ads[1] < ads[0]
    assert high.ad_revenue.sum() < low.ad_revenue.sum() and high.satisfied.sum() > low.satisfied.sum()


def test_a_ranking_by_relevance_alone_has_the_best_relevance_and_sides_are_finite(market):
    only = np.zeros(20)
    only[:3] = market.scene.weights[:3]
    own, plain = (market.outcome(w).sides() for w in (market.scene.weights, only))
    assert plain["user nDCG"] > own["user nDCG"]
    assert all(np.isfinite(value) for value in own.values()) and 0 < own["seller fairness"] <= 1
