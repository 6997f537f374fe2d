"""ONNX files made to do harm: each is refused without a session, without a second file, and without much memory."""

import os
import pickle  # noqa: TID251 - to write what must be refused
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tribid.agents.export import onnx_file
from tribid.agents.export.onnx_file import check_onnx

FLOAT = TensorProto.FLOAT


def dense(change: Callable[[Any], Any] | None = None) -> bytes:
    """``y = tanh(observation @ w + b)``, after ``change`` of the model."""
    model = built(
        [
            helper.make_node("MatMul", ["observation", "w"], ["h"]),
            helper.make_node("Add", ["h", "b"], ["s"]),
            helper.make_node("Tanh", ["s"], ["y"]),
        ],
        {"w": np.full((4, 2), 0.5, np.float32), "b": np.zeros(2, np.float32)},
    )
    if change is not None:
        change(model)
    return bytes(model.SerializeToString())


def built(nodes: list[Any], tensors: dict[str, Any], out: list[Any] | None = None) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("observation", FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", FLOAT, out if out is not None else ["n", 2])],
        initializer=[numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes, str], None]:
    def check(data: bytes, message: str) -> None:
        path = tmp_path / "p.onnx"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as error:
            check_onnx(path)
        assert str(path) in str(error.value)

    return check


def test_a_plain_network_is_read_and_can_be_run_from_the_bytes_that_were_checked(tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes(dense(lambda model: model.metadata_props.add(key="by", value="us")))
    checked = check_onnx(tmp_path / "p.onnx", inputs={"observation": (None, 4)})
    assert (checked.nodes, checked.numbers, checked.metadata) == (3, 10, {"by": "us"})
    assert (checked.inputs, checked.outputs) == ({"observation": (None, 4)}, {"y": (None, 2)})
    session = onnxruntime.InferenceSession(checked.data, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"observation": np.full((3, 4), 0.25, np.float32)})
    np.testing.assert_allclose(answer, np.tanh(0.5), rtol=1e-6)


def external(location: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="length", value="32")

    return change


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../../../../etc/passwd", "weights.bin", "", "/dev/zero", "C:\\secret", "http://localhost/w", "w/../x"],
)  # fmt: skip
def test_external_data_are_refused_and_never_opened(
    refused: Callable[[bytes, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" * 32)
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: opened.append(str(path)) or real(path, *rest, **named))
    refused(dense(external(location)), "tensor 'w' has external data")
    assert {Path(path).name for path in opened} == {"p.onnx"}


def test_external_data_are_refused_wherever_they_are_named(refused: Callable[[bytes, str], None]) -> None:
    def unmarked(model: Any) -> None:
        model.graph.initializer[0].external_data.add(key="__class__", value="os.system")

    def in_an_attribute(model: Any) -> None:
        tensor = TensorProto(name="inner", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/passwd")
        model.graph.node[2].attribute.append(helper.make_attribute("extra", tensor))

    def in_a_list(model: Any) -> None:
        tensor = TensorProto(name="inner", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        model.graph.node[2].attribute.append(helper.make_attribute("extra", [tensor]))

    for change in (unmarked, in_an_attribute, in_a_list):
        refused(dense(change), "has external data; allowed are data in the file itself")


@pytest.mark.parametrize(
    "kind", ["If", "Loop", "Scan", "ConstantOfShape", "RandomNormal", "Expand", "Tile", "Range", "StringNormalizer"]
)
def test_an_operator_that_branches_loops_draws_or_grows_is_refused(
    refused: Callable[[bytes, str], None], kind: str
) -> None:
    refused(dense(lambda model: setattr(model.graph.node[2], "op_type", kind)), f"node 2 is '{kind}'; allowed are Abs")


@pytest.mark.parametrize("domain", ["com.microsoft", "evil", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview"])
def test_an_operator_of_another_domain_is_refused(refused: Callable[[bytes, str], None], domain: str) -> None:
    def use(model: Any) -> None:
        model.graph.node[2].domain = domain

    def declare(model: Any) -> None:
        model.opset_import.append(helper.make_opsetid(domain, 1))

    refused(dense(use), rf"node 2 is '{domain}:Tanh'")
    refused(dense(declare), "opset_import names the domains")


def nested(depth: int) -> Any:
    graph = helper.make_graph([helper.make_node("Identity", ["observation"], ["x"])], "leaf", [], [])
    for level in range(depth):
        node = helper.make_node("If", ["c"], [f"x{level}"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], f"g{level}", [], [])
    return graph


@pytest.mark.parametrize("depth", [1, 12])
def test_graphs_within_graphs_are_refused_whatever_operator_holds_them(
    refused: Callable[[bytes, str], None], depth: int
) -> None:
    def hidden(model: Any) -> None:
        model.graph.node[2].attribute.append(helper.make_attribute("body", nested(depth)))

    def listed(model: Any) -> None:
        model.graph.node[2].attribute.append(helper.make_attribute("bodies", [nested(depth)]))

    refused(dense(hidden), "node 2 holds a graph of its own")
    refused(dense(listed), "node 2 holds a graph of its own")


def test_nesting_that_would_overflow_a_parser_s_stack_is_refused(refused: Callable[[bytes, str], None]) -> None:
    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while True:
            length += bytes([size & 127 | (128 if size > 127 else 0)])
            size >>= 7
            if not size:
                return bytes([number << 3 | 2]) + length + content

    data = b""
    for _ in range(20_000):  # graph { node { attribute { g { node { ...
        data = field(1, field(5, field(6, data)))
    refused(field(7, data), "is no ONNX file")


def test_functions_training_and_sparse_parts_are_refused(refused: Callable[[bytes, str], None]) -> None:
    def function(model: Any) -> None:
        model.functions.append(helper.make_function("", "Tanh", ["x"], ["y"], [], [helper.make_opsetid("", 13)]))

    def sparse(model: Any) -> None:
        model.graph.sparse_initializer.add().dims.extend([1 << 40])

    refused(dense(function), "functions has 1 entries; allowed are none")
    refused(dense(lambda model: model.training_info.add()), "training_info has 1 entries")
    refused(dense(sparse), "sparse_initializer has 1 entries")


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([1 << 40], r"tensor 'w' has shape \[1099511627776\]; allowed are 16777216 numbers"),
        ([1 << 62, 1 << 62], "tensor 'w' has shape"), ([0, 1 << 40], "tensor 'w' has shape"),
        ([-1, -8], "tensor 'w' has shape"), ([1] * 2000, "tensor 'w' has shape"),
        ([4096, 4096], "tensor 'w' holds 8 numbers; allowed are 16777216"),
        ([0], "tensor 'w' holds 8 numbers; allowed are 0"),
        ([4, 3], "tensor 'w' holds 8 numbers; allowed are 12, as its shape says"),
    ],
)  # fmt: skip
def test_a_tensor_whose_shape_lies_is_refused(
    refused: Callable[[bytes, str], None], dims: list[int], message: str
) -> None:
    def lie(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    refused(dense(lie), message)


def test_a_tensor_of_text_or_with_bytes_to_spare_is_refused(refused: Callable[[bytes, str], None]) -> None:
    def text(model: Any) -> None:
        model.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.STRING, [1], [b"x"]))

    def spare(model: Any) -> None:
        model.graph.initializer[0].raw_data += b"\0"

    refused(dense(text), "tensor 'w' is of type 8; allowed are plain numbers")
    refused(dense(spare), "tensor 'w' holds 8 numbers")


def test_a_small_file_that_asks_for_much_memory_is_refused(refused: Callable[[bytes, str], None]) -> None:
    column, row = np.zeros((8192, 1), np.float32), np.zeros((1, 8192), np.float32)
    nodes = [helper.make_node("Add", ["c", "r"], ["big"]), helper.make_node("Identity", ["observation"], ["y"])]
    refused(
        bytes(built(nodes, {"c": column, "r": row}, ["n", 4]).SerializeToString()), r"'big' has shape \[8192, 8192\]"
    )
    for times in (40, 62, 70, 200):
        doubling = [helper.make_node("Concat", [f"x{i}"] * 2, [f"x{i + 1}"], axis=1) for i in range(times)]
        nodes = [helper.make_node("Identity", ["observation"], ["x0"]), *doubling]
        nodes.append(helper.make_node("Identity", ["observation"], ["y"]))
        refused(bytes(built(nodes, {}, ["n", 4]).SerializeToString()), r"has shape|not valid|not known")


def test_rows_that_meet_each_other_are_refused(refused: Callable[[bytes, str], None]) -> None:
    nodes = [
        helper.make_node("Transpose", ["observation"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["observation", "t"], ["y"]),
    ]
    refused(bytes(built(nodes, {}, ["n", "n"]).SerializeToString()), "allowed is a free first axis")


def test_shapes_that_are_not_known_or_do_not_fit_are_refused(refused: Callable[[bytes, str], None]) -> None:
    computed = [
        helper.make_node("Cast", ["observation"], ["w"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["w", "w"], ["h"]),
        helper.make_node("Identity", ["observation"], ["y"]),
    ]
    refused(bytes(built(computed, {}, ["n", 4]).SerializeToString()), "not known|no tensor of a known shape|not valid")
    wrong = [helper.make_node("MatMul", ["observation", "w"], ["y"])]
    refused(bytes(built(wrong, {"w": np.zeros((5, 2), np.float32)}).SerializeToString()), "not valid")


def test_a_graph_that_is_no_graph_is_refused(refused: Callable[[bytes, str], None]) -> None:
    loop = [helper.make_node("Add", ["observation", "y"], ["y"])]
    refused(bytes(built(loop, {}, ["n", 4]).SerializeToString()), "not valid")
    twice = [helper.make_node("Tanh", ["observation"], ["y"]), helper.make_node("Relu", ["observation"], ["y"])]
    refused(bytes(built(twice, {}, ["n", 4]).SerializeToString()), "not valid")
    refused(dense(lambda model: model.graph.ClearField("input")), "no input")


def test_other_inputs_than_those_that_will_be_given_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    path.write_bytes(dense())
    for wanted, message in (
        ({"observation": (None, 36)}, r"input observation has shape \(None, 4\); allowed is \(None, 36\)"),
        ({"observation": (None, 4), "h": (None, 2)}, "input 'h' is missing; allowed are exactly observation, h"),
        ({"x": (None, 4)}, "input 'observation' is not called for|input 'x' is missing"),
        ({"observation": (1, 4)}, "input observation has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            check_onnx(path, inputs=wanted)


@pytest.mark.parametrize("shape", [["n", "d"], ["n", 1 << 40], ["n", -4], [1] * 9])
def test_an_input_of_an_open_or_huge_shape_is_refused(refused: Callable[[bytes, str], None], shape: list[Any]) -> None:
    def reshaped(model: Any) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("observation", FLOAT, shape))

    refused(dense(reshaped), "'observation' has shape")


@pytest.mark.parametrize("opset", [1, 6, 26, 10**6, -1])
def test_an_opset_that_nobody_reads_is_refused(refused: Callable[[bytes, str], None], opset: int) -> None:
    refused(dense(lambda model: setattr(model.opset_import[0], "version", opset)), f"opset is {opset}; allowed is 7 to")


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 50, 100, -50, -1])
def test_a_truncated_file_is_refused(refused: Callable[[bytes, str], None], cut: int) -> None:
    refused(dense()[:cut], r"p\.onnx")


@pytest.mark.parametrize("data", [b"", b"\xff" * 1000, b"PK\x03\x04", b"{}", b"\0" * 1000, b"\x0a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_onnx_are_refused(refused: Callable[[bytes, str], None], data: bytes) -> None:
    refused(data, r"p\.onnx")


def test_flipped_bytes_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    data, rng, refusals = dense(), np.random.default_rng(0), 0
    for _ in range(300):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            spoilt[place] = rng.integers(0, 256)
        (tmp_path / "p.onnx").write_bytes(spoilt)
        try:
            check_onnx(tmp_path / "p.onnx")
        except ValueError:
            refusals += 1
    assert refusals > 150


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def test_a_pickle_or_a_zip_in_disguise_is_refused_and_not_run(
    refused: Callable[[bytes, str], None], tmp_path: Path
) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    refused(bomb, r"p\.onnx")
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("model.onnx", bomb)
    refused((tmp_path / "z").read_bytes(), r"p\.onnx")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_a_pipe_and_another_suffix_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(dense())
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    for name, message in (("link.onnx", "is a link"), ("pipe.onnx", "is no file"), ("real.bin", "ending in .onnx")):
        with pytest.raises(ValueError, match=message):
            check_onnx(tmp_path / name)


def test_sizes_above_the_limits_are_refused(
    refused: Callable[[bytes, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(dense())
    with open(path, "r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 67108864 bytes"):
        check_onnx(path)
    for name, most, message in (
        ("MAX_NODES", 2, "graph has 3 nodes; allowed are 2"),
        ("MAX_NUMBERS", 9, "tensors hold more than 9 numbers"),
        ("MAX_METADATA", 3, "metadata are longer than 3 characters"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(onnx_file, name, most)
            refused(dense(lambda model: model.metadata_props.add(key="by", value="us")), message)


def test_constants_of_a_node_are_read_and_checked_as_any_tensor(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.full(4, 2.0, np.float32), "k")),
        helper.make_node("Mul", ["observation", "k"], ["y"]),
    ]
    (tmp_path / "p.onnx").write_bytes(built(nodes, {}, ["n", 4]).SerializeToString())
    assert check_onnx(tmp_path / "p.onnx").outputs == {"y": (None, 4)}
    huge = TensorProto(name="k", data_type=FLOAT, dims=[1 << 40])
    nodes[0] = helper.make_node("Constant", [], ["k"], value=huge)
    (tmp_path / "p.onnx").write_bytes(built(nodes, {}, ["n", 4]).SerializeToString())
    with pytest.raises(ValueError, match="tensor 'k' has shape"):
        check_onnx(tmp_path / "p.onnx")


def test_the_version_of_onnx_is_one_whose_holes_are_mended() -> None:
    assert tuple(map(int, onnx.__version__.split(".")[:2])) >= (1, 21)
