"""A policy that chooses one of a few actions: the choice with the highest number, as deep Q-networks act."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.adjusting import Multipliers, adjusted, check_start, multipliers_before
from tribid.agents.networks.card import float32_tensor
from tribid.agents.networks.perceptron import Perceptron, PerceptronCard


class DiscreteCard(PerceptronCard):
    """``choices`` is how many there are; ``adjusts`` and ``start`` as ``DiscretePolicy``."""

    kind: Literal["discrete"] = "discrete"
    choices: int = Field(ge=1, le=4096)
    adjusts: bool
    start: float = Field(gt=0, le=1e4, allow_inf_nan=False)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The network's, and the choices."""
        return super().tensors() | {"choices": (self.choices,)}

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "DiscretePolicy":
        """The network with these weights."""
        return DiscretePolicy(
            space=space, choices=tensors["choices"], adjusts=self.adjusts, start=self.start, **self.arguments(tensors)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class DiscretePolicy(Perceptron):
    """For each user segment the one of ``choices`` [C] whose number is the highest, the first of equals.

    The rest as ``Perceptron``, whose last layer has S * C numbers: those of segment 0 first. Without ``adjusts`` the
    choice is the action, from -1 to 1, and no state is carried. With ``adjusts`` the multiplier of the tick before is
    taken times ``1 + choice``, from ``start`` on, and stays from one over the space's cap to the cap; the multipliers
    float32 [n, S] are the state.

    >>> space = BidderSpace.of("tiny")
    >>> policy = DiscretePolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0,
    ...     weights=(np.zeros((3, 36)),), biases=(np.array([0.0, 2.0, 2.0]),), choices=np.array([-0.5, 0.25, 0.5]),
    ... )
    >>> policy.predict(np.zeros((1, 36), np.float32))[0].tolist()
    [[0.25]]
    """

    choices: NDArray[np.float32]
    adjusts: bool = False
    start: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "choices", float32_tensor("choices", self.choices, 1))
        least, most = float(self.choices.min()), float(self.choices.max())
        if self.adjusts and least <= -1:
            raise ValueError(f"choices go down to {least}; allowed are numbers above -1, by which a multiplier changes")
        if not self.adjusts and (least < -1 or most > 1):
            raise ValueError(f"choices go from {least} to {most}; allowed are actions from -1 to 1")
        check_start(self.start, self.space)
        self.check_ends(self.space.segments * len(self.choices), "a number per user segment and choice")

    def predict(
        self, observation: Any, state: Multipliers | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Multipliers | None]:
        """The actions [n, S], and the multipliers to carry on (None unless the policy adjusts)."""
        chosen = self.choices[self.chosen(observation)]
        if not self.adjusts:
            return chosen, None
        before = multipliers_before(state, episode_start, self.start, chosen.shape)
        return adjusted(before, np.float32(1.0) + chosen, self.space.max_multiplier)

    def chosen(self, observation: Any) -> NDArray[np.int64]:
        """The index of each segment's choice, [n, S]."""
        numbers = self.numbers(observation)
        best: NDArray[np.int64] = numbers.reshape(len(numbers), self.space.segments, len(self.choices)).argmax(axis=2)
        return best

    def card(self) -> DiscreteCard:
        """Its sizes and settings."""
        return DiscreteCard(
            choices=len(self.choices), adjusts=bool(self.adjusts), start=float(self.start), **self.described()
        )

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Normaliser, weights, biases and choices."""
        return super().tensors() | {"choices": self.choices}
