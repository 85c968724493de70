"""Files that cannot be converted: each ends in one line that says why, and never in a trace."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mvit.errors import InvalidModelError, Onnx2mvitError, UnsupportedError
from onnx2mvit.reader import read
from onnx2mvit.stages import inspect
from tests.support.graphs import model, save

GOOD = "g (float[1,3,8,8] x) => (float[1,3,8,8] y)"
CONV = f"{GOOD} {{ y = Conv(x, w) }}"
IF = f"""{GOOD} {{
    s = ReduceSum<keepdims=0>(x)  c = Cast<to=9>(s)
    y = If(c) <then_branch = t () => (float[1,3,8,8] a) {{ a = Relu(x) }},
               else_branch = e () => (float[1,3,8,8] b) {{ b = Neg(x) }}>
}}"""


def refused(path: Path, error: type[Onnx2mvitError]) -> str:
    """Reading ends in this error; its message is one line."""
    with pytest.raises(Onnx2mvitError) as caught:
        read(path)
    message = str(caught.value)
    assert type(caught.value) is error, message
    assert "\n" not in message
    assert len(message) < 500
    return message


def with_weight(tensor: TensorProto) -> onnx.ModelProto:
    made = model(CONV)
    tensor.name = "w"
    made.graph.initializer.append(tensor)
    return made


def raw(**fields: Any) -> TensorProto:
    return TensorProto(**{"data_type": TensorProto.FLOAT, "dims": [4, 3, 1, 1], **fields})


def external(**where: object) -> TensorProto:
    tensor = raw(data_location=TensorProto.EXTERNAL)
    for key, value in where.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "nowhere.onnx does not exist" in refused(tmp_path / "nowhere.onnx", InvalidModelError)


def test_a_name_that_no_library_takes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff.onnx"))
    path.write_bytes(save(model(CONV, w=(4, 3, 1, 1)), tmp_path).read_bytes())
    assert "has a name that is not UTF-8: rename it" in refused(path, InvalidModelError)
    assert "File name too long" in refused(tmp_path / ("n" * 300), InvalidModelError)


def test_a_folder(tmp_path: Path) -> None:
    assert "is not a file" in refused(tmp_path, InvalidModelError)


def test_a_device_is_not_waited_for() -> None:
    assert "is not a file" in refused(Path("/dev/zero"), InvalidModelError)


@pytest.mark.parametrize("keep", [1, 2, 3, 10, 50, 0.25, 0.5, 0.9, -1])
def test_a_file_that_is_cut_off(tmp_path: Path, keep: float) -> None:
    path = save(model(CONV, w=(64, 3, 3, 3)), tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    assert str(path) in refused(path, InvalidModelError)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"This is not a model.\n" * 50,
        np.random.default_rng(0).bytes(1000),
        np.random.default_rng(1).bytes(100_000),
        b"PK\x03\x04" + bytes(100),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        numpy_helper.from_array(np.ones((3, 3)), "tensor").SerializeToString(),
        model(CONV, w=(4, 3, 1, 1)).graph.SerializeToString(),
        helper.make_opsetid("", 17).SerializeToString(),
        onnx.ModelProto(ir_version=8).SerializeToString(),
    ],
    ids=[
        *("empty", "text", "noise", "more noise", "a zip file", "an HDF5 file"),
        *("a tensor", "a bare graph", "an opset", "a model without a graph"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert str(path) in refused(path, InvalidModelError)


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (f"{GOOD} {{ a = Add(x, b)  b = Neg(a)  y = Neg(b) }}", "topologically sorted"),
        (f"{GOOD} {{ y = Add(x, nowhere) }}", "nowhere"),
        (f"{GOOD} {{ y = Relu(x)  y = Neg(x) }}", "'y'"),
        (f"{GOOD} {{ y = Frobnicate(x) }}", "Frobnicate"),
        (f"{GOOD} {{ y = Add(x) }}", "input size 1"),
        (f"{GOOD} {{ y = Cast(x) }}", "'to' is missing"),
        (f"{GOOD} {{ z = Relu(x) }}", "'y'"),
        ("g (float[1,3,8,8] x) => () { y = Relu(x) }", "has no outputs"),
    ],
    ids=[
        *("a cycle", "a value from nowhere", "two values of one name", "an operator nobody knows"),
        *("too few inputs", "a missing attribute", "an output from nowhere", "no outputs"),
    ],
)
def test_a_graph_that_is_broken(tmp_path: Path, body: str, fragment: str) -> None:
    assert fragment in refused(save(model(body), tmp_path), InvalidModelError)


def test_two_weights_of_one_name(tmp_path: Path) -> None:
    made = model(CONV, w=(4, 3, 1, 1))
    made.graph.initializer.append(made.graph.initializer[0])
    assert "not unique" in refused(save(made, tmp_path), InvalidModelError)


@pytest.mark.parametrize("opset", [26, 99])
def test_an_opset_that_is_too_new(tmp_path: Path, opset: int) -> None:
    path = save(model(f"{GOOD} {{ y = Relu(x) }}", opset=opset), tmp_path)
    message = refused(path, UnsupportedError)
    assert f"opset {opset}; supported are 11 to 25" in message


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_an_attribute_that_is_no_number(tmp_path: Path, number: float) -> None:
    made = model(f"{GOOD} {{ y = BatchNormalization<momentum=0.5>(x, s, s, s, s) }}", s=np.ones(3))
    made.graph.node[0].attribute[0].f = number
    message = refused(save(made, tmp_path), UnsupportedError)
    assert message == f"node 'y' (BatchNormalization) has the momentum {number}"


def test_an_operator_that_is_too_old(tmp_path: Path) -> None:
    made = model(f'{GOOD} {{ y = Cast<to="FLOAT">(x) }}', opset=5)
    message = refused(save(made, tmp_path), UnsupportedError)
    assert "uses opset 5, and onnx cannot bring it to 11" in message


def test_an_opset_that_onnx_cannot_convert_for_a_function_that_calls_itself(tmp_path: Path) -> None:
    made = model(f"{GOOD} {{ y = Relu(x) }}", opset=8)
    made.ir_version = 7  # of before there were functions: onnx's checker does not look at them
    node = helper.make_node("", ["a"], ["b"], domain="")
    made.functions.append(onnx.FunctionProto(input=["a"], output=["b"], node=[node]))
    message = refused(save(made, tmp_path), UnsupportedError)
    assert "uses opset 8, and onnx cannot bring it to 11" in message


@pytest.mark.parametrize("domain", ["com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"])
def test_a_file_that_onnxruntime_optimised(tmp_path: Path, domain: str) -> None:
    made = model(f"{GOOD} {{ y = Relu(x) }}")
    made.graph.node[0].domain = domain
    made.opset_import.add(domain=domain, version=1)
    message = refused(save(made, tmp_path), UnsupportedError)
    assert "onnxruntime" in message and "convert the ONNX file that it was made from" in message


def test_a_file_without_an_opset(tmp_path: Path) -> None:
    made = model(f"{GOOD} {{ y = Relu(x) }}")
    made.ClearField("opset_import")
    assert "opset" in refused(save(made, tmp_path), InvalidModelError)


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "COMPLEX64"])
def test_weights_that_no_layer_has(tmp_path: Path, kind: str) -> None:
    tensor = raw(data_type=TensorProto.DataType.Value(kind))
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    tensor.raw_data = bytes(12 * size)
    message = refused(save(with_weight(tensor), tmp_path), UnsupportedError)
    assert "node 'y' (Conv)" in message
    assert "no place in a Keras layer" in message


def test_an_input_that_is_no_number(tmp_path: Path) -> None:
    body = "g (string[1,3] x) => (float[1,3] y) { y = Cast<to=1>(x) }"
    message = refused(save(model(body), tmp_path), UnsupportedError)
    assert message == "input 'x' is STRING, not of numbers"


@pytest.mark.parametrize(
    ("inputs", "fragment", "error"),
    [
        ("", "has no inputs: it always answers the same", UnsupportedError),
        ("float[0,3,8,8] x", "dimension below one", InvalidModelError),
        ("float[1,3,0,8] x", "dimension below one", InvalidModelError),
        ("float[1,C,8,8] x", "dynamic number of channels", UnsupportedError),
        (f"float[{1 << 40},3,8,8] x", "too large", UnsupportedError),
        (f"float[1,3,{1 << 31},{1 << 31}] x", "too large", UnsupportedError),
    ],
)
def test_inputs_that_nothing_can_be_compared_on(
    tmp_path: Path, inputs: str, fragment: str, error: type[Onnx2mvitError]
) -> None:
    source = "x" if "x" in inputs else "w"
    body = f"g ({inputs}) => (float[a,b,c,d] y) {{ y = Relu({source}) }}"
    assert fragment in refused(save(model(body, w=(1, 3)), tmp_path), error)


def test_an_input_of_no_known_rank(tmp_path: Path) -> None:
    made = model(f"{GOOD} {{ y = Relu(x) }}")
    made.graph.input[0].type.tensor_type.ClearField("shape")
    assert "shape" in refused(save(made, tmp_path), InvalidModelError)


def test_a_branch_that_depends_on_the_data(tmp_path: Path) -> None:
    message = refused(save(model(IF, opset=17), tmp_path), UnsupportedError)
    assert "node 'y' (If) holds a subgraph" in message


def test_a_sparse_weight_is_not_taken_for_an_input(tmp_path: Path) -> None:
    made = model(CONV)
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.array([2]), "indices")
    made.graph.sparse_initializer.add(values=values, indices=indices, dims=[4, 3, 1, 1])
    assert "'w', which nothing computes" in refused(save(made, tmp_path), InvalidModelError)


@pytest.mark.parametrize(
    ("tensor", "fragment"),
    [
        (raw(raw_data=bytes(20)), "too small"),
        (raw(raw_data=bytes(56)), "but its shape"),
        (raw(float_data=[1.0] * 5), "too small"),
        (raw(dims=[4, -3, 1, 1], float_data=[1.0] * 12), "Negative dimension"),
        (raw(dims=[1 << 40], raw_data=bytes(20)), "too small"),
        (raw(data_type=99, raw_data=bytes(48)), "99"),
        (raw(), "value field"),
    ],
    ids=["short", "long", "few numbers", "negative", "huge", "type 99", "none"],
)
def test_a_weight_whose_data_does_not_fit(
    tmp_path: Path, tensor: TensorProto, fragment: str
) -> None:
    assert fragment in refused(save(with_weight(tensor), tmp_path), InvalidModelError)


@pytest.mark.parametrize(
    "tensor",
    [
        external(location="missing.bin"),
        external(location="../secret.bin"),
        external(location="/etc/passwd"),
        external(location="link.bin"),
        external(location="folder"),
        external(location=""),
        external(),
        external(location="weights.bin", offset=40),
        external(location="weights.bin", offset=-4),
        external(location="weights.bin", offset="many"),
        external(location="weights.bin", length=10),
    ],
    ids=lambda tensor: " ".join(each.value for each in tensor.external_data) or "nowhere",
)
def test_weights_that_are_not_in_a_file_beside_it(tmp_path: Path, tensor: TensorProto) -> None:
    folder = tmp_path / "inside"
    (folder / "folder").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(48))
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    message = refused(save(with_weight(tensor), folder), InvalidModelError)
    missing = "keeps weights in 'missing.bin', which is not there" in message
    assert missing is (tensor.external_data[:1] == external(location="missing.bin").external_data)


def test_weights_beside_it_that_are_fewer_than_it_says(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    tensor = external(location="weights.bin")
    del tensor.dims[:]
    tensor.dims.extend([1 << 20, 1 << 20])
    assert "'w'" in refused(save(with_weight(tensor), tmp_path), InvalidModelError)


def test_a_convolution_whose_kernel_has_no_axes_of_space_is_named(tmp_path: Path) -> None:
    # Its bias is computed, so that no rule has looked at its kernel before.
    made = model(f"{GOOD} {{ y = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, x) }}", w=(3,))
    network = inspect(save(made, tmp_path))
    ((node, reason),) = network.refused.items()
    assert node.op == "Conv"
    assert reason.startswith("its inputs and attributes do not fit together")
