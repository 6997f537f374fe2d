"""A split learnt by PPO (Schulman et al. 2017, in Stable-Baselines3) over many seeds, served by plain numpy."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tribid.agents.channel_split.features import FEATURES
from tribid.agents.channel_split.split_env import ChannelSplit, shares_of
from tribid.agents.channel_split.splitter import Floats, Ints, Seen, whole
from tribid.agents.weights_file import read_weights, tensors_of
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.channels.world_config import ChannelWorldConfig

HIDDEN = (32, 32)

TRAINING_SEEDS = 1_000_000
"""Training plays seeds from here on (the model's seed is the first), so that small seeds are kept for judging."""


@dataclass(frozen=True)
class NetworkSplit:
    """A trained policy's mean action: layers of (weight [out, in], bias [out]), tanh between them, float32."""

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    payable: NDArray[np.bool_]

    def split(self, seen: Seen) -> Ints:
        """The softmax shares of the mean action."""
        x = seen.features
        for weight, bias in self.layers[:-1]:
            x = np.tanh(weight @ x + bias)
        weight, bias = self.layers[-1]
        return whole(shares_of(weight @ x + bias, self.payable), seen.budget_micros)

    def learn(self, split_micros: Ints, value: Floats) -> None:
        """Nothing: it has learnt before."""

    def save(self, path: Path) -> None:
        """Write the policy as a safetensors file."""
        tensors = {
            name: array for k, layer in enumerate(self.layers) for name, array in zip(_names(k), layer, strict=True)
        }
        save_file({**tensors, "payable": self.payable.astype(np.float32)}, path)


def load(path: Path) -> NetworkSplit:
    """A policy that ``save`` wrote; ``ValueError`` for a file of another shape."""
    sizes = (FEATURES, *HIDDEN, len(CHANNELS))
    shapes: dict[str, tuple[int, ...]] = {"payable": (len(CHANNELS),)}
    for k, (size, out) in enumerate(pairwise(sizes)):
        weight, bias = _names(k)
        shapes |= {weight: (out, size), bias: (out,)}
    found = tensors_of(path, read_weights(path), shapes)
    layers = tuple((found[weight], found[bias]) for weight, bias in map(_names, range(len(sizes) - 1)))
    return NetworkSplit(layers, found["payable"] > 0.5)


def _names(layer: int) -> tuple[str, str]:
    return f"weight{layer}", f"bias{layer}"


def train(config: ChannelWorldConfig, *, steps: int, seed: int = 0) -> NetworkSplit:
    """PPO for ``steps`` days in worlds of this configuration. Needs torch and Stable-Baselines3 (``tribid[train]``)."""
    try:
        from stable_baselines3 import PPO
    except ImportError as error:
        raise ImportError("training needs torch and Stable-Baselines3: pip install 'tribid[train]'") from error
    env = ChannelSplit(config)
    batch = min(10 * config.days, steps)
    model = PPO(
        "MlpPolicy", env, n_steps=batch, batch_size=max(batch // 4, 2), n_epochs=10, gamma=0.97, gae_lambda=0.95,
        learning_rate=1e-3, ent_coef=0.0, seed=TRAINING_SEEDS + 100_000 * seed, device="cpu",
        policy_kwargs={"net_arch": list(HIDDEN), "log_std_init": -0.7},
    )  # fmt: skip
    model.learn(steps)
    return network_of(model, env.payable)


def network_of(model: Any, payable: NDArray[np.bool_]) -> NetworkSplit:
    """The mean action of a model of Stable-Baselines3 with an ``MlpPolicy``."""
    linear = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    layers = tuple(
        (layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
        for layer in linear
        if hasattr(layer, "weight")
    )
    return NetworkSplit(layers, payable)
