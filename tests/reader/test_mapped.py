"""Large weights of a file are looked at through it, and all the rest is as protobuf has it."""

from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mvit.reader.mapped import LARGE, load_mapped
from tests.support.graphs import model, save

MANY = LARGE // 4
RNG = np.random.default_rng(0)


def weight(dtype: str = "float32", count: int = MANY, name: str = "w") -> TensorProto:
    return numpy_helper.from_array((9 * RNG.standard_normal(count)).astype(dtype), name)


def file_of(folder: Path, *weights: TensorProto) -> Path:
    made = model("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    made.graph.initializer.extend(weights)
    return save(made, folder)


def refilled(path: Path) -> onnx.ModelProto:
    """The model, into which what was mapped is put again."""
    made, weights = load_mapped(path)
    for tensor in made.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights.pop(tensor.name), tensor.name))
    assert not weights
    return made


@pytest.mark.parametrize(
    ("tensor", "mapped"),
    [
        (weight(), True),
        (weight("float64"), True),
        (weight("float16", 2 * MANY), True),
        (weight("int64"), False),
        (weight(count=MANY - 1), False),
        (weight(name=""), False),
        (helper.make_tensor("w", TensorProto.FLOAT, [MANY], np.ones(MANY)), False),
        (TensorProto(name="w", data_type=1, dims=[MANY + 1], raw_data=bytes(LARGE)), False),
        (TensorProto(name="w", data_type=1, dims=[-1, -MANY], raw_data=bytes(LARGE)), False),
    ],
    ids=[
        *("float32", "float64", "float16", "int64", "small", "unnamed", "no raw data"),
        *("another length", "lengths below zero"),
    ],
)
def test_the_model_is_as_protobuf_reads_it(
    tensor: TensorProto, mapped: bool, tmp_path: Path
) -> None:
    path = file_of(tmp_path, weight(count=3, name="before"), tensor, weight(name="behind"))
    assert load_mapped(path)[1].keys() == {"behind", *["w"] * mapped}
    assert refilled(path) == onnx.load(path)


def test_of_two_weights_of_one_name_the_second_stays_in_the_model(tmp_path: Path) -> None:
    path = file_of(tmp_path, weight(), weight())
    made, _ = load_mapped(path)
    assert [tensor.data_location for tensor in made.graph.initializer] == [1, 0]


def test_a_graph_in_parts_is_merged(tmp_path: Path) -> None:
    path = file_of(tmp_path, weight(name="one"))
    more = onnx.ModelProto()
    more.graph.initializer.append(weight(name="two"))
    path.write_bytes(path.read_bytes() + more.SerializeToString())
    assert load_mapped(path)[1].keys() == {"one", "two"}
    assert refilled(path) == onnx.load(path)


def test_shapes_and_text_stay(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(RNG.standard_normal((2, MANY // 2), np.float32), "w")
    tensor.doc_string = "trained"
    _, weights = load_mapped(file_of(tmp_path, tensor))
    assert np.array_equal(weights["w"], numpy_helper.to_array(tensor))


@pytest.mark.parametrize("kept", [0, 1, 40, LARGE, -1])
def test_a_file_that_was_cut_off_is_no_model(kept: int, tmp_path: Path) -> None:
    path = file_of(tmp_path, weight())
    path.write_bytes(path.read_bytes()[:kept])
    try:
        right = onnx.load(path)
    except google.protobuf.message.DecodeError:
        with pytest.raises(google.protobuf.message.DecodeError):
            load_mapped(path)
    else:
        assert load_mapped(path) == (right, {})


def test_a_model_as_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.textproto"
    made = onnx.load(file_of(tmp_path, weight()))
    onnx.save(made, path)
    assert load_mapped(path) == (made, {})
