from itertools import product

import numpy as np
import pytest

from tribid.agents.sequential.choices import Choices, efficient, every_policy
from tribid.agents.sequential.optimum import EnumeratedOptimum, enumerated
from tribid.envs.sequential.campaign import Arrivals, Moment, run_campaign
from tribid.envs.sequential.consumers import ConsumerRule, ConsumerWorld, make_world
from tribid.envs.sequential.moves import best_table, true_moves, without, worth
from tribid.envs.sequential.play import draw_consumers

TINY = ConsumerRule(types=2, steps=2, tired=2, start=(0.0, 0.0, 1.0, 0.0))


@pytest.fixture
def tiny() -> ConsumerWorld:
    return make_world(5, TINY)


@pytest.mark.parametrize("price", [0.0, 0.5, 2.0, 5.0, 50.0])
@pytest.mark.parametrize("kind", [0, 1])
def test_the_policy_for_a_price_is_the_best_of_all_policies_there(tiny: ConsumerWorld, price: float, kind: int) -> None:
    every = every_policy(tiny, kind)
    told = worth(true_moves(tiny), best_table(true_moves(tiny), price))
    best = (every.gained - price * every.cost).max()
    assert told.gained[kind] - price * told.cost[kind] == pytest.approx(best, abs=1e-9)


def test_the_efficient_policies_are_the_corners_of_the_hull_of_all(tiny: ConsumerWorld) -> None:
    every, few = every_policy(tiny, 0), efficient(true_moves(tiny), 0)
    for price in np.linspace(0.0, 40.0, 200):
        assert (few.gained - price * few.cost).max() == pytest.approx(
            (every.gained - price * every.cost).max(), abs=1e-8
        )
    slopes = np.diff(few.gained) / np.diff(few.cost)
    assert (np.diff(few.cost) > 0).all() and (np.diff(slopes) < 0).all()
    assert few.gained[0] == few.cost[0] == 0.0


def best_by_trying_all(choices: list[Choices], consumers: list[int], budget: float) -> float:
    """One policy for each consumer, every combination."""
    each = [choices[kind] for kind, count in enumerate(consumers) for _ in range(count)]
    totals = {(0.0, 0.0)}
    for choice in each:
        pairs = {*zip(choice.gained.round(9).tolist(), choice.cost.round(9).tolist(), strict=True)}
        totals = {(g + v, c + w) for (g, c), (v, w) in product(totals, pairs) if c + w <= budget + 1e-9}
        totals = {(round(g, 9), round(c, 9)) for g, c in totals}
    return max(gained for gained, _ in totals)


@pytest.mark.parametrize("budget", [0.0, 0.3, 0.7, 1.1, 1.6, 9.0])
def test_the_enumerated_optimum_is_the_best_of_all_assignments_in_a_tiny_world(
    tiny: ConsumerWorld, budget: float
) -> None:
    choices = [every_policy(tiny, kind) for kind in range(2)]
    found = enumerated(choices, [2, 1], budget)
    assert found.value == pytest.approx(best_by_trying_all(choices, [2, 1], budget), abs=1e-6)
    assert found.cost <= budget + 1e-6 and [part.sum() for part in found.numbers] == [2, 1]


def test_no_optimum_is_above_the_linear_bound_and_with_many_consumers_it_comes_close() -> None:
    world = make_world(0)
    choices = [efficient(true_moves(world), kind) for kind in range(6)]
    for count in (1, 3, 100):
        budget = 0.3 * count * 6
        whole = enumerated(choices, [count] * 6, budget)
        bound = enumerated(choices, [count] * 6, budget, whole=False)
        assert whole.value <= bound.value + 1e-9 and whole.cost <= budget + 1e-6
    assert whole.value > 0.999 * bound.value


def test_the_bound_is_what_the_lagrangian_gives_at_its_best_price() -> None:
    world, consumers, budget = make_world(2), 100, 80.0
    moves = true_moves(world)
    bound = enumerated([efficient(moves, kind) for kind in range(6)], [consumers] * 6, budget, whole=False).value

    def lagrangian(price: float) -> float:
        told = worth(moves, best_table(moves, price))
        return float(consumers * (told.gained - price * told.cost).sum() + price * budget)

    prices = np.linspace(0.0, 12.0, 601)
    assert min(map(lagrangian, prices)) == pytest.approx(bound, rel=1e-3)
    assert min(map(lagrangian, prices)) >= bound - 1e-6


def test_contents_by_stage_beat_every_single_content_at_the_optimum() -> None:
    for seed in range(2):
        world = make_world(seed)
        moves = true_moves(world)

        def best(allowed: tuple[bool, ...], moves=moves) -> float:  # type: ignore[no-untyped-def]
            some = without(moves, np.array(allowed))
            return enumerated([efficient(some, kind) for kind in range(6)], [100] * 6, 400.0).value

        together = best((True, True, True, True))
        for content in range(3):
            assert best((True, *(content == other for other in range(3)))) < 0.95 * together


def test_played_it_brings_what_it_expects_and_keeps_the_budget() -> None:
    world = make_world(0)
    budget, brought, expected = 750_000_000, 0.0, 0.0
    choices = [efficient(true_moves(world), kind) for kind in range(6)]
    for seed in range(8):
        consumers = draw_consumers(world, 100 + seed, 1000)
        optimum = EnumeratedOptimum(world, np.bincount(consumers.kind, minlength=6).tolist(), budget, choices)
        result = run_campaign(world, optimum, consumers, budget)
        assert result.spent_micros <= budget
        brought, expected = brought + result.value_micros / 1e6, expected + optimum.optimum.value
    assert brought == pytest.approx(expected, rel=0.06)


def test_policies_of_the_optimum_are_mixed_evenly_at_every_length() -> None:
    world = make_world(0)
    optimum = EnumeratedOptimum(world, [100] * 6, 450_000_000)
    optimum.begin()
    kinds = np.tile(np.arange(6), 100)
    arrivals, moment = Arrivals(kinds, np.zeros(600, np.int64)), Moment(1.0, 600, 600, 450_000_000, 450_000_000, 0)
    which = optimum.plan(moment, arrivals).which
    numbers = np.concatenate(optimum.optimum.numbers)
    for length in (150, 300, 600):
        met = np.bincount(which[:length], minlength=len(numbers))
        assert np.abs(met - numbers * length / 600).max() < 2.5


def test_a_world_with_too_many_policies_is_not_enumerated() -> None:
    with pytest.raises(ValueError, match="allowed are up to"):
        every_policy(make_world(0), 0)
