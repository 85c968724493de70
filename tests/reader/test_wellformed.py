"""What fuzzing found (tests/fuzz_read.py), a small file each: refused in a line, not a trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from onnx2mvit.emitter.emit import unformatted
from onnx2mvit.errors import Onnx2mvitError, UnsupportedError
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from tests.support.graphs import model, save

HEAD = "g (float[2,8,8,8] x) => (float y)"


def refused(folder: Path, made: onnx.ModelProto) -> str:
    with pytest.raises(Onnx2mvitError) as caught:
        unformatted(lower(lift(read(save(made, folder)))), "net", "test")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    ("nodes", "weights", "names"),
    [
        ("y = Conv(x, w)", {"w": (8,)}, "Conv"),
        ("y = Conv(x, w)", {"w": (8, 8, 3)}, "Conv"),
        ("y = Conv(x, w, b)", {"w": np.float32(1), "b": (8,)}, "Conv"),
        ("y = Conv<pads=[1,1]>(x, w)", {"w": (8, 8, 3, 3)}, "Conv"),
        ("y = Conv<group=0>(x, w)", {"w": (8, 8, 3, 3)}, "Conv"),
        ("y = Conv<group=3>(x, w)", {"w": (8, 8, 3, 3)}, "Conv"),
        ("y = Conv<strides=[1]>(x, w)", {"w": (8, 8, 3, 3)}, "Conv"),
        ("a = Pad(x, p)  y = Conv(a, w)", {"p": [1, 1], "w": (8, 8, 3, 3)}, "Pad"),
        ("a = Pad(x, p)  y = Conv(a, w)", {"p": [0] * 6, "w": (8, 8, 3, 3)}, "Conv"),
        ("y = MaxPool<kernel_shape=[2,2], pads=[1]>(x)", {}, "MaxPool"),
        ("y = CumSum(x, a)", {"a": [9]}, "CumSum"),
        ("y = Transpose<perm=[0,1]>(x)", {}, "Transpose"),
        ("y = Transpose<perm=[0,0,0,0]>(x)", {}, "Transpose"),
        ("a = Transpose<perm=[0,9,1,2]>(x)  y = Transpose<perm=[0,9,1,2]>(a)", {}, "Transpose"),
        ("y = Gather<axis=7>(x, i)", {"i": [0]}, "Gather"),
        ("y = Concat<axis=9>(x, x)", {}, "Concat"),
        ("y = ReduceMean(x, a)", {"a": [[2, 3]]}, "ReduceMean"),
        ("y = ReduceMean(x, a)", {"a": (2,)}, "ReduceMean"),
        ("y, z = Split<num_outputs=0>(x)", {}, "Split"),
        ("y, z = Split<axis=1>(x, s)", {"s": [3, 4]}, "Split"),
        ("y = BatchNormalization(x, w, w, w, w)", {"w": (3,)}, "BatchNormalization"),
        ("y = LayerNormalization<axis=9>(x, w)", {"w": (8,)}, "LayerNormalization"),
        ("y = Add(x, w)", {"w": (3, 5)}, "Add"),
        ("y = MatMul(x, w)", {"w": (5, 5)}, "MatMul"),
        ("a = MatMul(x, w)  y = Mul(a, s)", {"w": (3, 3, 8, 8), "s": np.float32(2)}, "M"),
        ("y = Slice(x, i, i, i, i)", {"i": [[1, 2]]}, "Slice"),
        ("y = Resize(x, , s)", {"s": np.ones(3, np.float32)}, "Resize"),
        ("y = Expand(x, s)", {"s": [-3, 1]}, "Expand"),
        ("y = Reshape(x, s)", {"s": [-1, -1]}, "Reshape"),
        ("y = Reshape(x, s)", {"s": [7, 0, 0, 0, 0, 0]}, "Reshape"),
        ("t, n = StringSplit(x)  y = RegexFullMatch(t)", {}, "RegexFullMatch"),
        ("y = SpaceToDepth<blocksize=0>(x)", {}, "SpaceToDepth"),
        ("y = DepthToSpace<blocksize=3>(x)", {}, "DepthToSpace"),
    ],
)
def test_a_node_whose_parts_do_not_fit(
    tmp_path: Path, nodes: str, weights: dict[str, Any], names: str
) -> None:
    assert names in refused(tmp_path, model(f"{HEAD} {{ {nodes} }}", **weights))


def test_a_name_in_a_message_is_cut_and_cannot_move_the_cursor(tmp_path: Path) -> None:
    made = model("g (string[2,8] x) => (float y) { y = Cast<to=1>(x) }")
    made.graph.input[0].name = made.graph.node[0].input[0] = "x" * 10_000
    assert "'xxxx" in (message := refused(tmp_path, made))
    assert len(message) < 300
    cursor = UnsupportedError("the name \x1b[2J\r\u202e")
    assert str(cursor) == "the name \ufffd[2J \ufffd"


def conv(*attributes: AttributeProto, domain: str = "") -> onnx.ModelProto:
    made = model(f"{HEAD} {{ y = Conv(x, w) }}", w=(8, 8, 3, 3))
    made.graph.node[0].attribute.extend(attributes)
    if domain:
        made.graph.node[0].domain = domain
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def constant(tensor: TensorProto | None) -> onnx.ModelProto:
    made = model(f"{HEAD} {{ c = Identity(x)  y = Add(x, c) }}")
    node = made.graph.node[0]
    node.op_type = "Constant"
    del node.input[:]
    node.attribute.add(name="value", type=AttributeProto.TENSOR)
    if tensor is not None:
        node.attribute[0].t.CopyFrom(tensor)
    return made


def no_channels(rank: int) -> onnx.ModelProto:
    made = conv(domain="com.example")
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"
    del made.graph.initializer[0].dims[rank:]
    made.graph.initializer[0].raw_data = bytes(4 * 8**rank)
    return made


def bytes_for_a_name() -> onnx.ModelProto:
    made = model(f"{HEAD} {{ y = Relu(x) }}")
    made.graph.node[0].name = "NAME"
    broken = made.SerializeToString().replace(b"NAME", b"\xff\xfe\xfd\xfc")
    return onnx.load_from_string(broken)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: conv(AttributeProto(name="group", type=AttributeProto.INT)), ""),
        (lambda: conv(AttributeProto(name="pads", type=AttributeProto.INTS)), ""),
        (lambda: conv(AttributeProto(name="auto_pad", type=AttributeProto.STRING)), ""),
        (lambda: conv(AttributeProto(name="auto_pad", type=AttributeProto.STRING, s=b"\xff")), ""),
        (lambda: constant(None), ""),
        (lambda: constant(TensorProto(dims=[2], data_type=TensorProto.STRING)), ""),
        (lambda: no_channels(1), "dynamic number of channels"),
        (bytes_for_a_name, "not UTF-8"),
    ],
    ids=["no INT", "no INTS", "no STRING", "no text", "no tensor", "no strings", "rank", "name"],
)
def test_an_attribute_or_a_name_that_is_none(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], says: str
) -> None:
    assert says in refused(tmp_path, make())
