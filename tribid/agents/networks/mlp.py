"""The runtime that serves a learnt policy: a small network whose answer for a row is the same bits in any batch.

A training library's matrix products change with the batch's size and the processor. Here every row is computed alone,
in float32, in one stated order, from additions, multiplications and divisions that IEEE 754 fixes: what was evaluated
is what is served, to the bit, on any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.arithmetic import tanh32
from tribid.agents.networks.perceptron import Perceptron, PerceptronCard

OUTPUTS = ("tanh", "clip")
"""How the last layer's numbers become actions: by tanh, or cut to [-1, 1]."""


class MlpCard(PerceptronCard):
    """``output`` as ``MlpPolicy``."""

    kind: Literal["mlp"] = "mlp"
    output: Literal["tanh", "clip"]

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "MlpPolicy":
        """The network with these weights."""
        return MlpPolicy(space=space, output=self.output, **self.arguments(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class MlpPolicy(Perceptron):
    """A multilayer perceptron from observations to actions in [-1, 1]; satisfies ``Bidder``, and carries no state.

    The last layer of a ``Perceptron`` ends in ``output``: ``tanh``, or ``clip`` for a policy whose actions were cut to the
    bounds in training. It has one number per user segment of ``space``.

    >>> space = BidderSpace.of("tiny")
    >>> policy = MlpPolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0,
    ...     weights=(np.ones((1, 36)),), biases=(np.ones(1),), output="clip",
    ... )
    >>> policy.act(np.full((1, 36), -0.03125)).tolist()
    [[-0.125]]
    """

    activation: str = "tanh"
    output: str = "tanh"

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise ValueError(f"no output named {self.output!r}; choose {', '.join(OUTPUTS)}")
        super().__post_init__()
        self.check_ends(self.space.segments, "a number per user segment")

    def act(self, observation: ArrayLike) -> Actions:
        """Actions [n, d] for observations [n, D].

        Raises ``ValueError`` for another shape and for what is not finite.
        """
        actions = self.numbers(observation)
        if self.output == "clip":
            return np.minimum(np.maximum(actions, np.float32(-1.0)), np.float32(1.0))
        _tanh_of(actions)
        return actions

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The mean action [n, d] of each row; there is no noise to draw and nothing to carry on."""
        return self.act(observation), None

    def card(self) -> MlpCard:
        """Its sizes and settings."""
        return MlpCard(output=self.output, **self.described())  # type: ignore[arg-type]


@njit(cache=True, error_model="numpy")
def _tanh_of(numbers: Any) -> None:
    for row in range(numbers.shape[0]):
        for j in range(numbers.shape[1]):
            numbers[row, j] = tanh32(numbers[row, j])
