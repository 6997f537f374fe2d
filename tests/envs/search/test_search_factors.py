"""The factors of search ranking: published facts, worked examples, monotonicity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.envs.search import factors
from tribid.envs.search.config import FactorWeights, Mobile, Prices, Search
from tribid.envs.search.shelf import hours_left

counts = st.integers(0, 10**6)
hours = st.floats(0, 168, allow_nan=False)


class TestFacts:
    def test_desktop_100_at_half_gives_50_on_mobile(self):
        assert factors.carried(100.0, 0.5) == 50.0

    def test_mobiles_own_weight_and_bonus_are_added_whole(self):
        assert factors.carried([100.0, 0.0], 0.3, own=[5.0, 7.0], bonus=[0.0, 3.0]).tolist() == [35.0, 10.0]

    @given(hours, hours)
    def test_nearer_to_going_off_the_shelf_never_ranks_lower(self, one, other):
        near, far = sorted((one, other))
        assert factors.off_shelf(near, 168.0) >= factors.off_shelf(far, 168.0)

    @given(hours, st.floats(0, 2000, allow_nan=False), st.floats(0.01, 1.0))
    def test_the_off_shelf_term_rises_with_every_hour_until_the_item_goes_off(self, shelf_hour, now, step):
        left = hours_left(shelf_hour, now, 168.0)
        assert 0.0 <= left <= 168.0
        if step < left - 1e-6:
            later = hours_left(shelf_hour, now + step, 168.0)
            assert later < left and factors.off_shelf(later, 168.0) > factors.off_shelf(left, 168.0)

    @given(st.integers(0, 10**12), st.integers(0, 10**12))
    def test_what_is_under_the_floor_is_not_listed_and_nothing_else(self, price, floor):
        assert bool(factors.listed(price, floor)) == (price >= floor)


class TestMonotone:
    @given(counts, counts, st.floats(1, 1e4))
    def test_more_sales_or_dwell_never_count_less(self, one, other, half):
        low, high = sorted((one, other))
        assert 0.0 <= factors.saturating(low, half) <= factors.saturating(high, half) < 1.0
        assert factors.mean_dwell(low, 5, half) <= factors.mean_dwell(high, 5, half)

    @given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0.01, 0.9), st.floats(1, 100))
    def test_good_events_count_for_an_item_and_bad_ones_against_it(self, one, other, usual, smoothing):
        low, high = sorted((one, other))
        for rate in (factors.relative_rate, factors.good_share):
            assert rate(low, 1000, usual, smoothing) <= rate(high, 1000, usual, smoothing)
        assert factors.bad_share(low, 1000, usual, smoothing) >= factors.bad_share(high, 1000, usual, smoothing)

    @given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6))
    def test_a_higher_order_value_weighs_more(self, one, other, median):
        low, high = sorted((one, other))
        assert factors.order_value(low, median) <= factors.order_value(high, median)

    @given(st.floats(0, 1e6), st.floats(1, 1e3), st.floats(0, 1e3))
    def test_the_band_counts_1_inside_and_less_outside(self, price, low, width):
        got = factors.price_band(price, low, low + width)
        assert (got == 1.0) == (low <= price <= low + width) and 0.0 <= got <= 1.0

    def test_an_item_without_a_past_is_as_usual(self):
        assert factors.relative_rate(0, 0, 0.08, 20.0) == pytest.approx(0.5)
        assert factors.good_share(0, 0, 0.9, 20.0) == pytest.approx(0.9)
        assert factors.mean_dwell(0.0, 0, 60.0) == 0.0


class TestSum:
    def test_names_are_those_of_the_scenarios_weights(self):
        assert tuple(factors.FACTORS) == tuple(FactorWeights.model_fields)
        assert len(factors.NAMES) == 20

    @given(st.integers(0, 10**9))
    def test_a_score_does_not_depend_on_the_rest_of_the_batch(self, seed):
        rng = np.random.default_rng(seed)
        features, weights = rng.normal(size=(7, 5, 20)), rng.normal(size=20)
        whole = factors.score(features, weights)
        assert (factors.score(features[3:4, 2:3], weights) == whole[3:4, 2:3]).all()

    def test_mobile_is_the_discounted_desktop_plus_its_own(self):
        rng = np.random.default_rng(1)
        desktop, own = rng.random(17), rng.random(3)
        weights = rng.random(20)
        on_mobile = factors.score(np.concatenate([0.5 * desktop, own]), weights)
        carried = factors.carried(desktop @ weights[:17], 0.5, own=own[:2] @ weights[17:19], bonus=own[2] * weights[19])
        assert on_mobile == pytest.approx(carried)


class TestConfig:
    def test_defaults_work_and_what_cannot_be_is_refused(self):
        assert Search().shelf_days == 7.0 and Search().mobile.discount == 0.5
        for part, given_, told in (
            (Search, {"results": 0}, "results"),
            (Mobile, {"discount": 1.5}, "discount"),
            (FactorWeights, {"keyword": float("nan")}, "keyword"),
            (FactorWeights, {"beauty": 1.0}, "beauty"),
            (Prices, {"band_low": 0.8, "band_high": 0.8}, "band_low is 0.8; allowed is below band_high"),
            (Prices, {"floors": [-1.0]}, "floors"),
        ):
            with pytest.raises(ValueError, match=told):
                part(**given_)
