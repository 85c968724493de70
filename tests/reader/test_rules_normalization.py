"""The rules for layer normalization written out."""

import numpy as np
import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {"LayerNormFromParts", "LayerNormWithoutBias"}

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
