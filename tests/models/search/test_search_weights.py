"""Weights learnt from clicks: known ones are found again, attention is corrected for, held-out queries are ranked better."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from tribid.envs.search.clicks import looked_at
from tribid.envs.search.config import Search
from tribid.envs.search.scene import SearchScene, with_weights
from tribid.models import store
from tribid.models.search.click_log import ClickLog, attention, collect
from tribid.models.search.measures import dcg, ndcg
from tribid.models.search.weights import LOSSES, SearchWeights

KNOWN = np.array([1.2, 0.8, 0.4, 0.0, -0.4, -0.8])
SEEN = 1.0 / np.arange(1, 9)


def log_of(known, pages=30_000, seed=0, wrong=None):
    """Pages of eight items, appeal ``0.1 exp(x . known)``; ``wrong`` weights have put them in order, else chance has."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (pages, 8, len(known)))
    if wrong is not None:
        order = np.argsort(-(x @ wrong), axis=1)
        x = np.take_along_axis(x, order[..., None], axis=1)
    appeal = np.minimum(0.05 * np.exp(x @ known), 1.0)
    clicked = (rng.random((pages, 1)) < SEEN) & (rng.random((pages, 8)) < appeal)
    return ClickLog(x, clicked, np.zeros_like(clicked), np.ones_like(clicked))


class TestRecovers:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_signs_and_order_of_known_weights(self, loss):
        found = SearchWeights(loss=loss).fit(log_of(KNOWN), SEEN).weights_
        clear = KNOWN != 0.0
        assert (np.sign(found[clear]) == np.sign(KNOWN[clear])).all()
        assert np.argsort(-found).tolist() == np.argsort(-KNOWN).tolist()
        assert abs(found[3]) < 0.15

    def test_listwise_finds_the_weights_themselves(self):
        assert SearchWeights(ridge=0.0).fit(log_of(KNOWN, 60_000), SEEN).weights_ == pytest.approx(KNOWN, abs=0.12)

    def test_without_correction_the_old_rankings_mistakes_are_learnt(self):
        """A production ranking that loved factor 4, which people dislike: raw clicks praise it, corrected ones do not."""
        wrong = np.array([0.0, 0.0, 0.0, 0.0, 5.0, 0.0])
        log = log_of(KNOWN, wrong=wrong)
        raw, corrected = SearchWeights().fit(log).weights_, SearchWeights().fit(log, SEEN).weights_
        assert raw[4] > 0.0 > corrected[4]
        assert np.abs(corrected - KNOWN).max() < np.abs(raw - KNOWN).max()

    def test_attention_is_measured_on_shuffled_pages(self):
        assert attention(log_of(KNOWN, 100_000)) == pytest.approx(SEEN, rel=0.12)

    def test_a_factor_that_never_differs_gets_no_weight(self):
        log = log_of(KNOWN, 2000)
        flat = log.features.copy()
        flat[..., 2] = 7.0
        fitted = SearchWeights().fit(ClickLog(flat, log.clicked, log.ordered, log.there), SEEN)
        assert fitted.weights_[2] == 0.0 and fitted.weights_[0] > 0.0


@pytest.fixture(scope="module")
def judged():
    """nDCG of each held-out search: learnt on half of the queries, judged on the other half."""
    scene = SearchScene.of(Search(queries=200, candidates=40), 3, count=1500)
    seen = attention(collect(scene, scene.searches(5, 1, 4000), shuffled=True))
    days = scene.searches(4, 1, 14_000)
    log = collect(scene, days)
    train = days.query % 2 == 0
    log = ClickLog(log.features[train], log.clicked[train], log.ordered[train], log.there[train])
    learnt = SearchWeights().fit(log, seen).points()
    test = scene.searches(6, 2, 3000)
    held = np.flatnonzero(test.query % 2 == 1)
    items = scene.candidates[test.query]
    possible = scene.rates(test, items)
    found = {}
    for name, weights in (("default", None), ("learnt", learnt)):
        rates = scene.rates(test, scene.organic(test, weights).items)
        found[name] = {
            "appeal": ndcg(rates.appeal, possible.appeal)[held],
            "orders": ndcg(rates.appeal * rates.order, possible.appeal * possible.order)[held],
        }
    return found


@pytest.fixture(scope="module")
def scene():
    return SearchScene.of(Search(queries=4, candidates=40), 3, count=400)


class TestShuffledPages:
    @staticmethod
    def places(scene, searches):
        """Where each of a page's ten best items stands when it is shuffled, by their factors."""
        plain, mixed = (collect(scene, searches, shuffled=shuffled).features for shuffled in (False, True))
        return (mixed[:, :, None] == plain[:, None]).all(axis=-1).argmax(axis=-1)

    def test_days_of_one_seed_are_shuffled_apart(self, scene):
        first = scene.searches(5, 1, 300)
        second = dataclasses.replace(first, day=2)
        assert not (self.places(scene, first) == self.places(scene, second)).all(axis=1).any()

    def test_a_day_is_shuffled_alike_whatever_part_of_it_is_asked_for(self, scene):
        day = scene.searches(5, 1, 300)
        some = np.arange(100, 200)
        assert (self.places(scene, day)[some] == self.places(scene, day.part(some))).all()

    def test_every_item_stands_everywhere_as_often(self, scene):
        places = self.places(scene, scene.searches(5, 1, 4000))
        share = [(places == place).mean(axis=0) for place in range(10)]
        assert np.array(share) == pytest.approx(np.full((10, 10), 0.1), abs=0.025)

    def test_where_an_item_is_put_says_nothing_of_its_click(self, scene):
        """The shuffle's draws are not the looks' or the clicks', so that clicks fall with the places as looks do."""
        log = collect(scene, scene.searches(9, 1, 20_000), shuffled=True)
        rate = log.clicked.mean(axis=0)
        assert rate / rate[0] == pytest.approx(looked_at(10, scene.search.shoppers.attention), rel=0.15)


class TestHeldOutQueries:
    @pytest.mark.parametrize("gain", ["appeal", "orders"])
    def test_learnt_weights_rank_better(self, judged, gain):
        better = judged["learnt"][gain] - judged["default"][gain]
        assert better.mean() > 4.0 * better.std() / np.sqrt(len(better)) > 0.0

    def test_learnt_weights_go_into_the_scenario(self):
        learnt = SearchWeights().fit(log_of(KNOWN, 500), SEEN).points(50.0)
        assert np.abs(learnt).sum() == pytest.approx(50.0)
        assert with_weights(Search(), np.resize(learnt, 20)).weights.keyword == learnt[0]


class TestLosses:
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize("missing", [False, True])
    def test_slopes_are_those_of_the_loss(self, loss, missing):
        rng = np.random.default_rng(2)
        score, worth = rng.normal(size=(4, 5)), rng.random((4, 5)) * (rng.random((4, 5)) < 0.5)
        if missing:
            score[:, 4], worth[:, 4] = -np.inf, 0.0
        there = np.isfinite(score)

        def value(given):
            table = score.copy()
            table[there] = given
            return LOSSES[loss](table, worth)[0]

        slope = LOSSES[loss](score, worth)[1]
        assert slope[there] == pytest.approx(approx_fprime(score[there], value, 1e-6), abs=1e-4)
        assert (slope[~there] == 0.0).all()

    @given(st.integers(0, 10**6), st.sampled_from(sorted(LOSSES)))
    def test_the_order_of_a_pages_places_changes_no_loss(self, seed, loss):
        rng = np.random.default_rng(seed)
        score, worth, order = rng.normal(size=(3, 5)), rng.random((3, 5)), rng.permutation(5)
        one, other = LOSSES[loss](score, worth), LOSSES[loss](score[:, order], worth[:, order])
        assert one[0] == pytest.approx(other[0]) and one[1][:, order] == pytest.approx(other[1])


class TestMeasures:
    @given(st.lists(st.floats(0, 10), min_size=3, max_size=3, unique=True))
    def test_ndcg_is_1_for_the_best_order_and_least_for_the_worst(self, gains):
        best = sorted(gains, reverse=True)
        assert ndcg([best], [gains])[0] == pytest.approx(1.0)
        worst = ndcg([best[::-1]], [gains])[0]
        for order in itertools.permutations(gains):
            assert worst - 1e-12 <= ndcg([list(order)], [gains])[0] <= 1.0 + 1e-12

    def test_dcg_discounts_by_log2(self):
        assert dcg([3.0, 0.0, 4.0]) == pytest.approx(5.0)
        assert ndcg([[0.0]], [[0.0, 0.0]])[0] == 1.0

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
    def test_gains_that_are_none_are_refused(self, bad):
        with pytest.raises(ValueError, match=f"shown holds {bad}"):
            ndcg([[bad]], [[1.0]])
        with pytest.raises(ValueError, match=f"possible holds {bad}"):
            ndcg([[1.0]], [[1.0, bad]])
        with pytest.raises(ValueError, match="shown has shape"):
            ndcg([[1.0, 1.0]], [[1.0]])


class TestFilesAndRefusals:
    def test_weights_survive_the_houses_file(self, tmp_path, monkeypatch):
        monkeypatch.setitem(store.KINDS, "search_weights", ("tribid.models.search.weights", "SearchWeights"))
        fitted = SearchWeights(loss="pairwise", ridge=0.01).fit(log_of(KNOWN, 500), SEEN)
        store.save_model(fitted, tmp_path, features="search-20")
        back = store.load_model(tmp_path, kind="search_weights", features="search-20")
        assert back.settings() == fitted.settings() and back.weights_.tolist() == fitted.weights_.tolist()
        assert back.predict(np.eye(6)).tolist() == fitted.weights_.tolist()
        with pytest.raises(ValueError, match="features is 'search-20'"):
            store.load_model(tmp_path, features="other")

    def test_foreign_tensors_are_refused(self):
        for wrong in ({}, {"weights": np.ones((2, 2))}, {"other": np.ones(2)}):
            with pytest.raises(ValueError, match="allowed is one row named weights"):
                SearchWeights.restored({}, None, wrong)
        with pytest.raises(ValueError, match="tensor weights is float32"):
            SearchWeights.restored({}, None, {"weights": np.ones(2, np.float32)})

    def test_settings_and_logs_are_checked(self):
        with pytest.raises(ValueError, match="no loss named 'square'; choose listwise or pairwise"):
            SearchWeights(loss="square")
        with pytest.raises(ValueError, match="ridge is nan"):
            SearchWeights(ridge=np.nan)
        with pytest.raises(ValueError, match=r"most_weight is 0.5"):
            SearchWeights(most_weight=0.5)
        log = log_of(KNOWN, 50)
        nobody = ClickLog(log.features, np.zeros_like(log.clicked), log.ordered, log.there)
        for call in (lambda: SearchWeights().fit(nobody), lambda: attention(nobody)):
            with pytest.raises(ValueError, match="clicked is false everywhere"):
                call()
        for seen in (SEEN[:3], np.zeros(8), np.full(8, np.nan)):
            with pytest.raises(ValueError, match="attention is"):
                SearchWeights().fit(log, seen)
        broken = log.features.copy()
        broken[0, 0, 0] = np.inf
        with pytest.raises(ValueError, match="features hold inf"):
            ClickLog(broken, log.clicked, log.ordered, log.there)
        with pytest.raises(ValueError, match="there has shape"):
            ClickLog(log.features, log.clicked, log.ordered, log.there[:1])
        with pytest.raises(ValueError, match="clicked or ordered marks a place"):
            ClickLog(log.features, log.clicked, ~log.clicked, log.there)
