"""The policy with a memory (``lstm``) as an ONNX graph: its outputs and cells are inputs and outputs by name."""

from tribid.agents.export.graph import Graph
from tribid.agents.export.perceptrons import layers
from tribid.agents.networks.lstm import Cell, LstmPolicy


def add_lstm(graph: Graph, policy: LstmPolicy) -> str:
    """The actions; the states ``h`` and ``c`` [rows, layers, H] start from 0."""
    shape = (len(policy.cells), policy.hidden)
    carried = graph.state("h", shape), graph.state("c", shape)
    now = graph.normalised(policy.mean, policy.std, policy.clip)
    outputs, cells = [], []
    for i, cell in enumerate(policy.cells):
        before = tuple(graph.op("Gather", part, graph.whole(i), axis=1) for part in carried)
        now, kept = _cell(graph, f"lstm{i}", cell, now, *before)
        outputs.append(graph.row_axis(now, 1))
        cells.append(graph.row_axis(kept, 1))
    graph.carry("h", graph.op("Concat", *outputs, axis=1))
    graph.carry("c", graph.op("Concat", *cells, axis=1))
    names = [f"layer{i}" for i in range(len(policy.weights))]
    numbers = layers(graph, now, names, policy.weights, policy.biases, policy.activation)
    return numbers if policy.output == "clip" else graph.op("Tanh", numbers)


def _cell(graph: Graph, name: str, cell: Cell, x: str, h: str, c: str) -> tuple[str, str]:
    """``h`` and ``c`` [rows, H] of one layer after this tick; gates stand in the order i, f, g, o."""
    gates = graph.op(
        "Add", graph.dense(x, name, cell.weight, cell.bias), graph.dense(h, f"{name}.recurrent", cell.recurrent)
    )
    add, keep, new, show = graph.ops("Split", gates, outputs=4, axis=1)
    kept = graph.op(
        "Add",
        graph.op("Mul", graph.op("Sigmoid", keep), c),
        graph.op("Mul", graph.op("Sigmoid", add), graph.op("Tanh", new)),
    )
    return graph.op("Mul", graph.op("Sigmoid", show), graph.op("Tanh", kept)), kept
