"""The public auctions: properties, edge cases, and malformed inputs."""

import numpy as np
import pytest

from tribid.auctions import AUCTIONS, Outcome, auction_named, gsp, vcg

EVERY = pytest.mark.parametrize("auction", list(AUCTIONS.values()), ids=list(AUCTIONS))


def test_auctions_are_found_by_name():
    assert auction_named("vcg") is vcg
    with pytest.raises(ValueError, match=r"^no auction named 'gps'; choose first_price, gsp or vcg$"):
        auction_named("gps")


def test_vcg_never_charges_more_than_gsp_nor_less_than_the_reserve():
    rng = np.random.default_rng(0)
    bids, quality = rng.integers(0, 50, (2000, 6)), rng.random((2000, 6))
    arguments = {"reserve_micros": rng.integers(0, 20, 2000), "squash": 0.8}
    high, low = gsp(bids, quality, [1.0, 0.6, 0.3], **arguments), vcg(bids, quality, [1.0, 0.6, 0.3], **arguments)
    np.testing.assert_array_equal(high.winner, low.winner)
    assert np.all(low.price_micros <= high.price_micros)
    assert np.all((low.price_micros >= arguments["reserve_micros"][:, None]) | (low.winner < 0))


def test_vcg_in_the_last_slot_and_with_flat_slots_is_the_gsp_of_the_last():
    bids = [[90, 70, 50, 30]]
    flat = vcg(bids, np.ones((1, 4)), [1.0, 1.0, 1.0]).price_micros
    assert flat.tolist() == [[30, 30, 30]]
    assert vcg(bids, np.ones((1, 4)), [1.0]).price_micros.tolist() == [[70]]


def test_vcg_of_a_slot_without_clicks_costs_the_reserve():
    outcome = vcg([[9, 8, 7]], np.ones((1, 3)), [1.0, 0.0], reserve_micros=2)
    assert outcome.winner.tolist() == [[0, 1]] and outcome.price_micros.tolist() == [[8, 2]]


def test_vcg_is_truthful_by_brute_force():
    rng = np.random.default_rng(4)
    effects, unit = np.array([1.0, 0.5]), 1000
    for _ in range(60):
        values, quality = rng.integers(1, 12, 3) * unit, rng.choice([0.25, 0.5, 1.0], 3)
        reserve, deviations = int(rng.choice([0, 3])) * unit, np.arange(0, 25) * unit // 2
        for i in range(3):
            bids = np.tile(values, (deviations.size + 1, 1))
            bids[1:, i] = deviations
            outcome = vcg(bids, np.tile(quality, (bids.shape[0], 1)), effects, reserve_micros=reserve)
            utility = np.sum((outcome.winner == i) * effects * (values[i] - outcome.price_micros), axis=1)
            assert utility[0] >= utility.max() - 1.0, "up to the rounding of prices to whole micros"


def test_equal_quality_makes_squashing_irrelevant():
    bids = np.random.default_rng(1).integers(0, 1000, (200, 5))
    quality = np.full(bids.shape, 0.25)
    plain = gsp(bids, quality, [1.0, 0.5])
    for squash in (0.0, 0.5, 2.0):
        other = gsp(bids, quality, [1.0, 0.5], squash=squash)
        np.testing.assert_array_equal(plain.winner, other.winner)
        np.testing.assert_array_equal(plain.price_micros, other.price_micros)


def test_squashing_moves_from_revenue_ranking_to_bid_ranking():
    bids, quality = [[10, 6]], [[0.2, 0.5]]
    assert gsp(bids, quality, [1.0], squash=1.0).winner.tolist() == [[1]]
    assert gsp(bids, quality, [1.0], squash=0.0).winner.tolist() == [[0]]
    assert gsp(bids, quality, [1.0], squash=0.0).price_micros.tolist() == [[6]]


def test_relevance_never_falls_as_squash_rises():
    """Lahaie and Pennock (2007), Proposition 1, at fixed bids."""
    rng = np.random.default_rng(2)
    bids, quality, effects = rng.integers(1, 1000, (500, 6)), rng.random((500, 6)), np.array([1.0, 0.5])
    relevance = []
    for squash in (0.0, 0.5, 1.0, 2.0, 4.0):
        winner = gsp(bids, quality, effects, squash=squash).winner
        relevance.append(np.sum(np.take_along_axis(quality, winner, axis=1) * effects, axis=1))
    assert np.all(np.diff(relevance, axis=0) >= -1e-12)


@EVERY
def test_no_candidates_and_no_requests(auction):
    empty = auction(np.empty((2, 0), np.int64), np.empty((2, 0)), [1.0, 0.5])
    assert empty.winner.tolist() == [[-1, -1]] * 2 and empty.price_micros.tolist() == [[0, 0]] * 2
    assert auction([[]], [[]], [1.0], eligible=[[]], tie_break=[[]]).winner.tolist() == [[-1]]
    assert auction(np.empty((0, 3), np.int64), np.empty((0, 3)), [1.0]).winner.shape == (0, 1)


@EVERY
def test_all_below_the_reserve(auction):
    outcome = auction([[3, 4]], [[1.0, 1.0]], [1.0], reserve_micros=5)
    assert isinstance(outcome, Outcome)
    assert outcome.winner.tolist() == [[-1]] and outcome.price_micros.tolist() == [[0]]
    assert outcome.score.tolist() == [[0.0]]


def test_one_bidder_at_the_reserve_wins_and_pays_it():
    assert gsp([[5]], [[0.5]], [1.0, 0.5], reserve_micros=5).winner.tolist() == [[0, -1]]
    assert gsp([[9]], [[0.5]], [1.0, 0.5], reserve_micros=5).price_micros.tolist() == [[5, 0]]
    assert gsp([[9]], [[0.5]], [1.0]).price_micros.tolist() == [[0]]


@EVERY
@pytest.mark.parametrize("slots", [2, 3, 7])
def test_as_many_prices_as_winners_with_few_bidders(auction, slots):
    outcome = auction([[7, 9, 8]], np.ones((1, 3)), np.ones(slots), reserve_micros=1)
    assert outcome.winner[0, :3].tolist() == [1, 2, 0][:slots]
    assert np.all(outcome.winner[0, 3:] == -1) and np.all(outcome.price_micros[0, :3] >= 1)


def test_a_million_candidates_in_one_request():
    rng = np.random.default_rng(6)
    bids, quality = rng.integers(1, 10**9, (1, 10**6)), rng.random((1, 10**6))
    outcome = gsp(bids, quality, [1.0, 0.8, 0.6])
    best = np.argsort(-(bids[0] * quality[0]))[:4]
    assert outcome.winner[0].tolist() == best[:3].tolist()
    paid = outcome.price_micros[0] * quality[0, best[:3]]
    following = bids[0, best[1:]] * quality[0, best[1:]]
    assert np.all(paid >= following) and np.all(paid < following + 1)


@EVERY
def test_zero_quality_and_zero_bids_take_no_part(auction):
    outcome = auction([[9, 0, 3]], [[0.0, 1.0, 1.0]], [1.0, 0.5])
    assert outcome.winner.tolist() == [[2, -1]]


@EVERY
@pytest.mark.parametrize("quality", [1.0, 1.0 + 2**-52, np.float32(1) + np.finfo(np.float32).eps])
def test_quality_of_one_and_just_above_is_taken_as_it_is(auction, quality):
    outcome = auction([[8, 8]], [[1.0, quality]], [1.0], tie_break=[[0.9, 0.1]])
    assert outcome.winner[0, 0] == (1 if quality > 1 else 0)
    assert outcome.score[0, 0] == 8 * float(quality)


@EVERY
def test_the_largest_bid_works(auction):
    outcome = auction([[2**53, 2**53 - 1]], [[0.3, 0.3]], [1.0])
    assert outcome.winner[0, 0] == 0 and outcome.price_micros[0, 0] <= 2**53


@EVERY
def test_masked_candidates_take_no_part_and_set_no_price(auction):
    outcome = auction([[9, 8, 7]], np.ones((1, 3)), [1.0, 0.5], eligible=[[True, False, True]])
    plain = auction([[9, 7]], np.ones((1, 2)), [1.0, 0.5])
    assert outcome.winner.tolist() == [[0, 2]]
    assert outcome.price_micros.tolist() == plain.price_micros.tolist()


def test_reserve_of_each_request():
    outcome = gsp([[9, 4], [9, 4]], np.ones((2, 2)), [1.0], reserve_micros=[1, 6])
    assert outcome.price_micros.tolist() == [[4], [6]]


def test_tie_break_is_uniform_over_many_equal_bidders():
    draws = np.random.default_rng(11).random((30_000, 5))
    winner = gsp(np.full(draws.shape, 3), np.full(draws.shape, 0.1), [1.0, 0.5], tie_break=draws).winner
    for slot in range(2):
        counts = np.bincount(winner[:, slot], minlength=5)
        assert np.sum((counts - 6000) ** 2) / 6000 < 18.5, "chi-square, 4 degrees of freedom, p = 0.001"


@EVERY
def test_strided_and_read_only_inputs_are_accepted(auction):
    wide = np.arange(1, 25).reshape(2, 12)
    wide.setflags(write=False)
    strided = auction(wide[:, ::3], np.ones((2, 4)), [1.0])
    assert strided.winner.tolist() == [[3], [3]]
    assert auction(np.asfortranarray(wide), np.ones((2, 12)), [1.0]).winner.tolist() == [[11], [11]]


GOOD = {"bids_micros": [[5, 7]], "quality": [[0.5, 0.5]], "slot_effects": [1.0, 0.5]}
MALFORMED = [
    ("bids_micros", [[5, -7]], r"bids_micros\[0, 1\] is -7; allowed: whole micros"),
    ("bids_micros", [[5.0, 7.0]], "bids_micros has dtype float64"),
    ("bids_micros", [[5, float("nan")]], "bids_micros has dtype float64"),
    ("bids_micros", [[5, float("inf")]], "bids_micros has dtype float64"),
    ("bids_micros", [[-0.0, 7.0]], "bids_micros has dtype float64"),
    ("bids_micros", [[True, False]], "bids_micros holds bools"),
    ("bids_micros", [[5, True]], "bids_micros holds bools"),
    ("bids_micros", [["5", "7"]], "bids_micros has dtype <U1"),
    ("bids_micros", [[5, None]], "bids_micros has dtype object"),
    ("bids_micros", [[5, 2**53 + 1]], r"bids_micros\[0, 1\] is 9007199254740993"),
    ("bids_micros", [[5, 2**63]], r"bids_micros\[0, 1\] is 9223372036854775808"),
    ("bids_micros", [[5, 2**64]], r"bids_micros\[0, 1\] is 18446744073709551616"),
    ("bids_micros", [5, 7], r"bids_micros has shape \[2\]; allowed: \[B, N\]"),
    ("bids_micros", [[5, 7], [5]], "bids_micros is not a rectangular array"),
    ("quality", [[0.5, float("nan")]], r"quality\[0, 1\] is nan"),
    ("quality", [[0.5, float("inf")]], r"quality\[0, 1\] is inf"),
    ("quality", [[0.5, -0.1]], r"quality\[0, 1\] is -0.1"),
    ("quality", [[0.5, -0.0]], r"quality\[0, 1\] is -0.0"),
    ("quality", [[0.5, 1e300]], r"quality\[0, 1\] is 1e\+300"),
    ("quality", [[True, True]], "quality holds bools"),
    ("quality", [["a", "b"]], "quality has dtype <U1"),
    ("quality", [[0.5]], r"quality has shape \[1, 1\]; allowed: \[1, 2\]"),
    ("slot_effects", [], r"slot_effects has shape \[0\]; allowed: \[K\]"),
    ("slot_effects", [[1.0]], r"slot_effects has shape \[1, 1\]"),
    ("slot_effects", [0.5, 1.0], r"slot_effects\[1\] is 1, above"),
    ("slot_effects", [1.0, -0.5], r"slot_effects\[1\] is -0.5"),
    ("slot_effects", [float("nan")], r"slot_effects\[0\] is nan"),
    ("reserve_micros", -1, "reserve_micros is -1"),
    ("reserve_micros", 0.5, "reserve_micros has dtype float64"),
    ("reserve_micros", [1, 2], r"reserve_micros has shape \[2\]; allowed: \[1\]"),
    ("reserve_micros", True, "reserve_micros holds bools"),
    ("squash", float("nan"), "squash is nan"),
    ("squash", -1.0, "squash is -1.0"),
    ("squash", 17.0, "squash is 17.0"),
    ("squash", "1", "squash has dtype <U1"),
    ("eligible", [[1, 0]], "eligible has dtype int64; allowed: bool"),
    ("eligible", [[True]], r"eligible has shape \[1, 1\]; allowed: \[1, 2\]"),
    ("tie_break", [[0.5, float("nan")]], r"tie_break\[0, 1\] is nan; allowed: finite numbers"),
    ("tie_break", [[0.5]], r"tie_break has shape \[1, 1\]; allowed: \[1, 2\]"),
]


@EVERY
@pytest.mark.parametrize(("field", "value", "message"), MALFORMED)
def test_malformed_input_is_refused_by_name(auction, field, value, message):
    with pytest.raises(ValueError, match=message):
        auction(**{**GOOD, field: value})
