"""The policies that are one perceptron (``mlp``, ``scaled``, ``discrete``, ``adjusting``) as ONNX graphs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tribid.agents.export.graph import Graph, log_action
from tribid.agents.networks.adjusting import AdjustingPolicy
from tribid.agents.networks.discrete import DiscretePolicy
from tribid.agents.networks.mlp import MlpPolicy
from tribid.agents.networks.perceptron import Perceptron
from tribid.agents.networks.scaled import ScaledPolicy

Tensors = Sequence[NDArray[np.float32]]


def layers(graph: Graph, x: str, names: Sequence[str], weights: Tensors, biases: Tensors, activation: str) -> str:
    """Dense layers of weights [out, in]; all but the last end in ``activation`` (``relu`` or ``tanh``)."""
    for i, (name, weight, bias) in enumerate(zip(names, weights, biases, strict=True)):
        x = graph.dense(x, name, weight, bias)
        if i < len(names) - 1:
            x = graph.op("Relu" if activation == "relu" else "Tanh", x)
    return x


def add_mlp(graph: Graph, policy: MlpPolicy) -> str:
    """The actions of a multilayer perceptron."""
    numbers = _numbers(graph, policy)
    return numbers if policy.output == "clip" else graph.op("Tanh", numbers)


def add_scaled(graph: Graph, policy: ScaledPolicy) -> str:
    """The actions of the multipliers ``1 + reach * tanh(number)``."""
    moved = graph.op("Mul", graph.op("Tanh", _numbers(graph, policy)), graph.number(policy.reach))
    cap = policy.space.max_multiplier
    return log_action(graph, graph.clip(graph.op("Add", moved, graph.number(1.0)), 0.0, cap), cap)


def add_discrete(graph: Graph, policy: DiscretePolicy) -> str:
    """The choice with the highest number for each segment, the first of equals."""
    count = len(policy.choices)
    numbers = graph.op("Reshape", _numbers(graph, policy), graph.whole([0, policy.space.segments, count]))
    best = graph.op("ArgMax", numbers, axis=2, keepdims=0, select_last_index=0)
    chosen = graph.op("Gather", graph.weight("choices", policy.choices), best, axis=0)
    if not policy.adjusts:
        return chosen
    return _adjusted(graph, policy, policy.start, graph.op("Add", chosen, graph.number(1.0)))


def add_adjusting(graph: Graph, policy: AdjustingPolicy) -> str:
    """The multiplier of the tick before times ``1 + reach * tanh(number)``."""
    moved = graph.op("Mul", graph.op("Tanh", _numbers(graph, policy)), graph.number(policy.reach))
    return _adjusted(graph, policy, policy.start, graph.op("Add", moved, graph.number(1.0)))


def _numbers(graph: Graph, policy: Perceptron) -> str:
    seen = graph.normalised(policy.mean, policy.std, policy.clip)
    names = [f"layer{i}" for i in range(len(policy.weights))]
    return layers(graph, seen, names, policy.weights, policy.biases, policy.activation)


def _adjusted(graph: Graph, policy: Perceptron, start: float, factors: str) -> str:
    """The actions of ``multipliers * factors`` within one over the cap and the cap; the state ``multipliers`` goes on."""
    cap = policy.space.max_multiplier
    least = float(np.float32(1.0) / np.float32(cap))
    before = graph.state("multipliers", (policy.space.segments,), float(np.float32(start)))
    after = graph.clip(graph.op("Mul", before, factors), least, cap)
    graph.carry("multipliers", after)
    return log_action(graph, after, cap)
