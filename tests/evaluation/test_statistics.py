import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, trim_mean, ttest_1samp, ttest_rel

from tribid.evaluation.statistics import (
    Interval,
    claim_verdict,
    iqm,
    paired_difference,
    probability_of_improvement,
    stratified_bootstrap,
    t_interval,
    verdict,
)


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 1000]])
def test_iqm_gives_the_published_answers(values: list[int]) -> None:
    assert iqm(values) == 4.5  # Agarwal et al. 2021: the mean of the middle half, blind to the outlier


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_iqm_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25), rel=1e-9, abs=1e-6)


def test_iqm_reduces_the_axis_it_is_given() -> None:
    table = np.random.default_rng(0).normal(size=(5, 9, 3))
    for axis in (0, 1, 2, -1):
        np.testing.assert_allclose(iqm(table, axis=axis), trim_mean(table, 0.25, axis=axis))


def test_iqm_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        iqm([])


def test_bootstrap_repeats_and_follows_its_seed() -> None:
    scores = np.random.default_rng(1).normal(size=(10, 4))
    assert stratified_bootstrap(scores, seed=3) == stratified_bootstrap(scores, seed=3)
    assert stratified_bootstrap(scores, seed=3) != stratified_bootstrap(scores, seed=4)


def test_bootstrap_resamples_within_tasks_so_levels_of_tasks_add_no_width() -> None:
    scores = np.tile([0.0, 1000.0, 5.0], (6, 1))
    assert stratified_bootstrap(scores, np.mean) == Interval(335.0, 335.0, 335.0)


def test_bootstrap_resamples_tasks_independently() -> None:
    # Column 2 is minus column 1: rows drawn together would always average to zero.
    column = np.arange(10.0)
    interval = stratified_bootstrap(np.stack([column, -column], axis=1), np.mean)
    assert interval.low < -0.5
    assert interval.high > 0.5


def test_bootstrap_has_the_width_of_the_normal_approximation() -> None:
    scores = np.random.default_rng(2).normal(size=400)
    interval = stratified_bootstrap(scores, np.mean)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.1)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        interval = stratified_bootstrap(rng.normal(size=(20, 3)), np.mean, n=500, confidence=0.9, seed=trial)
        hits += interval.low <= 0.0 <= interval.high
    assert 165 <= hits <= 195


def test_bootstrap_is_the_same_whatever_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(4).normal(size=(8, 5))
    whole = stratified_bootstrap(scores)
    monkeypatch.setattr("tribid.evaluation.statistics._CHUNK_ELEMENTS", 800)
    assert stratified_bootstrap(scores) == whole


def test_bootstrap_of_a_large_table_is_quick() -> None:
    start = time.perf_counter()
    stratified_bootstrap(np.random.default_rng(5).normal(size=(20, 50)))
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0], "at least 2"),
        ([[1.0, 2.0]], "at least 2"),
        ([1.0, np.nan], "not finite"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros((2, 0)), "shape"),
    ],
)
def test_bootstrap_refuses_what_bears_no_interval(scores: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stratified_bootstrap(scores)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"n": 0}, {"confidence": 0.0}, {"confidence": 1.0}, {"confidence": 95}])
def test_bootstrap_refuses_impossible_settings(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        stratified_bootstrap([1.0, 2.0], **bad)  # type: ignore[arg-type]


def test_pairing_sees_a_difference_that_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(6)
    users = rng.normal(size=30)
    a, b = users + 0.1 + rng.normal(scale=0.01, size=30), users
    assert verdict({"a": stratified_bootstrap(a), "b": stratified_bootstrap(b)}) is None
    assert paired_difference(a, b).low > 0.0


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])


def test_probability_of_improvement_is_the_mean_mann_whitney_u() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.integers(0, 6, (7, 3)), rng.integers(0, 6, (5, 3))
    expected = np.mean([mannwhitneyu(a[:, t], b[:, t]).statistic / 35 for t in range(3)])
    interval = probability_of_improvement(a, b)
    assert interval.point == pytest.approx(expected)
    assert interval.low < interval.point < interval.high
    assert probability_of_improvement(b, a).point == pytest.approx(1 - expected)


def test_a_winner_is_named_only_if_its_interval_lies_above_all_others() -> None:
    low, touching, middle, high = Interval(1, 0, 2), Interval(3, 2, 4), Interval(3, 2.5, 5), Interval(7, 6, 8)
    assert verdict({"a": low, "b": high, "c": middle}) == "b"
    assert verdict({"a": low, "b": touching}) is None
    assert verdict({"a": middle, "b": touching, "c": low}) is None
    assert verdict({"a": high}) is None
    assert verdict({}) is None


def test_intervals_are_ordered_and_finite() -> None:
    with pytest.raises(ValueError, match="above"):
        Interval(1, 2, 1)
    with pytest.raises(ValueError, match="finite"):
        Interval(1, float("nan"), 2)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_t_interval_is_scipys(confidence: float) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(3.0, 2.0, size=(2, 9))
    for mine, theirs in (
        (t_interval(a, confidence), ttest_1samp(a, 0.0)),
        (t_interval(a - b, confidence), ttest_rel(a, b)),
    ):
        limits = theirs.confidence_interval(confidence)
        assert (mine.low, mine.high) == pytest.approx((limits.low, limits.high))
        assert mine.point == pytest.approx((mine.low + mine.high) / 2)


def test_of_few_values_t_interval_keeps_its_word_and_the_bootstrap_does_not() -> None:
    tries = np.random.default_rng(5).normal(size=(1500, 8))
    student = np.mean([(told := t_interval(values)).low <= 0.0 <= told.high for values in tries])
    resampled = np.mean(
        [(told := stratified_bootstrap(values, np.mean, n=400)).low <= 0.0 <= told.high for values in tries]
    )
    assert student == pytest.approx(0.95, abs=0.015)
    assert resampled < 0.91


def test_values_that_do_not_differ_have_an_interval_of_one_number() -> None:
    assert t_interval([2.5, 2.5, 2.5]) == Interval(2.5, 2.5, 2.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "at least 2"),
        ([], "at least 2"),
        ([[1.0, 2.0], [3.0, 4.0]], r"allowed is \[n\]"),
        ([1.0, np.nan], "finite"),
    ],
)
def test_t_interval_refuses_what_bears_none(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t_interval(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_t_interval_refuses_an_impossible_confidence(confidence: float) -> None:
    with pytest.raises(ValueError, match=f"confidence is {confidence}"):
        t_interval([1.0, 2.0], confidence)


def test_a_claim_is_shown_only_if_the_whole_interval_lies_above() -> None:
    for interval, told in (((1.0, 3.0), "shown"), ((0.0, 3.0), "not told apart"), ((-3.0, 0.0), "not told apart"),
                           ((-3.0, -1.0), "denied")):  # fmt: skip
        assert claim_verdict(Interval(sum(interval) / 2, *interval)) == told
        assert claim_verdict(Interval(sum(interval) / 2 + 97, *(97 + end for end in interval)), 97.0) == told
