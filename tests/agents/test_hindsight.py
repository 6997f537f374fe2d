import numpy as np
import pytest
from scipy import optimize

from tests.envs.journey.conftest import SMALL
from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.fixed_lambda import FixedLambda, fit_fixed_multipliers, fit_to_prices, fixed_lambda
from tribid.agents.hindsight import dual_bound, hindsight_bound, optimal_bid, slot_options, slots_offered
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play
from tribid.envs.action import to_multiplier
from tribid.envs.ipinyou import CampaignStats
from tribid.envs.market import reset, step
from tribid.envs.reward import score
from tribid.envs.scenario import Rules, Scenario, load_scenario

VALUES, PRICES, BUDGET = np.array([10.0, 9, 8, 3, 2]), np.array([2.0, 3, 4, 1, 4]), 9.0


def market_of(rng: np.random.Generator, requests: int, slots: int) -> tuple[np.ndarray, np.ndarray]:
    effect = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    steeper = np.sort(rng.uniform(0.2, 1, size=(requests, slots)))[:, ::-1]
    value = rng.uniform(0.01, 1, size=(requests, 1)) * effect
    return value, rng.uniform(0.01, 1, size=(requests, 1)) * effect * steeper


def test_the_knapsack_of_the_worked_example() -> None:
    subsets = (np.arange(32)[:, None] >> np.arange(5)) & 1
    feasible = subsets[subsets @ PRICES <= BUDGET]
    assert (feasible @ VALUES).max() == 27
    for bound in (hindsight_bound(VALUES, PRICES, BUDGET), dual_bound(VALUES, PRICES, BUDGET)):
        assert bound.value == pytest.approx(28)
        assert bound.budget_price == pytest.approx(2)
        assert bound.share[:, 0] == pytest.approx([1, 1, 0.75, 1, 0])


def test_the_threshold_bid_overspends_by_one_without_a_hard_budget() -> None:
    bid = optimal_bid(VALUES, 2.0)
    bought = bid >= PRICES
    assert bought.tolist() == [True, True, True, True, False]
    assert PRICES[bought].sum() == BUDGET + 1


def test_the_markets_hard_budget_refuses_the_item_that_would_overspend() -> None:
    """The example's first four items in spirit: one slot, paid per exposure, and a budget for nine and a half."""
    scenario = load_scenario("tiny").with_changes(
        rules=Rules(slot_effects=(1.0,), charge="impression", outcomes="expected", reserve=1.0, max_bid=4.0),
        advertisers=({"name": "one", "objective": "max_clicks", "budget": 9.5, "base_bid": 100.0},),
        world__traffic__requests=40,
    )
    state = reset(scenario, 0)
    while not state.done:
        state, _ = step(state, [8.0])
    assert state.total.spend_micros.tolist() == [9_000_000]
    assert state.total.counts.wins.tolist() == [9.0]


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("target", [None, 0.4, 0.8, 2.0])
def test_the_dual_and_the_linear_programme_agree(slots: int, target: float | None) -> None:
    rng = np.random.default_rng([slots, int(10 * (target or 0))])
    for _ in range(8):
        value, cost = market_of(rng, int(rng.integers(1, 200)), slots)
        budget = float(rng.uniform(0.02, 0.8) * cost[:, 0].sum())
        programme = hindsight_bound(value, cost, budget, target_cost_per_value=target)
        dual = dual_bound(value, cost, budget, target_cost_per_value=target)
        assert dual.value == pytest.approx(programme.value, rel=1e-6)
        assert (dual.share * cost).sum() <= budget * (1 + 1e-9)
        assert (dual.share * value).sum() == pytest.approx(dual.value, rel=1e-6)
        if target is not None:
            assert (dual.share * (cost - target * value)).sum() <= 1e-9


@pytest.mark.parametrize("target", [None, 0.5])
def test_no_more_fractional_requests_than_constraints(target: float | None) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        value, cost = market_of(rng, 150, 3)
        share = hindsight_bound(value, cost, 0.2 * cost[:, 0].sum(), target_cost_per_value=target).share
        fractional = ((share > 1e-7) & (share < 1 - 1e-7)).any(axis=1).sum()
        assert fractional <= (1 if target is None else 2)


@pytest.mark.parametrize("target", [None, 0.6])
def test_uscb_bids_from_the_duals_win_what_the_linear_programme_buys(target: float | None) -> None:
    rng = np.random.default_rng(9)
    for _ in range(9):
        value, cost = rng.uniform(size=(2, 400))
        bound = hindsight_bound(value, cost, 0.15 * cost.sum(), target_cost_per_value=target)
        wins = optimal_bid(value, bound.budget_price, bound.target_price, target or 1.0) > cost
        share = bound.share[:, 0]
        whole = (share < 1e-7) | (share > 1 - 1e-7)
        assert (wins[whole] == (share[whole] > 0.5)).all()
        assert (~whole).sum() <= 2


def test_the_bound_is_never_below_any_purchase_that_the_budget_allows() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        value, cost = market_of(rng, 40, 2)
        budget = 0.3 * cost[:, 0].sum()
        order, left, won = rng.permutation(40), budget, 0.0
        for row in order:
            slot = rng.integers(2)
            if cost[row, slot] <= left:
                left, won = left - cost[row, slot], won + value[row, slot]
        assert won <= dual_bound(value, cost, budget).value * (1 + 1e-12)


@pytest.mark.parametrize("bound", [hindsight_bound, dual_bound])
def test_edge_cases_of_the_bound(bound) -> None:  # type: ignore[no-untyped-def]
    assert bound(np.zeros((0, 2)), np.zeros((0, 2)), 1.0).value == 0
    assert bound([1.0, 2.0], [0.0, 0.0], 1.0).value == pytest.approx(3)
    assert bound([1.0, 2.0], [9.0, 9.0], 1e-6).value == pytest.approx(2e-6 / 9, rel=1e-6)
    assert bound([0.0, 0.0], [1.0, 1.0], 1.0).value == 0
    assert bound([1.0], [5.0], 10.0, target_cost_per_value=1.0).value == pytest.approx(0, abs=1e-6)
    for bad in ({"value": [-1.0]}, {"value": [np.nan]}, {"cost": [np.inf]}, {"cost": [1.0, 2.0]}, {"budget": 0}):
        arguments = {"value": [1.0], "cost": [1.0], "budget": 1.0, **bad}
        with pytest.raises(ValueError, match="allowed"):
            bound(**arguments)
    with pytest.raises(ValueError, match="target_cost_per_value"):
        bound([1.0], [1.0], 1.0, target_cost_per_value=0.0)


@pytest.mark.parametrize("auction", ["gsp", "vcg"])
@pytest.mark.parametrize(("charge", "ocpc"), [("click", "off"), ("impression", "off"), ("click", "conversion_rank")])
def test_slot_options_price_the_slots_that_were_won_at_what_was_paid(auction: str, charge: str, ocpc: str) -> None:
    rules = {"rules__auction": auction, "rules__charge": charge, "rules__ocpc__strategy": ocpc, "rules__squash": 0.5}
    tiny = load_scenario("tiny").with_changes(**rules)
    state, checked = reset(tiny, 1), 0
    effect = np.array(tiny.rules.slot_effects)
    for _ in range(4):
        state, tick = step(state, np.ones(5))
        for who in range(5):
            _, cost = slot_options(state, tick, who)
            came = ~tick.slots.skipped
            row, slot = np.nonzero(tick.slots.winner[came] == who)
            price = tick.slots.price_micros[came][row, slot].astype(float)
            ctr = tick.truth.ctr[came][row, who].astype(float) if charge == "click" else 1.0
            # A price is rounded up to the micro, and capped at the own bid.
            assert cost[row, slot] == pytest.approx(price * effect[slot] * ctr, rel=1e-4, abs=2)
            checked += len(row)
    assert checked > 50


def test_slot_options_get_dearer_and_more_valuable_towards_the_top() -> None:
    state, tick = step(reset(load_scenario("feed"), 0), np.ones(16))
    for who in range(16):
        value, cost = slot_options(state, tick, who)
        assert (np.diff(value) <= 0).all()
        assert (np.diff(cost) <= 1e-9).all()
        assert (cost >= 0).all()


def test_what_a_fixed_bid_expects_to_win_stays_below_the_hindsight_bound() -> None:
    """In expectation, against the same others' bids, no bidder beats the bound of its own day."""
    feed = load_scenario("feed").with_changes(rules__outcomes="expected")
    state, ticks = reset(feed, 0), []
    while not state.done:
        state, tick = step(state, np.ones(16))
        ticks.append((state, tick))
    won = state.advertisers.money_value(state.total.counts.clicks, state.total.counts.conversions)
    for who in range(0, 16, 3):
        value, cost = (np.concatenate(part) for part in zip(*(slot_options(s, t, who) for s, t in ticks), strict=True))
        assert won[who] <= dual_bound(value, cost, float(state.advertisers.budget_micros[who])).value * 1.001


def journeys() -> dict[str, Scenario]:
    """The shipped scenes, and scenes that show more than the scenario's own slots, to advertisers who never run out."""
    plain = load_scenario("journey").with_changes(**SMALL, rules__outcomes="expected")
    scenes = [scene.model_dump() | {"slot_effects": (1.0, 0.9)} for scene in plain.world.scenes[:4]]
    scenes += [scene.model_dump() | {"slot_effects": (0.7,)} for scene in plain.world.scenes[4:]]
    poor = {"rules__slot_effects": (0.3, 0.2, 0.1), "world__scenes": scenes, "generated__budget_share": 50.0}
    return {"shipped": plain, "rich scenes": plain.with_changes(**poor)}


@pytest.mark.parametrize("which", ["shipped", "rich scenes"])
@pytest.mark.parametrize("auction", ["gsp", "vcg", "first_price"])
def test_no_bidder_of_a_journey_beats_the_bound_of_its_day(auction: str, which: str) -> None:
    scenario = journeys()[which].with_changes(rules__auction=auction)
    bids = np.random.default_rng(2).choice([0.3, 1.0, 1.7], 40)  # some above what they would bid by themselves
    state, ticks = reset(scenario, 4), []
    while not state.done:
        state, tick = step(state, bids)
        ticks.append((state, tick))
    won = state.advertisers.money_value(state.total.counts.clicks, state.total.counts.conversions)
    assert (won > 0).sum() > 20
    for who in range(40):
        value, cost = (np.concatenate(part) for part in zip(*(slot_options(s, t, who) for s, t in ticks), strict=True))
        assert won[who] <= dual_bound(value, cost, float(state.advertisers.budget_micros[who])).value * (1 + 1e-6) + 1


@pytest.mark.parametrize("auction", ["gsp", "vcg"])
def test_slots_of_a_journey_are_worth_and_cost_what_their_scene_makes_of_them(auction: str) -> None:
    scenario = journeys()["shipped"].with_changes(rules__auction=auction)
    state, scenes = reset(scenario, 4), set()
    for _ in range(4):
        state, tick = step(state, np.ones(40))
        requests, world = tick.requests, state.world
        for who in range(40):
            is_candidate, column = requests.place_of(who)
            came = ~tick.slots.skipped & is_candidate
            value, cost = slot_options(state, tick, who)
            for row, (offered, page) in enumerate(
                zip(slots_offered(state, tick, who), np.flatnonzero(came), strict=True)
            ):
                own = world.layouts[requests.scene[page]].slot_effects
                assert offered.tolist() == [*own, *[0.0] * (3 - len(own))]
                assert (value[row, len(own) :] == 0).all() and (cost[row, len(own) :] == 0).all()
                ctr = float(tick.truth.ctr[page, column[page]])
                for slot in np.flatnonzero(tick.slots.winner[page] == who):
                    price = tick.slots.price_micros[page, slot]
                    assert cost[row, slot] == pytest.approx(price * own[slot] * ctr, rel=1e-4, abs=2)
                    scenes.add(int(requests.scene[page]))
    assert scenes == set(range(6))


def test_fixed_lambda_of_the_worked_example_and_without_a_binding_budget() -> None:
    assert fixed_lambda(VALUES, PRICES, BUDGET) == pytest.approx(0.5)
    assert fixed_lambda(VALUES, PRICES, 100.0) == np.inf
    assert fixed_lambda(VALUES, PRICES, 100.0, target_cost_per_value=0.3) < np.inf


def test_a_fitted_multiplier_beats_the_unit_bid_on_its_training_days() -> None:
    feed, seeds, who = load_scenario("feed"), [0, 1, 2], [1, 4]
    best = fit_fixed_multipliers(feed, seeds, advertisers=who)
    space = BidderSpace.of(feed)
    unit = FixedMultiplier(1.0, space=space)
    for index, multiplier in zip(who, best, strict=True):
        assert 0 <= multiplier <= feed.rules.max_multiplier
        own = FixedMultiplier(float(multiplier), space=space)
        mapping = ["own" if place == index else "unit" for place in range(16)]
        fitted, plain = (
            np.mean([_score(feed, seed, Lineup({"own": bidder, "unit": unit}, mapping), index) for seed in seeds])
            for bidder in (own, unit)
        )
        assert fitted >= plain


def _score(scenario: Scenario, seed: int, lineup: Lineup, index: int) -> float:
    state, _ = play(scenario, seed, lineup)
    return float(score(state.advertisers, state.total, scenario.reward.penalty_exponent)[index])


def test_fixed_lambda_fits_one_advertiser_and_checks_its_arguments() -> None:
    bidder = FixedLambda.fit("tiny", [0, 1], 2)
    actions, _ = bidder.predict(np.zeros((1, bidder.space.observation_size), np.float32))
    assert to_multiplier(actions, 8.0)[0, 0] == pytest.approx(bidder.multiplier, rel=1e-6)
    with pytest.raises(ValueError, match="allowed"):
        fit_fixed_multipliers("tiny", [], advertisers=[0])
    with pytest.raises(ValueError, match="from 0 to 4"):
        fit_fixed_multipliers("tiny", [0], advertisers=[5])


def stats(counter: list[int]) -> CampaignStats:
    histogram = np.array(counter)
    cost = int(histogram @ np.arange(len(counter)))
    return CampaignStats(
        impressions_train=int(histogram.sum()), clicks_train=1, cost_train_micros=cost, price_counter_train=histogram,
        impressions_test=1, clicks_test=0, cost_test_micros=0, dimension=1, fields=1, price_unit_micros=1,
    )  # fmt: skip


def test_fit_to_prices_spends_the_budget_in_expectation() -> None:
    # Prices 1, 2, 3, 4, 5 alike, mean 3: buying all up to 3 costs (1 + 2 + 3) / 5 = 1.2 an auction.
    even = stats([0, 1, 1, 1, 1, 1])
    assert fit_to_prices(even, 1.2) == pytest.approx(4 / 3, rel=1e-9)
    assert fit_to_prices(even, 1.1) == pytest.approx(1.0, rel=1e-9)
    assert fit_to_prices(even, 0.0) == pytest.approx(1 / 3, rel=1e-9)
    assert fit_to_prices(even, 3.0) == 16.0
    assert fit_to_prices(even, 0.6, relative_value=[0.0, 2.0]) == pytest.approx(2 / 3, rel=1e-9)
    with pytest.raises(ValueError, match="budget_per_auction_micros"):
        fit_to_prices(even, float("nan"))
    with pytest.raises(ValueError, match="relative_value"):
        fit_to_prices(even, 1.0, relative_value=[])


def test_the_dual_is_the_least_of_the_lagrangian() -> None:
    rng = np.random.default_rng(3)
    value, cost = market_of(rng, 60, 2)
    budget = 0.2 * cost[:, 0].sum()

    def lagrangian(mu: float) -> float:
        return mu * budget + np.maximum((value - mu * cost).max(axis=1), 0).sum()

    found = optimize.minimize_scalar(lagrangian, bounds=(0, 50), method="bounded", options={"xatol": 1e-10})
    bound = dual_bound(value, cost, budget)
    assert bound.value == pytest.approx(lagrangian(bound.budget_price), rel=1e-12)
    assert bound.value <= found.fun * (1 + 1e-9)
