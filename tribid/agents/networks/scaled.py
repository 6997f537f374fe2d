"""A policy whose output scales the unit bid linearly: ``multiplier = 1 + reach * y``, as DCMAB's agents act.

Jin, Song, Li, Gai, Wang and Zhang, "Real-time bidding with multi-agent reinforcement learning in display advertising"
(CIKM 2018): ``alpha = clip(a * bratio, -0.9, 0.9)`` and ``bid' = bid * (1 + alpha)``. A market takes its actions on a log
scale (``tribid.envs.action``), so the multiplier has to be turned back into an action. A machine's own logarithm has
other last bits on every platform; here it is a series of additions, multiplications and divisions in float64, and the
action is that number rounded to float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from tribid.agents.bidder import Actions, BidderSpace
from tribid.agents.networks.arithmetic import tanh32
from tribid.agents.networks.perceptron import Perceptron, PerceptronCard

REACH = 0.9
"""How far from the unit bid DCMAB's agents may go: bids of 0.1 to 1.9 times the unit bid."""

_LN_2 = 0.6931471805599453
_ROOT_2 = 1.4142135623730951
_KNEE = -0.9
_TERMS = 12
_HALVINGS = 10


class ScaledCard(PerceptronCard):
    """``reach`` as ``ScaledPolicy``."""

    kind: Literal["scaled"] = "scaled"
    reach: float = Field(gt=0, le=1, allow_inf_nan=False)

    def policy(self, space: BidderSpace, tensors: Mapping[str, NDArray[np.float32]]) -> "ScaledPolicy":
        """The network with these weights."""
        return ScaledPolicy(space=space, reach=self.reach, **self.arguments(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class ScaledPolicy(Perceptron):
    """For each user segment ``y = tanh(number)``, the multiplier ``1 + reach * y``, and the action that gives it.

    The rest as ``Perceptron``, whose last layer has a number per segment. Multipliers go from ``1 - reach`` to ``1 +
    reach`` (or the space's cap, where that is lower), and y = 0 is the unit bid to the bit. Carries no state.

    >>> space = BidderSpace.of("tiny")
    >>> policy = ScaledPolicy(
    ...     space=space, mean=np.zeros(36), std=np.ones(36), clip=10.0,
    ...     weights=(np.zeros((1, 36)),), biases=(np.zeros(1),), reach=0.9,
    ... )
    >>> policy.predict(np.zeros((1, 36), np.float32))[0].tolist()
    [[0.0]]
    """

    reach: float = REACH

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.reach <= 1:
            raise ValueError(f"reach is {self.reach!r}; allowed is a number above 0 and up to 1")
        self.check_ends(self.space.segments, "a number per user segment")

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Actions, None]:
        """The actions [n, S] of each row; there is no noise to draw and nothing to carry on."""
        numbers = self.numbers(observation)
        _squash(numbers.reshape(-1))
        return scaled_actions(numbers, self.reach, self.space.max_multiplier), None

    def card(self) -> ScaledCard:
        """Its sizes and settings."""
        return ScaledCard(reach=float(self.reach), **self.described())


def scaled_actions(y: ArrayLike, reach: float, max_multiplier: float) -> Actions:
    """The actions, float32 and shaped as ``y`` from -1 to 1, of the multipliers ``1 + reach * y``.

    The same bits on any machine; ``tribid.envs.action.to_action`` gives the same numbers to float32's last bit.

    >>> scaled_actions([-1.0, 0.0, 1.0], 1.0, 4.0).tolist()
    [-1.0, 0.0, 0.5]
    """
    given = np.array(y, np.float64, order="C")
    out = np.empty(given.size, np.float32)
    _actions(given.reshape(-1), float(reach), float(max_multiplier), out)
    return out.reshape(given.shape)


@njit(cache=True, error_model="numpy")
def logarithm(x: Any) -> Any:
    """The natural logarithm of a float64 above 0: ``k ln 2 + 2 artanh(s)`` with ``s = (f - 1) / (f + 1)``.

    x is ``2^k f`` with f within a factor of the root of 2 of 1; the series of artanh is cut after 12 terms, where what is
    left out is below 1e-20.
    """
    k = 0.0
    while x > _ROOT_2:
        x *= 0.5
        k += 1.0
    while x < 1.0 / _ROOT_2:
        x *= 2.0
        k -= 1.0
    s = (x - 1.0) / (x + 1.0)
    square, series = s * s, 0.0
    for term in range(_TERMS - 1, -1, -1):
        series = series * square + 1.0 / (2.0 * term + 1.0)
    return k * _LN_2 + 2.0 * s * series


@njit(cache=True, error_model="numpy")
def exponential(x: Any) -> Any:
    """exp of a float64 within [-20, 20]: the Taylor polynomial of ``x / 1024``, squared ten times."""
    small, series = x / 1024.0, 1.0
    for term in range(10, 0, -1):
        series = 1.0 + small * series / term
    for _ in range(_HALVINGS):
        series *= series
    return series


@njit(cache=True, error_model="numpy")
def _squash(numbers: Any) -> None:
    for i in range(numbers.shape[0]):
        numbers[i] = tanh32(numbers[i])


@njit(cache=True, error_model="numpy")
def _actions(y: Any, reach: Any, max_multiplier: Any, out: Any) -> None:
    """As ``tribid.envs.action.to_action``: a logarithm above the knee, a straight line to 0 below it."""
    span = logarithm(max_multiplier)
    at_knee = exponential(_KNEE * span)
    for i in range(y.shape[0]):
        multiplier = min(max(1.0 + reach * y[i], 0.0), max_multiplier)
        if multiplier >= at_knee:
            action = logarithm(multiplier) / span
        else:
            action = multiplier / at_knee * (1.0 + _KNEE) - 1.0
        out[i] = np.float32(min(max(action, -1.0), 1.0))
