"""The merge by the shadow bid: worked examples, what is provable of alpha, where it breaks, and batch against reference."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.auctions.merge import Guardrails, least_alpha, logistic_gap, merge, merge_reference, place_weights

FIELDS = ("ad", "organic", "revenue", "engagement")
ALPHAS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 30.0, 1e9)


@st.composite
def pages(draw, quarters=True):
    """Revenue, engagement, organic (falling): small whole quarters, so that ties are common and sums exact."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    rows, ads, results = draw(st.integers(1, 4)), draw(st.integers(0, 6)), draw(st.integers(0, 8))
    r, u, o = (rng.integers(0, 12, (rows, n)) / 4 for n in (ads, ads, results))
    return r, u, -np.sort(-o, axis=1)


@st.composite
def guardrails(draw):
    return Guardrails(
        top_slot=draw(st.integers(1, 4)),
        min_gap=draw(st.integers(0, 3)),
        max_ads=draw(st.none() | st.integers(0, 3)),
        beta=draw(st.sampled_from([0.0, 0.3, -0.2])),
        gap_form=draw(st.sampled_from(["exponential", "logistic"])),
    )


class TestFacts:
    revenue, engagement, organic = [[30.0, 20.0, 0.0]], [[0.1, 0.2, 0.1]], [[0.5, 0.4, 0.3, 0.3]]

    def test_at_alpha_0_ads_stand_wherever_revenue_is_positive_and_guardrails_allow(self):
        free = merge(self.revenue, self.engagement, self.organic, alpha=0.0, slots=4)
        assert free.ad.tolist() == [[0, 1, -1, -1]]  # the third earns nothing
        rails = Guardrails(top_slot=2, min_gap=1)
        assert merge(self.revenue, self.engagement, self.organic, alpha=0.0, slots=4, rails=rails).ad.tolist() == [
            [-1, 0, -1, 1]
        ]
        one = Guardrails(max_ads=1)
        assert merge(self.revenue, self.engagement, self.organic, alpha=0.0, slots=4, rails=one).ad.tolist() == [
            [0, -1, -1, -1]
        ]

    def test_at_large_alpha_no_ad_is_shown_that_is_less_engaging_than_the_results(self):
        page = merge(self.revenue, self.engagement, self.organic, alpha=1e6, slots=4)
        assert (page.ad == -1).all() and page.organic.tolist() == [[0, 1, 2, 3]]

    def test_an_ad_as_engaging_as_a_result_beats_it_at_any_alpha_because_it_earns_too(self):
        assert merge([[1.0]], [[0.3]], [[0.5, 0.3]], alpha=1e12, slots=2).ad.tolist() == [[-1, 0]]

    def test_a_result_wins_a_tie_and_equal_ads_go_by_index(self):
        assert merge([[0.0]], [[0.5]], [[0.5]], alpha=7.0, slots=1).organic.tolist() == [[0]]
        assert merge([[3.0, 3.0]], [[0.0, 0.0]], [[0.0]], alpha=0.0, slots=2).ad.tolist() == [[0, 1]]

    def test_places_count_one_over_log2(self):
        assert place_weights(7)[[0, 2, 6]] == pytest.approx([1.0, 0.5, 1 / 3])
        page = merge([[8.0]], [[0.0]], [[0.5, 0.25]], alpha=1.0, slots=3)
        assert page.page_revenue == pytest.approx([8.0])
        assert page.page_engagement == pytest.approx([0.5 / math.log2(3) + 0.25 / 2])

    def test_when_results_run_out_ads_fill_what_guardrails_leave_open(self):
        page = merge([[3.0, 2.0]], [[0.0, 0.0]], [[9.0]], alpha=1.0, slots=4, rails=Guardrails(min_gap=1))
        assert page.ad.tolist() == [[-1, 0, -1, -1]] and page.organic.tolist() == [[0, -1, -1, -1]]

    def test_masked_entries_are_never_shown(self):
        page = merge(
            [[9.0, 1.0]], [[0.0, 0.0]], [[9.0, 0.2, 0.1]], alpha=0.0, slots=3,
            ads=[[False, True]], results=[[False, True, True]],
        )  # fmt: skip
        assert page.ad.tolist() == [[1, -1, -1]] and page.organic.tolist() == [[-1, 1, 2]]


class TestGapEffect:
    def test_beta_0_gives_the_base_in_both_forms(self):
        rng = np.random.default_rng(3)
        r, u, o = rng.random((50, 5)), rng.random((50, 5)), -np.sort(-rng.random((50, 9)), axis=1)
        base = merge(r, u, o, alpha=0.7, slots=8)
        for form in ("exponential", "logistic"):
            same = merge(r, u, o, alpha=0.7, slots=8, rails=Guardrails(beta=0.0, gap_form=form), pctr=u)
            assert all((getattr(base, field) == getattr(same, field)).all() for field in FIELDS)

    def test_an_ad_three_results_below_the_last_is_worth_exp_3_beta(self):
        rails = Guardrails(beta=0.1, top_slot=4)
        page = merge([[2.0]], [[0.0]], [[0.5] * 3], alpha=0.0, slots=4, rails=rails)
        assert page.revenue[0, 3] == pytest.approx(2.0 * math.exp(0.3))

    def test_logistic_form_shifts_the_log_odds_and_never_lifts_a_rate_above_1(self):
        pctr, lift = np.array([0.001, 0.3, 0.9]), math.exp(1.2)
        lifted = pctr * logistic_gap(lift, pctr)
        assert np.log(lifted / (1 - lifted)) == pytest.approx(np.log(pctr / (1 - pctr)) + 1.2)
        assert (lifted < 1).all() and pctr[2] * lift > 1
        assert lifted[0] == pytest.approx(pctr[0] * lift, rel=0.003)


class TestBatchEqualsReference:
    @settings(max_examples=300)
    @given(pages(), guardrails(), st.sampled_from(ALPHAS), st.integers(1, 9), st.integers(0, 10**9))
    def test_bit_for_bit(self, page, rails, alpha, slots, seed):
        r, u, o = page
        rng = np.random.default_rng(seed)
        given = {
            "alpha": alpha * rng.integers(1, 3, len(r)), "slots": slots, "rails": rails, "pctr": u / 4,
            "ads": rng.random(r.shape) < 0.8, "results": rng.random(o.shape) < 0.8,
        }  # fmt: skip
        fast, plain = merge(r, u, o, **given), merge_reference(r, u, o, **given)
        for field in FIELDS:
            assert getattr(fast, field).tolist() == getattr(plain, field).tolist()

    @settings(max_examples=100)
    @given(pages(), guardrails(), st.sampled_from(ALPHAS), st.integers(1, 9))
    def test_guardrails_hold_and_nothing_is_shown_twice(self, page, rails, alpha, slots):
        r, u, o = page
        shown = merge(r, u, o, alpha=alpha, slots=slots, rails=rails, pctr=u / 4)
        for ad, organic in zip(shown.ad, shown.organic, strict=True):
            places = np.flatnonzero(ad >= 0)
            assert len(places) <= (slots if rails.max_ads is None else rails.max_ads)
            assert (places + 1 >= rails.top_slot).all()
            gaps = [(organic[a + 1 : b] >= 0).sum() for a, b in itertools.pairwise(places)]
            assert all(gap >= rails.min_gap for gap in gaps)
            assert len(set(ad[ad >= 0])) == (ad >= 0).sum()
            assert organic[organic >= 0].tolist() == list(range((organic >= 0).sum()))
            assert not ((ad >= 0) & (organic >= 0)).any()

    @given(pages(), guardrails(), st.sampled_from(ALPHAS), st.integers(0, 10**9))
    def test_the_order_of_the_ads_changes_no_revenue(self, page, rails, alpha, seed):
        r, u, o = page
        r = r + np.arange(r.shape[1]) / 64  # no two alike
        order = np.random.default_rng(seed).permutation(r.shape[1])
        one = merge(r, u, o, alpha=alpha, slots=6, rails=rails, pctr=u / 4)
        other = merge(r[:, order], u[:, order], o, alpha=alpha, slots=6, rails=rails, pctr=u[:, order] / 4)
        tied = np.diff(np.sort(r + alpha * u, axis=1), axis=1) == 0
        clear = ~tied.any(axis=1)
        assert (one.revenue[clear] == other.revenue[clear]).all()


class TestAlpha:
    @settings(max_examples=200)
    @given(pages(), st.integers(1, 9), st.integers(1, 3), st.none() | st.integers(0, 3))
    def test_revenue_falls_and_engagement_rises_in_alpha(self, page, slots, top, most):
        rails = Guardrails(top_slot=top, max_ads=most)
        shown = [merge(*page, alpha=alpha, slots=slots, rails=rails) for alpha in ALPHAS]
        for low, high in itertools.pairwise(shown):
            assert (high.page_revenue <= low.page_revenue + 1e-9).all()
            assert (high.page_engagement >= low.page_engagement - 1e-9).all()

    @settings(max_examples=40)
    @given(st.integers(0, 10**9), st.sampled_from([0.0, 0.5, 2.0]), st.integers(1, 2), st.sampled_from([None, 1]))
    def test_no_list_at_all_is_worth_more(self, seed, alpha, top, most):
        rng = np.random.default_rng(seed)
        r, u, o = rng.integers(0, 9, 2) / 2, rng.integers(0, 9, 2) / 4, -np.sort(-rng.integers(0, 9, 3) / 4)
        page = merge([r], [u], [o], alpha=alpha, slots=3, rails=Guardrails(top_slot=top, max_ads=most))
        reached = page.page_revenue[0] + alpha * page.page_engagement[0]
        worth, ad = np.concatenate([r + alpha * u, alpha * o]), np.arange(5) < 2
        best = max(
            float(worth[list(listed)] @ place_weights(3))
            for listed in itertools.permutations(range(5), 3)
            if not ad[list(listed[: top - 1])].any() and ad[list(listed)].sum() <= (3 if most is None else most)
        )
        assert reached == pytest.approx(best)

    def test_a_minimum_gap_breaks_it(self):
        """At alpha 2 the better ad leads; at 4 a result does, and the ad after it keeps the other ad out."""
        rails = Guardrails(min_gap=1)
        low, high = (merge([[4, 1]], [[2, 1]], [[3, 0]], alpha=alpha, slots=3, rails=rails) for alpha in (2.0, 4.0))
        assert low.ad.tolist() == [[0, -1, 1]] and high.ad.tolist() == [[-1, 0, -1]]
        assert high.page_engagement < low.page_engagement

    def test_a_gap_effect_breaks_it(self):
        """A higher shadow bid holds the ad back to where its distance makes it earn more."""
        rails = Guardrails(beta=0.7)
        low, high = (merge([[1.0]], [[3.0]], [[8.0, 3.0]], alpha=alpha, slots=2, rails=rails) for alpha in (0.0, 0.5))
        assert low.ad.tolist() == [[0, -1]] and high.ad.tolist() == [[-1, 0]]
        assert high.page_revenue > low.page_revenue

    def test_least_alpha_reaches_the_floor_and_a_smaller_one_does_not(self):
        rng = np.random.default_rng(5)
        r, u, o = 50 * rng.random((40, 4)), rng.random((40, 4)), -np.sort(-rng.random((40, 9)), axis=1)
        least, most = (merge(r, u, o, alpha=a, slots=6).page_engagement.mean() for a in (0.0, 1e9))
        floor = (least + most) / 2
        alpha = least_alpha(r, u, o, floor=floor, slots=6)
        assert merge(r, u, o, alpha=alpha, slots=6).page_engagement.mean() >= floor
        assert merge(r, u, o, alpha=alpha * (1 - 1e-9), slots=6).page_engagement.mean() < floor

    def test_a_floor_out_of_reach_is_refused_with_the_distance(self):
        with pytest.raises(ValueError, match=r"floor is 2.0; allowed is at most 0.5, so it is too high by 1.5"):
            least_alpha([[1.0]], [[0.25]], [[0.5]], floor=2.0, slots=1)
        with pytest.raises(ValueError, match="organic is not in falling order"):
            least_alpha([[1.0]], [[0.25]], [[0.25, 0.5]], floor=0.1, slots=1)


FINE = {"revenue": [[1.0]], "engagement": [[0.5]], "organic": [[0.5]], "alpha": 1.0, "slots": 2}


class TestRefused:
    @pytest.mark.parametrize("field", ["revenue", "engagement", "organic", "alpha"])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
    def test_numbers_that_are_none_are_refused_by_name(self, field, bad):
        value = bad if field == "alpha" else [[bad]]
        with pytest.raises(ValueError, match=f"{field} holds {bad}"):
            merge(**FINE | {field: value})

    def test_shapes_and_rates(self):
        cases = [
            ({"engagement": [[0.5, 0.5]]}, "engagement has shape"),
            ({"organic": [0.5]}, "organic has shape"),
            ({"alpha": [1.0, 2.0]}, "alpha has shape"),
            ({"slots": 0}, "slots is 0"),
            ({"pctr": [[1.5]]}, "pctr has shape"),
            ({"ads": [True, False]}, "ads has shape"),
            ({"rails": Guardrails(beta=0.1, gap_form="logistic")}, "pctr is left out"),
            ({"rails": Guardrails(beta=200.0)}, "beta is 200.0 over 2 slots"),
        ]
        for changed, told in cases:
            with pytest.raises(ValueError, match=told):
                merge(**FINE | changed)

    def test_guardrails_are_checked_when_made(self):
        for wrong, told in (
            ({"top_slot": 0}, "top_slot is 0"),
            ({"min_gap": -1}, "min_gap is -1"),
            ({"max_ads": -1}, "max_ads is -1"),
            ({"beta": math.nan}, "beta is nan"),
            ({"gap_form": "linear"}, "no gap_form named 'linear'; choose exponential or logistic"),
        ):
            with pytest.raises(ValueError, match=told):
                Guardrails(**wrong)
