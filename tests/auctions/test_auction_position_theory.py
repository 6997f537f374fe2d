"""Equilibria of position auctions: closed forms against each other, against the auctions, and against bounds."""

import itertools

import numpy as np
import pytest

from tribid.auctions import (
    gsp,
    gsp_payments,
    highest_symmetric_bids,
    is_locally_envy_free,
    is_nash_equilibrium,
    lowest_symmetric_bids,
    stakeholder_reserve,
    vcg,
    vcg_payments,
)


def random_markets(count, slots, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(1, slots + 4))
        yield np.sort(rng.uniform(1, 100, n))[::-1], np.sort(rng.uniform(0.1, 1, slots))[::-1]


def test_three_slot_revenues_match_the_printed_closed_forms():
    """Varian (2007): R_L = v2 (x1 - x2) + 2 v3 (x2 - x3) + 3 v4 x3; R_U = v1 (x1 - x2) + 2 v2 (x2 - x3) + 3 v3 x3."""
    for _ in range(20):
        rng = np.random.default_rng(_)
        v, x = np.sort(rng.uniform(1, 9, 4))[::-1], np.sort(rng.uniform(0.1, 1, 3))[::-1]
        low = v[1] * (x[0] - x[1]) + 2 * v[2] * (x[1] - x[2]) + 3 * v[3] * x[2]
        high = v[0] * (x[0] - x[1]) + 2 * v[1] * (x[1] - x[2]) + 3 * v[2] * x[2]
        assert gsp_payments(lowest_symmetric_bids(v, x), x).sum() == pytest.approx(low)
        assert gsp_payments(highest_symmetric_bids(v, x), x).sum() == pytest.approx(high)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_the_lowest_symmetric_equilibrium_pays_vcg_and_nobody_envies(slots):
    for values, effects in random_markets(40, slots):
        bids = lowest_symmetric_bids(values, effects)
        assert gsp_payments(bids, effects) == pytest.approx(vcg_payments(values, effects))
        assert is_locally_envy_free(values, bids, effects)
        assert is_nash_equilibrium(values, bids, effects)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_no_two_bidders_would_swap_slots_at_the_lowest_symmetric_equilibrium(slots):
    for values, effects in random_markets(40, slots):
        paid = np.append(vcg_payments(values, effects), 0.0)
        clicks = np.append(effects, 0.0)
        for own, other in itertools.product(range(min(len(values), slots)), range(slots)):
            assert values[own] * clicks[own] - paid[own] >= values[own] * clicks[other] - paid[other] - 1e-9


def test_gsp_revenue_is_at_least_vcg_revenue_at_equal_bids():
    for values, effects in random_markets(40, 3):
        assert gsp_payments(values, effects).sum() >= vcg_payments(values, effects).sum() - 1e-9


def test_the_auctions_charge_what_the_theory_says():
    for values, effects in random_markets(40, 3):
        micros = np.rint(values * 1e6).astype(np.int64)[None]
        ones = np.ones(micros.shape)
        k = min(micros.size, 3)
        for auction, theory in ((gsp, gsp_payments), (vcg, vcg_payments)):
            paid = auction(micros, ones, effects).price_micros[0] * effects
            assert paid[:k] == pytest.approx(theory(micros[0], effects)[:k], abs=1.0)


def test_two_slot_price_of_anarchy_of_five_quarters_is_reached():
    """arXiv 1305.5404 (Ding et al.): 1.25 for two slots. Value 1/2 on top at price 0; value 1 below bids nothing."""
    assert is_nash_equilibrium([0.5, 1.0], [0.5, 0.0], [1.0, 0.5])
    assert (1.0 * 1.0 + 0.5 * 0.5) / (0.5 * 1.0 + 1.0 * 0.5) == 1.25


@pytest.mark.parametrize(("slots", "bound"), [(2, 1.25), (3, 1.259)])
def test_conservative_equilibria_never_exceed_the_price_of_anarchy(slots, bound):
    """arXiv 1305.5404: pure equilibria without overbidding lose at most 1.25 (two slots) or 1.259 (three)."""
    rng, worst, found = np.random.default_rng(slots), 1.0, 0
    for _ in range(6000):
        values = rng.integers(1, 9, slots)
        bids = rng.integers(0, values + 1)
        order = np.argsort(-bids, kind="stable")
        values, bids = values[order], bids[order]
        effects = np.sort(rng.integers(1, 9, slots))[::-1]
        if np.unique(bids).size < slots or not is_nash_equilibrium(values, bids, effects):
            continue
        found += 1
        worst = max(worst, float(np.sort(values)[::-1] @ effects / (values @ effects)))
    assert found > 50
    assert 1.0 < worst <= bound + 1e-9


@pytest.mark.parametrize("field", ["revenue", "welfare", "clicks"])
def test_stakeholder_weights_are_checked(field):
    with pytest.raises(ValueError, match=field):
        stakeholder_reserve(**{field: float("nan")})


def test_theory_refuses_unsorted_bidders_and_empty_slots():
    with pytest.raises(ValueError, match="descending"):
        vcg_payments([1, 2], [1.0])
    with pytest.raises(ValueError, match="positive effects"):
        gsp_payments([2, 1], [1.0, 0.0])
    with pytest.raises(ValueError, match="values has shape"):
        lowest_symmetric_bids([[2, 1]], [1.0])
