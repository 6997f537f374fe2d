"""Causal self-attention blocks in float32, one row at a time and every sum in one order.

Vaswani et al., "Attention is all you need" (NeurIPS 2017), with the normalisation before each part as in GPT-2 and ReLU
in the hidden layer. All arrays here are turned, [in, out], so that the inner loops run over neighbours in memory.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tribid.agents.networks.arithmetic import dense32, exp32

EPSILON = 1e-5
"""Added to the variance in ``layer_norm32``, as torch does."""


class Blocks(NamedTuple):
    """Weights of L blocks of width W and hidden width M.

    ``norms`` [L, 4, W] are gain and bias before attention, then before the hidden layer; ``qkv`` [L, W, 3 W] queries, keys
    and values; ``out`` [L, W, W]; ``up`` [L, W, M]; ``down`` [L, M, W]; each with its bias.
    """

    norms: NDArray[np.float32]
    qkv: NDArray[np.float32]
    qkv_bias: NDArray[np.float32]
    out: NDArray[np.float32]
    out_bias: NDArray[np.float32]
    up: NDArray[np.float32]
    up_bias: NDArray[np.float32]
    down: NDArray[np.float32]
    down_bias: NDArray[np.float32]


class Room(NamedTuple):
    """Scratch arrays of the kernels, made once per call: they hold nothing from one row to the next.

    ``query`` and ``value`` [N, W], ``key`` [W, N] turned, so that scores of neighbours are neighbours; ``scores`` [N].
    """

    normed: NDArray[np.float32]
    triple: NDArray[np.float32]
    query: NDArray[np.float32]
    key: NDArray[np.float32]
    value: NDArray[np.float32]
    scores: NDArray[np.float32]
    mixed: NDArray[np.float32]
    hidden: NDArray[np.float32]


def make_room(tokens: int, width: int, hidden: int) -> Room:
    """Room for so many tokens."""
    shapes = ((width,), (3 * width,), (tokens, width), (width, tokens), (tokens, width), (tokens,), (width,), (hidden,))
    return Room(*(np.empty(shape, np.float32) for shape in shapes))


@njit(cache=True, error_model="numpy")
def layer_norm32(x: Any, gain: Any, bias: Any, out: Any) -> None:
    """``out = (x - mean) / sqrt(variance + EPSILON) * gain + bias``, all [W] (Ba, Kiros and Hinton, 2016)."""
    n = x.shape[0]
    total = np.float32(0.0)
    for i in range(n):
        total += x[i]
    mean = total / np.float32(n)
    total = np.float32(0.0)
    for i in range(n):
        total += (x[i] - mean) * (x[i] - mean)
    scale = np.float32(1.0) / np.sqrt(total / np.float32(n) + np.float32(EPSILON))
    for i in range(n):
        out[i] = (x[i] - mean) * scale * gain[i] + bias[i]


@njit(cache=True, error_model="numpy")
def softmax32(scores: Any, count: Any) -> None:
    """The first ``count`` scores become shares that sum to 1."""
    most = scores[0]
    for j in range(1, count):
        most = max(most, scores[j])
    total = np.float32(0.0)
    for j in range(count):
        scores[j] = exp32(scores[j] - most)
        total += scores[j]
    for j in range(count):
        scores[j] /= total


@njit(cache=True, error_model="numpy")
def blocks32(tokens: Any, count: Any, blocks: Any, heads: Any, room: Any) -> None:
    """Pass the first ``count`` rows of ``tokens`` [N, W] through the blocks, in place; a token sees itself and those before.

    Of the last block only the last token's answer is wanted, and only that is computed.
    """
    layers = blocks.qkv.shape[0]
    for layer in range(layers):
        first = count - 1 if layer == layers - 1 else 0
        _look(tokens, count, first, blocks, layer, room)
        for token in range(first, count):
            _attend(token, heads, room)
            dense32(room.mixed, blocks.out[layer], blocks.out_bias[layer], room.normed)
            for i in range(tokens.shape[1]):
                tokens[token, i] += room.normed[i]
            _think(tokens[token], blocks, layer, room)


@njit(cache=True, error_model="numpy")
def _look(tokens: Any, count: Any, first: Any, blocks: Any, layer: Any, room: Any) -> None:
    """Keys and values of all tokens; queries of those from ``first`` on are among them."""
    width = tokens.shape[1]
    for token in range(count):
        layer_norm32(tokens[token], blocks.norms[layer, 0], blocks.norms[layer, 1], room.normed)
        dense32(room.normed, blocks.qkv[layer], blocks.qkv_bias[layer], room.triple)
        for i in range(width):
            room.query[token, i] = room.triple[i]
            room.key[i, token] = room.triple[width + i]
            room.value[token, i] = room.triple[2 * width + i]


@njit(cache=True, error_model="numpy")
def _attend(token: Any, heads: Any, room: Any) -> None:
    """``room.mixed = softmax(q k / sqrt(width of a head)) v`` over the tokens up to ``token``, head by head."""
    width, seen = room.query.shape[1], token + 1
    size = width // heads
    scale = np.float32(1.0) / np.sqrt(np.float32(size))
    for head in range(heads):
        start = head * size
        for j in range(seen):
            room.scores[j] = np.float32(0.0)
        for i in range(start, start + size):
            for j in range(seen):
                room.scores[j] += room.query[token, i] * room.key[i, j]
        for j in range(seen):
            room.scores[j] *= scale
        softmax32(room.scores, seen)
        for i in range(start, start + size):
            room.mixed[i] = np.float32(0.0)
        for j in range(seen):
            for i in range(start, start + size):
                room.mixed[i] += room.scores[j] * room.value[j, i]


@njit(cache=True, error_model="numpy")
def _think(token: Any, blocks: Any, layer: Any, room: Any) -> None:
    """``token += down(relu(up(norm(token))))``."""
    layer_norm32(token, blocks.norms[layer, 2], blocks.norms[layer, 3], room.normed)
    dense32(room.normed, blocks.up[layer], blocks.up_bias[layer], room.hidden)
    for i in range(room.hidden.shape[0]):
        room.hidden[i] = max(room.hidden[i], np.float32(0.0))
    dense32(room.hidden, blocks.down[layer], blocks.down_bias[layer], room.normed)
    for i in range(token.shape[0]):
        token[i] += room.normed[i]
