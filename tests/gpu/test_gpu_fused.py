"""The fused kernel is settlement request by request; without a GPU it is interpreted, on few requests."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the fused engine needs Triton, which this machine has not")

import triton
import triton.language as tl

from tribid.auctions import score
from tribid.auctions.score import MAX_MICROS
from tribid.gpu import auction, fused, kernels
from tribid.gpu.bare import bare_reference, settle_bare

FEW = {"world__traffic__requests": 75, "world__traffic__ticks": 3, "generated__budget_share": 0.03}


def test_every_rule_settles_as_the_host_does(followed, interpreted_rules):
    markets = followed(fused.settle, **(FEW | interpreted_rules))
    for _ in range(2):
        markets.step(exact_sums=True)


def test_a_tick_may_come_in_several_batches(followed):
    followed(fused.settle, **FEW).step(batches=3, exact_sums=True)


def test_a_visit_that_ended_is_skipped(followed):
    markets = followed(fused.settle, **(FEW | {"world__users__leave_base": 0.6, "world__traffic__session_length": 40}))
    markets.step()
    assert any(host.total.counts.served[0] < markets.plan.host_counts[m, 0] for m, host in enumerate(markets.hosts))


@triton.jit
def _prices(score_, weight_, least_, most_, COUNT: tl.constexpr):
    place = tl.arange(0, COUNT)
    value, weight = tl.load(score_ + place), tl.load(weight_ + place)
    tl.store(least_ + place, kernels.least_bid_reaching(value, weight))
    tl.store(most_ + place, kernels.largest_bid_not_above(value, weight))


def test_critical_bids_are_the_kernels(device):
    rng = np.random.default_rng(4)
    bids = np.concatenate([rng.integers(0, most, 512) for most in (3, 2_000_000, 2**40, MAX_MICROS)])
    theirs, own = rng.choice([0.1, 1 / 3, 0.5, 0.03, 1.0], (2, len(bids)))
    values = bids * theirs
    values = np.where(rng.random(len(bids)) < 0.5, np.nextafter(values, np.inf), values)
    least, most = (torch.zeros(len(bids), dtype=torch.int64, device=device) for _ in range(2))
    _prices[(1,)](torch.tensor(values, device=device), torch.tensor(own, device=device), least, most, COUNT=len(bids))
    pairs = list(zip(values, own, strict=True))
    assert least.tolist() == [score.least_bid_reaching(value, weight) for value, weight in pairs]
    assert most.tolist() == [score.largest_bid_not_above(value, weight) for value, weight in pairs]


@triton.jit
def _places(score_, tie_, place_, tied_place_, LANES: tl.constexpr, SLOTS: tl.constexpr):
    lane, row = tl.arange(0, LANES), tl.program_id(0)
    values, tie = tl.load(score_ + row * LANES + lane), tl.load(tie_ + row * LANES + lane)
    place, _, _, _, equal = kernels.select(values, SLOTS)
    tl.store(place_ + row * LANES + lane, tl.where(equal, -1, place))
    place, _, _, _, _ = kernels.select_tied(values, tie, lane, SLOTS)
    tl.store(tied_place_ + row * LANES + lane, place)


@pytest.mark.slow
def test_places_are_the_ranks_and_equal_scores_are_noticed(device):
    rng, lanes, slots = np.random.default_rng(6), 8, 3
    bids = torch.tensor(rng.integers(0, 12, (200, lanes)))
    tie = torch.tensor(rng.integers(0, 2, bids.shape) * 1.0)
    even, free = torch.ones(bids.shape, dtype=torch.float64), torch.zeros(200, dtype=torch.int64)
    ranking = auction.rank(bids, even, free, lanes, tie)
    wanted = torch.full(bids.shape, slots + 1)
    for k in range(slots + 1):
        rows = ranking.top[:, k] >= 0
        wanted[rows, ranking.top[rows, k]] = k
    place, tied_place = (torch.zeros(bids.shape, dtype=torch.int32, device=device) for _ in range(2))
    _places[(200,)](ranking.score.to(device), tie.to(device), place, tied_place, LANES=lanes, SLOTS=slots)
    assert torch.equal(tied_place.cpu().long(), wanted)
    # Equal scores matter among the best four, and where the fifth equals the fourth.
    best = ranking.top_score[:, : slots + 2]
    equal = ((best[:, 1:] == best[:, :-1]) & (best[:, 1:] > 0)).any(1)
    assert torch.equal((place.cpu() == -1).all(1), equal) and 0 < int(equal.sum()) < 200
    assert torch.equal(place.cpu().long()[~equal], wanted[~equal])


@pytest.mark.parametrize(
    ("rows", "bidders", "slots", "requests"),
    [(1, 5, 2, 12), (4, 48, 3, 14), pytest.param(4, 6, 2, 90, marks=pytest.mark.slow), (8, 3, 4, 20)],
)
def test_the_bare_auction_charges_as_gsp_does_and_never_above_a_budget(device, rows, bidders, slots, requests):
    rng = np.random.default_rng(rows)
    pctr = torch.tensor(rng.choice([0.1, 0.3, 0.7], (2, requests, bidders)).astype(np.float32), device=device)
    bids = torch.tensor(rng.choice([400_000, 1_100_000], bidders), device=device)
    left = torch.tensor(rng.integers(0, 3_000_000, (2, bidders)), device=device)
    effects = torch.linspace(1.0, 0.5, slots, dtype=torch.float64, device=device)
    wanted, wanted_revenue = left.clone(), torch.zeros(2, dtype=torch.int64, device=device)
    bare_reference(pctr, bids, effects, wanted, wanted_revenue)
    found, revenue = left.clone(), torch.zeros(2, dtype=torch.int64, device=device)
    settle_bare(pctr, bids, effects, found, revenue, rows=rows)
    assert torch.equal(found, wanted) and torch.equal(revenue, wanted_revenue)
    assert int(found.min()) >= 0 and int(revenue.min()) > 0
