"""The rules for activations, Resize and normalization written out."""

from typing import Any

import numpy as np
import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {
    "GeluFromParts",
    "HardSigmoidFromParts",
    "HardSwishFromParts",
    "LayerNormFromParts",
    "LayerNormWithoutBias",
    "ResizeBySize",
}

ROOT, HALF, ONE = np.float32(2**0.5), np.float32(0.5), np.float32(1)


@pytest.mark.parametrize(
    "end",
    [
        "m = Mul(x, s)  y = Mul(m, half)",
        "m = Mul(half, x)  y = Mul(m, s)",
        "m = Mul(half, s)  y = Mul(x, m)",
    ],
)
@pytest.mark.parametrize("inner", ["Div(x, root)", "Mul(inverse, x)"])
def test_a_gelu_in_parts_becomes_one(inner: str, end: str) -> None:
    graph = unified(
        f"(float[3,4] x) => (float y) {{ i = {inner}  e = Erf(i)  s = Add(one, e)  {end} }}",
        root=ROOT,
        inverse=1 / ROOT,
        half=HALF,
        one=ONE,
    )
    assert ops(graph) == ["Gelu"]
    assert only(graph, "Gelu").attrs == {"approximate": "none"}


@pytest.mark.parametrize(
    ("root", "one", "half", "other"),
    [
        (ROOT * 1.01, ONE, HALF, "x"),
        (ROOT, ONE * 2, HALF, "x"),
        (ROOT, ONE, HALF * 2, "x"),
        (ROOT, ONE, HALF, "n"),
    ],
    ids=["root", "one", "half", "another tensor"],
)
def test_what_differs_from_gelu_stays(root: float, one: float, half: float, other: str) -> None:
    graph = unified(
        f"""(float[3,4] x) => (float y) {{
            n = Neg(x)  i = Div(x, root)  e = Erf(i)  s = Add(e, one)
            m = Mul({other}, s)  y = Mul(m, half)
        }}""",
        root=np.float32(root),
        one=np.float32(one),
        half=np.float32(half),
    )
    assert "Erf" in ops(graph)


TANH: dict[str, Any] = {
    "three": np.float32(3),
    "c": np.float32(0.044715),
    "k": np.float32((2 / np.pi) ** 0.5),
}


@pytest.mark.parametrize(
    "end",
    ["m = Mul(x, s)  y = Mul(m, half)", "m = Mul(half, x)  y = Mul(m, s)",
     "m = Mul(half, s)  y = Mul(x, m)"],
)  # fmt: skip
@pytest.mark.parametrize("cube", ["q = Pow(x, three)", "w = Mul(x, x)  q = Mul(w, x)"])
def test_an_approximate_gelu_in_parts_becomes_one(cube: str, end: str) -> None:
    graph = unified(
        f"""(float[3,4] x) => (float y) {{
            {cube}  r = Mul(c, q)  i = Add(x, r)  j = Mul(i, k)  t = Tanh(j)  s = Add(one, t)
            {end}
        }}""",
        tolerance=3e-6,
        half=HALF,
        one=ONE,
        **TANH,
    )
    assert ops(graph) == ["Gelu"]
    assert only(graph, "Gelu").attrs == {"approximate": "tanh"}


@pytest.mark.parametrize(
    ("change", "cubed", "other"),
    [({"three": 2}, "x", "x"), ({"c": 0.045}, "x", "x"), ({"k": 0.8}, "x", "x"),
     ({}, "n", "x"), ({}, "x", "n")],
)  # fmt: skip
def test_what_differs_from_an_approximate_gelu_stays(
    change: dict[str, float], cubed: str, other: str
) -> None:
    graph = unified(
        f"""(float[3,4] x) => (float y) {{
            n = Abs(x)  q = Pow({cubed}, three)  r = Mul(c, q)  i = Add(x, r)  j = Mul(i, k)
            t = Tanh(j)  s = Add(one, t)  m = Mul({other}, s)  y = Mul(m, half)
        }}""",
        half=HALF,
        one=ONE,
        **TANH | {name: np.float32(value) for name, value in change.items()},
    )
    assert "Tanh" in ops(graph)


@pytest.mark.parametrize("mul", ["Mul(x, g)", "Mul(g, x)"])
def test_a_hard_swish_in_parts_becomes_one(mul: str) -> None:
    graph = unified(
        f"""(float[3,4] x) => (float y) {{
            g = HardSigmoid<alpha=0.16666667, beta=0.5>(x)  y = {mul}
        }}""",
        opset=11,
    )
    assert ops(graph) == ["HardSwish"]


@pytest.mark.parametrize(
    "gate",
    [
        "HardSigmoid(x)",
        "HardSigmoid<alpha=0.16666667, beta=0.4>(x)",
        "HardSigmoid<alpha=0.16666667, beta=0.5>(n)",
    ],
)
def test_another_gate_stays(gate: str) -> None:
    graph = unified(
        f"(float[3,4] x) => (float y) {{ n = Neg(x)  g = {gate}  y = Mul(x, g) }}", opset=11
    )
    assert "HardSigmoid" in ops(graph)


PARTS: dict[str, Any] = {
    "three": np.float32(3),
    "zero": np.float32(0),
    "six": np.float32(6),
    "sixth": np.float32(1 / 6),
}


@pytest.mark.parametrize("end", ["Div(c, six)", "Mul(sixth, c)"])
@pytest.mark.parametrize("shift", ["Add(x, three)", "Add(three, x)"])
def test_a_hard_sigmoid_in_parts_becomes_one(shift: str, end: str) -> None:
    graph = unified(
        f"(float[3,4] x) => (float y) {{ s = {shift}  c = Clip(s, zero, six)  y = {end} }}",
        **PARTS,
    )
    assert ops(graph) == ["HardSigmoid"]
    assert only(graph, "HardSigmoid").attrs == {"alpha": float(np.float32(1 / 6)), "beta": 0.5}


@pytest.mark.parametrize(
    "end",
    [
        "m = Mul(x, c)  y = Div(m, six)",
        "m = Mul(c, x)  y = Mul(sixth, m)",
        "m = Div(c, six)  y = Mul(x, m)",
    ],
)
def test_a_hard_swish_of_even_smaller_parts_becomes_one(end: str) -> None:
    graph = unified(
        f"(float[3,4] x) => (float y) {{ s = Add(x, three)  c = Clip(s, zero, six)  {end} }}",
        **PARTS,
    )
    assert ops(graph) == ["HardSwish"]


@pytest.mark.parametrize(
    "nodes",
    [
        "s = Add(x, six)  c = Clip(s, zero, six)  y = Div(c, six)",
        "s = Add(x, three)  c = Clip(s, zero, three)  y = Div(c, six)",
        "s = Add(x, three)  c = Clip(s, three, six)  y = Div(c, six)",
        "s = Add(x, three)  c = Clip(s, zero)  y = Div(c, six)",
        "s = Add(x, three)  c = Clip(s, zero, six)  y = Div(c, three)",
        "n = Neg(x)  s = Add(n, three)  c = Clip(s, zero, six)  m = Mul(x, c)  y = Div(m, six)",
    ],
)
def test_what_differs_from_a_hard_sigmoid_stays(nodes: str) -> None:
    graph = unified(f"(float[3,4] x) => (float y) {{ {nodes} }}", **PARTS)
    assert "Clip" in ops(graph)


NORM = """(float[2,5,6] x) => (float y) {{
    m = ReduceMean<axes=[{axis}]>(x)  d = Sub(x, m)  s = {square}
    v = ReduceMean<axes=[{axis}]>(s)  e = Add({epsilon})  r = Sqrt(e)
    n = Div(d, r)  g = Mul({scaled})  y = Add({shifted})
}}"""
USUAL = {
    "axis": "-1",
    "square": "Pow(d, two)",
    "epsilon": "v, eps",
    "scaled": "n, gamma",
    "shifted": "g, beta",
}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"axis": "2", "square": "Mul(d, d)"},
        {"epsilon": "eps, v", "scaled": "gamma, n", "shifted": "beta, g"},
    ],
)
def test_a_layer_norm_in_parts_becomes_one(form: dict[str, str]) -> None:
    graph = unified(
        NORM.format(**USUAL | form),
        opset=11,
        tolerance=3e-6,
        two=np.float32(2),
        eps=np.float32(1e-3),
        gamma=(6,),
        beta=(6,),
    )
    assert ops(graph) == ["LayerNormalization"]
    norm = only(graph, "LayerNormalization")
    assert norm.attrs["axis"] == -1
    assert np.float32(norm.attrs["epsilon"]) == np.float32(1e-3)
    assert [value.shape for value in norm.inputs if value is not None] == [(2, 5, 6), (6,), (6,)]


def test_a_layer_norm_without_a_bias_has_one_that_is_zero() -> None:
    body = "(float[2,5,6] x) => (float y) { y = LayerNormalization<epsilon=1e-3>(x, gamma) }"
    norm = only(unified(body, gamma=(6,)), "LayerNormalization")
    assert norm.attrs["epsilon"] == pytest.approx(1e-3)
    _, gamma, beta = norm.inputs
    assert gamma is not None and beta is not None and beta.const is not None
    assert beta.const.shape == gamma.shape == (6,) and not beta.const.any()


@pytest.mark.parametrize(
    ("form", "two", "size"),
    [
        ({"axis": "1"}, 2, 6),
        ({"axis": "-1, -2"}, 2, 6),
        ({}, 3, 6),
        ({"square": "Mul(x, x)"}, 2, 6),
        ({}, 2, 1),
        ({"shifted": "n, beta"}, 2, 6),
    ],
    ids=["axis 1", "two axes", "cube", "not of the difference", "one gamma", "not scaled"],
)
def test_what_differs_from_a_layer_norm_stays(form: dict[str, str], two: float, size: int) -> None:
    square = {"square": "Abs(c)"} if two == 3 else {}
    body = NORM.format(**USUAL | square | form).replace("s = Abs(c)", "c = Pow(d, two)  s = Abs(c)")
    graph = unified(
        body,
        opset=11,
        two=np.float32(two),
        eps=np.float32(1e-3),
        gamma=(size,),
        beta=(6,),
    )
    assert "Sqrt" in ops(graph)


def test_a_deviation_plus_epsilon_is_no_layer_norm() -> None:
    graph = unified(
        """(float[2,6,6] x) => (float y) {
            m = ReduceMean<axes=[-1]>(x)  d = Sub(x, m)  s = Mul(d, d)
            v = ReduceMean<axes=[-1]>(s)  r = Sqrt(v)  e = Add(r, eps)
            n = Div(d, e)  g = Mul(n, gamma)  y = Add(g, beta)
        }""",
        opset=11,
        eps=np.float32(1e-5),
        gamma=(6,),
        beta=(6,),
    )
    assert "Sqrt" in ops(graph)


def resize(node: str, **weights: Any) -> list[tuple[str, int]]:
    opset = 18 if "axes" in node else 17
    graph = unified(f"(float[1,2,4,6] x) => (float y) {{ y = {node} }}", opset=opset, **weights)
    return [(node.op, len(node.inputs)) for node in graph]


@pytest.mark.parametrize(
    "node",
    [
        'Resize<mode="linear">(x, , , sizes)',
        'Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , scales)',
        'Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , sizes)',
    ],
)
def test_a_bilinear_resize_goes_by_its_shape(node: str) -> None:
    assert resize(node, sizes=[1, 2, 6, 9], scales=np.full(4, [1, 1, 1.5, 1.5])) == [("Resize", 1)]


@pytest.mark.parametrize("size", ["(x, , , sizes)", "(x, , scales)"])
def test_a_resize_with_aligned_corners_says_so(size: str) -> None:
    graph = unified(
        f"""(float[1,2,4,6] x) => (float y) {{
            y = Resize<mode="linear", coordinate_transformation_mode="align_corners">{size}
        }}""",
        sizes=[1, 2, 6, 9],
        scales=np.full(4, [1, 1, 1.5, 1.5]),
    )
    stated = {"by_sizes": 1} if "sizes" in size else {}
    assert only(graph, "Resize").attrs == {"mode": "align_corners", **stated}


@pytest.mark.parametrize(
    "node",
    [
        'Resize<mode="nearest">(x, , , sizes)',
        'Resize<mode="cubic">(x, , , sizes)',
        'Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, , , sizes)',
        'Resize<mode="linear">(x, , uneven)',
        'Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , uneven)',
        'Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , flat)',
        'Resize<mode="linear", axes=[2,3]>(x, , both)',
        'Resize<mode="linear", axes=[2,3], keep_aspect_ratio_policy="not_larger">(x, , , pair)',
    ],
)
def test_another_resize_stays(node: str) -> None:
    shapes: dict[str, Any] = {
        "sizes": [1, 2, 6, 9],
        "flat": [1, 2, 1, 9],
        "uneven": np.array([1, 1, 1.6, 1.6]),
        "both": [1.5, 1.5],
        "pair": [6, 7],
    }
    ((op, inputs),) = resize(node, **shapes)
    assert op == "Resize" and inputs > 1


def test_a_resize_of_channels_stays() -> None:
    ((_, inputs),) = resize('Resize<mode="linear">(x, , , sizes)', sizes=[1, 4, 4, 6])
    assert inputs > 1
