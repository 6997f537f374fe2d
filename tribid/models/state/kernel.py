"""The network of ``network`` compiled for predicting: one visit after the other, in doubles.

Torch spends on a lone visit what a block of them costs, and sums in an order that depends on the block's size. Here a
visit's number is the same whoever stands beside it, and its cost is that of its own events.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.models.state.events import Events
from tribid.models.state.network import SequenceNetwork

Floats = NDArray[np.float64]


class SequenceWeights(NamedTuple):
    """Weights of a ``SequenceNetwork`` of H hidden states, float64; gates are reset, update, new, as in ``torch.nn.GRU``.

    ``kinds`` [K, 3 H] is what an event's kind gives to the gates, biases of the input included, ``numbers`` [5, 3 H] what
    its numbers give, ``states`` [H, 3 H] and ``bias`` [3 H] what the state before does; ``look`` [H, H], ``look_bias`` [H]
    and ``weigh`` [H] are of the attention, ``head`` [2 H, H], ``head_bias`` [H], ``last`` [H + 1] (its bias behind) above.
    """

    kinds: Floats
    numbers: Floats
    states: Floats
    bias: Floats
    look: Floats
    look_bias: Floats
    weigh: Floats
    head: Floats
    head_bias: Floats
    last: Floats

    @classmethod
    def of(cls, network: SequenceNetwork) -> "SequenceWeights":
        """The weights of a network."""
        own = {name: value.detach().numpy().astype(np.float64) for name, value in network.state_dict().items()}
        given, width = own["gru.weight_ih_l0"], own["kinds.weight"].shape[1]
        found = cls(
            kinds=own["kinds.weight"] @ given[:, :width].T + own["gru.bias_ih_l0"],
            numbers=given[:, width:].T,
            states=own["gru.weight_hh_l0"].T,
            bias=own["gru.bias_hh_l0"],
            look=own["look.weight"].T,
            look_bias=own["look.bias"],
            weigh=own["weigh.weight"][0],
            head=own["head.0.weight"].T,
            head_bias=own["head.0.bias"],
            last=np.append(own["head.2.weight"][0], own["head.2.bias"]),
        )
        return cls._make(np.ascontiguousarray(one) for one in found)


def log_odds(weights: SequenceWeights, events: Events) -> Floats:
    """Log-odds [V] of visits with an event at least; a visit's do not depend on the others."""
    out = np.empty(len(events.length))
    _log_odds(weights, events.kind, events.seconds, events.known, events.same, events.before, events.length, out)
    return out


@njit(cache=True, nogil=True)
def _log_odds(weights: Any, kind: Any, seconds: Any, known: Any, same: Any, before: Any, length: Any, out: Any) -> None:
    numbers = np.empty(weights.numbers.shape[0])
    states = np.empty((kind.shape[1], weights.states.shape[0]))
    for v in range(kind.shape[0]):
        for e in range(length[v]):
            numbers[0], numbers[1] = seconds[v, e], known[v, e]
            numbers[2], numbers[3] = same[v, e], before[v, e]
            numbers[4] = np.log1p(float(length[v] - 1 - e))
            _step(weights, kind[v, e], numbers, states, e)
        out[v] = _above(weights, states[: length[v]])


@njit(cache=True, nogil=True)
def _add_product(vector: Any, matrix: Any, out: Any) -> None:
    """``out`` [C] becomes more by ``vector`` [R] times ``matrix`` [R, C]."""
    for r in range(matrix.shape[0]):
        for c in range(matrix.shape[1]):
            out[c] += vector[r] * matrix[r, c]


@njit(cache=True, nogil=True)
def _step(weights: Any, kind: Any, numbers: Any, states: Any, e: int) -> None:
    """Write the state after event ``e`` behind those of the events before it."""
    size = states.shape[1]
    given, kept = weights.kinds[kind].copy(), weights.bias.copy()
    _add_product(numbers, weights.numbers, given)
    if e > 0:
        _add_product(states[e - 1], weights.states, kept)
    for h in range(size):
        reset = _sigmoid(given[h] + kept[h])
        update = _sigmoid(given[size + h] + kept[size + h])
        new = np.tanh(given[2 * size + h] + reset * kept[2 * size + h])
        old = states[e - 1, h] if e > 0 else 0.0
        states[e, h] = (1.0 - update) * new + update * old


@njit(cache=True, nogil=True)
def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


@njit(cache=True, nogil=True)
def _above(weights: Any, states: Any) -> Any:
    """Attention over the states of a visit [L, H], and the head."""
    events, size = states.shape
    share, looked = np.empty(events), np.empty(size)
    for e in range(events):
        looked[:] = weights.look_bias
        _add_product(states[e], weights.look, looked)
        share[e] = 0.0
        for h in range(size):
            share[e] += weights.weigh[h] * np.tanh(looked[h])
    share[:] = np.exp(share - share.max())
    share /= share.sum()
    both = np.zeros(2 * size)
    for e in range(events):
        for h in range(size):
            both[h] += share[e] * states[e, h]
    both[size:] = states[events - 1]
    hidden = weights.head_bias.copy()
    _add_product(both, weights.head, hidden)
    total = weights.last[size]
    for h in range(size):
        total += max(hidden[h], 0.0) * weights.last[h]
    return total
