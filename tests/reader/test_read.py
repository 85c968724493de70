"""What reading a file promises: concrete shapes, folded constants, and what the file says."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import onnx
import pytest
from onnx import helper

from onnx2mvit.ir.graph import Graph
from onnx2mvit.reader import read
from onnx2mvit.reader.shapes import TRACE_BATCH, TRACE_SIZE
from tests.support.graphs import graph, model, save
from tests.support.run_graph import assert_same_answers
from tests.support.skeletons import FOLDER

Fill = Callable[[str], Path]
SKELETONS = sorted(path.name.removesuffix(".onnx.xz") for path in FOLDER.glob("*.onnx.xz"))
KEPT = "hf-mobilevit_xxs.legacy17.bn.dynb"
RESHAPE = """g (float[{batch},4,8,8] x) => (float y) {{
    n = Relu(x)  s = Shape(n)  b = Gather(s, zero)  u = Unsqueeze(b, first)
    t = Concat<axis=0>(u, rest)  y = Reshape(n, t)
}}"""
RESHAPE_WEIGHTS: dict[str, Any] = {"zero": np.int64(0), "first": [0], "rest": [4, 64]}


def shapes(made: Graph) -> list[tuple[str, list[tuple[int, ...] | None]]]:
    return [(node.op, [value.shape for value in node.outputs]) for node in made]


def slow_unless_mobile(name: str) -> object:
    """The other exports are read in other tests too, which lift them."""
    return name if "-mobile" in name else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", map(slow_unless_mobile, SKELETONS))
def test_an_export_reads_in_with_its_shapes_and_its_normalization(filled: Fill, name: str) -> None:
    path = filled(name)
    made = read(path)
    values = {value for node in made for value in (*node.inputs, *node.outputs) if value}
    assert values
    assert [value for value in values if value.shape is None] == []
    assert [value for value in values if value.dtype is None] == []
    assert networkx.is_weakly_connected(made.nx)
    in_file = onnx.load(path)
    nodes = [*in_file.graph.node, *(node for f in in_file.functions for node in f.node)]
    expected = sum(node.op_type == "BatchNormalization" for node in nodes)
    lengths = {tensor.name: tensor.dims[0] for tensor in in_file.graph.initializer if tensor.dims}
    found = list(made.of(["BatchNormalization"]))
    if len(found) != expected:  # a joint projection is split, and its normalization with it
        scales = [node.input[1] for node in nodes if node.op_type == "BatchNormalization"]
        split = [node.inputs[1] for node in found]
        assert sum(lengths[name] for name in scales) == sum(
            scale.const.size for scale in split if scale is not None and scale.const is not None
        )
    assert expected > 0 or ".bn." not in name or "-vit_" in name  # which has none


@pytest.mark.parametrize("name", [name for name in SKELETONS if "mobilevit_x" in name])
def test_an_export_reads_in_as_float32_in_one_spelling(filled: Fill, name: str) -> None:
    made = read(filled(name))
    assert {node.op for node in made} <= {
        "Add", "Attention", "BatchNormalization", "Col2Im", "Concat", "Conv", "Div", "Gelu",
        "GroupNormalization", "LayerNormalization", "MatMul", "Mul", "Pow", "ReduceMean",
        "ReduceSum", "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt",
        "Sub", "Swish", "Transpose",
    }  # fmt: skip
    assert all(value.dtype == np.float32 for node in made for value in node.outputs)
    assert all(len(node.inputs) == 1 for node in made.of(["Reshape", "ReduceMean", "Softmax"]))


GROUP_NORM = """g (float[N,4,8,8] x) => (float y) {
    n = GroupNormalization<num_groups=2, epsilon=0.01>(x, scale, bias)
    s = Shape(n)  t = Slice(s, zero, two)  u = Concat<axis=0>(t, rest)  y = Reshape(n, u)
}"""


def test_the_shape_of_a_group_norm_is_known_and_it_stays_what_it_is(tmp_path: Path) -> None:
    weights: dict[str, Any] = {"zero": [0], "two": [2], "rest": [64]}
    made = graph(tmp_path, GROUP_NORM, opset=21, scale=(4,), bias=(4,), **weights)
    image = (TRACE_BATCH, 4, 8, 8)
    assert shapes(made) == [("GroupNormalization", [image]), ("Reshape", [(*image[:2], 64)])]
    assert made.producer(made.outputs[0]) is not None
    norm, _ = made
    assert norm.attrs["num_groups"] == 2
    assert norm.attrs["epsilon"] == pytest.approx(0.01)


def test_a_dynamic_batch_is_made_concrete(tmp_path: Path) -> None:
    made = graph(tmp_path, "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }")
    assert made.inputs[0].shape == made.outputs[0].shape == (TRACE_BATCH, 3, 8, 8)
    assert made.source.dynamic_batch


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    made = graph(tmp_path, "g (float[2,3,8,8] x) => (float[2,3,8,8] y) { y = Relu(x) }")
    assert made.inputs[0].shape == made.outputs[0].shape == (2, 3, 8, 8)
    assert not made.source.dynamic_batch


def test_a_dynamic_height_and_width_are_256(tmp_path: Path) -> None:
    made = graph(tmp_path, "g (float[1,3,H,W] x) => (float[1,3,H,W] y) { y = Relu(x) }")
    assert made.inputs[0].shape == (1, 3, TRACE_SIZE, TRACE_SIZE) == (1, 3, 256, 256)


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ('r = Resize<mode="nearest">(x, , scales)', 20),
        ("c = LessOrEqual(x, zero)  r = Cast<to=1>(c)", 15),  # a function there
    ],
)
def test_a_shape_is_known_where_one_node_by_itself_does_not_say_it(
    tmp_path: Path, node: str, opset: int
) -> None:
    made = graph(
        tmp_path,
        f"g (float[N,3,8,8] x) => (float[N,3,h,w] y) {{ {node}  s = Shape(r)  y = Reshape(r, s) }}",
        opset=opset,
        scales=np.array([1, 1, 2, 2], np.float32),
        zero=np.zeros((), np.float32),
    )
    assert all(value.shape is not None for each in made for value in each.outputs)
    assert not made.of(["Shape", "Reshape"])


def test_only_the_dimension_that_is_dynamic_is_chosen(tmp_path: Path) -> None:
    made = graph(tmp_path, "g (float[N,3,32,W] x) => (float[N,3,32,W] y) { y = Relu(x) }")
    assert made.inputs[0].shape == (TRACE_BATCH, 3, 32, 256)


def test_a_shape_that_is_computed_is_folded(tmp_path: Path) -> None:
    made = graph(tmp_path, RESHAPE.format(batch="N"), **RESHAPE_WEIGHTS)
    assert shapes(made) == [
        ("Relu", [(TRACE_BATCH, 4, 8, 8)]),
        ("Reshape", [(TRACE_BATCH, 4, 64)]),
    ]


def test_a_dynamic_and_a_fixed_batch_give_the_same_graph(tmp_path: Path) -> None:
    dynamic = graph(tmp_path, RESHAPE.format(batch="N"), **RESHAPE_WEIGHTS)
    fixed = graph(tmp_path, RESHAPE.format(batch=TRACE_BATCH), **RESHAPE_WEIGHTS)
    assert shapes(dynamic) == shapes(fixed)


@pytest.mark.parametrize("name", [KEPT, "hf-mobilevit_xxs.dynamo.dynb"])
def test_a_network_with_a_fixed_batch_reads_as_with_a_dynamic_one(filled: Fill, name: str) -> None:
    dynamic = read(filled(name))
    made = onnx.load(filled(name))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    fixed = read(save(made, filled(name).parent, "fixed.onnx"))
    assert [(node.op, node.attrs) for node in dynamic] == [(node.op, node.attrs) for node in fixed]
    for (_, ours), (_, theirs) in zip(shapes(dynamic), shapes(fixed), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one and other
            batches = [a // b for a, b in zip(one, other, strict=True)]
            assert sorted(batches)[-2:] in ([1, TRACE_BATCH], [TRACE_BATCH])


def test_what_the_exporter_says_of_shapes_is_not_believed(tmp_path: Path) -> None:
    made = model("g (float[2,3,8,8] x) => (float[9,9] y) { a = Relu(x)  y = Neg(a) }")
    made.graph.value_info.append(helper.make_tensor_value_info("a", 1, [7]))
    assert shapes(read(save(made, tmp_path))) == [
        ("Relu", [(2, 3, 8, 8)]),
        ("Neg", [(2, 3, 8, 8)]),
    ]


def test_the_source_says_what_file_it_was(filled: Fill) -> None:
    path = filled(KEPT)
    source = read(path).source
    in_file = onnx.load(path)
    assert source.file == path.name
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.opset == 17
    assert source.producer.startswith("pytorch 2")
    assert source.nodes == len(in_file.graph.node) > len(read(path))
    assert source.dynamic_batch


def test_operators_of_older_opsets_are_brought_to_newer_ones(tmp_path: Path) -> None:
    made = model(
        """g (float[2,3,8,8] x) => (float y) {
            a = Clip<min=0.0, max=6.0>(x)
            b = Upsample<mode="nearest">(a, scales)
            y = Pad<pads=[0, 0, 1, 1, 0, 0, 1, 1]>(b)
        }""",
        opset=9,
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    read_as = read(save(made, tmp_path))
    assert [node.op for node in read_as] == ["Clip", "Resize", "Pad"]
    assert (read_as.source.opset, read_as.source.operators) == (9, 11)
    assert_same_answers(made, read_as)


@pytest.mark.parametrize(("opset", "scale"), [(9, 2.0), (9, 1.5), (10, 1.5), (10, 0.6)])
def test_images_of_older_opsets_are_resized_from_their_corner(
    tmp_path: Path, opset: int, scale: float
) -> None:
    op = {9: "Upsample", 10: "Resize"}[opset]
    text = f"""g (float[2,3,9,8] x) => (float y, float z) {{
        y = {op}<mode="nearest">(x, scales)  z = {op}<mode="linear">(x, scales)
    }}"""
    made = model(text, opset=opset, scales=np.array([1, 1, scale, scale], np.float32))
    assert_same_answers(made, read(save(made, tmp_path)))


def test_a_length_below_zero_is_open(tmp_path: Path) -> None:
    made = model("g (float[1,3,32,32] x) => (float y) { y = Relu(x) }")
    for axis in (0, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    found = read(save(made, tmp_path))
    assert found.inputs[0].shape == (TRACE_BATCH, 3, 32, TRACE_SIZE)
    assert found.source.dynamic_batch and found.source.dynamic_size


def test_a_question_mark_is_no_name_of_a_length(tmp_path: Path) -> None:
    made = model("g (float[1,3,H,H] x) => (float y) { y = Relu(x) }")
    assert read(save(made, tmp_path), (48, 96)).inputs[0].shape == (1, 3, 48, 48)
    for axis in (2, 3):
        made.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "?"
    assert read(save(made, tmp_path), (48, 96)).inputs[0].shape == (1, 3, 48, 96)


def test_a_file_that_does_not_say_where_its_weights_are_from(tmp_path: Path) -> None:
    body = "g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }"
    assert graph(tmp_path, body).source.weights == "as in the file"
    assert graph(tmp_path, body).source.producer == "unknown"


def test_a_file_that_says_where_its_weights_are_from(tmp_path: Path) -> None:
    made = model("g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }")
    made.metadata_props.add(key="onnx2mvit.weights", value="random (seed 3)")
    assert read(save(made, tmp_path)).source.weights == "random (seed 3)"


def test_weights_that_are_also_inputs_are_weights(tmp_path: Path) -> None:
    made = model(
        "g (float[1,3,8,8] x, float[4,3,1,1] w) => (float[1,4,8,8] y) { y = Conv(x, w) }",
        w=(4, 3, 1, 1),
    )
    read_in = read(save(made, tmp_path))
    assert [value.name for value in read_in.inputs] == ["x"]
    (conv,) = read_in
    assert [value is not None and value.const is not None for value in conv.inputs] == [False, True]


def test_weights_in_a_file_beside_it_are_read(tmp_path: Path) -> None:
    made = model("g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv(x, w) }", w=(4, 3, 1, 1))
    inside = read(save(made, tmp_path))
    path = tmp_path / "outside.onnx"
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").stat().st_size == 48
    (ours,), (theirs,) = read(path), inside
    for one, other in zip(ours.inputs[1:], theirs.inputs[1:], strict=True):
        assert one is not None and other is not None
        assert one.const is not None and other.const is not None
        assert np.array_equal(one.const, other.const)


def test_functions_are_inlined(filled: Fill) -> None:
    made = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = local.twice(x) }
        <domain: "local", opset_import: ["" : 17]>
        twice (a) => (b) { c = Relu(a)  b = Neg(c) }"""
    )
    path = filled(KEPT).with_name("functions.onnx")
    onnx.save(made, path)
    assert [node.op for node in read(path)] == ["Relu", "Neg"]


def test_an_input_that_is_handed_out_keeps_its_shape(tmp_path: Path) -> None:
    made = graph(
        tmp_path, "g (float[N,3,8,8] x) => (float[N,3,8,8] y, float[N,3,8,8] x) { y = Relu(x) }"
    )
    assert [value.shape for value in made.outputs] == [(TRACE_BATCH, 3, 8, 8)] * 2


def test_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    made = graph(
        tmp_path,
        """g (float[1,3,8,8] x) => (float[1,3,8,8] b, float[1,3,8,8] a, float[1,3,8,8] c) {
            a = Relu(x)  b = Neg(a)  c = Identity(b)
        }""",
    )
    assert made.output_names == ["b", "a", "c"]
    assert [node and node.op for node in map(made.producer, made.outputs)] == [
        "Neg",
        "Relu",
        "Neg",
    ]


def test_an_op_of_another_domain_is_known_by_it(tmp_path: Path) -> None:
    made = model("g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = far.Away(x) }")
    made.opset_import.add(domain="far", version=1)
    assert [node.op for node in read(save(made, tmp_path))] == ["far::Away"]
