"""A multilayer perceptron whose last layer is left as it is: what policies that choose or adjust have in common.

Each row is computed alone, in float32 and in one stated order, as ``tribid.agents.networks.mlp`` does it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, field_validator

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.arithmetic import dense32, normalise32, tanh32
from tribid.agents.networks.card import MOST_WEIGHTS, NetworkCard, checked_rows, float32_tensor
from tribid.agents.networks.weights import check_reach

ACTIVATIONS = ("tanh", "relu")
"""What hidden layers may end in."""


class PerceptronCard(NetworkCard):
    """``layers`` are the sizes from the observation to the last layer; the rest as ``Perceptron``."""

    layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=2, max_length=16)
    activation: Literal["relu", "tanh"]
    observation_clip: float = Field(gt=0, le=1e6, allow_inf_nan=False)

    @field_validator("layers")
    @classmethod
    def _not_too_many(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        weights = sum(a * b for a, b in pairwise(layers))
        if weights > MOST_WEIGHTS:
            raise ValueError(f"layers make {weights} weights; allowed are {MOST_WEIGHTS}")
        return layers

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """A normaliser, and a weight [out, in] and a bias for each layer."""
        observed = self.layers[0]
        shapes: dict[str, tuple[int, ...]] = {"normaliser.mean": (observed,), "normaliser.std": (observed,)}
        for i, (into, out) in enumerate(pairwise(self.layers)):
            shapes |= {f"layer{i}.weight": (out, into), f"layer{i}.bias": (out,)}
        return shapes

    def arguments(self, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """The arguments of ``Perceptron`` but the space."""
        layers = range(len(self.layers) - 1)
        return {
            "mean": tensors["normaliser.mean"],
            "std": tensors["normaliser.std"],
            "clip": self.observation_clip,
            "weights": tuple(tensors[f"layer{i}.weight"] for i in layers),
            "biases": tuple(tensors[f"layer{i}.bias"] for i in layers),
            "activation": self.activation,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Perceptron:
    """``numbers`` [n, out] for observations [n, D]; policies extend it by what the numbers mean.

    ``weights[i]`` is [out, in] and ``biases[i]`` [out], as in torch's ``Linear``; ``mean`` and ``std`` [D] with
    ``clip`` normalise the observation to ``(x - mean) / std`` cut to [-clip, clip]. Hidden layers end in ``activation``
    (tanh or relu), the last in nothing. ``space`` is the one it was trained in; its observation fixes D. Arrays are
    kept as read-only float32. Raises ``ValueError`` for what does not fit together or is not finite.
    """

    space: BidderSpace
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    clip: float
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    activation: str = "relu"
    _flat: NDArray[np.float32] = field(init=False, repr=False)
    _sizes: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, float32_tensor(name, getattr(self, name), 1))
        for name, dimensions in (("weights", 2), ("biases", 1)):
            parts = tuple(
                float32_tensor(f"{name}[{i}]", part, dimensions) for i, part in enumerate(getattr(self, name))
            )
            object.__setattr__(self, name, parts)
        self._check()
        flat = [part for pair in zip(self.weights, self.biases, strict=True) for part in (pair[0].T.ravel(), pair[1])]
        object.__setattr__(self, "_flat", np.concatenate(flat))
        object.__setattr__(self, "_sizes", np.array(self.sizes, np.int64))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers going into the network, out of each hidden layer, and out of it."""
        return (len(self.mean), *(len(bias) for bias in self.biases))

    def numbers(self, observation: Any) -> NDArray[np.float32]:
        """What the last layer gives, [n, out], for observations [n, D].

        Raises ``ValueError`` for another shape and for what is not finite.
        """
        seen = checked_rows(observation, self.sizes[0])
        out = np.empty((len(seen), self.sizes[-1]), np.float32)
        relu = self.activation == "relu"
        _forward_rows(seen, self.mean, self.std, np.float32(self.clip), self._flat, self._sizes, relu, out)
        return out

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Normaliser, weights and biases."""
        tensors = {"normaliser.mean": self.mean, "normaliser.std": self.std}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors |= {f"layer{i}.weight": weight, f"layer{i}.bias": bias}
        return tensors

    def described(self) -> dict[str, Any]:
        """The fields of ``PerceptronCard``."""
        return {"layers": self.sizes, "activation": self.activation, "observation_clip": float(self.clip)}

    def check_ends(self, out: int, what: str) -> None:
        """Raise ``ValueError`` unless the network maps the space's observation to ``out`` numbers, told as ``what``."""
        ends, wanted = (self.sizes[0], self.sizes[-1]), (self.space.observation_size, out)
        if ends != wanted:
            raise ValueError(
                f"the network maps {ends[0]} numbers to {ends[1]}; allowed is {wanted[0]} to {wanted[1]}, {what}"
            )

    def _check(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"no activation named {self.activation!r}; choose {', '.join(ACTIVATIONS)}")
        if not 0 < self.clip < np.inf:
            raise ValueError(f"clip is {self.clip!r}; allowed is a finite number above 0")
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(f"{len(self.weights)} weights and {len(self.biases)} biases; allowed is a pair per layer")
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(f"std has shape {self.std.shape}; allowed are numbers above 0 of shape {self.mean.shape}")
        for i, (weight, into, out) in enumerate(zip(self.weights, self.sizes[:-1], self.sizes[1:], strict=True)):
            if weight.shape != (out, into):
                raise ValueError(f"weights[{i}] has shape {weight.shape}; allowed is {(out, into)}")
        check_reach("the network", self.weights, self.biases, float(self.clip), self.activation == "tanh")


@njit(cache=True, error_model="numpy")
def _forward_rows(observation: Any, mean: Any, std: Any, clip: Any, flat: Any, sizes: Any, relu: Any, out: Any) -> None:
    widest = sizes.max()
    now, after = np.empty(widest, np.float32), np.empty(widest, np.float32)
    for row in range(observation.shape[0]):
        normalise32(observation[row], mean, std, clip, now)
        start = 0
        for layer in range(sizes.shape[0] - 1):
            n_in, n_out = sizes[layer], sizes[layer + 1]
            bias = start + n_in * n_out
            dense32(now, flat[start:bias].reshape(n_in, n_out), flat[bias : bias + n_out], after)
            if layer < sizes.shape[0] - 2:
                for j in range(n_out):
                    after[j] = max(after[j], np.float32(0.0)) if relu else tanh32(after[j])
            now, after = after, now
            start = bias + n_out
        out[row] = now[: out.shape[1]]
