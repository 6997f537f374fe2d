"""The runtime that serves a learnt policy: a small network whose answer for a row is the same bits in any batch.

A training library's matrix products change with the batch's size and the processor. Here every row is computed alone,
in float32, in one stated order, from additions, multiplications and divisions that IEEE 754 fixes: what was evaluated
is what is served, to the bit, on any machine.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tribid.agents.bidder import Actions, BidderSpace

ACTIVATIONS = ("tanh", "relu")
"""What hidden layers may end in."""

OUTPUTS = ("tanh", "clip")
"""How the last layer's numbers become actions: by tanh, or cut to [-1, 1]."""


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
            object.__setattr__(self, name, _float32(name, getattr(self, name), 1))
        for name, dimensions in (("weights", 2), ("biases", 1)):
            parts = tuple(_float32(f"{name}[{i}]", part, dimensions) for i, part in enumerate(getattr(self, name)))
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
        seen = np.ascontiguousarray(observation, np.float32)
        if seen.ndim != 2 or seen.shape[1] != self.sizes[0]:
            raise ValueError(f"observation has shape {seen.shape}; allowed is (n, {self.sizes[0]})")
        if not np.isfinite(seen).all():
            raise ValueError("observation holds a number that is not finite; allowed are finite numbers")
        out = np.empty((len(seen), self.sizes[-1]), np.float32)
        relu, cut = self.activation == "relu", self.output == "clip"
        _forward_rows(seen, self.mean, self.std, np.float32(self.clip), self._flat, self._sizes, relu, cut, out)
        return out

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The mean action [n, d] of each row; there is no noise to draw and nothing to carry on."""
        return self.act(observation), None

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


def _float32(name: str, values: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    array = np.array(values, np.float32, order="C")
    if array.ndim != dimensions or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"{name} has shape {array.shape} with {int((~np.isfinite(array)).sum())} numbers not finite; "
            f"allowed are finite numbers in {dimensions} dimension(s), at least one"
        )
    array.flags.writeable = False
    return array


@njit(cache=True, error_model="numpy")
def _tanh(x: Any) -> Any:
    """tanh by a rational function of odd degree 13 over even degree 6 in float32, as in Eigen; off by a few last bits.

    The machine's own tanh has other last bits on every platform.
    """
    x = min(max(x, np.float32(-7.90531110763549805)), np.float32(7.90531110763549805))
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = s * p + np.float32(2.00018790482477e-13)
    p = s * p + np.float32(-8.60467152213735e-11)
    p = s * p + np.float32(5.12229709037114e-08)
    p = s * p + np.float32(1.48572235717979e-05)
    p = s * p + np.float32(6.37261928875436e-04)
    p = s * p + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = s * q + np.float32(1.18534705686654e-04)
    q = s * q + np.float32(2.26843463243900e-03)
    q = s * q + np.float32(4.89352518554385e-03)
    return min(max(x * p / q, np.float32(-1.0)), np.float32(1.0))


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
                    after[j] = _tanh(after[j])
                else:
                    after[j] = max(after[j], np.float32(0.0))
            now, after = after, now
            start = bias + n_out
        for j in range(out.shape[1]):
            out[row, j] = now[j]
