from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tribid.envs.sequential.consumers import JOURNEY, make_world
from tribid.envs.sequential.journey_env import ConsumerJourney, observation_names, observe_states
from tribid.envs.sequential.moves import best_table, true_moves
from tribid.envs.sequential.play import draw_consumers, play


@pytest.mark.parametrize("consumers", [1, 5])
def test_gymnasiums_checker_passes(consumers: int) -> None:
    env = ConsumerJourney(make_world(0), consumers=consumers, price=1.0, budget_micros=2_000_000)
    check_env(env, skip_render_check=True)


def run(env: ConsumerJourney, table: np.ndarray, seed: int) -> tuple[float, dict[str, int]]:
    """Play an episode by a table, reading the state out of what is observed."""
    states = observe_states(env.world)[..., :-4]
    total, done = 0.0, False
    seen, info = env.reset(seed=seed)
    while not done:
        state = np.argwhere((states == seen[:-4]).all(axis=-1))[0]
        seen, reward, done, cut, info = env.step(table[tuple(state)])
        total += reward
        assert not cut and env.observation_space.contains(seen)
    return total, info


@pytest.mark.parametrize("budget", [0, 3_000_000, 10**9])
def test_an_episode_is_to_the_micro_what_the_campaigns_kernel_plays(budget: int) -> None:
    world = make_world(1)
    table = best_table(true_moves(world), 0.5)
    total, info = run(ConsumerJourney(world, price=0.5, consumers=20, budget_micros=budget), table, seed=11)
    record = play(world, draw_consumers(world, 11, 20), table[None], np.zeros(20, np.int64), budget)
    assert (info["value_micros"], info["spent_micros"]) == (record.value_micros.sum(), record.spent_micros)
    unit = world.value_micros @ world.share
    assert total == pytest.approx((info["value_micros"] - 0.5 * info["spent_micros"]) / unit)


def test_every_episode_of_a_seed_meets_new_consumers_and_the_same_seed_the_same() -> None:
    env = ConsumerJourney(make_world(0), consumers=8)

    def kinds() -> list[int]:
        assert env._people is not None
        return list(env._people.kind)

    env.reset(seed=3)
    first = kinds()
    env.reset()
    second = kinds()
    env.reset(seed=3)
    assert kinds() == first != second
    np.testing.assert_array_equal(first + second, draw_consumers(env.world, 3, 16).kind)


def test_stepping_on_after_the_end_is_refused() -> None:
    env: gymnasium.Env[np.ndarray, np.int64] = ConsumerJourney(make_world(0))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.int64(0))


def test_a_negative_price_or_an_unknown_action_is_refused() -> None:
    with pytest.raises(ValueError, match="price is -1"):
        ConsumerJourney(make_world(0), price=-1.0)
    env = ConsumerJourney(make_world(0))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="below 4"):
        env.step(np.int64(4))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"world": "x"}, "world is 'x'; allowed is a whole number from 0 to 9223372036854775807, or a ConsumerWorld"),
        ({"world": -1}, "world is -1; allowed is a whole number from 0"),
        ({"world": True}, "world is True; allowed is a whole number from 0"),
        ({"consumers": "3"}, "consumers is '3'; allowed is a whole number from 1"),
        ({"budget_micros": 1.5}, "budget_micros is 1.5; allowed is a whole number from 0 to .*, or None"),
        ({"price": "x"}, "price is 'x'; allowed is a finite number from 0"),
        ({"price": float("nan")}, "price is nan; allowed is a finite number from 0"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_what_is_allowed(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        gymnasium.make("tribid:tribid/ConsumerJourney-v0", **wrong)


def test_worlds_and_consumers_name_what_is_no_seed_and_no_number() -> None:
    def wrong(value: str) -> Any:
        return value

    world = make_world(0)
    for call, told in (
        (lambda: make_world(wrong("x")), "seed is 'x'; allowed is a whole number from 0 to 9223372036854775807"),
        (lambda: make_world(0, wrong("x")), "rule is 'x'; allowed is a ConsumerRule or None"),
        (lambda: draw_consumers(world, wrong("x"), 2), "seed is 'x'; allowed is a whole number from 0"),
        (lambda: draw_consumers(world, 0, wrong("x")), "count is 'x'; allowed is a whole number from 1"),
        (lambda: draw_consumers(world, 0, 1, -1), "first is -1; allowed is a whole number from 0"),
        (lambda: draw_consumers(wrong("x"), 0, 2), "world is 'x'; allowed is a ConsumerWorld"),
        (lambda: ConsumerJourney(world).reset(seed=wrong("x")), "seed is 'x'; allowed is a whole number from 0"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_an_action_that_is_no_whole_number_below_the_actions_is_refused() -> None:
    env = ConsumerJourney(make_world(0))
    env.reset(seed=np.int64(0))  # type: ignore[arg-type]
    wrong: list[Any] = ["x", 1.5, 4, -1, [1], None]
    for action in wrong:
        with pytest.raises(ValueError, match="allowed are the whole numbers below 4"):
            env.step(action)
    env.step(np.int8(1))  # type: ignore[arg-type]


def test_the_observations_names_say_what_the_numbers_are() -> None:
    env = ConsumerJourney(make_world(0), consumers=4, budget_micros=10_000_000)
    names = observation_names(env.world)
    seen, _ = env.reset(seed=5)
    assert seen.shape == (len(names),)
    told = dict(zip(names, seen.tolist(), strict=True))
    who = env._people
    assert who is not None
    assert told[f"type_{who.kind[0]}"] == told[f"stage_{JOURNEY[who.start[0]]}"] == told["bias"] == 1.0
    assert (told["steps_behind"], told["exposures_behind"], told["pace"]) == (0.0, 0.0, 0.5)
    info = {"met": 0}
    while info["met"] == 0:
        seen, _, _, _, info = env.step(np.int64(3))
    told = dict(zip(names, seen.tolist(), strict=True))
    assert told["consumers_left"] == 0.75 and told["budget_left"] == pytest.approx(1 - info["spent_micros"] / 1e7)
