"""The runtime that serves a learnt policy: a small network whose answer for a row is the same bits in any batch.

A training library's matrix products change with the batch's size and the processor. Here every row is computed alone,
in float32, in one stated order, from additions, multiplications and divisions that IEEE 754 fixes: what was evaluated
is what is served, to the bit, on any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.arithmetic import tanh32
from tribid.agents.networks.card import MOST_WEIGHTS, NetworkCard, checked_rows, float32_tensor

ACTIVATIONS = ("tanh", "relu")
"""What hidden layers may end in."""

OUTPUTS = ("tanh", "clip")
"""How the last layer's numbers become actions: by tanh, or cut to [-1, 1]."""


class MlpCard(NetworkCard):
    """``layers`` are the sizes from the observation to the actions; the rest as ``MlpPolicy``."""

    kind: Literal["mlp"] = "mlp"
    layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=2, max_length=16)
    activation: Literal["tanh", "relu"]
    output: Literal["tanh", "clip"]
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

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "MlpPolicy":
        """The network with these weights."""
        layers = range(len(self.layers) - 1)
        return MlpPolicy(
            space=space,
            mean=tensors["normaliser.mean"],
            std=tensors["normaliser.std"],
            clip=self.observation_clip,
            weights=tuple(tensors[f"layer{i}.weight"] for i in layers),
            biases=tuple(tensors[f"layer{i}.bias"] for i in layers),
            activation=self.activation,
            output=self.output,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class MlpPolicy:
    """A multilayer perceptron from observations to actions in [-1, 1]; satisfies ``Bidder``, and carries no state.

    ``weights[i]`` is [out, in] and ``biases[i]`` [out], as in torch's ``Linear``; ``mean`` and ``std`` [D] with
    ``clip`` normalise the observation to ``(x - mean) / std`` cut to [-clip, clip]. Hidden layers end in ``activation``
    (tanh or relu); the last in ``output``: ``tanh``, or ``clip`` for a policy whose actions were cut to the bounds in
    training. ``space`` is the one it was trained in; its observation and segments fix D and the number of actions.
    Arrays are kept as read-only float32.

    >>> space = BidderSpace.of("tiny")
    >>> policy = MlpPolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0,
    ...     weights=(np.ones((1, 36)),), biases=(np.ones(1),), output="clip",
    ... )
    >>> policy.act(np.full((1, 36), -0.03125)).tolist()
    [[-0.125]]
    """

    space: BidderSpace
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    clip: float
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    activation: str = "tanh"
    output: str = "tanh"
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

    def act(self, observation: ArrayLike) -> Actions:
        """Actions [n, d] for observations [n, D].

        Raises ``ValueError`` for another shape and for what is not finite.
        """
        seen = checked_rows(observation, self.sizes[0])
        out = np.empty((len(seen), self.sizes[-1]), np.float32)
        relu, cut = self.activation == "relu", self.output == "clip"
        _forward_rows(seen, self.mean, self.std, np.float32(self.clip), self._flat, self._sizes, relu, cut, out)
        return out

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The mean action [n, d] of each row; there is no noise to draw and nothing to carry on."""
        return self.act(observation), None

    def card(self) -> "MlpCard":
        """Its sizes and settings."""
        return MlpCard(
            layers=self.sizes,
            activation=self.activation,  # type: ignore[arg-type]
            output=self.output,  # type: ignore[arg-type]
            observation_clip=float(self.clip),
        )

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Normaliser, weights and biases."""
        tensors = {"normaliser.mean": self.mean, "normaliser.std": self.std}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors |= {f"layer{i}.weight": weight, f"layer{i}.bias": bias}
        return tensors

    def _check(self) -> None:
        for name, allowed in (("activation", ACTIVATIONS), ("output", OUTPUTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"no {name} named {getattr(self, name)!r}; choose {', '.join(allowed)}")
        if not 0 < self.clip < np.inf:
            raise ValueError(f"clip is {self.clip!r}; allowed is a finite number above 0")
        if not self.weights or len(self.weights) != len(self.biases):
            raise ValueError(f"{len(self.weights)} weights and {len(self.biases)} biases; allowed is a pair per layer")
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(f"std has shape {self.std.shape}; allowed are numbers above 0 of shape {self.mean.shape}")
        for i, (weight, into, out) in enumerate(zip(self.weights, self.sizes[:-1], self.sizes[1:], strict=True)):
            if weight.shape != (out, into):
                raise ValueError(f"weights[{i}] has shape {weight.shape}; allowed is {(out, into)}")
        ends, wanted = (self.sizes[0], self.sizes[-1]), (self.space.observation_size, self.space.segments)
        if ends != wanted:
            raise ValueError(f"the network maps {ends[0]} numbers to {ends[1]}; allowed is {wanted[0]} to {wanted[1]}")


@njit(cache=True, error_model="numpy")
def _forward_rows(
    observation: Any, mean: Any, std: Any, clip: Any, flat: Any, sizes: Any, relu: Any, cut: Any, out: Any
) -> None:
    widest = 0
    for layer in range(sizes.shape[0]):
        widest = max(widest, sizes[layer])
    now, after = np.empty(widest, np.float32), np.empty(widest, np.float32)
    for row in range(observation.shape[0]):
        for i in range(sizes[0]):
            now[i] = min(max((observation[row, i] - mean[i]) / std[i], -clip), clip)
        start = 0
        for layer in range(sizes.shape[0] - 1):
            n_in, n_out = sizes[layer], sizes[layer + 1]
            bias = start + n_in * n_out
            for j in range(n_out):
                after[j] = flat[bias + j]
            for i in range(n_in):
                for j in range(n_out):
                    after[j] += now[i] * flat[start + i * n_out + j]
            last = layer == sizes.shape[0] - 2
            for j in range(n_out):
                if last and cut:
                    after[j] = min(max(after[j], np.float32(-1.0)), np.float32(1.0))
                elif last or not relu:
                    after[j] = tanh32(after[j])
                else:
                    after[j] = max(after[j], np.float32(0.0))
            now, after = after, now
            start = bias + n_out
        for j in range(out.shape[1]):
            out[row, j] = now[j]
