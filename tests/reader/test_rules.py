"""Each rule: where it fires, what it writes, where it must not, and that the numbers stay."""

from typing import Any

import numpy as np
import pytest

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.ir.graph import Graph, Node
from onnx2mvit.ir.window import window_of
from onnx2mvit.reader.rules import unify
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

# Read by tests.support.rules_table.
COVERS = {
    "DropIdentity",
    "AnyReshapeIsReshape",
    "MergeMoves",
    "ExplicitConv",
    "DropZeroBias",
}

FULL_CONV: dict[str, Any] = {
    "kernel_shape": (3, 3),
    "strides": (1, 1),
    "dilations": (1, 1),
    "pads": (0, 0, 0, 0),
    "group": 1,
}


def unified(body: str, *, opset: int = 17, tolerance: float = 1e-6, **weights: Any) -> Graph:
    """The graph after all rules; it answers as the model before them."""
    made = model(f"g {body}", opset=opset, **weights)
    graph = plain(made)
    unify(graph)
    assert_same_answers(made, graph, tolerance)
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph]


def only(graph: Graph, op: str) -> Node:
    (node,) = graph.of([op])
    return node


def test_an_identity_goes() -> None:
    graph = unified("(float[2,3] x) => (float[2,3] y) { a = Identity(x)  y = Relu(a) }")
    assert ops(graph) == ["Relu"]


def test_a_cast_from_float_to_float_goes() -> None:
    graph = unified("(float[2,3] x) => (float[2,3] y) { a = Cast<to=1>(x)  y = Relu(a) }")
    assert ops(graph) == ["Relu"]


def test_a_cast_that_changes_the_type_stays() -> None:
    graph = unified(
        "(float[2,3] x) => (float[2,3] y) { a = Cast<to=7>(x)  b = Cast<to=1>(a)  y = Neg(b) }"
    )
    assert ops(graph) == ["Cast", "Cast", "Neg"]


@pytest.mark.parametrize(
    "dropout",
    [
        "Dropout<ratio=0.5>(x)",
        "r = Constant<value=float {0.5}>()  a = Dropout(x, r)",
        "r = Constant<value=float {0.5}>()  t = Constant<value=bool {0}>()  a = Dropout(x, r, t)",
    ],
    ids=["attribute (opset 11)", "input", "training_mode false"],
)
def test_a_dropout_at_inference_goes(dropout: str) -> None:
    opset = 11 if dropout.startswith("Dropout") else 17
    body = dropout if opset == 17 else f"a = {dropout}"
    graph = unified(f"(float[2,3] x) => (float[2,3] y) {{ {body}  y = Relu(a) }}", opset=opset)
    assert ops(graph) == ["Relu"]


def test_a_dropout_in_training_mode_stays() -> None:
    made = model(
        """g (float[2,3] x) => (float[2,3] y) {
            r = Constant<value=float {0.5}>()
            t = Constant<value=bool {1}>()
            y = Dropout(x, r, t)
        }"""
    )
    graph = plain(made)
    unify(graph)
    assert ops(graph) == ["Dropout"]


@pytest.mark.parametrize(
    ("opset", "node", "shape"),
    [
        (17, "Reshape(x, target)", (2, 12)),
        (17, "Flatten(x)", (2, 12)),
        (17, "Flatten<axis=2>(x)", (6, 4)),
        (17, "Flatten<axis=-1>(x)", (24, 1)),
        (17, "Squeeze(x, last)", (2, 3, 4)),
        (17, "Squeeze(x)", (2, 3, 4)),
        (11, "Squeeze<axes=[-1]>(x)", (2, 3, 4)),
        (17, "Unsqueeze(x, last)", (2, 3, 4, 1, 1)),
        (11, "Unsqueeze<axes=[0, 2]>(x)", (1, 2, 1, 3, 4, 1)),
    ],
)
def test_what_only_changes_the_shape_becomes_a_reshape(
    opset: int, node: str, shape: tuple[int, ...]
) -> None:
    body = f"(float[2,3,4,1] x) => (float y) {{ y = {node} }}"
    graph = unified(body, opset=opset, target=[2, 12], last=[-1])
    assert ops(graph) == ["Reshape"]
    reshape = only(graph, "Reshape")
    assert len(reshape.inputs) == 1
    assert reshape.attrs == {}
    assert reshape.output.shape == shape


def test_a_reshape_by_a_computed_shape_stays() -> None:
    graph = plain(
        model(
            "g (float[2,6] x) => (float[a,b] y) "
            "{ s = Cast<to=7>(x)  f = ReduceMax<keepdims=0, axes=[0]>(s)  y = Reshape(x, f) }",
            opset=17,
        )
    )
    unify(graph)
    assert len(only(graph, "Reshape").inputs) == 2


def test_of_several_reshapes_the_last_stays() -> None:
    graph = unified(
        """(float[2,3,4] x) => (float y) {
            n = Neg(x)  a = Reshape(n, s)  b = Flatten<axis=0>(a)  y = Reshape(b, t)
        }""",
        s=[4, 6],
        t=[3, 8],
    )
    assert ops(graph) == ["Neg", "Reshape"]
    assert only(graph, "Reshape").output.shape == (3, 8)


def test_reshapes_that_end_where_they_began_go() -> None:
    graph = unified(
        "(float[2,3,4] x) => (float y) { a = Reshape(x, s)  b = Reshape(a, t)  y = Neg(b) }",
        s=[4, 6],
        t=[2, 3, 4],
    )
    assert ops(graph) == ["Neg"]


def test_a_reshape_that_something_else_reads_too_survives_the_merge() -> None:
    graph = unified(
        "(float[2,3] x) => (float y, float z) { a = Reshape(x, s)  y = Reshape(a, t)  z = Neg(a) }",
        s=[3, 2],
        t=[6],
    )
    assert ops(graph) == ["Reshape", "Reshape", "Neg"]
    first, second, neg = graph
    assert first.inputs == second.inputs == tuple(graph.inputs)
    assert neg.inputs == (first.output,)


def test_a_reshape_that_the_network_gives_is_what_the_next_one_reads() -> None:
    graph = unified(
        "(float[2,3] x) => (float a, float y) { a = Reshape(x, s)  y = Reshape(a, t) }",
        s=[3, 2],
        t=[6],
    )
    first, second = graph
    assert second.inputs == (first.output,)


def test_two_transposes_become_the_one_that_does_both() -> None:
    graph = unified(
        """(float[2,3,4,5] x) => (float y) {
            a = Transpose<perm=[0, 2, 1, 3]>(x)  y = Transpose<perm=[1, 3, 0, 2]>(a)
        }"""
    )
    assert ops(graph) == ["Transpose"]
    assert only(graph, "Transpose").attrs["perm"] == (2, 3, 0, 1)


def test_a_transpose_and_its_inverse_go() -> None:
    graph = unified(
        """(float[2,3,4] x) => (float y) {
            a = Transpose<perm=[1, 2, 0]>(x)  b = Transpose<perm=[2, 0, 1]>(a)  y = Neg(b)
        }"""
    )
    assert ops(graph) == ["Neg"]


def test_a_transpose_of_one_permutation_that_moves_something_stays() -> None:
    graph = unified("(float[2,3] x) => (float y) { y = Transpose<perm=[1, 0]>(x) }")
    assert ops(graph) == ["Transpose"]


def test_transposes_without_a_permutation_stay() -> None:
    graph = unified("(float[2,3] x) => (float y) { a = Transpose(x)  y = Transpose(a) }")
    assert ops(graph) == ["Transpose", "Transpose"]


def test_a_conv_says_what_it_left_to_be_derived() -> None:
    graph = unified("(float[1,2,8,8] x) => (float y) { y = Conv(x, w) }", w=(4, 2, 3, 3))
    assert only(graph, "Conv").attrs == FULL_CONV


def test_a_conv_keeps_what_it_said() -> None:
    graph = unified(
        """(float[1,4,9,8] x) => (float y) {
            y = Conv<strides=[2, 1], pads=[1, 0, 2, 3], dilations=[1, 2], group=2>(x, w, b)
        }""",
        w=(6, 2, 3, 3),
        b=(6,),
    )
    conv = only(graph, "Conv")
    assert conv.attrs == FULL_CONV | {
        "strides": (2, 1),
        "pads": (1, 0, 2, 3),
        "dilations": (1, 2),
        "group": 2,
    }
    assert [value and value.name for value in conv.inputs] == ["x", "w", "b"]


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (8, 7), (3, 16)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("attrs", ["strides=[2, 2]", "strides=[3, 1]", "dilations=[1, 1]"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad_is_written_out(
    auto_pad: str, attrs: str, kernel: int, size: tuple[int, int]
) -> None:
    if auto_pad == "VALID" and kernel > min(size):
        size = (kernel, kernel)
    body = f"""(float[1,2,{size[0]},{size[1]}] x) => (float y) {{
        y = Conv<auto_pad="{auto_pad}", {attrs}>(x, w)
    }}"""
    conv = only(unified(body, w=(3, 2, kernel, kernel)), "Conv")
    window = window_of(conv)
    assert ("auto_pad" in conv.attrs) == window.pads_by_size
    top, left, bottom, right = window.onnx_pads
    above, below = (top, left), (bottom, right)
    small, large = (above, below) if auto_pad == "SAME_UPPER" else (below, above)
    assert all(more - less in (0, 1) for less, more in zip(small, large, strict=True))


def test_a_bias_of_zeros_goes() -> None:
    graph = unified(
        "(float[1,2,8,8] x) => (float y) { y = Conv(x, w, b) }",
        w=(4, 2, 3, 3),
        b=np.zeros(4, np.float32),
    )
    conv = only(graph, "Conv")
    assert [value and value.name for value in conv.inputs] == ["x", "w"]
    assert conv.attrs == FULL_CONV


def test_a_bias_of_zeros_stays_where_it_is_a_parameter_of_torch() -> None:
    """A network that was not trained has some; what dynamo adds is called otherwise."""
    body = '(float[1,2,8,8] x) => (float y) { y = Conv(x, w, "stem.conv.bias") }'
    weights: dict[str, Any] = {"w": (4, 2, 3, 3), "stem.conv.bias": np.zeros(4, np.float32)}
    assert len(only(unified(body, **weights), "Conv").inputs) == 3


def test_a_bias_of_one_tiny_number_stays() -> None:
    graph = unified(
        "(float[1,2,8,8] x) => (float y) { y = Conv(x, w, b) }",
        w=(4, 2, 3, 3),
        b=np.array([0, 0, 0, 1e-30], np.float32),
    )
    assert len(only(graph, "Conv").inputs) == 3


def test_a_conv_with_a_computed_weight_stays_as_it_is() -> None:
    graph = unified(
        "(float[1,2,8,8] x) => (float y) { s = Sigmoid(x)  y = Conv<strides=[2, 2]>(x, s) }"
    )
    assert "pads" not in only(graph, "Conv").attrs


@pytest.mark.parametrize(
    "node",
    [
        "Softmax<axis=1>(a)",
        'Conv<auto_pad="SAME_UPPER">(a, w)',
        "Flatten(a)",
        "Reshape(a, pair)",
        "GlobalAveragePool(a)",
        "ReduceMean<axes=[-1]>(a)",
        "Cast<to=1>(a)",
    ],
)
def test_where_a_shape_or_type_is_not_known_everything_stays(node: str) -> None:
    made = model(
        f"g (float[1,2,8,8] x) => (float y) {{ a = far.Away(x)  y = {node} }}",
        opset=17,
        w=(4, 2, 3, 3),
        pair=[1, -1],
    )
    made.opset_import.add(domain="far", version=1)
    graph = plain(made)
    before = [(each.op, each.inputs, dict(each.attrs)) for each in graph]
    unify(graph)
    assert [(each.op, each.inputs, dict(each.attrs)) for each in graph] == before


def test_a_reshape_to_another_number_of_elements_is_refused() -> None:
    made = model("g (float[2,3] x) => (float y) { y = Reshape(x, s) }", opset=17, s=[7])
    with pytest.raises(InvalidModelError, match=r"\(Reshape\) makes 7 numbers of 6"):
        plain(made)
