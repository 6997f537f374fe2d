"""How a day goes, from what an advertiser sees of it: the score so far, and what days of such a campaign usually bring.

A model that is conditioned on a return needs both when it is served, with the same bits as when it was trained.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from tribid.agents.networks.arithmetic import dense32, exp32, log64
from tribid.agents.networks.card import checked_rows
from tribid.agents.networks.weights import turned
from tribid.envs.observation import field_index, fields
from tribid.envs.scenario import OBJECTIVES

TERMS = ("budget_size", *(f"objective_{name}" for name in OBJECTIVES), "target_size")
"""The fields that stay the same all day: what the campaign is."""

LEAST_SPREAD = 1e-3
"""The least distance between a low and a high day's score."""

_SCORED = ("budget_left", "value_day", "objective_target_cpa", "objective_target_roas")
_MOST_SQUASHED = 0.9999


class Prospect(NamedTuple):
    """A network with one hidden ReLU layer from the normalised ``TERMS`` [7] to a low and a high day's score.

    Weights are turned, [in, out]. A return of 0 is a low day of such a campaign, 1 a high one: DiffBid's scale of returns
    from 0 to 1, drawn for each campaign alone.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    out_weight: NDArray[np.float32]
    out_bias: NDArray[np.float32]

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[np.float32]]) -> "Prospect":
        """Made from a policy's weights, where its layers are named ``prospect.0`` and ``prospect.2``."""
        return cls(*turned(weights, "prospect.0"), *turned(weights, "prospect.2"))


def term_places(segments: int) -> NDArray[np.int64]:
    """Where the ``TERMS`` stand in an observation, [7]."""
    return np.array([field_index(name, segments) for name in TERMS], np.int64)


def score_places(segments: int) -> NDArray[np.int64]:
    """Where the fields that ``score32`` reads stand in an observation, [4]."""
    return np.array([field_index(name, segments) for name in _SCORED], np.int64)


def scores_so_far(observation: ArrayLike, segments: int, penalty_exponent: float) -> NDArray[np.float32]:
    """The score [n] that reward part ``own`` has paid up to each observation [n, D]; it needs no other memory.

    ``value_day`` is v / (1 + v), so v comes back. An advertiser with a target wants nothing but conversions, each worth
    the target, so target CPA over CPA (or ROAS over target ROAS) is v over the share of the budget that is spent. The
    score is ``v * min(1, v / spent) ** penalty_exponent``, without a target v. Good to about 1e-4 of itself.

    >>> seen = np.zeros((1, 36), np.float32)
    >>> seen[0, [field_index("budget_left"), field_index("value_day")]] = 0.2, 0.375
    >>> scores_so_far(seen, 1, 2.0).tolist()
    [0.6000000238418579]
    >>> seen[0, field_index("objective_target_cpa")] = 1
    >>> round(float(scores_so_far(seen, 1, 2.0)[0]), 4)  # 0.6 * (0.6 / 0.8) ** 2
    0.3375
    """
    seen = checked_rows(observation, len(fields(segments)))
    out = np.empty(len(seen), np.float32)
    _score_rows(seen, score_places(segments), np.float32(penalty_exponent), out)
    return out


@njit(cache=True, error_model="numpy")
def score32(seen: Any, at: Any, exponent: Any) -> Any:
    """The score so far of one observation [D]; ``at`` as ``score_places``."""
    one = np.float32(1.0)
    squashed = min(max(seen[at[1]], np.float32(0.0)), np.float32(_MOST_SQUASHED))
    value, spent = squashed / (one - squashed), one - seen[at[0]]
    targeted = seen[at[2]] + seen[at[3]] > np.float32(0.5)
    if targeted and value < spent:
        return value * power32(value / spent, exponent)
    return value


@njit(cache=True, error_model="numpy")
def power32(base: Any, exponent: Any) -> Any:
    """``base ** exponent`` for a base from 0 to 1 and an exponent from 0; at base 0 it is 1 with exponent 0, else 0."""
    if base < np.float32(1e-30):
        return np.float32(1.0) if exponent == np.float32(0.0) else np.float32(0.0)
    return exp32(exponent * np.float32(log64(base)))


@njit(cache=True, error_model="numpy")
def prospect32(terms: Any, network: Any, hidden: Any, out: Any) -> None:
    """A low and a high day's score, ``out`` [2], at least ``LEAST_SPREAD`` apart; ``hidden`` is room for the layer."""
    dense32(terms, network.weight, network.bias, hidden)
    for i in range(hidden.shape[0]):
        hidden[i] = max(hidden[i], np.float32(0.0))
    dense32(hidden, network.out_weight, network.out_bias, out)
    out[1] = max(out[1], out[0] + np.float32(LEAST_SPREAD))


@njit(cache=True, error_model="numpy")
def _score_rows(seen: Any, at: Any, exponent: Any, out: Any) -> None:
    for row in range(seen.shape[0]):
        out[row] = score32(seen[row], at, exponent)
