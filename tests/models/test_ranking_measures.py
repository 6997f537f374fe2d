import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from tribid.models.ranking_measures import auc, expected_auc, gauc, log_loss, relative_improvement


def test_auc_and_log_loss_are_scikit_learns_ties_included() -> None:
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 500), rng.integers(1, 20, 500) / 20
    assert auc(label, score) == pytest.approx(roc_auc_score(label, score))
    assert log_loss(label, score) == pytest.approx(sklearn_log_loss(label, score))


def test_an_expected_auc_is_scikit_learns_with_each_row_as_both_labels() -> None:
    rng = np.random.default_rng(1)
    chance, score = rng.random(400), rng.integers(1, 30, 400) / 30
    both = np.r_[np.ones(400), np.zeros(400)]
    told = roc_auc_score(both, np.r_[score, score], sample_weight=np.r_[chance, 1 - chance])
    assert expected_auc(chance, score) == pytest.approx(told)
    assert expected_auc(chance, chance) > expected_auc(chance, chance + rng.normal(size=400))


@pytest.mark.parametrize(
    ("chance", "score", "message"),
    [
        ([0.5, 1.5], [1, 2], "leave 0 to 1"),
        ([0.5], [1, 2], "differ in shape"),
        ([1, 1], [1, 2], "all labels are alike"),
    ],
)
def test_chances_that_are_none_have_no_auc(chance: list[float], score: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expected_auc(chance, score)


def test_gauc_by_hand() -> None:
    # User 1: 1 of 2 pairs right, 3 rows. User 2: all right, 2 rows. User 3 never clicks: left out.
    label = [1, 0, 0, 0, 1, 0, 0]
    score = [0.5, 0.9, 0.1, 0.2, 0.3, 0.8, 0.1]
    user = [1, 1, 1, 2, 2, 3, 3]
    assert gauc(label, score, user) == pytest.approx((3 * 0.5 + 2 * 1.0) / 5)


def test_gauc_is_the_weighted_mean_of_each_users_auc() -> None:
    rng = np.random.default_rng(1)
    label, score, user = rng.integers(0, 2, 900), rng.integers(0, 9, 900), rng.integers(0, 80, 900)
    parts = [(label[user == u], score[user == u]) for u in range(80)]
    parts = [(y, s) for y, s in parts if 0 < y.sum() < len(y)]
    wanted = np.average([roc_auc_score(y, s) for y, s in parts], weights=[len(y) for y, _ in parts])
    assert gauc(label, score, user) == pytest.approx(wanted)


def test_gauc_does_not_see_differences_between_users() -> None:
    rng = np.random.default_rng(2)
    label, score, user = rng.integers(0, 2, 300), rng.random(300), rng.integers(0, 9, 300)
    assert gauc(label, score + 100.0 * user, user) == pytest.approx(gauc(label, score, user))


def test_what_has_no_auc_is_refused() -> None:
    with pytest.raises(ValueError, match="all labels are alike"):
        auc([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="every group's labels are alike"):
        gauc([1, 0], [0.1, 0.2], [1, 2])
    with pytest.raises(ValueError, match="scores hold nan"):
        auc([1, 0], [0.1, np.nan])
    with pytest.raises(ValueError, match=r"labels hold 2\.0; allowed are 0 and 1"):
        auc([2, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"rates hold 1\.5; allowed is 0 to 1"):
        log_loss([1, 0], [1.5, 0.2])
    with pytest.raises(ValueError, match=r"base is 0\.5, chance"):
        relative_improvement(0.6, 0.5)


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(-np.log(1e-7))
