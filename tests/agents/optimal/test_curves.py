"""What multipliers win: against a plain loop, against the dual, and against what the market really sells."""

import numpy as np
import pytest

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.hindsight import dual_bound
from tribid.agents.optimal.curves import purchases, training_curves
from tribid.agents.rules import FixedMultiplier
from tribid.envs.market import reset, step
from tribid.envs.scenario import Scenario, load_scenario

GRID = np.append(0.0, np.geomspace(0.05, 6.0, 25))


def market_of(rng: np.random.Generator, requests: int, slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    effect = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    steeper = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    value = rng.uniform(0.01, 1, size=(requests, 1)) * effect
    value[rng.uniform(size=requests) < 0.1] = 0.0
    cost = rng.uniform(0.01, 1, size=(requests, 1)) * effect * steeper
    cost[rng.uniform(size=requests) < 0.1] = 0.0
    return value, cost, rng.uniform(0.5, 2.0, size=requests)


def plain(value: np.ndarray, cost: np.ndarray, bid: np.ndarray, auction: str) -> np.ndarray:
    total = np.zeros((2, len(GRID)))
    for place, multiplier in enumerate(GRID[1:], start=1):
        for v, c, b in zip(value, cost, bid, strict=True):
            surplus = multiplier * b * v - c
            fits = np.flatnonzero((surplus > 0 if auction == "vcg" else surplus >= 0) & (v > 0))
            if len(fits):
                slot = fits[np.argmax(surplus[fits])] if auction == "vcg" else fits[0]
                total[:, place] += v[slot], multiplier * b * v[slot] if auction == "first_price" else c[slot]
    return total


@pytest.mark.parametrize("auction", ["gsp", "vcg", "first_price"])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_purchases_are_those_of_a_plain_loop(auction: str, slots: int) -> None:
    value, cost, bid = market_of(np.random.default_rng([slots, len(auction)]), 80, slots)
    assert np.stack(purchases(value, cost, bid, GRID, auction)) == pytest.approx(plain(value, cost, bid, auction))


def test_with_one_slot_and_the_value_as_bid_the_dual_price_is_where_the_budget_is_spent() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        value, cost = rng.uniform(0.01, 1, size=(2, 150, 1))
        budget = float(rng.uniform(0.05, 0.6) * cost.sum())
        bound = dual_bound(value, cost, budget)
        around = np.array([1 - 1e-9, 1 + 1e-9]) / bound.budget_price
        won, spent = purchases(value, cost, np.ones(150), around)
        assert spent[0] <= budget <= spent[1]
        assert won[0] <= bound.value * (1 + 1e-9) <= won[1] * (1 + 2e-9)


def test_higher_multipliers_win_and_spend_more() -> None:
    for auction in ("gsp", "vcg", "first_price"):
        value, cost, bid = market_of(np.random.default_rng(6), 200, 3)
        for total in purchases(value, cost, bid, GRID, auction):
            assert (np.diff(total) >= -1e-12).all()
            assert total[0] == 0


def clear(auction: str = "gsp", charge: str = "click", ocpc: str = "off") -> Scenario:
    """The tiny market with exact predictions, events as expected, money to spare, and nobody leaving."""
    return load_scenario("tiny").with_changes(
        world__prediction={"ad_calibration_spread": 0.0, "ctr_noise": 0.0, "cvr_noise": 0.0},
        rules__outcomes="expected", rules__ocpc__strategy=ocpc, rules__auction=auction, rules__charge=charge,
        generated__budget_share=100.0, world__traffic__session_length=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("auction", "charge", "ocpc"),
    [("gsp", "click", "off"), ("gsp", "impression", "off"), ("vcg", "click", "off"), ("first_price", "click", "off"),
     ("gsp", "click", "simple"), ("gsp", "click", "conversion_rank")],
)  # fmt: skip
def test_the_market_sells_what_the_curves_say(auction: str, charge: str, ocpc: str) -> None:
    scenario = clear(auction, charge, ocpc)
    curves = training_curves(scenario, [3])
    for who, place in ((0, 45), (1, 50), (2, 60), (3, 55), (4, 72)):
        multipliers = np.ones(5)
        multipliers[who] = curves[who].multipliers[place]
        state = reset(scenario, 3)
        while not state.done:
            state, _ = step(state, multipliers)
        a, counts = state.advertisers, state.total.counts
        won = a.money_value(counts.clicks, counts.conversions)[who] / a.budget_micros[who]
        spent = state.total.spend_micros[who] / a.budget_micros[who]
        assert spent > 0
        # The market rounds prices up to the micro, and bids to one.
        assert spent == pytest.approx(curves[who].spend[0, :, place].sum(), rel=1e-4)
        assert won == pytest.approx(curves[who].value[0, :, place].sum(), rel=1e-4)


def test_the_same_days_give_the_same_curves_and_the_own_bid_does_not_matter() -> None:
    first, again = (training_curves("tiny", [0, 1], advertisers=[2])[0] for _ in range(2))
    assert first.value.tobytes() == again.value.tobytes() and first.spend.tobytes() == again.spend.tobytes()
    assert first.value.shape == (2, 8, 73)
    assert first.traffic_left[0] == pytest.approx(1.0)
    assert (np.diff(first.traffic_left) < 0).all()
    assert first.spend_to_go[0] == pytest.approx(first.spend.sum(axis=1).mean(axis=0))
    scenario = clear()
    space = BidderSpace.of(scenario)
    bidders = {"one": FixedMultiplier(1.0, space=space), "off": FixedMultiplier(0.0, space=space)}
    lineup = Lineup(bidders, ["one", "one", "off", "one", "one"])
    absent = training_curves(scenario, [0], advertisers=[2], rivals=lineup)
    present = training_curves(scenario, [0], advertisers=[2])
    assert absent[0].spend == pytest.approx(present[0].spend, rel=1e-9)


def test_targets_are_told_and_nonsense_is_refused() -> None:
    assert [curves.targeted for curves in training_curves("tiny", [0])] == [False, False, False, True, True]
    for bad in ({"seeds": []}, {"seeds": [0], "advertisers": [5]}):
        with pytest.raises(ValueError, match="at least one seed, and advertisers from 0 to 4"):
            training_curves("tiny", **bad)  # type: ignore[arg-type]
