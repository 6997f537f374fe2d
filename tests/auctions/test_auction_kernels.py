"""The compiled kernels equal the plain reference, bit for bit."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.auctions import kernels
from tribid.auctions.mechanisms import AUCTIONS
from tribid.auctions.reference import critical_bid, first_price_reference, gsp_reference, vcg_reference
from tribid.auctions.score import MAX_MICROS

REFERENCES = {"first_price": first_price_reference, "gsp": gsp_reference, "vcg": vcg_reference}


def random_batch(rng, rows, n, slots, most):
    """Arguments of an auction; small bids and few qualities, so that many scores are equal."""
    coarse = rng.random() < 0.6
    quality = rng.choice([0.0, 0.125, 0.25, 0.5, 1.0], (rows, n)) if coarse else rng.random((rows, n))
    effects = np.sort(rng.random(slots))[::-1]
    if rng.random() < 0.2:
        effects[-1] = 0.0
    arguments = {
        "reserve_micros": rng.choice([0, 1, most // 4, most // 2], rows) if rng.random() < 0.6 else 0,
        "eligible": rng.random((rows, n)) < 0.8 if rng.random() < 0.5 else None,
        "tie_break": rng.choice([rng.random((rows, n)), rng.integers(0, 2, (rows, n)) * 1.0]),
    }
    if rng.random() < 0.3:
        arguments["tie_break"] = None
    return (rng.integers(0, most + 1, (rows, n)), quality, effects), arguments


@pytest.mark.parametrize("name", sorted(AUCTIONS))
@pytest.mark.parametrize("squash", [0.0, 0.5, 1.0, 1.3])
def test_kernel_equals_reference(name, squash):
    rng = np.random.default_rng(int(squash * 10))
    for n, slots, most in itertools.product((1, 3, 9), (1, 3, 5), (3, 60, 5_000_000)):
        positional, keywords = random_batch(rng, 30, n, slots, most)
        fast = AUCTIONS[name](*positional, squash=squash, **keywords)
        plain = REFERENCES[name](*positional, squash=squash, **keywords)
        for field in ("winner", "price_micros", "score"):
            np.testing.assert_array_equal(getattr(fast, field), getattr(plain, field), err_msg=f"{field} {n} {slots}")


@pytest.mark.parametrize("name", sorted(AUCTIONS))
def test_kernel_equals_reference_at_the_default_market_size(name):
    rng = np.random.default_rng(48)
    bids, quality = rng.integers(0, 4_000_000, (120, 48)), rng.random((120, 48)).astype(np.float32) * 0.1
    arguments = {"reserve_micros": 10_000, "tie_break": rng.random((120, 48))}
    fast = AUCTIONS[name](bids, quality, [1.0, 0.8, 0.6], **arguments)
    plain = REFERENCES[name](bids, quality, [1.0, 0.8, 0.6], **arguments)
    for field in ("winner", "price_micros", "score"):
        np.testing.assert_array_equal(getattr(fast, field), getattr(plain, field))


weights = st.floats(1e-12, 1e6)
amounts = st.integers(0, MAX_MICROS)


@settings(max_examples=300, deadline=None)
@given(bid=amounts, weight=weights)
def test_the_critical_bid_of_ones_own_score_is_exact(bid, weight):
    score = float(bid) * weight
    least = kernels.least_bid_reaching(score, weight)
    assert least == critical_bid(score, weight) <= bid
    assert float(least) * weight >= score
    assert least == 0 or float(least - 1) * weight < score


@settings(max_examples=300, deadline=None)
@given(bid=st.integers(0, 10**13), own=weights, other=weights)
def test_bids_on_either_side_of_a_score_are_neighbours(bid, own, other):
    score = float(bid) * own
    least, largest = kernels.least_bid_reaching(score, other), kernels.largest_bid_not_above(score, other)
    assert largest <= least <= largest + 1 or float(least) * other == score
    if largest < MAX_MICROS:
        assert float(largest) * other <= score < float(largest + 1) * other


def test_a_score_one_float_away_moves_the_bid_by_one_micro():
    rng = np.random.default_rng(0)
    for bid, weight in zip(rng.integers(1, 10**12, 500).tolist(), rng.random(500).tolist(), strict=True):
        score = float(bid) * weight
        assert kernels.least_bid_reaching(math.nextafter(score, math.inf), weight) == bid + 1
        assert kernels.largest_bid_not_above(math.nextafter(score, 0.0), weight) == bid - 1


def test_scores_beyond_any_bid_are_capped():
    assert kernels.least_bid_reaching(1e300, 1e-300) == MAX_MICROS
    assert kernels.largest_bid_not_above(1e300, 1e-300) == MAX_MICROS


@pytest.mark.parametrize("weight", [5e-324, 1e-310, 2.2250738585072014e-308])
def test_critical_bids_are_exact_among_denormal_weights(weight):
    for bid in (1, 7, 12_345_678):
        assert kernels.least_bid_reaching(float(bid) * weight, weight) == bid


def rank(bids, weight, tie=(), reserve=0, places=3):
    bids, weight, tie = np.asarray(bids, np.int64), np.asarray(weight, np.float64), np.asarray(tie, np.float64)
    score, top, top_score = np.full(bids.size, np.nan), np.full(places, 99), np.full(places, np.nan)
    tied = kernels.rank_row(bids, weight, reserve, tie, score, top, top_score)
    return score.tolist(), top.tolist(), top_score.tolist(), tied


def test_rank_row_fills_scores_winners_and_runner_up():
    assert rank([4, 10, 0, 2], [1.0, 0.5, 1.0, 1.0]) == ([4, 5, -1, 2], [1, 0, 3], [5, 4, 2], False)
    assert rank([4, 10, 0, 2], [1.0, 0.5, 1.0, 1.0], reserve=4) == ([4, 5, -1, -1], [1, 0, -1], [5, 4, 0], False)
    assert rank([], []) == ([], [-1, -1, -1], [0, 0, 0], False)


def test_rank_row_reports_ties_and_lets_draws_decide():
    assert rank([5, 5, 9], [1.0] * 3)[1:] == ([2, 0, 1], [9, 5, 5], True)
    assert rank([5, 5, 9], [1.0] * 3, tie=[0.1, 0.2, 0.0])[1:] == ([2, 1, 0], [9, 5, 5], True)
    assert rank([5, 5, 9], [1.0] * 3, tie=[0.3, 0.3, 0.0])[1] == [2, 0, 1]
    assert rank([5, 5, 5, 5], [1.0] * 4, tie=[0.1, 0.4, 0.2, 0.3], places=2)[1] == [1, 3]


def test_auction_rows_writes_into_narrow_winner_arrays():
    winner, price, score = np.empty((1, 2), np.int32), np.empty((1, 2), np.int64), np.empty((1, 2))
    bids, none = np.array([[10, 4, 2]]), np.empty((0, 0))
    kernels.auction_rows(
        kernels.GSP, bids, np.ones((1, 3)), np.array([1.0, 0.5]), np.zeros(1, np.int64), none, winner, price, score
    )
    assert winner.tolist() == [[0, 1]] and price.tolist() == [[4, 2]] and score.tolist() == [[10, 4]]


def test_squash_one_and_zero_are_exact():
    for quality in (0.1, 1 / 3, 0.7, 1.0 + 2**-52):
        assert kernels.quality_weight(quality, 1.0) == quality
        assert kernels.quality_weight(quality, 0.0) == 1.0
        assert kernels.quality_weight(quality, 0.5) == pytest.approx(math.sqrt(quality), rel=1e-15)


def test_a_row_alone_is_decided_as_in_its_batch():
    rng = np.random.default_rng(9)
    (bids, quality, effects), _ = random_batch(rng, 50, 9, 3, 60)
    for auction in AUCTIONS.values():
        batch = auction(bids, quality, effects, squash=0.7)
        for r in range(50):
            alone = auction(bids[r : r + 1], quality[r : r + 1], effects, squash=0.7)
            assert alone.winner[0].tolist() == batch.winner[r].tolist()
            assert alone.price_micros[0].tolist() == batch.price_micros[r].tolist()
            assert alone.score[0].tolist() == batch.score[r].tolist()
