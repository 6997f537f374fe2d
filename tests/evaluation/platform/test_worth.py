"""What a part is worth: played on the same days, and told against a base."""

import numpy as np
import pytest

from tests.models.fit.tiny_shop import scenario
from tribid.envs.world import build_world
from tribid.evaluation.platform.worth import SIDES, Days, Variant, play_variants, with_listed

NAMES = [side.name for side in SIDES]


def test_two_variants_that_are_the_same_have_the_same_days():
    one, other = play_variants(scenario(), [Variant(name="one"), Variant(name="other")], days=2)
    np.testing.assert_array_equal(one.table, other.table)
    gap = one.against(other, NAMES.index("RPM"))
    assert (gap.point, gap.low, gap.high) == (0.0, 0.0, 0.0)


def test_days_differ_and_workers_change_nothing():
    asked = [Variant(name="off", changes={"rules__ocpc__strategy": "off"}), Variant(name="on")]
    alone = play_variants(scenario(), asked, days=2)
    shared = play_variants(scenario(), asked, days=2, workers=2)
    for a, b in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(a.table, b.table)
    assert (alone[0].table[0] != alone[0].table[1]).any() and (alone[0].table != alone[1].table).any()


def test_trainings_of_one_name_are_averaged():
    off, on = ({"rules__ocpc__strategy": name} for name in ("off", "greedy"))
    both = play_variants(scenario(), [Variant(name="x", changes=off), Variant(name="x", changes=on, seed=1)], days=2)
    each = [play_variants(scenario(), [Variant(name="x", changes=own)], days=2)[0].table for own in (off, on)]
    assert len(both) == 1
    np.testing.assert_allclose(both[0].table, np.mean(each, axis=0))


def test_differences_are_percent_of_the_bases_mean_on_the_same_days():
    base = Days(name="base", table=np.tile([[100.0], [300.0]], (8, len(SIDES))))
    more = Days(name="more", table=base.table + np.tile([[10.0], [30.0]], (8, 1)))
    gap = more.against(base, 0)
    assert gap.point == pytest.approx(10.0)  # 20 on average, of 200
    assert gap.high - gap.point == pytest.approx(2.131 * 0.5 * np.std([10.0, 30.0] * 8, ddof=1) / 4, rel=1e-3)
    assert gap.point - gap.low == pytest.approx(gap.high - gap.point)


def test_a_platform_changes_no_advertisers_bid_or_budget():
    exact = {"world__prediction__ctr_noise": 0.0, "world__prediction__knows_state": True}
    own = with_listed(scenario())
    for other in (own.with_changes(**exact), own.with_changes(world__retrieval__candidates=8)):
        before, after = build_world(own).advertisers, build_world(other).advertisers
        np.testing.assert_array_equal(before.budget_micros, after.budget_micros)
        np.testing.assert_array_equal(before.bid_per_click, after.bid_per_click)
    assert (build_world(scenario()).advertisers.budget_micros == build_world(own).advertisers.budget_micros).all()


def test_a_fall_has_its_limits_in_order():
    base = Days(name="base", table=np.full((4, len(SIDES)), -50.0))
    less = Days(name="less", table=base.table - np.arange(4.0)[:, None])
    gap = less.against(base, 0)
    assert gap.low <= gap.point <= gap.high


def test_days_of_training_are_refused():
    with pytest.raises(ValueError, match="first_seed is 5; allowed is 1000000"):
        play_variants(scenario(), [Variant(name="one")], first_seed=5)
