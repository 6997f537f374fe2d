from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.attribution.credit import METHODS
from tribid.envs.attribution.paths import build_paths
from tribid.envs.attribution.shoppers import ShopperLaw, live
from tribid.envs.attribution.touches import Orders, Touches
from tribid.envs.stages import BEHAVIOURS, Event
from tribid.models import store
from tribid.models.intent.behaviour import BEHAVIOUR_NAMES, Behaviour, behaviour_at, behaviour_of
from tribid.models.intent.index import PurchaseIntentIndex
from tribid.models.intent.quality import fit_index, ranking_quality

LIVED = live(ShopperLaw(pairs=900, days=30), 3)
INDUSTRY = np.arange(3)
HOURS = 24.0 * 25
INDEX = fit_index(PurchaseIntentIndex(), LIVED.behaviours, LIVED.orders, INDUSTRY, HOURS)


@pytest.fixture(autouse=True)
def _known_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(store.KINDS, "purchase_intent", ("tribid.models.intent.index", "PurchaseIntentIndex"))


def clicks(*rows: tuple[int, int, float, Event]) -> Touches:
    """Rows of user, brand, hour, event."""
    user, brand, hour, event = (np.array(column) for column in zip(*rows, strict=True))
    return Touches(user=user, brand=brand, time_hours=hour.astype(float), channel=np.zeros(len(rows), int), event=event)


def bought(*rows: tuple[int, int, float]) -> Orders:
    user, brand, hour = (np.array(column) for column in zip(*rows, strict=True))
    return Orders(user=user, brand=brand, time_hours=hour.astype(float), value=np.ones(len(rows)))


counts_and_ages = st.tuples(
    st.lists(st.integers(0, 30), min_size=8, max_size=8), st.lists(st.floats(0, 60), min_size=8, max_size=8),
    st.integers(0, 2), st.integers(0, 7),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(counts_and_ages)
def test_the_index_rises_with_every_count_and_falls_with_every_age(drawn):
    counts, ages, industry, k = drawn
    counts, ages = np.array([counts], float), np.array([ages])
    more, older = counts.copy(), ages.copy()
    more[0, k] += 1
    older[0, k] += 2.0
    index = INDEX.predict(counts, ages, [industry])[0]
    assert 0.0 <= index <= 100.0
    assert INDEX.predict(more, ages, [industry])[0] >= index
    assert INDEX.predict(counts, older, [industry])[0] <= index


def test_a_first_act_of_each_behaviour_lifts_the_index_for_certain():
    for g in range(3):
        assert (INDEX.predict(np.eye(8), np.zeros((8, 8)), np.full(8, g)) > 0).all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.floats(0, 1e6), st.just(np.inf)), min_size=8, max_size=8), st.integers(0, 2))
def test_no_behaviour_is_exactly_zero_whatever_its_age(ages, industry):
    assert INDEX.predict(np.zeros((1, 8)), np.array([ages]), [industry])[0] == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shrinkage", [0.0, 50.0])
def test_weights_of_every_industry_sum_to_one_under_every_rule_of_credit(method, shrinkage):
    index = PurchaseIntentIndex(credit=method, shrinkage=shrinkage)
    fit_index(index, LIVED.behaviours, LIVED.orders, INDUSTRY, HOURS)
    assert index.weights_.shape == (3, 8) and (index.weights_ >= 0).all()
    np.testing.assert_allclose(index.weights_.sum(axis=1), 1.0, rtol=0, atol=1e-12)


def test_weights_are_the_mean_linear_credit_of_behaviours_on_converting_paths():
    """Two orders: after two views and a cart, and after a share; a click between is none of the eight."""
    touches = clicks(
        (1, 0, 1, Event.VIEW), (1, 0, 2, Event.CLICK), (1, 0, 3, Event.VIEW), (1, 0, 4, Event.CART),
        (2, 0, 1, Event.SHARE), (3, 0, 1, Event.FAVOURITE),
    )  # fmt: skip
    paths = build_paths(touches, bought((1, 0, 5), (2, 0, 5)))
    index = PurchaseIntentIndex(least_reference=1).fit(paths, np.zeros(len(paths), int))
    told = dict(zip(BEHAVIOUR_NAMES, index.weights_[0].tolist(), strict=True))
    expected = dict.fromkeys(BEHAVIOUR_NAMES, 0.0) | {"view": 1 / 3, "cart": 1 / 6, "share": 1 / 2}
    assert told == pytest.approx(expected) and index.paths_.tolist() == [2]


def test_an_industry_with_few_paths_is_drawn_to_the_mean_of_all_and_one_without_any_has_it():
    rows = [(user, 0, 1.0, Event.VIEW) for user in range(99)] + [(99, 1, 1.0, Event.CART)]
    paths = build_paths(clicks(*rows), bought(*((user, 0, 2.0) for user in range(99)), (99, 1, 2.0)))
    index = PurchaseIntentIndex(industries=("a", "b", "c"), shrinkage=3.0, least_reference=1).fit(paths, paths.brand)
    cart = BEHAVIOUR_NAMES.index("cart")
    assert index.weights_[1, cart] == pytest.approx((1 * 1.0 + 3 * 0.01) / 4)
    assert index.weights_[2, cart] == pytest.approx(0.01) and index.weights_[0, cart] < 0.01


def test_the_index_of_reference_users_is_spread_evenly_in_every_industry():
    crowd = behaviour_at(LIVED.behaviours, HOURS)
    index = INDEX.predict(crowd.counts, crowd.age_days, crowd.brand)
    anything = crowd.counts.sum(axis=1) > 0
    for g in range(3):
        own = index[anything & (crowd.brand == g)]
        np.testing.assert_allclose(np.quantile(own, [0.1, 0.5, 0.9]), [10, 50, 90], atol=2.0)


def test_scores_are_comparable_only_after_scaling():
    """The same crowd, but one industry's people do everything twice as often: medians of scores differ, of indices not."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(1.0, (2000, 8)).astype(float)
    counts[1000:] = rng.poisson(2.0, (1000, 8))
    industry = np.repeat([0, 1], 1000)
    crowd = Behaviour(np.arange(2000), industry, counts, np.zeros((2000, 8)))
    paths = build_paths(clicks((1, 0, 1, Event.VIEW), (2, 1, 1, Event.CART)), bought((1, 0, 2), (2, 1, 2)))
    index = PurchaseIntentIndex().fit(paths, paths.brand, reference=crowd, reference_industry=industry)
    score = index.score(counts, crowd.age_days, industry)
    assert np.median(score[1000:]) > 1.3 * np.median(score[:1000])
    told = index.predict(counts, crowd.age_days, industry)
    assert abs(np.median(told[told > 0][industry[told > 0] == 0]) - np.median(told[industry == 1])) < 4.0


def test_behaviour_is_counted_in_its_window_and_aged_from_its_last():
    touches = clicks(
        (1, 0, 0, Event.VIEW), (1, 0, 30, Event.VIEW), (1, 0, 48, Event.VIEW), (1, 0, 72, Event.VIEW),
        (2, 1, 40, Event.CLICK),
    )  # fmt: skip
    told = behaviour_at(touches, 72.0, window_hours=48.0)
    assert told.user.tolist() == [1, 2] and told.brand.tolist() == [0, 1]
    assert told.counts[:, 0].tolist() == [2.0, 0.0] and told.counts.sum() == 2.0  # hour 72 is not before itself
    assert told.age_days[0, 0] == 1.0 and np.isinf(told.age_days[1]).all()
    ends = behaviour_of(build_paths(touches, bought((1, 0, 72))))
    assert ends.counts[0, 0] == 4.0 and ends.age_days[0, 0] == 0.0


def test_a_saved_index_says_the_same_and_holds_no_code(tmp_path: Path):
    index = fit_index(
        PurchaseIntentIndex(industries=("toys", "food", "phones"), saturation=[2.0] * 8), LIVED.behaviours, LIVED.orders,
        INDUSTRY, HOURS,
    )  # fmt: skip
    index.save(tmp_path, {"auc": 0.7})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", "weights.safetensors"]
    again = store.load_model(tmp_path, kind="purchase_intent")
    counts, ages = np.arange(24.0).reshape(3, 8), np.ones((3, 8))
    np.testing.assert_array_equal(
        again.predict(counts, ages, ["food", "toys", "phones"]), index.predict(counts, ages, [1, 0, 2])
    )


@pytest.mark.parametrize(
    ("tensor", "change", "told"),
    [
        ("weights", lambda w: w * 2.0, "do not sum to 1"),
        ("weights", lambda w: w[:, :7], r"weights have shape \[3, 7\]"),
        ("scores", lambda s: s[:, ::-1].copy(), "fall, or do not run from 0 to 1"),
        ("levels", lambda s: s[:2], r"levels have shape \[2, 102\]; allowed is \[3, 102\]"),
    ],
)
def test_a_file_whose_tensors_are_no_index_is_refused(tmp_path: Path, monkeypatch, tensor, change, told):
    _, tensors = INDEX.learnt()
    monkeypatch.setattr(PurchaseIntentIndex, "learnt", lambda self: (None, tensors | {tensor: change(tensors[tensor])}))
    INDEX.save(tmp_path)
    with pytest.raises(ValueError, match=told):
        store.load_model(tmp_path)


def test_what_is_no_behaviour_or_industry_is_refused_by_name():
    ages = np.zeros((1, 8))
    with pytest.raises(ValueError, match=r"counts hold -1\.0"):
        INDEX.predict(-np.ones((1, 8)), ages, [0])
    with pytest.raises(ValueError, match=r"ages hold -1\.0; allowed are days from 0"):
        INDEX.predict(np.ones((1, 8)), ages - 1, [0])
    with pytest.raises(ValueError, match=r"counts have shape \(1, 7\)"):
        INDEX.predict(np.ones((1, 7)), ages, [0])
    with pytest.raises(ValueError, match="allowed are whole numbers from 0 to 2"):
        INDEX.predict(np.ones((1, 8)), ages, [3])
    with pytest.raises(ValueError, match="no industry named 'cars'; choose a number"):
        INDEX.predict(np.ones((1, 8)), ages, ["cars"])
    with pytest.raises(ValueError, match="has learnt nothing yet"):
        PurchaseIntentIndex().predict(np.ones((1, 8)), ages, [0])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"half_life_days": 0}, "half_life_days is 0"),
        ({"saturation": [1.0, 2.0]}, r"saturation is \[1\.0, 2\.0\]; allowed is a positive number, or 8 of them"),
        ({"shrinkage": -1}, "shrinkage is -1"),
        ({"credit": "median"}, "credit is 'median'; choose first, last"),
        ({"least_reference": 0}, "least_reference is 0"),
        ({"industries": ("a", "a")}, "allowed is each name once"),
    ],
)
def test_settings_that_are_none_are_refused(changed, told):
    with pytest.raises(ValueError, match=told):
        PurchaseIntentIndex(**changed)


def test_a_log_in_which_nobody_bought_teaches_nothing():
    paths = build_paths(clicks((1, 0, 1, Event.VIEW)), bought((1, 0, 9)).where(np.zeros(1, bool)))
    with pytest.raises(ValueError, match="no path with one of the eight behaviours converted"):
        PurchaseIntentIndex().fit(paths, np.zeros(len(paths), int))


def test_the_index_ranks_who_will_buy_far_above_chance_and_about_as_well_as_a_regression_does():
    found = []
    for seed in range(3):
        lived = live(ShopperLaw(pairs=1200, days=40), seed)
        found.append(ranking_quality(lived.behaviours, lived.orders, INDUSTRY, hours=24.0 * 33))
    mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    assert mean["index"] > 0.62 and mean["index_over_all"] > 0.62
    assert abs(mean["index"] - mean["regression"]) < 0.04


def test_quality_is_not_told_where_nobody_buys():
    with pytest.raises(ValueError, match="pairs order after the cut"):
        ranking_quality(LIVED.behaviours, LIVED.orders, INDUSTRY, hours=24.0 * 30, horizon_hours=1.0)


def test_all_eight_behaviours_have_a_name():
    assert BEHAVIOUR_NAMES == (
        "view",
        "favourite",
        "brand_search",
        "cart",
        "store_visit",
        "content",
        "share",
        "repeat_visit",
    )
    assert len(BEHAVIOURS) == 8
