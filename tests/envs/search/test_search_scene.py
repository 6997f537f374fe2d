"""The search scene: nothing under its floor, orders that numbering and batches do not change, common random numbers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.catalogue import stock
from tribid.envs.search import factors
from tribid.envs.search.clicks import CLICK_MODELS, looked_at
from tribid.envs.search.config import Merge, Prices, Search, Shoppers
from tribid.envs.search.scene import Ranked, SearchScene, best_places, ranked, weight_vector, with_weights
from tribid.envs.search.shelf import price_model
from tribid.envs.search.truth import Searches, click_chance, feedback, true_relevance
from tribid.envs.search.world import own_items, search_world

SMALL = Search(queries=20, candidates=25, sellers=10)


def scene(seed=1, items=300, categories=4, **changes):
    return SearchScene.of(SMALL.model_copy(update=changes), seed, count=items, categories=categories)


@pytest.fixture(scope="module")
def small():
    return scene()


class TestListing:
    @settings(max_examples=15)
    @given(st.integers(0, 10**6), st.lists(st.floats(0, 200), max_size=4), st.floats(0, 1))
    def test_nothing_under_its_categorys_floor_is_ever_listed(self, seed, floors, share):
        given_ = scene(seed, 60, 4, prices=Prices(floors=tuple(floors), floor_share=share))
        shelf, prices = given_.world.shelf, given_.prices
        floor = prices.floor_micros[shelf.category]
        for c, amount in enumerate(floors):
            assert prices.floor_micros[c] >= amount * 1e6 - 1
        searches = given_.searches(seed, 1, 50)
        shown = given_.organic(searches).items
        assert (shelf.price_micros >= floor)[shown[shown >= 0]].all()
        ads = np.tile(np.arange(60), (50, 1))
        page = given_.page(
            Ranked(shown, np.zeros(shown.shape)),
            np.zeros(shown.shape),
            ads,
            np.ones(ads.shape),
            np.zeros(ads.shape),
            alpha=0.0,
        )
        assert (shelf.price_micros >= floor)[page.item[page.item >= 0]].all()

    def test_a_floor_above_all_prices_empties_the_shop(self):
        empty = scene(prices=Prices(floors=(1e8,) * 4))
        assert not empty.listed.any()
        assert (empty.organic(empty.searches(1, 1, 5)).items == -1).all()

    def test_the_price_model_is_of_each_category(self, small):
        shelf, prices = small.world.shelf, small.prices
        for c in range(4):
            own = shelf.price_micros[shelf.category == c]
            assert prices.median_micros[c] == np.median(own)
            assert prices.floor_micros[c] == np.ceil(0.25 * np.median(own))
        with pytest.raises(ValueError, match=r"prices.floors has 5 floors; allowed is at most one for each of 4"):
            price_model(shelf, Prices(floors=(1.0,) * 5))


class TestRanking:
    def test_results_are_candidates_in_order_of_their_scores(self, small):
        searches = small.searches(3, 1, 40)
        found, items = small.organic(searches), small.candidates[searches.query]
        score = factors.score(small.features(searches, items), weight_vector(SMALL))
        for row in range(40):
            told = dict(zip(items[row].tolist(), score[row].tolist(), strict=True))
            best = sorted((i for i in told if i >= 0), key=lambda i: (-told[i], i))[:10]
            assert found.items[row][: len(best)].tolist() == best
            assert found.score[row][: len(best)].tolist() == [told[i] for i in best]

    @given(st.integers(0, 10**9))
    def test_the_order_in_which_candidates_come_changes_nothing(self, seed):
        rng = np.random.default_rng(seed)
        items = np.array([rng.permutation(50)[:12]])
        features = rng.integers(0, 3, (1, 12, 4)).astype(float)  # ties
        order, weights = rng.permutation(12), np.array([1.0, 1.0, -1.0, 0.0])
        one, other = ranked(items, features, weights, 8), ranked(items[:, order], features[:, order], weights, 8)
        assert one.items.tolist() == other.items.tolist() and one.score.tolist() == other.score.tolist()

    def test_one_search_gets_what_it_gets_in_a_batch(self, small):
        searches = small.searches(5, 2, 30)
        whole = small.organic(searches)
        alone = small.organic(searches.part(slice(17, 18)))
        assert (
            alone.items.tolist() == whole.items[17:18].tolist() and alone.score.tolist() == whole.score[17:18].tolist()
        )

    def test_missing_candidates_come_last(self):
        place = best_places(np.array([[-1, 4, 2]]), np.array([[[9.0], [1.0], [1.0]]]), np.ones(1), 3)
        assert place.tolist() == [[2, 1, 0]]

    def test_time_moves_an_item_up_until_it_leaves_the_shelf(self, small):
        only = np.where(np.array(factors.NAMES) == "off_shelf", 1.0, 0.0)
        searches = small.searches(1, 1, 1)
        item = int(small.candidates[searches.query[0]][0])
        off = small.world.shelf.shelf_hour[item]
        places = []
        for hours in (100.0, 50.0, 5.0, 0.5):
            at = dataclasses.replace(searches, hour=np.array([168.0 + off - hours]))
            score = factors.score(small.features(at, small.candidates[at.query]), only)[0]
            places.append(score[0])
        assert places == sorted(places) and len(set(places)) == 4
        after = dataclasses.replace(searches, hour=np.array([168.0 + off + 0.5]))
        assert factors.score(small.features(after, small.candidates[after.query]), only)[0, 0] < places[0]

    def test_weights_go_into_a_scenario_and_come_back(self):
        drawn = np.random.default_rng(0).normal(size=20)
        assert weight_vector(with_weights(SMALL, drawn)).tolist() == drawn.tolist()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_weight_that_is_no_number_is_refused_by_name(self, small, bad):
        weights = weight_vector(SMALL)
        weights[3] = bad
        with pytest.raises(ValueError, match=f"weight of sales is {bad}"):
            small.organic(small.searches(1, 1, 2), weights)
        with pytest.raises(ValueError, match="weights have shape"):
            small.organic(small.searches(1, 1, 2), weights[:5])


class TestShelfIsChecked:
    @pytest.mark.parametrize("field", ["price_micros", "orders", "clicks", "dwell_s", "week_orders", "shelf_hour"])
    def test_a_negative_number_is_refused_by_name(self, small, field):
        values = getattr(small.world.shelf, field).copy()
        values[7] = -1
        with pytest.raises(ValueError, match=f"{field} holds -1"):
            dataclasses.replace(small.world.shelf, **{field: values})

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("field", ["dwell_s", "interests", "service_scores", "shelf_hour"])
    def test_numbers_that_are_none_are_refused_by_name(self, small, field, bad):
        values = getattr(small.world.shelf, field).copy()
        values.flat[3] = bad
        with pytest.raises(ValueError, match=f"{field} holds {bad}"):
            dataclasses.replace(small.world.shelf, **{field: values})

    def test_counts_that_contradict_each_other_and_lengths(self, small):
        shelf = small.world.shelf
        with pytest.raises(ValueError, match=r"returned is \d+ for item 0; allowed is at most its orders"):
            dataclasses.replace(shelf, returned=shelf.orders + 1)
        with pytest.raises(ValueError, match="carted has 5 items; allowed is 300"):
            dataclasses.replace(shelf, carted=shelf.carted[:5])
        with pytest.raises(ValueError, match="seller holds"):
            dataclasses.replace(shelf, service_scores=shelf.service_scores[:2])

    def test_searches_are_checked(self, small):
        searches = small.searches(1, 1, 3)
        with pytest.raises(ValueError, match="hour holds nan"):
            dataclasses.replace(searches, hour=np.array([1.0, np.nan, 2.0]))
        with pytest.raises(ValueError, match="query has 2 searches; allowed is 3"):
            dataclasses.replace(searches, query=searches.query[:2])


class TestWorld:
    def test_the_same_seed_gives_the_same_world_and_another_does_not(self):
        one, same, other = (search_world(s, SMALL, own_items(s, 100, 4)) for s in (1, 1, 2))
        for field in dataclasses.fields(one.shelf):
            assert (getattr(one.shelf, field.name) == getattr(same.shelf, field.name)).all(), field.name
        assert (one.shelf.clicks != other.shelf.clicks).any() and (one.queries.words == same.queries.words).all()

    def test_it_stands_on_a_shops_catalogue(self):
        items = stock(3, 80, 5, 8, 1.0, np.arange(12) % 5, np.linspace(5.0, 60.0, 12))
        shop = SearchScene.of(SMALL, 3, items)
        assert (shop.world.shelf.category == items.category).all()
        assert shop.world.shelf.price_micros[:12] == pytest.approx(1e6 * np.linspace(5.0, 60.0, 12), rel=1e-6)
        assert (shop.organic(shop.searches(1, 1, 20)).items >= 0).any()

    def test_relevance_is_between_0_and_1_and_follows_the_query(self, small):
        query = np.repeat(np.arange(20), 2)
        relevance = true_relevance(small.world, query, np.tile(np.arange(300), (40, 1)))
        assert ((relevance >= 0) & (relevance <= 1)).all()
        same = small.world.shelf.category[None] == small.world.queries.category[query][:, None]
        assert relevance[same].mean() > relevance[~same].mean() + 0.2

    def test_the_past_tells_of_the_truth(self):
        big = search_world(1, Search(history_clicks=4000.0), own_items(1, 800, 4))
        shelf, quality = big.shelf, big.hidden.quality
        praised = shelf.praised / np.maximum(shelf.rated, 1)
        assert np.corrcoef(quality[shelf.rated > 50], praised[shelf.rated > 50])[0, 1] > 0.5
        assert np.corrcoef(quality, -shelf.bounced / np.maximum(shelf.clicks, 1))[0, 1] > 0.5

    def test_a_need_leads_to_a_query_of_its_category(self, small):
        draw = np.linspace(0.0, 0.999, 40)
        category = np.arange(40) % 5
        query = small.queries_for(category, draw)
        known = np.isin(category, small.world.queries.category)
        assert (small.world.queries.category[query[known]] == category[known]).all()
        assert (query[~known] == -1).all() and (~known).any()


class TestClicks:
    @pytest.mark.parametrize("model", CLICK_MODELS)
    def test_draws_agree_with_chances(self, model):
        rng = np.random.default_rng(0)
        appeal = np.tile([0.5, 0.2, 0.7, 0.4], (200_000, 1))
        look, click = rng.random((2, *appeal.shape))
        setting = 0.8
        clicked = CLICK_MODELS[model].clicked(appeal, setting, look, click)
        chance = CLICK_MODELS[model].chance(appeal, setting)
        assert clicked.mean(axis=0) == pytest.approx(chance[0], abs=0.005)

    def test_attention_falls_and_a_cascade_that_never_stops_reads_all(self):
        assert (np.diff(looked_at(10, 0.7)) < 0).all() and (looked_at(10, 0.0) == 1).all()
        appeal = np.full((1, 5), 0.3)
        assert (CLICK_MODELS["cascade"].chance(appeal, 0.0) == appeal).all()

    @pytest.mark.parametrize("model", CLICK_MODELS)
    def test_feedback_follows_the_true_rates(self, model):
        given_ = scene(shoppers=Shoppers(click_model=model))
        searches = given_.searches(9, 1, 6000)
        items = given_.organic(searches).items
        rates = given_.rates(searches, items)
        done = feedback(given_.world, searches, items, rates)
        chance = click_chance(given_.search, rates.appeal)
        assert done.clicked.sum() == pytest.approx(chance.sum(), rel=0.05)
        assert done.ordered.sum() == pytest.approx((chance * rates.order).sum(), rel=0.15)
        assert not (done.ordered & ~done.clicked).any() and not (done.bounced & ~done.clicked).any()

    def test_another_ranking_meets_the_same_people(self, small):
        """An item that keeps its place keeps its clicks, whatever stands elsewhere."""
        searches = small.searches(9, 1, 500)
        items = small.organic(searches).items
        other = items.copy()
        other[:, [3, 7]] = items[:, [7, 3]]
        one, two = (feedback(small.world, searches, x, small.rates(searches, x)) for x in (items, other))
        kept = [k for k in range(10) if k not in (3, 7)]
        assert (one.clicked[:, kept] == two.clicked[:, kept]).all() and (
            one.ordered[:, kept] == two.ordered[:, kept]
        ).all()
        assert (one.clicked[:, [3, 7]] != two.clicked[:, [7, 3]]).any()

    def test_batches_do_not_change_searches(self, small):
        whole, part = small.searches(4, 2, 30), small.searches(4, 2, 10, first=20)
        for field in dataclasses.fields(Searches):
            if field.name not in ("seed", "day"):
                assert (getattr(whole, field.name)[20:] == getattr(part, field.name)).all(), field.name


class TestPage:
    def test_ads_join_the_results_within_the_scenarios_guardrails(self, small):
        searches = small.searches(2, 1, 100)
        organic = small.organic(searches)
        ads = np.tile([3, 5, 8, -1], (100, 1))
        page = small.page(
            organic, np.full(organic.items.shape, 0.1), ads, np.full(ads.shape, 5e4), np.full(ads.shape, 0.05)
        )
        assert page.is_ad.sum(axis=1).max() <= Merge().max_ads and page.is_ad.any()
        assert np.isin(page.item[page.is_ad], [3, 5, 8]).all()
        for row in range(100):
            mine = page.item[row][~page.is_ad[row]]
            assert mine.tolist() == organic.items[row][: len(mine)].tolist()

    def test_a_large_shadow_bid_leaves_the_organic_page(self, small):
        searches = small.searches(2, 1, 20)
        organic = small.organic(searches)
        ads = np.tile([3, 5], (20, 1))
        page = small.page(
            organic,
            np.full(organic.items.shape, 0.1),
            ads,
            np.full(ads.shape, 5e4),
            np.full(ads.shape, 0.05),
            alpha=1e12,
        )
        assert not page.is_ad.any() and page.item.tolist() == organic.items.tolist()
