from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tribid.agents.sequential.sb3_journeys import Sb3Plan, ScoredActions, train_sb3
from tribid.envs.sequential.campaign import run_campaign
from tribid.envs.sequential.consumers import ConsumerRule, make_world
from tribid.envs.sequential.journey_env import ConsumerJourney
from tribid.envs.sequential.play import draw_consumers

EASY = ConsumerRule(types=1, steps=2, tired=2, order=(0.0, 0.0, 0.0, 0.9), start=(0.5, 0.0, 0.0, 0.5))
PLAN = Sb3Plan(consumers=1000, campaign=4, copies=8, gamma=1.0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small learn fastest on one thread, and on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", ["ppo", pytest.param("dqn", marks=pytest.mark.slow), pytest.param("ddpg", marks=pytest.mark.slow)]
)
def test_each_learns_to_show_a_trial_to_those_who_desire(name: str) -> None:
    world = make_world(0, EASY)
    met: list[int] = []
    strategy = train_sb3(name, world, 0.25, PLAN, 0, met.append)
    budget = 400 * 250_000
    result = run_campaign(world, strategy, draw_consumers(world, 50, 400), budget)
    assert result.spent_micros <= budget
    assert result.orders > 60  # showing at random brings about 35, the best policy about 180
    assert met[-1] == 1000 and met == sorted(met)


def test_the_highest_score_is_played() -> None:
    env = ScoredActions(ConsumerJourney(make_world(0)))
    assert env.action(np.array([-1.0, 0.2, 0.9, 0.3], np.float32)) == 2


def test_an_unknown_learner_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="choose ppo, dqn, ddpg"):
        train_sb3("sac", make_world(0), 1.0, Sb3Plan(), 0)
