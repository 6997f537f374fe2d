import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tribid.envs.sequential.consumers import make_world
from tribid.envs.sequential.journey_env import ConsumerJourney, observe_states
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
    with pytest.raises(ValueError, match="price -1"):
        ConsumerJourney(make_world(0), price=-1.0)
    env = ConsumerJourney(make_world(0))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="below 4"):
        env.step(np.int64(4))
