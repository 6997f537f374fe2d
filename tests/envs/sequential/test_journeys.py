import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tribid.envs.sequential.campaign import Arrivals, Moment, Plan, run_campaign
from tribid.envs.sequential.consumers import ConsumerRule, ConsumerWorld, make_world
from tribid.envs.sequential.moves import DOWN, ORDER, UP, best_table, true_moves, worth
from tribid.envs.sequential.play import OPEN_BUDGET, OVER, Record, draw_consumers, play

SMALL = ConsumerRule(types=2, steps=3, tired=2)


def met(world: ConsumerWorld, seed: int, count: int, price: float = 1.0, budget: int = OPEN_BUDGET) -> Record:
    table = best_table(true_moves(world), price)
    return play(world, draw_consumers(world, seed, count), table[None], np.zeros(count, np.int64), budget)


def test_expected_value_and_cost_are_what_many_consumers_bring_and_cost() -> None:
    world = make_world(3)
    told = worth(true_moves(world), best_table(true_moves(world), 1.0))
    record = met(world, 5, 60_000)
    value = record.value_micros.sum(axis=1) / 1e6
    error = value.std() / np.sqrt(len(value))
    assert value.mean() == pytest.approx(told.gained @ world.share, abs=4 * error)
    assert record.spent_micros / 1e6 / len(value) == pytest.approx(told.cost @ world.share, rel=0.02)


def test_a_journey_of_one_step_is_worth_its_best_chance_of_an_order() -> None:
    world = make_world(0, ConsumerRule(types=1, steps=1, start=(0.0, 0.0, 0.0, 1.0)))
    trial = world.order[0, 3, 2] * world.value_micros[0] / 1e6
    told = worth(true_moves(world), best_table(true_moves(world), 0.0))
    assert told.gained[0] == pytest.approx(trial) and told.cost[0] == pytest.approx(0.5)
    assert best_table(true_moves(world), trial / 0.5 * 1.01)[0, 0, 3, 0] != 3


def test_outcomes_of_every_action_sum_to_one() -> None:
    assert true_moves(make_world(1)).chance.sum(axis=-1) == pytest.approx(1.0)


def test_a_stage_moves_by_one_and_an_order_ends_the_journey() -> None:
    record = met(make_world(2), 1, 2000)
    stage, outcome = record.stage.astype(int), record.outcome
    goes_on = record.action[:, 1:] != OVER
    moved = (outcome[:, :-1] == UP).astype(int) - (outcome[:, :-1] == DOWN)
    assert (stage[:, 1:] - stage[:, :-1] == moved)[goes_on].all()
    assert (goes_on == (np.cumsum(outcome == ORDER, axis=1)[:, :-1] == 0)).all()
    assert ((record.value_micros > 0) == (outcome == ORDER)).all()


def test_without_an_ad_nobody_orders_or_moves_up() -> None:
    world = make_world(0)
    idle = np.zeros((1, *world.shape), np.int8)
    record = play(world, draw_consumers(world, 0, 500), idle, np.zeros(500, np.int64), OPEN_BUDGET)
    assert record.spent_micros == 0 and not np.isin(record.outcome, (UP, ORDER)).any()


def test_the_same_consumers_come_in_parts_as_at_once() -> None:
    world = make_world(0)
    whole, later = draw_consumers(world, 9, 30), draw_consumers(world, 9, 10, first=20)
    for a, b in zip(whole.part(slice(20, 30)), later, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_consumers_luck_does_not_depend_on_what_others_are_shown() -> None:
    world = make_world(0)
    consumers = draw_consumers(world, 4, 50)
    tables = np.stack([best_table(true_moves(world), 1.0), np.zeros(world.shape, np.int8)])
    which = np.zeros(50, np.int64)
    plain = play(world, consumers, tables, which, OPEN_BUDGET)
    which[:25] = 1
    changed = play(world, consumers, tables, which, OPEN_BUDGET)
    np.testing.assert_array_equal(plain.value_micros[25:], changed.value_micros[25:])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), budget=st.integers(0, 30_000_000), price=st.floats(0.0, 5.0))
def test_no_micro_beyond_the_budget_is_spent_and_what_was_shown_is_what_was_paid(
    seed: int, budget: int, price: float
) -> None:
    world = make_world(seed, SMALL)
    record = met(world, seed, 40, price, budget)
    shown = record.action[record.action > 0]
    assert record.spent_micros == world.cost_micros[shown - 1].sum() <= budget


class Eager:
    """Shows trials to everybody, and notes what it was told."""

    def __init__(self, world: ConsumerWorld) -> None:
        self.table, self.moments = np.full(world.shape, 3, np.int8), list[Moment]()

    def begin(self) -> None:
        self.moments.clear()

    def plan(self, moment: Moment, arrivals: Arrivals) -> Plan:
        self.moments.append(moment)
        return Plan.of(self.table, len(arrivals.kind))


def test_a_campaign_tells_before_each_period_what_is_left_and_never_exceeds_the_budget() -> None:
    world = make_world(0)
    eager = Eager(world)
    result = run_campaign(world, eager, draw_consumers(world, 1, 100), 20_100_000, periods=10)
    assert result.spent_micros == 20_000_000 and result.unpaid > 0  # 40 trials, and 0.1 that buys none
    assert [moment.left_micros for moment in eager.moments][:2] == [
        20_100_000,
        20_100_000 - eager.moments[1].spent_micros,
    ]
    assert [moment.time_left for moment in eager.moments] == pytest.approx(np.linspace(1.0, 0.1, 10))
    assert sum(moment.planned_micros for moment in eager.moments) == pytest.approx(20_100_000)


def test_a_campaign_does_not_depend_on_how_many_periods_a_fixed_policy_is_asked_in() -> None:
    world = make_world(0)
    one, ten = (run_campaign(world, Eager(world), draw_consumers(world, 1, 100), 30_000_000, n) for n in (1, 10))
    assert one == ten


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"steps": 0}, "steps"), ({"start": (0.5, 0.0, 0.0, 0.0)}, "start"), ({"cost_micros": (0, 1, 1)}, "cost_micros")],
)
def test_a_rule_out_of_bounds_is_refused_by_name(changed: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ConsumerRule(**changed)  # type: ignore[arg-type]


def test_tables_of_another_world_are_refused() -> None:
    world = make_world(0)
    with pytest.raises(ValueError, match="tables have shape"):
        play(world, draw_consumers(world, 0, 3), np.zeros((1, 2, 2, 2, 2), np.int8), np.zeros(3, np.int64), 0)
