"""The rules for attention: one product of query and key, the scale on it, all heads together."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnx2mvit.reader.rules import unify
from tests.reader.test_rules import only, ops, unified
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers, plain

# Read by tests.support.rules_table.
COVERS = {
    "AttentionIsMatMuls",
    "MaskOfNothing",
    "SoftmaxIsNumber",
    "TransposeOfFlatHeads",
    "ScaleAfterMove",
    "ScaleAfterMatMul",
    "MergeScales",
    "HeadsTogether",
}

ROOT = np.float32(0.25)


def attention(
    attrs: str = "",
    key_heads: int = 2,
    more: str = "",
    opset: int = 23,
    outputs: str = "y",
    mask: Any = (5, 5),
) -> onnx.ModelProto:
    made = ", ".join(f"float {name}" for name in outputs.split(", ") if name)
    return model(
        f"""g (float[2,2,5,4] x, float[2,{key_heads},5,4] k, float[2,{key_heads},5,4] v)
        => ({made}) {{ {outputs} = Attention{attrs}(x, k, v{more}) }}""",
        opset=opset,
        mask=mask,
    )


@pytest.mark.parametrize(
    "made",
    [
        attention(),
        attention("<scale=0.3>"),
        attention(more=", mask", mask=np.zeros((2, 1, 5, 5))),
        attention(more=", mask", mask=np.ones((5, 5), bool)),
        attention("<is_causal=1>"),
        attention(more=", mask"),
        attention(more=", mask", mask=np.eye(5, dtype=bool)),
    ],
    ids=["plain", "scale", "mask of zeros", "mask of ones", "causal", "mask", "mask of booleans"],
)
def test_an_attention_node_becomes_products(made: onnx.ModelProto) -> None:
    graph = plain(made)
    unify(graph)
    masked = [node.op for node in graph.of(["Add"])]
    assert ops(graph) == ["Transpose", "MatMul", "Mul", *masked, "Softmax", "MatMul"]
    assert_same_answers(made, graph)


@pytest.mark.parametrize(
    "made",
    [
        attention("<softcap=2.0>"),
        attention(key_heads=1),
        attention("<left_window_size=2>", opset=25),
        attention("<right_window_size=0>", opset=25),
        # Written into the place of the first output alone, nothing would compute the other.
        attention(outputs="y, , , scores"),
    ],
    ids=["capped", "shared heads", "left", "right", "scores"],
)
def test_another_attention_node_stays(made: onnx.ModelProto) -> None:
    graph = plain(made)
    unify(graph)
    assert ops(graph) == ["Attention"]


def test_an_attention_node_whose_mask_is_computed_stays() -> None:
    heads = ", ".join(f"float[2,2,5,4] {name}" for name in "xkv")
    body = f"g ({heads}, float[5,5] mask) => (float y) {{ y = Attention(x, k, v, mask) }}"
    graph = plain(model(body, opset=23))
    unify(graph)
    assert ops(graph) == ["Attention"]


def masked(end: str, **weights: Any) -> list[str]:
    graph = unified(
        f"""(float[2,3,5,4] x, float[2,3,4,5] k) => (float y) {{
            m = MatMul(x, k)  s = Mul(m, half)  {end}
        }}""",
        half=np.float32(0.5),
        zero=np.float32(0),
        one=np.float32(1),
        **weights,
    )
    return ops(graph)


def test_a_mask_of_nothing_goes() -> None:
    end = "a = Add(s, mask)  y = Softmax<axis=-1>(a)"
    assert masked(end, mask=np.zeros((2, 1, 5, 5))) == ["MatMul", "Mul", "Softmax"]


@pytest.mark.parametrize(
    ("end", "shape"),
    [
        ("a = Add(s, mask)  y = Softmax<axis=-1>(a)", (3, 2, 3, 5, 5)),
        ("a = Sub(s, mask)  y = Softmax<axis=-1>(a)", (5, 5)),
        ("a = Add(s, mask)  y = Sigmoid(a)", (5, 5)),
    ],
)
def test_other_sums_of_scores_stay(end: str, shape: tuple[int, ...]) -> None:
    assert len(masked(end, mask=np.zeros(shape))) == 4


@pytest.mark.parametrize(("hidden", "left"), [((slice(None), 2), []), (2, ["IsNaN", "Where"])])
def test_a_mask_stays_and_a_row_that_it_hides_is_no_number(hidden: Any, left: list[str]) -> None:
    mask = np.zeros((5, 5))
    mask[hidden] = -np.inf
    end = "a = Add(s, mask)  t = Softmax<axis=-1>(a)  n = IsNaN(t)  y = Where(n, zero, t)"
    assert masked(end, mask=mask)[2:] == ["Add", "Softmax", *left]


def test_a_softmax_of_products_is_a_number() -> None:
    end = "a = Add(s, mask)  t = Softmax<axis=-1>(a)  n = IsNaN(t)  y = Where(n, zero, t)"
    assert masked(end, mask=np.zeros((5, 5))) == ["MatMul", "Mul", "Softmax"]


@pytest.mark.parametrize("end", ["Where(n, one, t)", "Where(n, t, zero)", "Where(n, zero, s)"])
def test_another_choice_stays(end: str) -> None:
    found = masked(f"t = Softmax<axis=-1>(s)  n = IsNaN(t)  u = {end}  y = Add(u, one)")
    assert "Where" in found


def turned(flat: list[int], perm: str, apart: list[int]) -> list[str]:
    graph = unified(
        f"""(float[2,3,4,5] x) => (float y) {{
            a = Reshape(x, flat)  t = Transpose<perm={perm}>(a)  y = Reshape(t, apart)
        }}""",
        flat=flat,
        apart=apart,
    )
    return ops(graph)


def test_a_transpose_of_flat_heads_is_one_of_heads() -> None:
    assert turned([6, 4, 5], "[0, 2, 1]", [2, 3, 5, 4]) == ["Transpose"]


@pytest.mark.parametrize(
    ("flat", "perm", "apart"),
    [
        ([6, 5, 4], "[0, 2, 1]", [2, 3, 4, 5]),
        ([6, 4, 5], "[0, 2, 1]", [3, 2, 5, 4]),
        ([6, 4, 5], "[1, 0, 2]", [2, 3, 5, 4]),
        ([2, 12, 5], "[0, 2, 1]", [2, 5, 3, 4]),
    ],
)
def test_another_transpose_between_reshapes_stays(
    flat: list[int], perm: str, apart: list[int]
) -> None:
    assert turned(flat, perm, apart) == ["Reshape", "Transpose", "Reshape"]


@pytest.mark.parametrize(
    ("move", "after"),
    [
        ("Transpose<perm=[1, 0, 2]>(a)", "Transpose"),
        ("Reshape(a, shape)", "Reshape"),
        ("Slice(a, one, two, one)", "Slice"),
    ],
)
def test_what_is_scaled_is_moved_first(move: str, after: str) -> None:
    graph = unified(
        f"(float[2,3,4] x) => (float y) {{ a = Mul(s, x)  y = {move} }}",
        s=np.full((1, 1, 1, 1), 0.5)[0],
        shape=[6, 4],
        one=[1],
        two=[2],
    )
    assert ops(graph) == [after, "Mul"]
    assert only(graph, "Mul").output.shape == only(graph, after).output.shape


def test_what_is_also_needed_scaled_is_not_moved_first() -> None:
    graph = unified(
        "(float[2,3] x) => (float y, float z) { a = Mul(s, x)  y = Transpose<perm=[1, 0]>(a) "
        "z = Neg(a) }",
        s=np.float32(2),
    )
    assert ops(graph).count("Mul") == 1


def test_a_scale_for_each_channel_stays_where_it_is() -> None:
    graph = unified(
        "(float[2,3] x) => (float y) { a = Mul(s, x)  y = Transpose<perm=[1, 0]>(a) }", s=(3,)
    )
    assert ops(graph) == ["Mul", "Transpose"]


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [
        ("a = Mul(x, s)  y = MatMul(a, k)", 0.25),
        ("a = Mul(s, k)  y = MatMul(x, a)", 0.25),
        ("a = Mul(x, s)  b = Mul(k, s)  y = MatMul(a, b)", 0.0625),
        ("a = Div(x, s)  b = MatMul(a, k)  c = Mul(s, b)  y = Mul(c, s)", 0.25),
        (
            "a = Mul(x, s)  t = Transpose<perm=[0, 2, 1]>(a)  b = MatMul(k, t)  y = Mul(b, s)",
            0.0625,
        ),
    ],
)
def test_scales_meet_on_the_product(scaled: str, expected: float) -> None:
    shape = "2,3,3"
    graph = unified(f"(float[{shape}] x, float[{shape}] k) => (float y) {{ {scaled} }}", s=ROOT)
    assert [op for op in ops(graph) if op != "Transpose"] == ["MatMul", "Mul"]
    (factor,) = [
        v.const for v in only(graph, "Mul").inputs if v is not None and v.const is not None
    ]
    assert factor.shape == ()
    assert float(factor) == expected


def test_scales_that_make_one_are_gone() -> None:
    body = "a = Div(x, s)  b = MatMul(a, k)  y = Mul(s, b)"
    graph = unified(f"(float[2,3,3] x, float[2,3,3] k) => (float y) {{ {body} }}", s=ROOT)
    assert ops(graph) == ["MatMul"]


def test_the_scale_of_a_linear_layer_stays() -> None:
    graph = unified("(float[2,3] x) => (float y) { a = Mul(x, s)  y = MatMul(a, w) }",
                    s=ROOT, w=(3, 4))  # fmt: skip
    assert ops(graph) == ["Mul", "MatMul"]


def heads(
    count: int, *, width: int = 3, axis: int = -1, bias: bool = True, **changed: str
) -> tuple[str, dict[str, Any]]:
    """Heads that are computed one by one from x[2,5,6]; `changed` by the name of a node."""
    nodes: dict[str, str] = {}
    weights: dict[str, Any] = {"scale": ROOT, "other": np.float32(0.5)}
    for h in range(count):
        for part in "qkv":
            weights[f"{part}{h}_w"], weights[f"{part}{h}_b"] = (6, width), (width,)
            product = f"MatMul(x, {part}{h}_w)"
            nodes[f"{part}{h}_m"] = product
            nodes[f"{part}{h}"] = (
                f"Add({part}{h}_m, {part}{h}_b)" if bias else f"Identity({part}{h}_m)"
            )
        nodes[f"t{h}"] = f"Transpose<perm=[0, 2, 1]>(k{h})"
        nodes[f"s{h}"] = f"MatMul(q{h}, t{h})"
        nodes[f"c{h}"] = f"Mul(s{h}, scale)"
        nodes[f"w{h}"] = f"Softmax<axis=-1>(c{h})"
        nodes[f"y{h}"] = f"MatMul(w{h}, v{h})"
    nodes["y"] = f"Concat<axis={axis}>({', '.join(f'y{h}' for h in range(count))})"
    body = "  ".join(f"{name} = {node}" for name, node in (nodes | changed).items())
    return f"(float[2,5,6] x) => (float y) {{ z = Neg(x)  {body} }}", weights


@pytest.mark.parametrize(("count", "width"), [(2, 3), (3, 2), (6, 1), (1, 6), (2, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_heads_are_computed_together(count: int, width: int, bias: bool) -> None:
    body, weights = heads(count, width=width, bias=bias)
    graph = unified(body, **weights)
    found = ops(graph)
    assert "Concat" not in found
    assert found.count("MatMul") == 5
    assert found.count("Add") == (3 if bias else 0)
    assert found.count("Transpose") == 4
    shapes = [node.output.shape for node in graph.of(["Reshape"])]
    assert shapes == [(2, 5, count, width)] * 3 + [(2, 5, count * width)]


def test_one_head_as_wide_as_its_input_needs_no_concat() -> None:
    body, weights = heads(1, width=6, y="Identity(y0)")
    graph = unified(body, **weights)
    assert {node.output.shape for node in graph.of(["Softmax"])} == {(2, 1, 5, 5)}


@pytest.mark.parametrize(
    ("form", "changed"),
    [
        ({}, {"c1": "Mul(s1, other)"}),
        ({}, {"v1_m": "MatMul(z, v1_w)"}),
        ({}, {"q0_m": "MatMul(z, q0_w)", "k0_m": "MatMul(z, k0_w)", "v0_m": "MatMul(z, v0_w)"}),
        ({"axis": 1}, {}),
        ({}, {"v1": "Identity(v1_m)"}),
        ({}, {"w1": "Softmax<axis=1>(c1)"}),
        ({}, {"y1": "Identity(v1)"}),
        ({}, {"c0": "Identity(s0)"}),
        ({}, {"y": "Add(y0, y1)"}),
    ],
    ids=[
        "another scale", "value of something else", "another input", "joined as tokens", "a bias",
        "softmax over queries", "no attention", "no scale", "added",
    ],
)  # fmt: skip
def test_heads_that_differ_stay(form: dict[str, Any], changed: dict[str, Any]) -> None:
    body, weights = heads(2, **form, **changed)
    assert all(len(node.output.shape or ()) == 3 for node in unified(body, **weights))
