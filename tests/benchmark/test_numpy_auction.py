"""The numpy reference decides as the market's own auction does, as long as budgets last; and the counted work."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tribid.auctions.flat import flat_gsp
from tribid.benchmark import bare
from tribid.benchmark.numpy_auction import numpy_auction


@given(seed=st.integers(0, 2**32), requests=st.integers(1, 40), candidates=st.integers(4, 80))
def test_the_numpy_auction_decides_as_the_bare_auction_while_budgets_last(seed, requests, candidates):
    rng = np.random.default_rng(seed)
    bids = rng.integers(1, 2_000_000, candidates)
    pctr = rng.uniform(0.01, 0.1, (requests, candidates)).astype(np.float32)
    draws, left = rng.random((requests, 3)) * 0.2, np.full(candidates, 2**50)
    wanted = flat_gsp(bids, pctr, bare.SLOT_EFFECTS, draws, left)
    winner, price, clicked = numpy_auction(bids, pctr, bare.SLOT_EFFECTS, draws, left)
    np.testing.assert_array_equal(winner, wanted.winner)
    np.testing.assert_array_equal(clicked, wanted.clicked)
    # One micro: ceil of a quotient of rounded numbers, where the market looks for the least bid that keeps the slot.
    assert np.abs(price - wanted.price_micros).max() <= 1
    assert np.abs(left - wanted.left_micros).max() <= clicked.sum()


def test_a_batch_is_not_charged_beyond_the_budget():
    left = np.array([5, 10**9, 10**9])
    ads = np.full((3, 3), 0.5, np.float32)
    numpy_auction(np.array([100, 4, 2]), ads, np.array([1.0, 0.5]), np.zeros((3, 2)), left)
    assert left.min() == 0


def test_the_timed_loops_play_every_request():
    given_, ours, numpys = bare.offers(48, 1.0), bare.lasting(48), bare.lasting(48)
    bare.play(given_, ours)
    bare.play_numpy(given_, numpys)
    assert len(given_.pctr) == 2**20 // 192
    # The draws differ, the market does not: what both collect is alike to a few per cent.
    assert (bare.lasting(48) - ours).sum() == pytest.approx((bare.lasting(48) - numpys).sum(), rel=0.05)


def test_work_is_counted_per_candidate_per_place_and_per_request():
    # 48 candidates: a conversion, a product, two for the key, a maximum and a minimum for each of 5 places.
    assert bare.counted_work(48) == (192.0, 14 * 48 + 148 + 5 * 4 + 16 * 3)
    # 1000 candidates: a conversion, a product, a maximum; an eighth of 2 for the key and 5 for the searches; 4 pops of 80.
    assert bare.counted_work(1000) == (4000.0, 3.875 * 1000 + 320 + 148 + 20 + 48)
