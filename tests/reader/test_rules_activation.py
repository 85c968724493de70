"""The rules for activations written out."""

from typing import Any

import numpy as np
import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {
    "GeluFromParts",
    "HardSigmoidFromParts",
    "HardSwishFromParts",
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
