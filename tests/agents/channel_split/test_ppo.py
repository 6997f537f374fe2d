from pathlib import Path

import numpy as np
import pytest

from tribid.agents.channel_split.features import FEATURES
from tribid.agents.channel_split.ppo import NetworkSplit, load, network_of, train
from tribid.agents.channel_split.split_env import ChannelSplit, shares_of
from tribid.agents.channel_split.splitter import Seen
from tribid.envs.channels.world_config import ChannelWorldConfig

SMALL = ChannelWorldConfig(users=100, days=3, ticks=2, budget=1.0)


def seen(budget: int) -> Seen:
    return Seen(0, 10, budget, np.zeros(FEATURES, np.float32))


def test_a_trained_split_is_served_as_it_was_trained_and_survives_its_file(tmp_path: Path):
    from stable_baselines3 import PPO

    env = ChannelSplit(SMALL)
    model = PPO("MlpPolicy", env, n_steps=10, batch_size=5, seed=3, device="cpu", policy_kwargs={"net_arch": [32, 32]})
    policy = network_of(model, env.payable)
    policy.save(tmp_path / "split.safetensors")
    read = load(tmp_path / "split.safetensors")
    for row in np.random.default_rng(0).uniform(0, 1, (5, FEATURES)).astype(np.float32):
        served = read.split(seen(10**9)._replace(features=row))
        assert (served == policy.split(seen(10**9)._replace(features=row))).all()
        action = model.predict(row, deterministic=True)[0]
        assert served / 1e9 == pytest.approx(shares_of(action, env.payable), abs=1e-5)


def test_training_gives_a_split_and_plays_no_seed_that_is_judged(monkeypatch: pytest.MonkeyPatch):
    played: list[int] = []
    original = ChannelSplit.reset

    def spy(self: ChannelSplit, **given_: object):
        answer = original(self, **given_)
        played.append(answer[1]["seed"])
        return answer

    monkeypatch.setattr(ChannelSplit, "reset", spy)
    policy = train(SMALL, steps=12, seed=1)
    assert isinstance(policy, NetworkSplit) and policy.split(seen(1000)).sum() <= 1000
    assert len(played) > 2 and min(played) >= 1_000_000


def test_a_file_of_another_shape_is_refused(tmp_path: Path):
    short = NetworkSplit(((np.zeros((4, FEATURES), np.float32), np.zeros(4, np.float32)),), np.ones(4, np.bool_))
    short.save(tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match="weight"):
        load(tmp_path / "short.safetensors")
