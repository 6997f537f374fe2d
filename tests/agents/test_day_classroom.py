"""Days that policies learn from together: rivals and markets are those of the plan, and nothing else is met."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch

from tribid.agents.bidder import BidderSpace, Lineup
from tribid.agents.day_classroom import Days
from tribid.agents.dense import Scale, move_towards, relu_network
from tribid.agents.networks.adjusting import AdjustingPolicy
from tribid.agents.plan import Roster, TrainingPlan
from tribid.agents.rules import FixedMultiplier
from tribid.agents.testing import play, random_observations
from tribid.envs.scenario import load_scenario

TINY = load_scenario("tiny")
PLAN = TrainingPlan(
    scenario=TINY, learners=(1, 3), rivals=("pid", "dual_pacing"), num_markets=3, outcomes="sampled", seed=2
)


def test_rivals_and_days_are_those_of_a_day_played_alone() -> None:
    roster = Roster.of(PLAN)
    days = Days(PLAN, roster)
    while not days.state.done:
        days.play({"shared": ([1, 3], np.full((3, 2, 1), 1.5))})
    own = FixedMultiplier(1.5, space=BidderSpace.of(TINY))
    drivers = ["own" if who in (1, 3) else name for who, name in enumerate(roster.rivals.mapping)]
    for m in range(3):
        alone, _ = play(TINY, 2000 + m, Lineup({**roster.rivals.bidders, "own": own}, drivers))
        np.testing.assert_array_equal(days.state.total.spend_micros[m], alone.total.spend_micros)
        np.testing.assert_array_equal(days.state.total.counts.clicks[m], alone.total.counts.clicks)


def test_each_day_opens_all_markets_anew_on_the_days_of_the_plans_seeds() -> None:
    days = Days(PLAN, Roster.of(PLAN))
    days.play({"shared": ([1, 3], np.full((3, 2, 1), 1.5))})
    days.open(4)
    assert [(day.seed, day.day) for day in days.state.days] == [(2000, 4), (2001, 4), (2002, 4)]
    assert days.state.tick == 0
    assert days.seen.shape == (3, 5, 36)
    assert Days(replace(PLAN, outcomes="expected"), Roster.of(PLAN)).scenario.rules.outcomes == "expected"


def test_a_scaled_network_sees_in_training_what_it_sees_when_served() -> None:
    space = BidderSpace(segments=2)
    seen = random_observations(space, 400)
    scale = Scale([0, 5, 20], space.observation_size, clip=1.5)
    scale.fit(seen)
    network = relu_network((3, 8, 8, 2), seed=1)
    policy = AdjustingPolicy(space=space, **scale.perceptron(network))
    with torch.no_grad():
        np.testing.assert_allclose(policy.numbers(seen), network(scale(seen)).numpy(), atol=1e-6)
    scaled = scale(seen).numpy()
    assert np.abs(scaled).max() <= 1.5
    np.testing.assert_allclose(Scale([0, 5, 20], 37)(seen).numpy(), seen[:, [0, 5, 20]])


def test_numbers_that_never_change_do_not_blow_up() -> None:
    seen = np.full((10, 4), 0.25, np.float32)
    scale = Scale(range(4), 4)
    scale.fit(seen)
    assert (scale(seen) == 0).all()
    assert (scale.std == np.float32(0.02)).all()


def test_networks_start_from_their_seed_alone_and_targets_follow() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = relu_network((3, 4, 1), 1), relu_network((3, 4, 1), 1), relu_network((3, 4, 1), 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    wanted = one[0].weight + 0.25 * (other[0].weight - one[0].weight)
    move_towards(one, other, 0.25)
    torch.testing.assert_close(one[0].weight, wanted)
