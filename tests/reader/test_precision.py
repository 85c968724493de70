"""Files in another precision than float32, and weights that are stored in fewer bits."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from onnx2mvit.reader import read
from tests.support.graphs import save, with_tensors
from tests.support.run_graph import assert_same_answers

KINDS: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "double": np.float64,
}


@pytest.mark.parametrize("kind", KINDS)
def test_floats_of_every_precision_become_float32(tmp_path: Path, kind: str) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(KINDS[kind])
    bound = np.array([1, 2, 3, 4e300 if kind == "double" else 4]).astype(KINDS[kind])
    body = f"""g ({kind}[1,3,8,8] x) => ({kind} y) {{
        a = Conv(x, w)
        b = Reshape(bound, shape)
        y = Min(a, b)
    }}"""
    shape = np.array([1, 4, 1, 1])
    graph = read(save(with_tensors(body, w=weight, bound=bound, shape=shape), tmp_path))
    values = [*graph.inputs, *(value for node in graph for value in (*node.inputs, *node.outputs))]
    assert {value.dtype for value in values if value is not None} == {np.dtype(np.float32)}
    (conv,) = graph.of(["Conv"])
    assert conv.inputs[1] is not None and conv.inputs[1].const is not None
    assert np.array_equal(conv.inputs[1].const, weight.astype(np.float32))
    name = "float64" if kind == "double" else kind
    assert graph.source.precision == name
    how = "narrowed" if kind == "double" else "widened"
    assert graph.source.weights == f"as in the file, {how} from {name}"


def test_what_is_computed_in_float16_for_a_while_is_float32_throughout(tmp_path: Path) -> None:
    body = """g (float[1,3,8,8] x) => (float y) {
        a = Cast<to=10>(x)
        b = Conv(a, w)
        c = CastLike(b, x)
        y = Cast<to=1>(c)
    }"""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float16)
    made = with_tensors(body, w=weight)
    graph = read(save(made, tmp_path))
    assert [node.op for node in graph] == ["Conv"]
    assert graph.source.precision == "float16"
    assert_same_answers(made, graph, tolerance=2e-3)


def test_sizes_are_computed_in_the_precision_of_the_file(tmp_path: Path) -> None:
    body = """g (float[1,16,8,8] x) => (float y) {
        product = Mul(length, factor)
        whole = Cast<to=7>(product)
        y = Reshape(x, whole)
    }"""
    odd = 2**24 + 1  # which is no float32
    length, factor = np.array([float(odd)]), np.array([(1024 + 2**-30) / odd])
    graph = read(save(with_tensors(body, length=length, factor=factor), tmp_path))
    assert graph.outputs[0].shape == (1024,)
    assert graph.source.precision == "float32"


def int4(array: Any) -> onnx.TensorProto:
    return helper.make_tensor("", onnx.TensorProto.INT4, array.shape, array.reshape(-1).tolist())


WEIGHT = np.random.default_rng(0).integers(0, 8, (4, 3, 3, 3))
ONE_EACH = np.array([0.5, 1, 2, 4], np.float32)
BLOCKS = np.arange(1, 73, dtype=np.float32).reshape(4, 2, 3, 3)


@pytest.mark.parametrize(
    ("opset", "attributes", "weight", "scale", "zero"),
    [
        (13, "", WEIGHT.astype(np.int8), np.float32(0.5), np.int8(3)),
        (13, "<axis=0>", WEIGHT.astype(np.int8), ONE_EACH, np.array([1, -2, 3, 0], np.int8)),
        (13, "<axis=-3>", WEIGHT.astype(np.int8), ONE_EACH[:3], None),
        (19, "<axis=0>", WEIGHT.astype(np.uint8), ONE_EACH, np.array([1, 128, 3, 0], np.uint8)),
        (21, "<axis=1, block_size=2>", WEIGHT.astype(np.int8), BLOCKS, None),
        (21, "<axis=0>", int4(WEIGHT), ONE_EACH, int4(np.array([1, 0, 2, 3]))),
    ],
)
def test_weights_in_fewer_bits_become_floats(
    tmp_path: Path, opset: int, attributes: str, weight: Any, scale: Any, zero: Any
) -> None:
    last = ", zero" if zero is not None else ""
    body = f"""g (float[1,3,8,8] x) => (float y) {{
        d = DequantizeLinear{attributes}(w, scale{last})
        t = Transpose<perm=[0, 1, 3, 2]>(d)
        y = Conv(x, t)
    }}"""
    tensors = {"w": weight, "scale": scale} | ({"zero": zero} if zero is not None else {})
    made = with_tensors(body, opset, **tensors)
    graph = read(save(made, tmp_path))
    assert [node.op for node in graph] == ["Conv"]
    assert_same_answers(made, graph)
