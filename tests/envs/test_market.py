"""The market's money: budgets are exact, a step is pure, and what is wrong with its input is said."""

from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs import market
from tribid.envs.market import MarketState, Tick
from tribid.envs.reward import REWARDS
from tribid.envs.scenario import MICROS, Scenario, load_scenario

AGENTS = 5  # in the scenario tiny


def tiny(**changes: Any) -> Scenario:
    return load_scenario("tiny").with_changes(**changes)


def listed(budgets: list[float], **changes: Any) -> Scenario:
    """The scenario tiny with advertisers of these budgets, alike but for their names."""
    advertisers = [{"name": f"a{i}", "budget": budget, "objective": "max_clicks"} for i, budget in enumerate(budgets)]
    return tiny(advertisers=advertisers, **changes)


def play(scenario: Scenario, multipliers: Any, seed: int = 0, day: int = 0) -> tuple[MarketState, list[Tick]]:
    """A whole day at these multipliers: [A] for all ticks, or one per tick."""
    state, ticks = market.reset(scenario, seed, day), []
    while not state.done:
        chosen = multipliers[state.tick] if np.ndim(multipliers) > 1 else multipliers
        state, tick = market.step(state, chosen)
        ticks.append(tick)
    return state, ticks


def check_money(state: MarketState, ticks: list[Tick]) -> None:
    budget = state.advertisers.budget_micros
    left = budget.copy()
    for tick in ticks:
        slots, spend = tick.slots, tick.ledger.spend_micros
        assert spend.dtype == slots.charge_micros.dtype == np.int64
        assert (slots.charge_micros >= 0).all()
        assert (slots.charge_micros[slots.winner < 0] == 0).all()
        by_winner = np.zeros(len(budget), np.int64)
        np.add.at(by_winner, slots.winner[slots.winner >= 0], slots.charge_micros[slots.winner >= 0])
        assert by_winner.tolist() == spend.tolist()
        assert tick.revenue_micros == spend.sum()
        left -= spend
        assert (left >= 0).all()
    assert left.tolist() == state.left_micros.tolist()
    assert state.total.spend_micros.tolist() == (budget - left).tolist()


multiplier_days = st.lists(
    st.lists(st.one_of(st.just(0.0), st.just(8.0), st.floats(0.0, 8.0)), min_size=AGENTS, max_size=AGENTS),
    min_size=8,
    max_size=8,
)


@settings(max_examples=40)
@given(multipliers=multiplier_days, seed=st.integers(0, 2**63 - 1), day=st.integers(0, 2**32 - 2))
def test_budget_is_never_overspent_by_a_micro(multipliers: list[list[float]], seed: int, day: int) -> None:
    check_money(*play(tiny(), np.array(multipliers), seed, day))


@settings(max_examples=25)
@given(
    micros=st.lists(st.one_of(st.integers(1, 60_000), st.integers(1, 10**7)), min_size=3, max_size=3),
    outcomes=st.sampled_from(["sampled", "expected"]),
    charge=st.sampled_from(["click", "impression"]),
    auction=st.sampled_from(["gsp", "vcg", "first_price"]),
    reserve=st.sampled_from([0.0, 1e-6, 0.05]),
)
def test_budget_is_never_overspent_where_it_is_a_few_micros_or_clicks(
    micros: list[int], outcomes: str, charge: str, auction: str, reserve: float
) -> None:
    rules = {"rules__outcomes": outcomes, "rules__charge": charge, "rules__auction": auction, "rules__reserve": reserve}
    if charge == "impression":
        rules["rules__ocpc__strategy"] = "off"
    scenario = listed([amount / MICROS for amount in micros], **rules)
    state, ticks = play(scenario, np.full(3, 8.0))
    assert state.advertisers.budget_micros.tolist() == micros
    check_money(state, ticks)


def test_a_budget_of_one_micro_buys_a_click_of_one_micro_and_no_more() -> None:
    state, ticks = play(listed([1e-6], rules__reserve=0.0), [8.0])
    assert state.total.spend_micros.tolist() in ([0], [1])
    paid = [tick.slots.price_micros[tick.slots.charge_micros > 0] for tick in ticks]
    assert set(np.concatenate(paid).tolist()) <= {1}


def test_a_whole_budget_can_be_spent_to_the_last_micro() -> None:
    # A sole bidder with a reserve of 0.05 and a budget of exactly seven clicks buys seven.
    state, _ = play(listed([0.35]), [8.0])
    assert state.left_micros.tolist() == [0]
    assert state.total.counts.clicks.tolist() == [7.0]


def test_an_advertiser_that_has_run_out_wins_nothing_more() -> None:
    state, ticks = play(tiny(), np.full(AGENTS, 8.0))
    budget, reserve = state.advertisers.budget_micros, 50_000
    left, out = budget.copy(), 0
    for tick in ticks:
        for i in np.flatnonzero(left < reserve):
            assert tick.ledger.counts.wins[i] == 0
            out += 1
        left = left - tick.ledger.spend_micros
    assert out > 0


def test_a_price_is_never_above_what_its_advertiser_has_left() -> None:
    state, ticks = play(tiny(), np.full(AGENTS, 8.0))
    left = state.advertisers.budget_micros.copy()
    for tick in ticks:
        for winner, price, charge in zip(*tick.slots[:2], tick.slots.charge_micros, strict=True):
            shown = winner >= 0
            assert (price[shown] <= left[winner[shown]]).all()
            left[winner[shown]] -= charge[shown]


def test_a_charge_is_the_price_or_nothing() -> None:
    for tick in play(tiny(), np.ones(AGENTS))[1]:
        slots = tick.slots
        assert np.array_equal(slots.charge_micros, np.where(slots.clicked > 0, slots.price_micros, 0))


def test_revenue_and_surplus_add_up_to_the_value() -> None:
    # Reference identity T22 of the field: what advertisers win is what the platform gets plus what they keep.
    scenario = tiny(reward__part="surplus")
    state, ticks = play(scenario, np.full(AGENTS, 1.5))
    a = state.advertisers
    states = [market.reset(scenario, 0)]
    for tick in ticks:
        states.append(market.step(states[-1], tick.multipliers)[0])
    surplus = sum(
        REWARDS["surplus"](before, after, scenario.reward) * a.budget_micros for before, after in pairwise(states)
    )
    value = a.money_value(state.total.counts.clicks, state.total.counts.conversions)
    revenue = sum(tick.revenue_micros for tick in ticks)
    assert revenue + surplus.sum() == pytest.approx(value.sum(), rel=1e-12)
    assert revenue > 0


def test_counts_are_sums_of_what_the_slots_show() -> None:
    state, ticks = play(tiny(), np.ones(AGENTS))
    for tick in ticks:
        slots, counts = tick.slots, tick.ledger.counts
        for i in range(AGENTS):
            mine = slots.winner == i
            assert counts.wins[i] == mine.sum()
            assert counts.price[i] == slots.price_micros[mine].sum()
            for name, shown in (("exposures", "exposed"), ("clicks", "clicked"), ("conversions", "converted")):
                assert getattr(counts, name)[i] == getattr(slots, shown)[mine].sum()
        assert (counts.served == (~slots.skipped).sum()).all()
    assert state.total.counts.wins.sum() == sum((tick.slots.winner >= 0).sum() for tick in ticks)


def test_recent_holds_the_last_three_ticks_newest_first() -> None:
    state, ticks = play(tiny(), np.ones(AGENTS))
    assert [id(ledger) for ledger in state.recent] == [id(tick.ledger) for tick in ticks[:-4:-1]]


# Purity


def _arrays(value: Any, name: str = "state") -> dict[str, np.ndarray]:
    """Every array inside a state, its world and its ledgers, by path."""
    if isinstance(value, np.ndarray):
        return {name: value}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", range(len(value)))
        return {
            k: v for part, item in zip(names, value, strict=True) for k, v in _arrays(item, f"{name}.{part}").items()
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {k: v for f in fields(value) for k, v in _arrays(getattr(value, f.name), f"{name}.{f.name}").items()}
    if (
        type(value).__module__.startswith("tribid.envs")
        and hasattr(value, "__dict__")
        and not isinstance(value, Scenario)
    ):
        return {k: v for part, item in vars(value).items() for k, v in _arrays(item, f"{name}.{part}").items()}
    return {}


def same(one: Any, other: Any) -> bool:
    left, right = _arrays(one), _arrays(other)
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


def test_a_step_changes_nothing_in_the_state_it_starts_from() -> None:
    state = market.reset(tiny(), 3)
    for _ in range(4):
        before = {name: array.copy() for name, array in _arrays(state).items()}
        assert any("world" in name for name in before)
        after, _ = market.step(state, np.full(AGENTS, 2.0))
        assert all(np.array_equal(array, before[name]) for name, array in _arrays(state).items())
        state = after


def test_a_step_changes_neither_the_multipliers_handed_in_nor_keeps_them() -> None:
    given_in = np.full((AGENTS, 1), 2.0)
    after, tick = market.step(market.reset(tiny(), 3), given_in)
    assert (given_in == 2.0).all()
    given_in[:] = 7.0
    assert (after.multipliers == 2.0).all()
    assert (tick.multipliers == 2.0).all()


def test_two_steps_from_one_state_give_the_same_tick() -> None:
    state = market.step(market.reset(tiny(), 3), np.ones(AGENTS))[0]
    (after, tick), (again, tick_again) = (market.step(state, np.full(AGENTS, 3.0)) for _ in range(2))
    assert same(after, again)
    assert same(tick, tick_again)
    assert not same(tick, market.step(state, np.full(AGENTS, 0.5))[1])


def test_a_day_is_a_function_of_scenario_seed_and_day() -> None:
    ones = np.ones(AGENTS)
    first = play(tiny(), ones, 5, 2)[1]
    assert same(tuple(first), tuple(play(tiny(), ones, 5, 2)[1]))
    for seed, day in ((6, 2), (5, 3), (5 + 2**32, 2)):
        assert not same(tuple(first), tuple(play(tiny(), ones, seed, day)[1]))


def test_one_multiplier_per_advertiser_serves_every_segment() -> None:
    scenario = tiny(rules__segments="cluster")
    state = market.reset(scenario, 0)
    rates = np.linspace(0.5, 2.0, AGENTS)
    _, one = market.step(state, rates)
    _, per_segment = market.step(state, np.repeat(rates[:, None], 3, axis=1))
    assert same(one, per_segment)


# Errors


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        (np.ones(4), r"shape \(4,\); allowed is \(5,\) or \(5, 1\)"),
        (np.ones((5, 2)), r"shape \(5, 2\); allowed"),
        (np.float64(1.0), r"shape \(\); allowed"),
        ([1, 1, np.nan, 1, 1], r"multiplier of adv_02 \(segment 0\) is nan; allowed is a finite number from 0 to 8"),
        ([1, 1, 1, np.inf, 1], r"multiplier of adv_03 \(segment 0\) is inf; allowed"),
        ([1, -0.5, 1, 1, 1], r"multiplier of adv_01 \(segment 0\) is -0\.5; allowed"),
        ([1, 1, 1, 1, 8.001], r"multiplier of adv_04 \(segment 0\) is 8\.001; allowed is a finite number from 0 to 8"),
        ([True] * 5, "multipliers are of type bool; allowed are real numbers"),
        (["1"] * 5, "multipliers are of type <U1; allowed are real numbers"),
        ([1j] * 5, "multipliers are of type complex128; allowed are real numbers"),
        (None, "multipliers are of type object; allowed are real numbers"),
    ],
)
def test_malformed_multipliers_are_refused_by_name_value_and_range(multipliers: Any, message: str) -> None:
    state = market.reset(tiny(), 0)
    with pytest.raises(ValueError, match=message):
        market.step(state, multipliers)


@pytest.mark.parametrize("value", [-1, 2**63, 1.0, "7", True, None, np.float64(3)])
def test_a_malformed_seed_is_refused_by_value_and_range(value: Any) -> None:
    with pytest.raises(ValueError, match=r"seed is .*; allowed is a whole number from 0 to 9223372036854775807"):
        market.reset(tiny(), value)


@pytest.mark.parametrize("value", [-1, 2**32 - 1, 0.5, "1", False])
def test_a_malformed_day_is_refused_by_value_and_range(value: Any) -> None:
    with pytest.raises(ValueError, match=r"day is .*; allowed is a whole number from 0 to 4294967294"):
        market.reset(tiny(), 0, value)


def test_the_largest_seed_and_day_are_played() -> None:
    state, ticks = play(tiny(), np.ones(AGENTS), 2**63 - 1, 2**32 - 2)
    check_money(state, ticks)
    assert state.total.counts.wins.sum() > 0


def test_a_numpy_integer_is_a_seed() -> None:
    ones = np.ones(AGENTS)
    assert same(tuple(play(tiny(), ones, np.int64(4))[1]), tuple(play(tiny(), ones, 4)[1]))


def test_a_day_that_has_ended_is_not_played_on() -> None:
    state, _ = play(tiny(), np.ones(AGENTS))
    assert state.done
    assert state.tick == 8
    with pytest.raises(ValueError, match="the day has ended after 8 ticks; reset the market for another"):
        market.step(state, np.ones(AGENTS))
