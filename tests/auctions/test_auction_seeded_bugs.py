"""Nine faults seeded into a quality-weighted GSP: the public checker, and its four properties alone, find each."""

import numpy as np
import pytest

from tribid.auctions import AUCTIONS, Outcome, first_price, gsp, vcg
from tribid.auctions.reference import critical_bid, first_price_reference, gsp_reference, vcg_reference
from tribid.auctions.testing import FOUR_PROPERTIES, check_auction, check_uniform_tie_break

BUGS = (
    "reserve not applied to eligibility",
    "ranked by bid but priced by score",
    "price rounded down",
    "quality left out of the price",
    "price plus one",
    "charges own bid",
    "reserve dropped from the price",
    "tie pays the reserve",
    "winner placed in two slots",
)


def buggy_gsp(bug):
    """A plain GSP with one fault, or none when ``bug`` is None."""

    def auction(bids, quality, slot_effects, *, reserve_micros=0, squash=1.0, eligible=None, tie_break=None):
        bids, slots = np.asarray(bids), len(slot_effects)
        rows, n = bids.shape
        weight = np.asarray(quality, np.float64) ** squash
        draws = np.zeros((rows, n)) if tie_break is None else np.asarray(tie_break)
        winner, price = np.full((rows, slots), -1), np.zeros((rows, slots), np.int64)
        score_out, reserve = np.zeros((rows, slots)), int(reserve_micros)
        for r in range(rows):
            score = bids[r] * weight[r]
            key = bids[r] if bug == "ranked by bid but priced by score" else score
            order = [int(i) for i in np.lexsort((np.arange(n), -draws[r], -key)) if score[i] > 0]
            if bug != "reserve not applied to eligibility":
                order = [i for i in order if bids[r, i] >= reserve]
            if eligible is not None:
                order = [i for i in order if eligible[r][i]]
            if bug == "winner placed in two slots" and order:
                order = [order[0], *order]
            for k, i in enumerate(order[:slots]):
                following = score[order[k + 1]] if k + 1 < len(order) else 0.0
                winner[r, k], score_out[r, k] = i, score[i]
                price[r, k] = buggy_price(bug, int(bids[r, i]), weight[r, i], score[i], following, reserve)
        return Outcome(winner, price, score_out)

    return auction


def buggy_price(bug, bid, weight, score, following, reserve):
    price = critical_bid(following, weight)
    if bug == "price rounded down":
        price = int(following / weight)
    if bug == "quality left out of the price":
        price = int(np.ceil(following))
    if bug == "tie pays the reserve" and following == score:
        price = reserve
    if bug == "charges own bid":
        price = bid
    if bug != "reserve dropped from the price":
        price = max(price, reserve)
    return price + 1 if bug == "price plus one" else price


def test_without_a_bug_the_same_code_passes():
    check_auction(buggy_gsp(None))


@pytest.mark.parametrize("bug", BUGS)
def test_the_checker_finds(bug):
    with pytest.raises(AssertionError, match="the request: bids"):
        check_auction(buggy_gsp(bug))


@pytest.mark.parametrize("bug", BUGS)
def test_four_properties_alone_find(bug):
    with pytest.raises(AssertionError, match="the request: bids"):
        check_auction(buggy_gsp(bug), properties=FOUR_PROPERTIES)


@pytest.mark.parametrize("name", sorted(AUCTIONS))
@pytest.mark.parametrize("seed", range(3))
def test_the_shipped_auctions_keep_their_promises(name, seed):
    check_auction(AUCTIONS[name], rule=name, seed=seed)


@pytest.mark.parametrize(
    ("reference", "rule"), [(gsp_reference, "gsp"), (vcg_reference, "vcg"), (first_price_reference, "first_price")]
)
def test_the_references_keep_their_promises(reference, rule):
    check_auction(reference, rule=rule, cases=30)


@pytest.mark.parametrize(
    ("auction", "rule"), [(first_price, "gsp"), (first_price, "vcg"), (vcg, "gsp"), (gsp, "first_price")]
)
def test_one_rule_is_not_mistaken_for_another(auction, rule):
    with pytest.raises(AssertionError):
        check_auction(auction, rule=rule)


def test_an_unsold_reserve_price_impression_is_found():
    """A fault that public simulators ship: an impression that clears at the reserve is treated as unsold."""

    def unsold_at_reserve(*arrays, reserve_micros=0, **keywords):
        outcome = gsp(*arrays, reserve_micros=reserve_micros, **keywords)
        unsold = outcome.price_micros <= reserve_micros
        return Outcome(
            np.where(unsold, -1, outcome.winner),
            np.where(unsold, 0, outcome.price_micros),
            np.where(unsold, 0.0, outcome.score),
        )

    with pytest.raises(AssertionError):
        check_auction(unsold_at_reserve)


def test_a_tie_break_by_index_is_found():
    def by_index(*arrays, tie_break=None, **keywords):
        return gsp(*arrays, **keywords)

    with pytest.raises(AssertionError, match="tie-break"):
        check_uniform_tie_break(by_index)
    with pytest.raises(AssertionError, match=r"tie-break|permutation"):
        check_auction(by_index)


def test_an_auction_that_writes_to_its_inputs_is_found():
    def greedy_hands(bids, *arrays, **keywords):
        outcome = gsp(bids, *arrays, **keywords)
        bids[...] = bids // 2
        return outcome

    with pytest.raises(AssertionError):
        check_auction(greedy_hands)


def test_an_unknown_rule_names_the_choices():
    with pytest.raises(ValueError, match="no rule named 'third_price'; choose first_price, gsp or vcg"):
        check_auction(gsp, rule="third_price")
