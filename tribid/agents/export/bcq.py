"""BCQ's policy (``bcq``) as an ONNX graph: all its draws are candidates of a row, and the critic chooses among them."""

import numpy as np

from tribid.agents.export.graph import Graph
from tribid.agents.networks.bcq import BcqPolicy


def add_bcq(graph: Graph, policy: BcqPolicy) -> str:
    """The candidate [rows, draws, actions] that the critic values most, the first of equals."""
    card, kept = policy.sizes, policy.weights
    seen = graph.normalised(kept["normaliser.mean"], kept["normaliser.std"], card.observation_clip)
    many = graph.row_axis(seen, 1)
    draws = graph.row_axis(graph.weight("draws", kept["draws"]), 0)
    likely = graph.op("Tanh", _network(graph, policy, "decoder", many, draws))
    move = graph.op("Tanh", _network(graph, policy, "perturbation", many, likely))
    moved = graph.clip(graph.op("Add", likely, graph.op("Mul", move, graph.number(card.reach))), -1.0, 1.0)
    value = graph.op("Squeeze", _network(graph, policy, "critic", many, moved), graph.whole([2]))
    best = graph.op("ArgMax", value, axis=1, keepdims=1, select_last_index=0)
    return graph.op("GatherND", moved, best, batch_dims=1)


def _network(graph: Graph, policy: BcqPolicy, name: str, many: str, beside: str) -> str:
    """A network's numbers for each row [rows, 1, D] with each of what stands beside it [1 or rows, draws, .].

    The first layer is the sum of its two parts: so the observation's part is computed once for all draws.
    """
    observed, last = policy.sizes.observed, len(policy.sizes.sizes(name)) - 2
    first = np.ascontiguousarray(policy.weights[f"{name}.layer0.weight"])
    bias = policy.weights[f"{name}.layer0.bias"]
    x = graph.op(
        "Add",
        graph.dense(many, f"{name}.layer0.seen", first[:, :observed], bias),
        graph.dense(beside, f"{name}.layer0.beside", first[:, observed:]),
    )
    for i in range(1, last + 1):
        layer = f"{name}.layer{i}"
        x = graph.dense(graph.op("Relu", x), layer, policy.weights[f"{layer}.weight"], policy.weights[f"{layer}.bias"])
    return x
