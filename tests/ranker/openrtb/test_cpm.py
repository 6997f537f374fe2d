"""Prices per mille: nothing is lost or gained to rounding but below a micro, and always to the safe side."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.ranker.openrtb.cpm import earned_per_mille, exact, in_currency, meets_floor, spent_micros

chances = st.floats(0, 1, width=32).map(float)


def test_the_specifications_example_of_a_multiplied_impression():
    assert spent_micros(Decimal("2.50"), Decimal("30.3")) == 75_750  # OpenRTB 2.6, 7.9.4: 2.50 CPM x 30.3 is 0.07575


@pytest.mark.parametrize(
    ("cpm", "owed"), [("0", 0), ("0.001", 1), ("0.0010001", 2), ("0.0000001", 1), ("1000", 1_000_000)]
)
def test_what_is_owed_rounds_up_to_the_micro(cpm, owed):
    assert spent_micros(Decimal(cpm)) == owed


@given(st.integers(0, 10**15), chances)
def test_a_bid_is_the_last_whole_micro_not_above_what_is_earned(price, chance):
    earned = Fraction(chance) * price * 1_000
    assert earned_per_mille(price, chance) <= earned < earned_per_mille(price, chance) + 1


@given(st.integers(0, 10**12), chances, st.integers(1, 10**9).map(lambda n: Fraction(n, 10**6)))
def test_a_bid_in_another_currency_is_never_worth_more_than_is_earned(price, chance, rate):
    micros = earned_per_mille(price, chance)
    told = Fraction(in_currency(micros, rate))
    assert told * 10**6 <= micros * rate < told * 10**6 + 1


@given(st.integers(0, 10**12), st.floats(0, 1, width=32))
def test_what_a_click_priced_impression_costs_is_at_most_what_its_clicks_bring(price, chance):
    cpm = in_currency(earned_per_mille(price, float(chance)), Fraction(1))
    assert spent_micros(cpm) <= -(-Fraction(float(chance)) * price // 1)  # the exchange's own micro at most


def test_single_precision_predictions_are_taken_as_they_are():
    third = float(np.float32(1 / 3))
    assert earned_per_mille(3_000_000, third) == 1_000_000_029  # the float32 nearest to 1/3 is 0.33333334326...


def test_a_partners_floor_of_many_digits_is_met_exactly_or_not_at_all():
    # prebid-server#3042: floor 4, factor 0.9; the bidder sees 4.444444444444445 and must not bid 4.44
    assert not meets_floor(Decimal("4.44"), Fraction(1), 4.444444444444445, Fraction(1))
    assert not meets_floor(Decimal("4.444444"), Fraction(1), 4.444444444444445, Fraction(1))
    assert meets_floor(Decimal("4.444445"), Fraction(1), 4.444444444444445, Fraction(1))


def test_a_floor_is_the_decimal_that_was_written_not_the_float_beside_it():
    assert exact(0.1) == Fraction(1, 10) != Fraction(0.1)
    assert meets_floor(Decimal("0.1"), Fraction(1), 0.1, Fraction(1))
    assert meets_floor(Decimal("1.1"), Fraction(1), 1.1, Fraction(1))


def test_floors_in_other_currencies_are_compared_at_the_rate():
    euro = Fraction("0.92")
    assert meets_floor(Decimal("0.92"), euro, 1.0, Fraction(1))
    assert not meets_floor(Decimal("0.919999"), euro, 1.0, Fraction(1))
    assert meets_floor(Decimal("0.000001"), euro, 0.0, None)
    assert not meets_floor(Decimal("1000000"), euro, 0.01, None)
