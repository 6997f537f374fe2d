"""Small networks for learners off the policy: made from a seed, fed with scaled observations, exported as they stand."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_LEAST_STD = 0.02


def relu_network(sizes: Sequence[int], seed: int) -> nn.Sequential:
    """Linear layers of these sizes with relu between them; the same seed gives the same weights (torch's usual start)."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for into, out in pairwise(sizes):
            layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def move_towards(target: nn.Module, network: nn.Module, share: float) -> None:
    """``target += share * (network - target)``, weight by weight."""
    with torch.no_grad():
        for old, new in zip(target.parameters(), network.parameters(), strict=True):
            old.lerp_(new, share)


class Scale:
    """``(x - mean) / std`` cut to [-clip, clip], on the columns that a network sees; moments are set once, then kept.

    ``columns`` are the places in an observation of D numbers. Until ``fit``, numbers pass as they are.
    """

    def __init__(self, columns: Sequence[int], observation_size: int, clip: float = 5.0) -> None:
        self.columns = np.asarray(columns, np.int64)
        self.clip = clip
        self.mean = np.zeros(observation_size, np.float32)
        self.std = np.ones(observation_size, np.float32)

    def fit(self, observations: NDArray[np.float32]) -> None:
        """Take mean and standard deviation (at least 0.02) of the columns from observations [n, D]."""
        seen = observations[:, self.columns].astype(np.float64)
        self.mean[self.columns] = seen.mean(axis=0)
        self.std[self.columns] = np.maximum(seen.std(axis=0), _LEAST_STD)

    def __call__(self, observations: NDArray[np.float32]) -> Tensor:
        """Scaled columns [..., C] of observations [..., D], float32 as the exported policy computes them."""
        scaled = (observations - self.mean) / self.std
        return torch.from_numpy(np.clip(scaled, -self.clip, self.clip)[..., self.columns])

    def perceptron(self, network: nn.Sequential) -> dict[str, Any]:
        """The arguments of ``tribid.agents.networks.perceptron.Perceptron`` but the space, seeing whole observations.

        Columns that the network does not see have weight 0.
        """
        dense = [layer for layer in network if isinstance(layer, nn.Linear)]
        weights = [layer.weight.detach().numpy().astype(np.float32) for layer in dense]
        first = np.zeros((len(weights[0]), len(self.mean)), np.float32)
        first[:, self.columns] = weights[0]
        return {
            "mean": self.mean,
            "std": self.std,
            "clip": self.clip,
            "weights": (first, *weights[1:]),
            "biases": tuple(layer.bias.detach().numpy().astype(np.float32) for layer in dense),
            "activation": "relu",
        }
