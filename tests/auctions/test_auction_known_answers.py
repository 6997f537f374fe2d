"""Published numbers, each with its source beside it."""

import numpy as np
import pytest

from tribid.auctions import (
    first_price,
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

UNIT = 1_000_000
ONES3 = np.ones((1, 3))


def payments(outcome, clicks):
    return (outcome.price_micros * np.asarray(clicks)).tolist()[0]


class TestEdelmanOstrovskySchwarz:
    """Edelman, Ostrovsky and Schwarz (2007), NBER w11765, section 2: values 10, 4, 2."""

    def test_gsp_payments_are_800_and_200(self):
        assert payments(gsp([[10, 4, 2]], ONES3, [200, 100]), [200, 100]) == [800, 200]
        assert gsp_payments([10, 4, 2], [200, 100]).tolist() == [800, 200]

    def test_vcg_payments_are_600_and_200(self):
        assert payments(vcg([[10, 4, 2]], ONES3, [200, 100]), [200, 100]) == [600, 200]
        assert vcg_payments([10, 4, 2], [200, 100]).tolist() == [600, 200]

    def test_truthful_bids_are_an_equilibrium_with_clicks_200_and_100(self):
        assert is_nash_equilibrium([10, 4, 2], [10, 4, 2], [200, 100])

    def test_gsp_is_not_truthful_with_clicks_200_and_199(self):
        """Remark 3: truthful utility 1200; bidding 3 gives 1592."""
        clicks = [200, 199]
        truthful = gsp([[10, 4, 2]], ONES3, clicks)
        shaded = gsp([[3, 4, 2]], ONES3, clicks)
        assert truthful.winner[0, 0] == 0 and clicks[0] * (10 - truthful.price_micros[0, 0]) == 1200
        assert shaded.winner[0, 1] == 0 and clicks[1] * (10 - shaded.price_micros[0, 1]) == 1592
        assert not is_nash_equilibrium([10, 4, 2], [10, 4, 2], clicks)

    def test_first_price_best_responses_cycle(self):
        """Section 2.2: 200 (10 - 2.03) < 200 (10 - 2.02); 100 (4 - 2.01) < 200 (4 - 2.03); and so on, in cents."""
        clicks = [200, 100]

        def utility(bids, bidder, value):
            outcome = first_price([bids], ONES3, clicks)
            slots = np.flatnonzero(outcome.winner[0] == bidder)
            return sum(clicks[k] * (value - int(outcome.price_micros[0, k])) for k in slots)

        assert utility([203, 201, 200], 0, 1000) < utility([202, 201, 200], 0, 1000) == 200 * (1000 - 202)
        assert utility([202, 201, 200], 1, 400) == 100 * (400 - 201) < utility([202, 203, 200], 1, 400) == 200 * 197
        assert utility([202, 203, 200], 0, 1000) == 100 * (1000 - 202) < utility([204, 203, 200], 0, 1000) == 200 * 796

    def test_first_price_bids_rise_and_fall_for_ever(self):
        grid, values, bids = np.arange(0, 1001), (1000, 400), [201, 201]
        clicks, history = np.array([200, 100]), []
        for step in range(500):
            bidder = step % 2
            trial = np.tile([bids[0], bids[1], 200], (grid.size, 1))
            trial[:, bidder] = grid
            outcome = first_price(trial, np.ones(trial.shape), clicks)
            own = outcome.winner == bidder
            utility = np.sum(own * clicks * (values[bidder] - outcome.price_micros), axis=1)
            bids[bidder] = int(grid[np.argmax(utility)])
            history.append(bids[1])
        falls = np.flatnonzero(np.diff(history) < -10)
        assert falls.size >= 2, "no sawtooth"
        assert np.sum(np.diff(history) > 0) > 5 * falls.size

    def test_lowest_and_highest_symmetric_equilibria_earn_800_and_1800(self):
        """Varian, "Position Auctions" (2007)."""
        low, high = lowest_symmetric_bids([10, 4, 2], [200, 100]), highest_symmetric_bids([10, 4, 2], [200, 100])
        assert low.tolist()[1:] == [3, 2] and high.tolist()[1:] == [7, 4]
        assert gsp_payments(low, [200, 100]).sum() == 800
        assert gsp_payments(high, [200, 100]).sum() == 1800
        for bids in (low, high):
            assert is_locally_envy_free([10, 4, 2], bids, [200, 100])
            assert is_nash_equilibrium([10, 4, 2], bids, [200, 100])

    def test_locally_envy_free_bids_give_the_vcg_outcome_in_the_auction(self):
        bids = lowest_symmetric_bids([10, 4, 2], [200, 100]).astype(int)
        equilibrium, truthful = gsp([bids], ONES3, [200, 100]), vcg([[10, 4, 2]], ONES3, [200, 100])
        assert equilibrium.winner.tolist() == truthful.winner.tolist()
        assert equilibrium.price_micros.tolist() == truthful.price_micros.tolist()


@pytest.mark.parametrize(
    ("reserve", "allocation", "prices"),
    [
        (0, [5, 3, 4, 2], [18, 14, 12, 10]),
        (11, [5, 3, 4, 2], [18, 14, 12, 11]),
        (14, [5, 3, 4], [18, 14, 14]),
        (15, [5, 3], [18, 15]),
        (19, [5], [19]),
        (22, [], []),
    ],
)
def test_gsp_with_reserve(reserve, allocation, prices):
    """A course's test file of GSP with reserve: bids of 1..5 are 10, 12, 18, 14, 20; four slots."""
    outcome = gsp([[10, 12, 18, 14, 20]], np.ones((1, 5)), [4, 3, 2, 1], reserve_micros=reserve)
    filled = outcome.winner[0] >= 0
    assert (outcome.winner[0][filled] + 1).tolist() == allocation
    assert outcome.price_micros[0][filled].tolist() == prices


def test_first_price_tie_is_fair_and_pays_the_chosen():
    """OpenSpiel, first-price auction: values 5, 2, 4 and bids 2, 1, 2: 0 and 2 win with chance 1/2; returns 0, 0, 2."""
    draws = np.random.default_rng(5).random((20_000, 3))
    outcome = first_price(np.tile([2, 1, 2], (20_000, 1)), np.ones((20_000, 3)), [1.0], tie_break=draws)
    assert set(outcome.winner[:, 0].tolist()) == {0, 2}
    assert abs(np.mean(outcome.winner[:, 0] == 2) - 0.5) < 0.015
    chosen = first_price([[2, 1, 2]], ONES3, [1.0], tie_break=[[0.1, 0.9, 0.2]])
    assert chosen.winner[0, 0] == 2 and 4 - chosen.price_micros[0, 0] == 2


def test_first_price_playthrough():
    """OpenSpiel playthrough: values 9, 10; bids 3, 5: the second wins and returns are 0, 5."""
    outcome = first_price([[3, 5]], np.ones((1, 2)), [1.0])
    assert outcome.winner[0, 0] == 1 and 10 - outcome.price_micros[0, 0] == 5


@pytest.mark.parametrize("n", [2, 10])
def test_uniform_first_price_revenue(n):
    """Vickrey (1961): n bidders on U[0, 1] bid (n - 1) / n of it; revenue (n - 1) / (n + 1), 9/11 at n = 10."""
    values = np.random.default_rng(n).random((200_000, n))
    bids = np.floor(values * (n - 1) / n * UNIT).astype(np.int64)
    outcome = first_price(bids, np.ones(bids.shape), [1.0])
    assert outcome.price_micros.mean() / UNIT == pytest.approx((n - 1) / (n + 1), abs=0.002)
    second = gsp((values * UNIT).astype(np.int64), np.ones(bids.shape), [1.0])
    assert second.price_micros.mean() / UNIT == pytest.approx((n - 1) / (n + 1), abs=0.002)


def test_half_the_value_is_the_best_response_to_half_the_value():
    """Vickrey (1961), n = 2, U[0, 1]."""
    rival = np.random.default_rng(3).random(100_000) / 2
    grid, earned = np.linspace(0.05, 0.75, 29), []
    for bid in grid:
        pair = np.column_stack([np.full(rival.size, bid), rival]) * UNIT
        outcome = first_price(pair.astype(np.int64), np.ones(pair.shape), [1.0])
        earned.append(np.mean((outcome.winner[:, 0] == 0) * (0.8 - bid)))
    assert grid[int(np.argmax(earned))] == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("reserve", "revenue"), [(0, 1 / 3), (UNIT // 2, 5 / 12)])
def test_myerson_reserve_of_one_half(reserve, revenue):
    """Myerson (1981), two bidders on U[0, 1]: revenue 1/3 without a reserve and 5/12 with the best one, 1/2."""
    bids = np.random.default_rng(1).integers(0, UNIT, (400_000, 2))
    paid = gsp(bids, np.ones(bids.shape), [1.0], reserve_micros=reserve).price_micros
    assert paid.mean() / UNIT == pytest.approx(revenue, abs=0.002)


@pytest.mark.parametrize(
    ("weights", "reserve"),
    [
        ((1, 0, 0), 1 / 2),
        ((1, 1, 0), 1 / 3),
        ((1, 0, 0.5), 1 / 4),
        ((1, 1, 0.5), 1 / 6),
        ((1, 0, 1), 0.0),
        ((0, 1, 0), 0.0),
    ],
)
def test_stakeholder_reserve_in_closed_form_and_by_simulation(weights, reserve):
    """Bachrach et al. (EC 2014): (alpha - gamma) / (2 alpha + beta) on U[0, 1]."""
    assert stakeholder_reserve(*weights) == pytest.approx(reserve, abs=1e-15)
    bids = np.random.default_rng(2).integers(1, UNIT, (200_000, 2))
    quality, grid, worth = np.ones(bids.shape), np.linspace(0, 0.8, 33), []
    for level in grid:
        outcome = gsp(bids, quality, [1.0], reserve_micros=int(level * UNIT))
        sold = outcome.winner[:, 0] >= 0
        parts = outcome.price_micros.mean() / UNIT, outcome.score.mean() / UNIT, sold.mean()
        worth.append(sum(w * part for w, part in zip(weights, parts, strict=True)))
    assert grid[int(np.argmax(worth))] == pytest.approx(reserve, abs=0.05)


@pytest.mark.parametrize(("value", "rival", "utility"), [(10, 8, 2), (5, 8, 0), (7, 7, 0), (12, 3, 9)])
def test_vickrey_truthfulness_grid(value, rival, utility):
    """One slot is Vickrey's auction (1961): no bid does better than the value."""

    def earned(bid):
        outcome = vcg([[bid, rival]], np.ones((1, 2)), [1.0])
        return value - int(outcome.price_micros[0, 0]) if outcome.winner[0, 0] == 0 else 0

    assert earned(value) == utility == max(earned(bid) for bid in range(20))


def test_a_floor_in_another_currency_is_compared_in_whole_micros():
    """prebid-server issue 3042: floor 4, factor 0.9, bid 4.44. Adjusted 3.996 is below the floor, without tolerance."""
    floor = 4 * UNIT
    adjusted, request_floor = 4_440_000 * 9 // 10, -(-floor * 10 // 9)
    assert (adjusted, request_floor) == (3_996_000, 4_444_445)
    assert gsp([[adjusted]], [[1.0]], [1.0], reserve_micros=floor).winner.tolist() == [[-1]]
    assert gsp([[request_floor * 9 // 10]], [[1.0]], [1.0], reserve_micros=floor).price_micros.tolist() == [[floor]]


def test_easley_kleinberg_shading():
    """Easley and Kleinberg, "Networks, Crowds, and Markets", chapter 15: clicks 10, 4; values 7, 6, 1."""
    assert payments(vcg([[7, 6, 1]], ONES3, [10, 4]), [10, 4]) == [40, 4]
    truthful, shaded = gsp([[7, 6, 1]], ONES3, [10, 4]), gsp([[5, 6, 1]], ONES3, [10, 4])
    assert 10 * (7 - truthful.price_micros[0, 0]) == 10
    assert shaded.winner[0, 1] == 0 and 4 * (7 - shaded.price_micros[0, 1]) == 24


def test_value_maximising_autobidders_can_halve_the_welfare():
    """Second price with autobidders (Liaw, Mehta and Perlroth, Theorem 3.3): the price of anarchy tends to 2."""
    high, eps = 1_000_000, 1_000
    values, bids = np.array([[high, 0], [eps, high - eps]]), np.array([[high, 0], [high, 0]])
    outcome = vcg(bids, np.ones((2, 2)), [1.0])
    assert outcome.winner[:, 0].tolist() == [0, 0]
    deviation = vcg([[high, high + 1]], np.ones((1, 2)), [1.0])
    assert deviation.winner[0, 0] == 1 and deviation.price_micros[0, 0] > values[1, 1], "it would pay above its value"
    reached, optimum = values[[0, 1], outcome.winner[:, 0]].sum(), values.max(axis=1).sum()
    assert optimum == 2 * high - eps
    assert 1.99 < optimum / reached < 2


def test_deep_gsp_toy():
    """Zhang et al., Deep GSP (WSDM 2021), Table 1: bids 10, 2.4, 1.3; pctr .1, .2, .3; two slots."""
    bids, pctr = np.array([[10.0, 2.4, 1.3]]), np.array([[0.1, 0.2, 0.3]])
    micros = np.rint(bids * UNIT).astype(np.int64)
    plain = gsp(micros, pctr, [1.0, 1.0])
    assert plain.winner.tolist() == [[0, 1]]
    assert plain.price_micros / UNIT == pytest.approx(np.array([[4.8, 1.95]]), abs=2e-6)
    assert np.sum(pctr[0, [0, 1]] * plain.price_micros / UNIT) == pytest.approx(0.87, abs=1e-5)
    learnt = (bids / 10) ** 0.4 * pctr**0.7
    assert learnt == pytest.approx(np.array([[0.199, 0.183, 0.190]]), abs=1e-3)
    deep = gsp(micros, learnt / bids, [1.0, 1.0])
    assert deep.winner.tolist() == [[0, 2]]
    assert deep.price_micros / UNIT == pytest.approx(np.array([[9.54, 1.25]]), abs=5e-3)
    assert np.sum(pctr[0, [0, 2]] * deep.price_micros / UNIT) == pytest.approx(1.329, abs=1e-3)
