import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tribid.envs.logs import read_log
from tribid.models.logistic_ctr import LogisticCtr


def world(n: int, seed: int) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Impressions whose true click rate depends on the slot and on one tag, and their clicks."""
    rng = np.random.default_rng(seed)
    slot, tagged = rng.integers(0, 3, n), rng.random(n) < 0.5
    rate = np.array([0.02, 0.1, 0.3])[slot] * np.where(tagged, 2.0, 1.0)
    tags = np.where(tagged, "7,9", "9")
    noise = rng.integers(0, 50, n).astype(str)
    features = pl.DataFrame({"slot": slot.astype(str), "user_tags": tags, "city": noise})
    return features, rate, (rng.random(n) < rate).astype(int)


def test_known_effects_are_recovered_on_new_rows() -> None:
    features, _, click = world(20_000, 0)
    fresh, rate, fresh_click = world(20_000, 1)
    predicted = LogisticCtr().fit(features, click).predict(fresh)
    assert np.corrcoef(predicted, rate)[0, 1] > 0.9
    assert roc_auc_score(fresh_click, predicted) > roc_auc_score(fresh_click, rate) - 0.02
    assert predicted.mean() == pytest.approx(fresh_click.mean(), rel=0.1)


def test_one_tag_among_several_counts_alone() -> None:
    features, _, click = world(20_000, 2)
    model = LogisticCtr().fit(features, click)
    rows = pl.DataFrame({"slot": ["2", "2", "2"], "user_tags": ["9", "7,9", "9,7"], "city": ["1"] * 3})
    without, with_tag, reordered = model.predict(rows)
    assert with_tag > 1.5 * without
    assert with_tag == reordered


def test_the_same_data_give_the_same_weights() -> None:
    features, _, click = world(2000, 3)
    first, second = (LogisticCtr(hash_size=1024).fit(features, click) for _ in range(2))
    np.testing.assert_array_equal(first.weights_, second.weights_)
    assert first.intercept_ == second.intercept_


def test_prediction_changes_nothing_and_does_not_depend_on_the_batch() -> None:
    features, _, click = world(2000, 4)
    model = LogisticCtr().fit(features, click)
    weights = model.weights_.copy()
    whole = model.predict(features)
    np.testing.assert_array_equal(np.concatenate([model.predict(features[:7]), model.predict(features[7:])]), whole)
    np.testing.assert_array_equal(model.predict(features.select("city", "slot", "user_tags")), whole)
    np.testing.assert_array_equal(model.weights_, weights)
    assert model.predict(features[:0]).shape == (0,)


def test_values_never_seen_and_missing_ones_get_a_rate() -> None:
    features, _, click = world(2000, 5)
    strange = pl.DataFrame({"slot": ["new", None], "user_tags": [None, ""], "city": ["é, 上海", "1"]})
    predicted = LogisticCtr().fit(features, click).predict(strange)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_what_cannot_be_learnt_is_refused() -> None:
    features = pl.DataFrame({"slot": ["a", "b"]})
    with pytest.raises(ValueError, match="both must occur"):
        LogisticCtr().fit(features, [0, 0])
    with pytest.raises(ValueError, match="0 or 1"):
        LogisticCtr().fit(features, [0, 2])
    with pytest.raises(ValueError, match="one for each of 2 rows"):
        LogisticCtr().fit(features, [0, 1, 1])
    with pytest.raises(ValueError, match="call fit first"):
        LogisticCtr().predict(features)
    with pytest.raises(ValueError, match="lack slot"):
        LogisticCtr().fit(features, [0, 1]).predict(pl.DataFrame({"city": ["a"]}))


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction", None)
    with pytest.raises(ImportError, match=r"pip install 'tribid\[logs\]'"):
        LogisticCtr().fit(pl.DataFrame({"slot": ["a", "b"]}), [0, 1])


def test_a_real_log_without_predictions_gets_them(shared_data: Path) -> None:
    train = read_log(shared_data / "ipinyou" / "2259.train.log.txt")
    test = read_log(shared_data / "ipinyou" / "2259.test.log.txt")
    assert train.features is not None
    assert test.features is not None
    model = LogisticCtr().fit(train.features, train.click)
    # A free intercept makes the mean prediction of the training rows their click rate; five clicks promise no more.
    assert model.predict(train.features).mean() == pytest.approx(5 / 8355, rel=0.02)
    log = test.with_pctr(model.predict(test.features))
    assert log.pctr is not None
    assert log.pctr.shape == (4171,)
    assert log.pctr.dtype == np.float32
    assert log.pctr.min() > 0
    assert log.pctr.max() < 1
