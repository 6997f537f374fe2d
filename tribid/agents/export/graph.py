"""``Graph``: an ONNX graph of a policy under construction, with what most networks are made of.

Opset 13 and IR version 7: what ONNX Runtime has run since 1.7, and Triton, TensorRT and OpenVINO read. Every tensor lies
in the file; there are no functions, no nested graphs and no operators from elsewhere.
"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tribid import __version__

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError("writing ONNX needs onnx: pip install 'tribid[export]'") from error

OPSET = 13
IR_VERSION = 7
BATCH = "rows"
"""The name of the first axis, along which every row is an advertiser of its own."""

OBSERVATION = "observation"
_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}


class Graph:
    """Operators are added in the order of the computation; each method gives the name of what it made.

    ``observed`` is the size of the input ``observation`` [rows, D].
    """

    def __init__(self, observed: int) -> None:
        self._nodes: list[Any] = []
        self._initialisers: dict[str, Any] = {}
        self._inputs = [helper.make_tensor_value_info(OBSERVATION, TensorProto.FLOAT, [BATCH, observed])]
        self._outputs: list[Any] = []
        self._shapes: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.starts: dict[str, float] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The one output of an operator."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """The outputs of an operator that has several."""
        number = len(self._nodes)
        names = [f"{kind}_{number}" if outputs == 1 else f"{kind}_{number}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=f"node_{number}", **attributes))
        return names

    def weight(self, name: str, values: ArrayLike) -> str:
        """A float32 tensor of the file; a name that is there already stands for the same tensor."""
        if name not in self._initialisers:
            array = np.ascontiguousarray(values, np.float32)
            self._initialisers[name] = numpy_helper.from_array(array, name)
        return name

    def number(self, value: float) -> str:
        """A float32 number."""
        exact = np.float32(value)
        return self.weight(f"number_{exact.view(np.uint32):08x}", exact)

    def whole(self, values: int | Sequence[int]) -> str:
        """One or several int64 numbers: indices, axes, shapes."""
        array = np.array(values, np.int64)
        name = "whole_" + "_".join(str(value) for value in array.reshape(-1)) + ("" if array.ndim else "_alone")
        if name not in self._initialisers:
            self._initialisers[name] = numpy_helper.from_array(array, name)
        return name

    def mask(self, name: str, values: NDArray[np.bool_]) -> str:
        """A table of yes and no."""
        self._initialisers[name] = numpy_helper.from_array(values, name)
        return name

    def state(self, name: str, shape: tuple[int, ...], start: float = 0.0, kind: type[Any] = np.float32) -> str:
        """An input [rows, *shape] that carries ``name`` from tick to tick; a day starts from ``start`` everywhere."""
        self._shapes[name] = (_TYPES[np.dtype(kind)], shape)
        self._inputs.append(helper.make_tensor_value_info(name, self._shapes[name][0], [BATCH, *shape]))
        self.starts[name] = start
        return name

    def carry(self, name: str, source: str) -> None:
        """The output ``next_NAME``: what ``name`` is to be in the next tick."""
        kind, shape = self._shapes[name]
        self._output(f"next_{name}", source, kind, shape)

    def answer(self, action: str, segments: int, max_multiplier: float) -> None:
        """The outputs ``action`` and ``multiplier`` [rows, segments]; the map is ``tribid.envs.action.to_multiplier``."""
        cut = self.clip(action, -1.0, 1.0)
        span = log(max_multiplier)
        knee = max_multiplier**-0.9
        high = self.op("Exp", self.op("Mul", cut, self.number(span)))
        low = self.op("Mul", self.op("Add", cut, self.number(1.0)), self.number(knee / (1.0 - 0.9)))
        below = self.op("Less", cut, self.number(-0.9))
        self._output("action", cut, TensorProto.FLOAT, (segments,))
        self._output("multiplier", self.op("Where", below, low, high), TensorProto.FLOAT, (segments,))

    def clip(self, x: str, low: float, high: float) -> str:
        """Cut to [low, high]."""
        return self.op("Clip", x, self.number(low), self.number(high))

    def normalised(self, mean: NDArray[np.float32], std: NDArray[np.float32], clip: float) -> str:
        """The observation by ``(x - mean) / std``, cut to [-clip, clip]."""
        moved = self.op("Sub", OBSERVATION, self.weight("normaliser.mean", mean))
        return self.clip(self.op("Div", moved, self.weight("normaliser.std", std)), -clip, clip)

    def dense(self, x: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> str:
        """``x @ weight.T + bias`` over the last axis, for a weight [out, in]."""
        product = self.op("MatMul", x, self.weight(f"{name}.weight", weight.T))
        return product if bias is None else self.op("Add", product, self.weight(f"{name}.bias", bias))

    def columns(self, x: str, places: Sequence[int], axis: int = 1) -> str:
        """Some places of an axis, which stays."""
        return self.op("Gather", x, self.whole(list(places)), axis=axis)

    def row_axis(self, x: str, *axes: int) -> str:
        """The same numbers with axes of one in these places."""
        return self.op("Unsqueeze", x, self.whole(list(axes)))

    def model(self, name: str, metadata: Mapping[str, str]) -> Any:
        """The finished ``onnx.ModelProto``."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=list(self._initialisers.values())
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tribid",
            producer_version=__version__,
        )
        helper.set_model_props(made, dict(metadata))
        onnx.checker.check_model(made, full_check=True)
        return made

    def _output(self, name: str, source: str, kind: int, shape: tuple[int, ...]) -> None:
        self._nodes.append(helper.make_node("Identity", [source], [name], name=f"node_{len(self._nodes)}"))
        self._outputs.append(helper.make_tensor_value_info(name, kind, [BATCH, *shape]))


def log_action(graph: Graph, multiplier: str, max_multiplier: float) -> str:
    """The action of a bid multiplier: ``tribid.envs.action.to_action``, in float32."""
    span = log(max_multiplier)
    knee = max_multiplier**-0.9
    above = graph.op("Max", multiplier, graph.number(knee))
    curve = graph.op("Div", graph.op("Log", above), graph.number(span))
    line = graph.op("Sub", graph.op("Mul", multiplier, graph.number((1.0 - 0.9) / knee)), graph.number(1.0))
    return graph.op("Where", graph.op("Less", multiplier, graph.number(knee)), line, curve)
