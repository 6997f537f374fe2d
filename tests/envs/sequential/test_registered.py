"""The small worlds of the journey can be made by their names, with no arguments, and keep Gymnasium's rules."""

import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env


@pytest.mark.parametrize("name", ["ConsumerJourney", "ChannelSplit"])
def test_registered_environments_keep_gymnasiums_rules(name: str) -> None:
    env = gymnasium.make(f"tribid:tribid/{name}-v0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not within the.*|.*we recommend.*", category=UserWarning)
        check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert (observation == again).all()
