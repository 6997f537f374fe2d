import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.evaluation.inequality import gini, jain

shares = st.lists(st.floats(0, 1e9), min_size=1, max_size=20).filter(lambda x: sum(x) > 1e-3)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_equal_shares_and_one_owner_have_the_closed_forms(n: int) -> None:
    assert gini(np.full(n, 0.1)) == pytest.approx(0.0, abs=1e-12)
    assert jain(np.full(n, 0.1)) == pytest.approx(1.0)
    owner = np.zeros(n)
    owner[n // 2] = 3.0
    assert gini(owner) == pytest.approx((n - 1) / n)
    assert jain(owner) == pytest.approx(1 / n)


@given(shares)
def test_gini_is_half_the_relative_mean_difference(x: list[float]) -> None:
    values = np.array(x)
    pairs = np.abs(values[:, None] - values).mean()
    assert gini(x) == pytest.approx(pairs / (2 * values.mean()), abs=1e-9)


@given(shares, st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_indices_ignore_the_unit_and_the_order(x: list[float], unit: float, random: object) -> None:
    shuffled = sorted(x)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    scaled = [value * unit for value in shuffled]
    assert gini(scaled) == pytest.approx(gini(x), abs=1e-9)
    assert jain(scaled) == pytest.approx(jain(x), rel=1e-9)
    assert 0.0 <= gini(x) <= 1.0
    assert 1 / len(x) - 1e-9 <= jain(x) <= 1.0 + 1e-9


def test_shares_of_nothing_are_equal() -> None:
    assert gini([0, 0]) == 0.0
    assert jain([0, 0]) == 1.0


@pytest.mark.parametrize("bad", [[], [-1.0, 2.0], [np.nan], [np.inf, 1.0], [[1.0]]])
@pytest.mark.parametrize("index", [gini, jain])
def test_indices_refuse_what_is_no_share(index: object, bad: list[float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        index(bad)  # type: ignore[operator]
