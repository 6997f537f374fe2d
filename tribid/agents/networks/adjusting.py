"""A policy that moves its bid multiplier up or down a little each tick: the action of USCB's agent, without choices.

He, Chen, Wu, Pan, Tan, Yu, Xu and Zhu, "A unified solution to constrained bidding in online display advertising" (KDD
2021): an action of the agent changes each parameter of the bid by a share within a fixed reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from tribid.agents.bidder import Actions, BidderSpace, fresh_rows
from tribid.agents.networks.arithmetic import exp32, log64, tanh32
from tribid.agents.networks.perceptron import Perceptron, PerceptronCard

Multipliers = NDArray[np.float32]
"""Bid multipliers [n, S], what an adjusting policy carries from tick to tick."""


class AdjustingCard(PerceptronCard):
    """``reach`` and ``start`` as ``AdjustingPolicy``."""

    kind: Literal["adjusting"] = "adjusting"
    reach: float = Field(gt=0, lt=1, allow_inf_nan=False)
    start: float = Field(gt=0, le=1e4, allow_inf_nan=False)

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "AdjustingPolicy":
        """The network with these weights."""
        return AdjustingPolicy(space=space, reach=self.reach, start=self.start, **self.arguments(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class AdjustingPolicy(Perceptron):
    """The multiplier of the tick before times ``1 + reach * tanh(number)``, one number per user segment.

    The first tick adjusts ``start``; multipliers stay from one over the space's cap to the cap. The rest as
    ``Perceptron``, whose last layer has S numbers.

    >>> space = BidderSpace.of("tiny")
    >>> policy = AdjustingPolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0,
    ...     weights=(np.zeros((1, 36)),), biases=(np.full(1, 9.0),), reach=0.25,
    ... )
    >>> _, state = policy.predict(np.zeros((1, 36), np.float32))
    >>> policy.predict(np.zeros((1, 36), np.float32), state)[1].tolist()
    [[1.5625]]
    """

    reach: float = 0.2
    start: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.reach < 1:
            raise ValueError(f"reach is {self.reach!r}; allowed is a number between 0 and 1")
        check_start(self.start, self.space)
        self.check_ends(self.space.segments, "a number per user segment")

    def predict(
        self, observation: Any, state: Multipliers | None = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, Multipliers]:
        """The actions [n, S] of the adjusted multipliers, and these multipliers to carry on."""
        numbers = self.numbers(observation)
        before = multipliers_before(state, episode_start, self.start, numbers.shape)
        factors = np.empty_like(numbers)
        _factors(numbers, np.float32(self.reach), factors)
        return adjusted(before, factors, self.space.max_multiplier)

    def card(self) -> AdjustingCard:
        """Its sizes and settings."""
        return AdjustingCard(reach=float(self.reach), start=float(self.start), **self.described())


def check_start(start: float, space: BidderSpace) -> None:
    """Raise ``ValueError`` for a first multiplier that is not within one over the space's cap and the cap."""
    if not np.float32(space.max_multiplier) > 1:
        raise ValueError(f"max_multiplier is {space.max_multiplier!r}; allowed is a number above 1 in float32")
    if not 1.0 / space.max_multiplier <= start <= space.max_multiplier:
        raise ValueError(
            f"start is {start!r}; allowed is a number from {1.0 / space.max_multiplier:g} to {space.max_multiplier:g}"
        )


def multipliers_before(
    state: Multipliers | None, episode_start: Any, start: float, shape: tuple[int, int]
) -> Multipliers:
    """The multipliers that a tick adjusts, [n, S]: ``start`` in rows that begin a day, what was carried in the others."""
    fresh = np.full(shape, start, np.float32)
    if state is None:
        return fresh
    carried = np.asarray(state)
    if carried.shape != shape or carried.dtype != np.float32:
        raise ValueError(
            f"state is {carried.dtype} of shape {carried.shape}; allowed are float32 multipliers of shape {shape}"
        )
    return np.where(fresh_rows(episode_start, shape[0])[:, None], fresh, carried)


def adjusted(before: Multipliers, factors: NDArray[np.float32], max_multiplier: float) -> tuple[Actions, Multipliers]:
    """The actions of ``before * factors`` within one over the cap and the cap, and those multipliers, [n, S] each.

    The same map as ``tribid.envs.action.to_action``, in arithmetic whose last bits no machine changes.
    """
    most = np.float32(max_multiplier)
    after = np.minimum(np.maximum(before * factors, np.float32(1.0) / most), most)
    actions = np.empty_like(after)
    _actions(after, most, actions)
    return actions, after


@njit(cache=True, error_model="numpy")
def _factors(numbers: Any, reach: Any, out: Any) -> None:
    for row in range(numbers.shape[0]):
        for s in range(numbers.shape[1]):
            out[row, s] = np.float32(1.0) + reach * tanh32(numbers[row, s])


@njit(cache=True, error_model="numpy")
def _actions(multipliers: Any, most: Any, out: Any) -> None:
    """``log m / log M`` down to -0.9, then a straight line to -1 at 0."""
    top = log64(most)
    knee = exp32(np.float32(-0.9 * top))
    for row in range(multipliers.shape[0]):
        for s in range(multipliers.shape[1]):
            m = multipliers[row, s]
            action = log64(m) / top if m >= knee else np.float64(m) / np.float64(knee) * 0.1 - 1.0
            out[row, s] = np.float32(min(max(action, -1.0), 1.0))
