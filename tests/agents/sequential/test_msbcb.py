"""Learning is tried in a world so small, with orders so likely, that a few seconds of lessons come near the optimum."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.agents.sequential.baselines import ContextualBandit, manual, myopic_greedy
from tribid.agents.sequential.choices import efficient
from tribid.agents.sequential.deep_q import DeepQ, DeepQRule
from tribid.agents.sequential.greedy_dqn import GreedyDqn, _fill
from tribid.agents.sequential.knapsack import CprController
from tribid.agents.sequential.lessons import LessonPlan, Lessons
from tribid.agents.sequential.msbcb import Msbcb
from tribid.agents.sequential.optimum import enumerated
from tribid.agents.sequential.tabular_q import LowerLevel, TabularQ
from tribid.envs.sequential.campaign import Arrivals, Moment, Strategy, run_campaign
from tribid.envs.sequential.consumers import ConsumerRule, ConsumerWorld, make_world
from tribid.envs.sequential.moves import Table, best_table, true_moves, worth
from tribid.envs.sequential.play import OPEN_BUDGET, draw_consumers, play

LESSONS = LessonPlan(consumers=8000, days=40)
EASY = ConsumerRule(types=2, steps=3, tired=2, order=(0.0, 0.02, 0.1, 0.6), value_micros=(4_000_000, 9_000_000))
BUDGET = 0.3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small learn fastest on one thread, and on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world() -> ConsumerWorld:
    return make_world(2, EASY)


@pytest.fixture(scope="module")
def bound(world: ConsumerWorld) -> float:
    """What a mean consumer can bring at most, in currency units."""
    choices = [efficient(true_moves(world), kind) for kind in range(2)]
    consumers = np.round(world.share * 10_000)
    return enumerated(choices, consumers.tolist(), BUDGET * 10_000, whole=False).value / 10_000


def brought(world: ConsumerWorld, strategy: Strategy) -> float:
    """The value of a mean consumer of five campaigns, whose budgets are kept."""
    total = 0
    for seed in range(5):
        result = run_campaign(world, strategy, draw_consumers(world, 900 + seed, 2000), int(2000 * BUDGET * 1e6))
        assert result.spent_micros <= 2000 * BUDGET * 1e6
        total += result.value_micros
    return total / 1e10


def learnt_table(strategy: Msbcb, price: float) -> Table:
    """What its lower level learnt to show for a price."""
    assert strategy.lower_ is not None
    return strategy.lower_.table(price)


def test_msbcb_comes_within_five_percent_of_the_bound(world: ConsumerWorld, bound: float) -> None:
    assert brought(world, Msbcb(TabularQ(world), BUDGET).fit(world, LESSONS, 1)) > 0.95 * bound


def test_a_deep_lower_level_comes_within_fifteen_percent(world: ConsumerWorld, bound: float) -> None:
    lower = DeepQ(world, 1, DeepQRule(updates=20, batch=128, hidden=(32,), follow=0.05))
    assert brought(world, Msbcb(lower, BUDGET).fit(world, LessonPlan(consumers=8000, days=25), 1)) > 0.85 * bound


def test_msbcb_brings_more_than_greedy_with_the_same_lower_level_a_bandit_and_a_fixed_sequence(
    world: ConsumerWorld,
) -> None:
    msbcb = brought(world, Msbcb(TabularQ(world), BUDGET).fit(world, LESSONS, 1))
    greedy = brought(world, GreedyDqn(TabularQ(world), BUDGET).fit(world, LESSONS, 1))
    bandit = brought(world, Msbcb(ContextualBandit(world), BUDGET).fit(world, LESSONS, 1))
    assert msbcb > max(greedy, bandit, brought(world, manual(world)), brought(world, myopic_greedy(world, BUDGET)))


def test_its_days_come_to_cost_the_budget_at_a_steady_threshold(world: ConsumerWorld) -> None:
    learnt = Msbcb(TabularQ(world), BUDGET).fit(world, LessonPlan(consumers=20_000, days=80), 3)
    assert np.mean(learnt.history_.cost[-20:]) == pytest.approx(BUDGET, rel=0.08)
    late = np.array(learnt.history_.threshold[-20:])
    assert late.std() < 0.1 * late.mean()


def test_what_is_counted_comes_to_the_worlds_own_policy(world: ConsumerWorld) -> None:
    lessons = Lessons(world, LessonPlan(consumers=80_000, days=1), 7)
    lower = TabularQ(world, doubt=0.0)
    lower.learn(lessons.day(0, np.zeros(world.shape, np.int8)).tried, 1.0)
    best, learnt = best_table(true_moves(world), 1.0), lower.table(1.0)
    told, found = (worth(true_moves(world), table) for table in (best, learnt))
    assert (found.gained - found.cost) @ world.share > 0.99 * ((told.gained - told.cost) @ world.share)


def test_pooling_changes_only_how_much_is_seen_of_a_step(world: ConsumerWorld) -> None:
    record = Lessons(world, LESSONS, 0).day(0, np.zeros(world.shape, np.int8)).tried
    pooled, apart = TabularQ(world, doubt=0.0), TabularQ(world, doubt=0.0, pooled=False)
    for lower in (pooled, apart):
        lower.learn(record, 0.0)
    assert (pooled.moves().chance[:, 0] == pooled.moves().chance[:, 2]).all()
    assert not (apart.moves().chance[:, 0] == apart.moves().chance[:, 2]).all()


def test_a_table_left_to_one_content_never_shows_another(world: ConsumerWorld) -> None:
    only_trial = np.array([True, False, False, True])
    learnt = Msbcb(TabularQ(world, only_trial), BUDGET).fit(world, LESSONS, 1, allowed=only_trial)
    assert set(np.unique(learnt_table(learnt, learnt.threshold_))) <= {0, 3}
    lower = DeepQ(world, 0, DeepQRule(updates=1), only_trial)
    assert set(np.unique(lower.table(0.0))) <= {0, 3}


def test_a_higher_price_never_costs_more(world: ConsumerWorld) -> None:
    lower = TabularQ(world)
    lower.learn(Lessons(world, LESSONS, 0).day(0, np.zeros(world.shape, np.int8)).tried, 0.0)
    costs = [float(worth(lower.moves(), lower.table(price)).cost @ world.share) for price in np.linspace(0, 20, 30)]
    assert (np.diff(costs) <= 1e-9).all()


def test_a_deep_lower_level_knows_what_a_higher_price_means(world: ConsumerWorld) -> None:
    lower = DeepQ(world, 0, DeepQRule(updates=300, batch=128, hidden=(32,), follow=0.05, near=1.0))
    lower.learn(Lessons(world, LESSONS, 0).day(0, np.zeros(world.shape, np.int8)).tried, 2.0)
    cheap, dear = (worth(true_moves(world), lower.table(price)).cost @ world.share for price in (0.5, 8.0))
    assert dear < 0.5 * cheap


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 100), budget=st.integers(0, 40_000_000))
def test_no_method_exceeds_any_budget(seed: int, budget: int) -> None:
    world = make_world(seed, EASY)
    consumer_budget, few = max(1, budget) / 100 / 1e6, LessonPlan(consumers=400, days=10)
    for strategy in (
        manual(world), myopic_greedy(world, consumer_budget),
        Msbcb(TabularQ(world), consumer_budget).fit(world, few, seed),
        Msbcb(ContextualBandit(world), consumer_budget).fit(world, few, seed),
        GreedyDqn(TabularQ(world), consumer_budget).fit(world, few, seed),
    ):  # fmt: skip
        assert run_campaign(world, strategy, draw_consumers(world, seed, 100), budget).spent_micros <= budget


def test_greedy_serves_whole_kinds_by_value_for_cost_and_a_part_of_the_last() -> None:
    count = np.array([[10.0, 10.0], [10.0, 0.0]])
    value, cost = np.array([[30.0, 50.0], [40.0, 0.0]]), np.array([[10.0, 10.0], [20.0, 0.0]])
    served = _fill(np.stack([count, value, cost]), 24.0 / 30.0)
    np.testing.assert_allclose(served, [[1.0, 1.0], [0.2, 0.0]])  # ratios 3, 5, 2; 24 pays 10 + 10 and a fifth of 20
    np.testing.assert_allclose(_fill(np.stack([count, value, cost]), 5.0 / 30.0), [[0.0, 0.5], [0.0, 0.0]])


def test_the_same_seed_learns_the_same(world: ConsumerWorld) -> None:
    few = LessonPlan(consumers=400, days=4)
    a, b = (Msbcb(DeepQ(world, 3, DeepQRule(updates=5)), BUDGET).fit(world, few, 2) for _ in range(2))
    assert a.threshold_ == b.threshold_ and a.history_ == b.history_
    np.testing.assert_array_equal(learnt_table(a, 1.0), learnt_table(b, 1.0))


@pytest.mark.parametrize("given", [None, CprController(3.0, a1=0.2)])
@pytest.mark.parametrize("lower", [TabularQ, lambda world: DeepQ(world, 3, DeepQRule(updates=5))])
def test_a_second_training_knows_nothing_of_the_first(
    world: ConsumerWorld, lower: Callable[[ConsumerWorld], LowerLevel], given: CprController | None
) -> None:
    few = LessonPlan(consumers=400, days=8)
    once = Msbcb(lower(world), BUDGET, given).fit(world, few, 2)
    again = Msbcb(lower(world), BUDGET, given).fit(world, few, 9).fit(world, few, 2)
    assert len(again.history_.threshold) == 8
    assert (again.history_, again.threshold_) == (once.history_, once.threshold_)
    np.testing.assert_array_equal(learnt_table(again, 1.0), learnt_table(once, 1.0))


def test_a_frozen_threshold_stays_through_a_campaign_and_another_moves(world: ConsumerWorld) -> None:
    taught = {frozen: Msbcb(TabularQ(world), BUDGET, frozen=frozen).fit(world, LESSONS, 1) for frozen in (True, False)}
    arrivals = Arrivals(np.arange(2), np.zeros(2, np.int64))
    dear = Moment(0.5, 2000, 40, 600_000_000, 300_000_000, 120_000_000)  # a period that cost ten times its share
    tables = {}
    for frozen, strategy in taught.items():
        strategy.begin()
        for _ in range(5):
            tables[frozen] = strategy.plan(dear, arrivals).tables[0]
    assert taught[True].threshold_ == taught[False].threshold_
    np.testing.assert_array_equal(tables[True], learnt_table(taught[True], taught[True].threshold_))
    shown = {frozen: float(worth(true_moves(world), table).cost @ world.share) for frozen, table in tables.items()}
    assert shown[False] < 0.5 * shown[True]


def test_a_campaign_after_another_training_begins_at_its_threshold(world: ConsumerWorld) -> None:
    strategy = Msbcb(TabularQ(world), BUDGET).fit(world, LESSONS, 1)
    strategy.begin()
    strategy.fit(world, LESSONS, 2)
    with pytest.raises(ValueError, match="plan before begin"):
        strategy.plan(Moment(1.0, 2000, 40, 600_000_000, 600_000_000, 0), Arrivals(np.arange(2), np.zeros(2, np.int64)))


def test_the_myopic_policy_costs_the_budget_at_most_in_expectation(world: ConsumerWorld) -> None:
    table = myopic_greedy(world, BUDGET).table
    assert worth(true_moves(world), table).cost @ world.share <= BUDGET


def test_a_fixed_sequence_shows_its_contents_in_order() -> None:
    world = make_world(0)
    consumers = draw_consumers(world, 0, 300)
    record = play(world, consumers, manual(world).table[None], np.zeros(300, np.int64), OPEN_BUDGET)
    shown = record.action[(record.action >= 0).all(axis=1)]
    assert len(shown) and (shown == [1, 2, 3, 3, 3, 3]).all()


def test_a_strategy_that_learnt_nothing_says_so(world: ConsumerWorld) -> None:
    for strategy in (Msbcb(TabularQ(world), BUDGET), GreedyDqn(TabularQ(world), BUDGET)):
        with pytest.raises(ValueError, match="call fit first"):
            strategy.begin()


def test_a_lesson_plan_needs_consumers_every_day() -> None:
    with pytest.raises(ValueError, match="2 consumers a day"):
        LessonPlan(consumers=10, days=10)
