"""Floors: no floor is ever broken, prices are duals (slackness, finite differences), floors out of reach are refused."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.evaluation.floor_plot import draw_front
from tribid.evaluation.floors import SIDES, Indices, best_above, front, in_order, in_order_by_share

TOLERANCE = 1e-6


def drawn(seed, rows=6, columns=5, unit=1.0):
    rng = np.random.default_rng(seed)
    user, platform, seller = rng.random((3, rows, columns))
    return Indices(user=user, platform=unit * platform, seller=unit * (0.5 * seller + 0.5 * (1 - platform)))


class TestWorkedExample:
    """Two rankings of one search: the first is the users' (1, 0, 4), the second the platform's (0, 10, 0)."""

    two = Indices(user=np.array([[1.0, 0.0]]), platform=np.array([[0.0, 10.0]]), seller=np.array([[4.0, 0.0]]))

    def test_platform_takes_what_the_user_floor_leaves(self):
        found = best_above(self.two, "platform", {"user": 0.3})
        assert found.mix == pytest.approx(np.array([[0.3, 0.7]]))
        assert found.reached == pytest.approx({"user": 0.3, "platform": 7.0, "seller": 1.2})
        assert found.price == pytest.approx({"user": 10.0})

    def test_seller_takes_what_both_floors_leave(self):
        ranks = in_order(self.two, user_floor=0.3, platform_floor=6.0)
        assert ranks.seller.reached == pytest.approx({"user": 0.4, "platform": 6.0, "seller": 1.6})
        assert ranks.seller.price == pytest.approx({"user": 0.0, "platform": 0.4})

    def test_shares_are_of_the_best_reachable(self):
        ranks = in_order_by_share(self.two, user=0.5, platform=0.8)
        assert ranks.platform.floors == {"user": 0.5} and ranks.platform.reached["platform"] == pytest.approx(5.0)
        assert ranks.seller.floors == pytest.approx({"user": 0.5, "platform": 4.0})


class TestProperties:
    @settings(max_examples=30)
    @given(st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1), st.sampled_from([1e-3, 1.0, 1e6]))
    def test_no_floor_is_broken_and_shares_sum_to_1(self, seed, user, platform, unit):
        indices = drawn(seed, unit=unit)
        ranks = in_order_by_share(indices, user=user, platform=platform)
        for mixture in (ranks.platform, ranks.seller):
            assert mixture.mix.sum(axis=1) == pytest.approx(np.ones(6)) and (mixture.mix >= 0).all()
            for side, floor in mixture.floors.items():
                assert mixture.reached[side] >= floor - TOLERANCE * (unit if side != "user" else 1.0)

    @settings(max_examples=15)
    @given(st.integers(0, 10**9), st.floats(0.5, 0.999), st.floats(0.3, 0.999))
    def test_a_floor_with_slack_has_no_price(self, seed, user, platform):
        ranks = in_order_by_share(drawn(seed), user=user, platform=platform)
        for mixture in (ranks.platform, ranks.seller):
            for side, floor in mixture.floors.items():
                assert mixture.price[side] * (mixture.reached[side] - floor) == pytest.approx(0.0, abs=1e-5)

    @settings(max_examples=15)
    @given(st.integers(0, 10**9), st.floats(0.7, 0.98), st.floats(0.3, 0.95))
    def test_prices_are_the_slopes_of_the_best(self, seed, user, platform):
        """Where the slope is the same on both sides of the floor; at a kink the price lies between the two."""
        indices = drawn(seed)
        ranks = in_order_by_share(indices, user=user, platform=platform)
        for mixture in (ranks.platform, ranks.seller):
            for side in mixture.floors:
                step = 1e-4
                up, down = (
                    best_above(indices, mixture.side, mixture.floors | {side: mixture.floors[side] + d})
                    for d in (step, -step)
                )
                here = mixture.reached[mixture.side]
                slopes = ((here - up.reached[mixture.side]) / step, (down.reached[mixture.side] - here) / step)
                assert min(slopes) - 1e-3 <= mixture.price[side] <= max(slopes) + 1e-3

    @settings(max_examples=15)
    @given(st.integers(0, 10**9))
    def test_a_higher_floor_never_makes_the_side_below_better(self, seed):
        indices = drawn(seed)
        best = indices.user.max(axis=1).mean()
        points = front(indices, "platform", "user", np.linspace(0.5, 1.0, 6) * best)
        reached, price = [p.reached["platform"] for p in points], [p.price["user"] for p in points]
        assert (np.diff(reached) <= TOLERANCE).all()
        assert (
            np.diff(price[:-1]) >= -TOLERANCE
        ).all()  # the front is concave; at its end any higher price is one, too

    def test_no_mixture_that_keeps_the_floors_is_better(self):
        indices, rng = drawn(4), np.random.default_rng(1)
        found = best_above(indices, "platform", {"user": 0.6})
        for _ in range(2000):
            mix = rng.dirichlet(np.full(5, 0.3), size=6)
            reached = indices.of(mix)
            assert reached["user"] < 0.6 or reached["platform"] <= found.reached["platform"] + TOLERANCE

    def test_the_order_of_searches_and_rankings_changes_nothing(self):
        indices, rng = drawn(8), np.random.default_rng(2)
        rows, columns = rng.permutation(6), rng.permutation(5)
        other = Indices(**{side: getattr(indices, side)[rows][:, columns] for side in SIDES})
        one, two = (in_order_by_share(x, user=0.9, platform=0.9) for x in (indices, other))
        assert one.seller.reached == pytest.approx(two.seller.reached)
        assert one.seller.price == pytest.approx(two.seller.price, abs=1e-6)

    def test_the_whole_of_the_best_can_be_asked_for_of_many_searches(self):
        indices = drawn(6, rows=300, unit=1e6)
        ranks = in_order_by_share(indices, user=1.0, platform=1.0)
        assert ranks.seller.reached["user"] == pytest.approx(indices.user.max(axis=1).mean(), rel=1e-8)
        assert ranks.seller.reached["platform"] == pytest.approx(ranks.platform.reached["platform"], rel=1e-8)

    def test_without_floors_everyone_gets_the_best_ranking(self):
        indices = drawn(5)
        assert best_above(indices, "seller", {}).reached["seller"] == pytest.approx(indices.seller.max(axis=1).mean())


class TestRefused:
    def test_a_floor_out_of_reach_says_by_how_much(self):
        with pytest.raises(ValueError, match=r"floor of user is 1\.5; allowed is at most 1, so it is too high by 0\.5"):
            best_above(TestWorkedExample.two, "platform", {"user": 1.5})
        with pytest.raises(
            ValueError,
            match=r"floor of platform is 8; allowed is at most 7 above a user floor of 0\.3, so it is too high by 1",
        ):
            in_order(TestWorkedExample.two, user_floor=0.3, platform_floor=8.0)

    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none(self, side, bad):
        tables = {name: np.ones((2, 2)) for name in SIDES} | {side: np.array([[1.0, bad], [1.0, 1.0]])}
        with pytest.raises(ValueError, match=f"{side} holds {bad}"):
            Indices(**tables)

    def test_shapes_sides_and_shares(self):
        with pytest.raises(ValueError, match="seller has shape"):
            Indices(user=np.ones((1, 2)), platform=np.ones((1, 2)), seller=np.ones((1, 3)))
        with pytest.raises(ValueError, match="no side named 'bank'; choose user, platform, seller"):
            best_above(TestWorkedExample.two, "bank", {})
        with pytest.raises(ValueError, match="no floor of 'user' when user is made best"):
            best_above(TestWorkedExample.two, "user", {"user": 0.1})
        with pytest.raises(ValueError, match="floor of user is nan"):
            best_above(TestWorkedExample.two, "seller", {"user": np.nan})
        with pytest.raises(ValueError, match=r"user is 1.2; allowed is a share"):
            in_order_by_share(TestWorkedExample.two, user=1.2, platform=0.5)
        negative = Indices(user=-np.ones((1, 2)), platform=np.ones((1, 2)), seller=np.ones((1, 2)))
        with pytest.raises(ValueError, match="the best user index is -1"):
            in_order_by_share(negative, user=0.5, platform=0.5)


def test_the_plot_is_a_whole_svg_that_says_its_numbers():
    indices = drawn(3)
    points = front(indices, "platform", "user", np.linspace(0.4, 0.8, 5))
    svg = draw_front(points, "user", chosen=points[2])
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg") and "0.6" in root.attrib["aria-label"] and "price" in root.attrib["aria-label"]
    assert "var(--ink" in svg and "#000000" not in svg  # readable on a dark page
    assert svg == draw_front(points, "user", chosen=points[2])
    with pytest.raises(ValueError, match="points has 1 mixtures"):
        draw_front(points[:1], "user")
