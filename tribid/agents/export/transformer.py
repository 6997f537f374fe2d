"""The Decision Transformer (``transformer``) as an ONNX graph: the day's last ticks are inputs and outputs by name.

All tokens of the context are computed for every row, under a causal mask, and the answer is read from the present tick's
observation token: what lies after it, in a row whose day is still short, cannot reach it.
"""

import numpy as np

from tribid.agents.export.graph import OBSERVATION, Graph
from tribid.agents.export.perceptrons import layers
from tribid.agents.networks.attention import EPSILON
from tribid.agents.networks.score import LEAST_SPREAD, score_places, term_places
from tribid.agents.networks.transformer import MOST_RETURN, TransformerPolicy
from tribid.envs.observation import field_index

_MOST_VALUE = 0.9999
_HIDDEN = -3e38
"""A score whose share is 0."""


def add_transformer(graph: Graph, policy: TransformerPolicy) -> str:
    """The actions; states ``past`` [rows, C, 1 + D + S], ``ticks`` [rows, C] and ``length`` [rows] start from 0."""
    card, kept = policy.network, policy.weights
    context = card.context
    past = graph.state("past", (context, 1 + card.observed + card.actions))
    ticks = graph.state("ticks", (context,), kind=np.int64)
    length = graph.state("length", (), kind=np.int64)
    last = graph.op("Min", length, graph.whole(context - 1))
    full = graph.op("Equal", length, graph.whole(context))
    here = graph.op("Equal", graph.whole([*range(context)]), graph.row_axis(last, 1))
    here3 = graph.row_axis(here, 2)

    normal = graph.normalised(kept["normaliser.mean"], kept["normaliser.std"], card.observation_clip)
    parts = [card.observed, card.actions]
    old = _moved(graph, past, graph.row_axis(full, 1, 2), context)
    returns, seen, actions = _parts(graph, old, [1, *parts])
    returns = graph.op("Where", here3, graph.row_axis(_return_to_go(graph, policy, normal), 1), returns)
    seen = graph.op("Where", here3, graph.row_axis(normal, 1), seen)
    moved_ticks = _moved(graph, ticks, graph.row_axis(full, 1), context)
    when = graph.op("Where", here, graph.row_axis(_tick(graph, policy), 1), moved_ticks)

    tokens = _tokens(graph, policy, (returns, seen, actions), when)
    for i in range(card.layers):
        tokens = _block(graph, policy, i, tokens)
    place = graph.op("Add", graph.op("Mul", last, graph.whole(3)), graph.whole(1))
    token = graph.op("GatherND", tokens, graph.row_axis(place, 1), batch_dims=1)
    head = graph.dense(_norm(graph, policy, "last_norm", token), "head", kept["head.weight"], kept["head.bias"])
    action = graph.op("Tanh", head)

    given = graph.op("Where", here3, graph.row_axis(action, 1), actions)
    graph.carry("past", graph.op("Concat", returns, seen, given, axis=2))
    graph.carry("ticks", when)
    graph.carry("length", graph.op("Add", last, graph.whole(1)))
    return action


def _moved(graph: Graph, x: str, full: str, context: int) -> str:
    """Where the context is full, the oldest tick goes and the others move up; the last place is written over later."""
    if context == 1:
        return x
    up = graph.columns(x, [*range(1, context), context - 1])
    return graph.op("Where", full, up, x)


def _parts(graph: Graph, x: str, sizes: list[int]) -> list[str]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [graph.columns(x, range(edges[i], edges[i + 1]), axis=2) for i in range(len(sizes))]


def _return_to_go(graph: Graph, policy: TransformerPolicy, normal: str) -> str:
    """What is still wanted of the day, [rows, 1]: the target less the score so far, from a low day's to a high one's."""
    kept = policy.weights
    terms = graph.columns(normal, term_places(policy.space.segments).tolist())
    names = ["prospect.0", "prospect.2"]
    weights, biases = ([kept[f"{name}.{part}"] for name in names] for part in ("weight", "bias"))
    outlook = layers(graph, terms, names, weights, biases, "relu")
    low, high = graph.columns(outlook, [0]), graph.columns(outlook, [1])
    high = graph.op("Max", high, graph.op("Add", low, graph.number(LEAST_SPREAD)))
    reached = graph.op("Div", graph.op("Sub", _score(graph, policy), low), graph.op("Sub", high, low))
    wanted = graph.op("Sub", graph.number(policy.network.target_return), reached)
    return graph.clip(wanted, -MOST_RETURN, MOST_RETURN)


def _score(graph: Graph, policy: TransformerPolicy) -> str:
    """The score so far, [rows, 1], as ``tribid.agents.networks.score.score32``."""
    one = graph.number(1.0)
    left, won, cpa, roas = (
        graph.columns(OBSERVATION, [place]) for place in score_places(policy.space.segments).tolist()
    )
    squashed = graph.clip(won, 0.0, _MOST_VALUE)
    value = graph.op("Div", squashed, graph.op("Sub", one, squashed))
    spent = graph.op("Sub", one, left)
    targeted = graph.op("Greater", graph.op("Add", cpa, roas), graph.number(0.5))
    missed = graph.op("And", targeted, graph.op("Less", value, spent))
    share = graph.op("Div", value, graph.op("Where", missed, spent, one))
    penalty = graph.op("Pow", share, graph.number(policy.network.penalty_exponent))
    return graph.op("Where", missed, graph.op("Mul", value, penalty), value)


def _tick(graph: Graph, policy: TransformerPolicy) -> str:
    """The tick's number int64 [rows], read from the time that is left."""
    ticks = policy.network.ticks
    place = field_index("time_left", policy.space.segments)
    left = graph.op("Gather", OBSERVATION, graph.whole(place), axis=1)
    share = graph.op("Mul", graph.op("Sub", graph.number(1.0), left), graph.number(ticks))
    tick = graph.clip(graph.op("Floor", graph.op("Add", share, graph.number(0.5))), 0, ticks - 1)
    return graph.op("Cast", tick, to=7)  # 7 is ONNX's int64


def _tokens(graph: Graph, policy: TransformerPolicy, parts: tuple[str, ...], when: str) -> str:
    """Return, observation and action of each tick in turn, [rows, 3 C, W]."""
    kept, card = policy.weights, policy.network
    of_tick = graph.op("Gather", graph.weight("embed_tick.weight", kept["embed_tick.weight"]), when, axis=0)
    tokens = []
    for name, part in zip(("embed_return", "embed_state", "embed_action"), parts, strict=True):
        embedded = graph.dense(part, name, kept[f"{name}.weight"], kept[f"{name}.bias"])
        token = _norm(graph, policy, "embed_norm", graph.op("Add", embedded, of_tick))
        tokens.append(graph.row_axis(token, 2))
    return graph.op("Reshape", graph.op("Concat", *tokens, axis=2), graph.whole([0, 3 * card.context, card.width]))


def _block(graph: Graph, policy: TransformerPolicy, i: int, tokens: str) -> str:
    """Attention, then a hidden ReLU layer, each after a normalisation and added to the tokens."""
    kept, name = policy.weights, f"blocks.{i}"
    looked = _attend(graph, policy, name, _norm(graph, policy, f"{name}.attend_norm", tokens))
    tokens = graph.op("Add", tokens, looked)
    names = [f"{name}.up", f"{name}.down"]
    weights, biases = ([kept[f"{layer}.{part}"] for layer in names] for part in ("weight", "bias"))
    thought = layers(graph, _norm(graph, policy, f"{name}.think_norm", tokens), names, weights, biases, "relu")
    return graph.op("Add", tokens, thought)


def _attend(graph: Graph, policy: TransformerPolicy, name: str, normed: str) -> str:
    kept, card = policy.weights, policy.network
    count, size = 3 * card.context, card.width // card.heads
    mask = graph.mask("causal", np.tri(count, dtype=bool))
    triple = graph.dense(normed, f"{name}.qkv", kept[f"{name}.qkv.weight"], kept[f"{name}.qkv.bias"])
    shape = graph.whole([0, count, card.heads, size])
    query, key, value = (
        graph.op("Transpose", graph.op("Reshape", part, shape), perm=perm)
        for part, perm in zip(
            graph.ops("Split", triple, outputs=3, axis=2),
            ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]),
            strict=True,
        )
    )
    scale = float(np.float32(1.0) / np.sqrt(np.float32(size)))
    scores = graph.op("Mul", graph.op("MatMul", query, key), graph.number(scale))
    shares = graph.op("Softmax", graph.op("Where", mask, scores, graph.number(_HIDDEN)), axis=3)
    mixed = graph.op("Transpose", graph.op("MatMul", shares, value), perm=[0, 2, 1, 3])
    flat = graph.op("Reshape", mixed, graph.whole([0, count, card.width]))
    return graph.dense(flat, f"{name}.out", kept[f"{name}.out.weight"], kept[f"{name}.out.bias"])


def _norm(graph: Graph, policy: TransformerPolicy, name: str, x: str) -> str:
    """``(x - mean) / sqrt(variance + EPSILON) * gain + bias`` over the last axis."""
    moved = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Mul", moved, moved), axes=[-1], keepdims=1)
    scale = graph.op("Sqrt", graph.op("Add", variance, graph.number(EPSILON)))
    gain, bias = (graph.weight(f"{name}.{part}", policy.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.op("Add", graph.op("Mul", graph.op("Div", moved, scale), gain), bias)
