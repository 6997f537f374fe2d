"""The auction on tensors equals the compiled kernels, bit for bit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tribid import auctions
from tribid.auctions import score
from tribid.auctions.score import MAX_MICROS
from tribid.gpu import auction
from tribid.gpu.ocpc import INDICES, STRATEGIES, Ocpc, adjust


def tensor(values):
    return torch.tensor(np.asarray(values))


@st.composite
def requests(draw):
    """Small bids and few qualities make equal scores; zero bids, one candidate and more slots than candidates occur."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, n, slots = draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    most = draw(st.sampled_from([1, 3, 60, 5_000_000, MAX_MICROS]))
    coarse = draw(st.booleans())
    quality = rng.choice([0.0, 0.125, 0.25, 0.5, 1.0], (rows, n)) if coarse else rng.random((rows, n))
    effects = np.sort(rng.random(slots))[::-1].copy()
    if draw(st.booleans()):
        effects[-1] = 0.0
    tie = draw(st.sampled_from(["none", "draws", "coarse"]))
    draws = {"none": None, "draws": rng.random((rows, n)), "coarse": rng.integers(0, 2, (rows, n)) * 1.0}[tie]
    reserve = rng.choice([0, 1, most // 4, most // 2], rows)
    return rng.integers(0, most + 1, (rows, n)), quality.astype(np.float32), effects, reserve, draws


@pytest.mark.parametrize("name", auction.MECHANISMS)
@given(requests())
def test_winners_prices_and_scores_are_the_kernels(name, request):
    bids, quality, effects, reserve, draws = request
    wanted = auctions.auction_named(name)(bids, quality, effects, reserve_micros=reserve, tie_break=draws)
    weight = auction.quality_weight(tensor(quality), 1.0)
    tie = None if draws is None else tensor(draws)
    ranking = auction.rank(tensor(bids), weight, tensor(reserve), len(effects) + 1, tie)
    price = auction.prices(name, tensor(bids), weight, tensor(effects), tensor(reserve), ranking)
    np.testing.assert_array_equal(ranking.top[:, :-1].numpy(), wanted.winner)
    np.testing.assert_array_equal(ranking.top_score[:, :-1].numpy(), wanted.score)
    np.testing.assert_array_equal(price.numpy(), wanted.price_micros)


@given(requests())
def test_tied_marks_the_rows_whose_neighbours_are_equal(request):
    bids, quality, effects, reserve, draws = request
    tie = None if draws is None else tensor(draws)
    ranking = auction.rank(tensor(bids), tensor(quality).double(), tensor(reserve), len(effects) + 1, tie)
    for top, best, tied in zip(ranking.top, ranking.top_score.tolist(), ranking.tied.tolist(), strict=True):
        filled = best[: int((top >= 0).sum())]
        assert tied == (len(set(filled)) < len(filled))


weights = st.one_of(st.floats(1e-12, 1e6), st.sampled_from([2.0**-1074, 2.0**-1022, 1e-300, 0.1, 1 / 3, 1.0, 1e300]))
bids_micros = st.integers(0, MAX_MICROS)


@given(bids_micros, weights, weights, st.integers(-2, 2))
@example(MAX_MICROS, 0.1, 0.1, 1)
@example(MAX_MICROS - 1, 1 / 3, 1 / 3, -1)
def test_critical_bids_are_the_kernels(bid, theirs, own, ulps):
    value = float(bid) * theirs
    for _ in range(abs(ulps)):
        value = math.nextafter(value, math.copysign(math.inf, ulps))
    if not 0.0 <= value < math.inf:
        return
    found = auction.least_bid_reaching(tensor([value]), tensor([own]))
    assert found.item() == score.least_bid_reaching(value, own)
    found = auction.largest_bid_not_above(tensor([value]), tensor([own]))
    assert found.item() == score.largest_bid_not_above(value, own)


@pytest.mark.parametrize("squash", [0.0, 1.0, 2.0])
def test_squashes_without_a_power_function_are_exact(squash):
    quality = np.random.default_rng(1).random((50, 7)).astype(np.float32)
    wanted = score.quality_weights(quality.astype(np.float64), squash)
    np.testing.assert_array_equal(auction.quality_weight(tensor(quality), squash).numpy(), wanted)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@given(requests(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.4, 0.99]))
def test_adjusted_bids_are_the_kernels(strategy, index, request, seed, bid_range):
    bids, quality, effects, reserve, _ = request
    rng, (rows, n), slots = np.random.default_rng(seed), bids.shape, len(effects)
    pcvr = rng.choice([0.0, 0.01, 0.02, 0.5], (rows, n)) if rng.random() < 0.5 else rng.random((rows, n))
    pcvr = pcvr.astype(np.float32)
    mean, value = rng.choice([0.0, 0.01, 0.3], n), rng.integers(0, 90_000_000, n)
    opted_in, cap = rng.random(n) < 0.8, rng.integers(0, 2 * int(bids.max()) + 2, n).clip(max=MAX_MICROS)
    bids = np.minimum(bids, cap)
    ocpc, floor = Ocpc(strategy, index, bid_range, 0.7), int(reserve[0])
    found = adjust(
        ocpc, tensor(bids), auction.quality_weight(tensor(quality), 1.0), tensor(quality), tensor(pcvr), tensor(mean),
        tensor(value), tensor(opted_in), tensor(cap), torch.full((rows,), floor), slots,
    )  # fmt: skip
    wanted = auctions.ocpc(
        bids, quality, pcvr, np.tile(mean, (rows, 1)), np.tile(value, (rows, 1)), n_slots=slots, strategy=strategy,
        index=index, bid_range=bid_range, alpha=0.7, opted_in=np.tile(opted_in, (rows, 1)),
        cap_micros=np.tile(cap, (rows, 1)), reserve_micros=floor,
    )  # fmt: skip
    np.testing.assert_array_equal(found.bids.numpy(), wanted.bids_micros)
    np.testing.assert_array_equal(found.weight.numpy(), wanted.quality)
    if strategy == "greedy":
        np.testing.assert_array_equal(found.tie.numpy(), wanted.tie_break)
    else:
        assert found.tie is None
    assert bool((found.most >= found.bids).all())
