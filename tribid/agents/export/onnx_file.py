"""``check_onnx``: whether an ONNX file from elsewhere is plain arithmetic of a bounded size, found out without running it.

The ranker loads no ONNX at all. This guard is for whoever reads one, as the parity check of ``tribid export`` does:

    checked = check_onnx("theirs.onnx", inputs={"observation": (None, 36)})
    session = onnxruntime.InferenceSession(checked.data)

The session is made from the bytes that were checked. External data are never opened: ONNX files have named paths outside
their folder (CVE-2022-25882, CVE-2024-27318, CVE-2025-51480), so a file that has any is refused.
"""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from tribid.agents.plain_file import read_plain

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import AttributeProto, TensorProto, checker, shape_inference
except ImportError as error:
    raise ImportError("reading ONNX needs onnx: pip install 'tribid[export]'") from error

MAX_FILE_BYTES = 64 << 20
MAX_NODES = 50_000
MAX_NUMBERS = 1 << 24
"""The most numbers in the file's tensors together, and in any tensor that the graph makes for a row."""

MAX_AXES = 8
MAX_METADATA = 1 << 20
OPSETS = range(7, 26)

OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
    "Div", "Elu", "Equal", "Erf", "Exp", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm",
    "Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "MatMul", "Max", "Mean", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Round", "Selu", "Sigmoid", "Sign", "Slice", "Softmax",
    "Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
    "Xor",
})  # fmt: skip
"""Arithmetic and moving of numbers: nothing that holds a graph of its own, draws, loops, reads text or makes a tensor of
a size that is computed."""

_WIDTHS = {
    TensorProto.FLOAT: ("float_data", 4), TensorProto.DOUBLE: ("double_data", 8), TensorProto.INT64: ("int64_data", 8),
    TensorProto.INT32: ("int32_data", 4), TensorProto.BOOL: ("int32_data", 1), TensorProto.FLOAT16: ("int32_data", 2),
}  # fmt: skip


class CheckedOnnx(NamedTuple):
    """What was checked: the file's bytes, shapes of inputs and outputs (None: any number of rows), and its metadata."""

    data: bytes
    inputs: dict[str, tuple[int | None, ...]]
    outputs: dict[str, tuple[int | None, ...]]
    metadata: dict[str, str]
    nodes: int
    numbers: int


def check_onnx(path: str | Path, *, inputs: Mapping[str, tuple[int | None, ...]] | None = None) -> CheckedOnnx:
    """Read an ONNX file that nobody vouches for; ``ValueError`` names what is wrong and what is allowed.

    Refused are: a link, a pipe, more than 64 MiB; what is no ONNX; external data anywhere; operators of other domains or
    outside ``OPERATORS``; functions, nested graphs, training and sparse parts; tensors whose bytes are not what their
    shape calls for; more nodes or numbers than the limits above; shapes that do not fit together, are not known when the
    file is read, or grow beyond the limit; and, with ``inputs``, other inputs than those. The first axis of an input may
    be free, no other.
    """
    source = Path(path)
    if source.suffix != ".onnx":
        raise ValueError(f"{source} is of another kind; allowed is a path ending in .onnx")
    data = read_plain(source, MAX_FILE_BYTES)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError) as error:
        raise ValueError(f"{source} is no ONNX file: {error}") from None
    _check_parts(source, model)
    _check_operators(source, model.graph)
    numbers = _check_tensors(source, model.graph)
    given = {value.name: _shape(source, value) for value in _inputs(model.graph)}
    _check_inputs(source, given, inputs)
    outputs = _check_shapes(source, model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return CheckedOnnx(data, given, outputs, metadata, len(model.graph.node), numbers)


def _check_parts(path: Path, model: Any) -> None:
    """The model's frame: versions, domains, and nothing beside one graph."""
    graph = model.graph
    for name, part in (
        ("functions", model.functions), ("training_info", model.training_info),
        ("sparse_initializer", graph.sparse_initializer), ("quantization_annotation", graph.quantization_annotation),
    ):  # fmt: skip
        if len(part):
            raise ValueError(f"{path}: {name} has {len(part)} entries; allowed are none")
    domains = [entry.domain for entry in model.opset_import]
    if domains not in ([""], ["ai.onnx"]):
        raise ValueError(f"{path}: opset_import names the domains {domains!r:.80}; allowed is ONNX's own, once")
    if model.opset_import[0].version not in OPSETS:
        allowed = f"{OPSETS.start} to {OPSETS.stop - 1}"
        raise ValueError(f"{path}: opset is {model.opset_import[0].version}; allowed is {allowed}")
    if sum(len(entry.key) + len(entry.value) for entry in model.metadata_props) > MAX_METADATA:
        raise ValueError(f"{path}: metadata are longer than {MAX_METADATA} characters; allowed is at most that")
    if len(graph.node) > MAX_NODES:
        raise ValueError(f"{path}: graph has {len(graph.node)} nodes; allowed are {MAX_NODES}")


def _check_operators(path: Path, graph: Any) -> None:
    for i, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            named = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
            raise ValueError(f"{path}: node {i} is {named!r:.80}; allowed are {', '.join(sorted(OPERATORS))}")
        for attribute in node.attribute:
            if attribute.HasField("g") or len(attribute.graphs):
                raise ValueError(f"{path}: node {i} holds a graph of its own; allowed are plain attributes")
            if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors) or attribute.ref_attr_name:
                raise ValueError(f"{path}: node {i} has {attribute.name!r:.40} of type {_type(attribute)}; not allowed")


def _type(attribute: Any) -> str:
    return str(AttributeProto.AttributeType.Name(attribute.type))


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensors(path: Path, graph: Any) -> int:
    """Every tensor lies in the file and is as long as its shape says; how many numbers they are together."""
    numbers = 0
    for tensor in _tensors(graph):
        name, sizes = tensor.name[:80], list(tensor.dims)
        if tensor.data_location != TensorProto.DEFAULT or len(tensor.external_data):
            raise ValueError(f"{path}: tensor {name!r} has external data; allowed are data in the file itself")
        if tensor.data_type not in _WIDTHS or tensor.HasField("segment"):
            raise ValueError(f"{path}: tensor {name!r} is of type {tensor.data_type}; allowed are plain numbers")
        if len(sizes) > MAX_AXES or not all(0 <= size <= MAX_NUMBERS for size in sizes) or prod(sizes) > MAX_NUMBERS:
            raise ValueError(f"{path}: tensor {name!r} has shape {sizes!r:.80}; allowed are {MAX_NUMBERS} numbers")
        field, width = _WIDTHS[tensor.data_type]
        given = len(tensor.raw_data) // width if tensor.raw_data else len(getattr(tensor, field))
        if given != prod(sizes) or len(tensor.raw_data) % width:
            raise ValueError(
                f"{path}: tensor {name!r} holds {given} numbers; allowed are {prod(sizes)}, as its shape says"
            )
        numbers += given
        if numbers > MAX_NUMBERS:
            raise ValueError(f"{path}: tensors hold more than {MAX_NUMBERS} numbers; allowed is at most that")
    return numbers


def _inputs(graph: Any) -> list[Any]:
    """What is to be passed in: older files list their tensors among the inputs, too."""
    inside = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in inside]


def _shape(path: Path, value: Any) -> tuple[int | None, ...]:
    """Sizes by axis, None for a first axis that is free; ``ValueError`` for anything that is not known or too large."""
    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or kind.elem_type not in _WIDTHS or not kind.HasField("shape"):
        raise ValueError(f"{path}: {value.name!r:.80} is no tensor of a known shape; allowed are plain numbers")
    sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    fixed = [size for size in sizes if size is not None]
    within = all(0 <= size <= MAX_NUMBERS for size in fixed) and prod(fixed) <= MAX_NUMBERS
    if None in sizes[1:] or len(sizes) > MAX_AXES or not within:
        raise ValueError(
            f"{path}: {value.name!r:.80} has shape {sizes}; allowed is a free first axis, and {MAX_NUMBERS} numbers a row"
        )
    return tuple(sizes)


def _check_inputs(
    path: Path, given: dict[str, tuple[int | None, ...]], wanted: Mapping[str, tuple[int | None, ...]] | None
) -> None:
    if not given:
        raise ValueError(f"{path}: the graph has no input; allowed is one or more")
    if wanted is None:
        return
    for name in sorted(set(wanted) ^ set(given)):
        kind = "missing" if name in wanted else "not called for"
        raise ValueError(f"{path}: input {name!r:.80} is {kind}; allowed are exactly {', '.join(wanted)}")
    for name, shape in wanted.items():
        if given[name] != tuple(shape):
            raise ValueError(f"{path}: input {name} has shape {given[name]}; allowed is {tuple(shape)}")


def _check_shapes(path: Path, model: Any) -> dict[str, tuple[int | None, ...]]:
    """Follow the shapes through the graph: each is known, fits, and stays within the limit; those of the outputs.

    A few numbers may stand for a tensor that fits no machine, as in the sum of a row and a column.
    """
    try:
        checker.check_model(model)
        followed = shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: the graph is not valid: {str(error)[:300]}") from None
    shapes = {value.name: _shape(path, value) for value in (*followed.graph.value_info, *followed.graph.output)}
    for node in followed.graph.node:
        for name in node.output:
            if name and name not in shapes:
                raise ValueError(f"{path}: the shape of {name!r:.80} is not known; allowed are graphs whose shapes are")
    return {value.name: shapes[value.name] for value in followed.graph.output}
