"""The rules for detectors: frozen normalization, and what several maps say of their boxes."""

from typing import Any

import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {"FrozenNormIntoConv", "PartsOfJoined"}

FROZEN = """(float[2,3,5,5] x) => (float y) {
    c = Conv(x, w, b)  s = Mul(factor, c)  y = Add(s, offset)
}"""
CONV: dict[str, Any] = {"w": (4, 3, 3, 3), "b": (4,)}


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1)])
@pytest.mark.parametrize("body", [FROZEN, FROZEN.replace("w, b)", "w)")])
def test_a_factor_and_an_offset_are_the_convolutions(body: str, shape: tuple[int, ...]) -> None:
    graph = unified(body, **CONV, factor=shape, offset=shape)
    assert ops(graph) == ["Conv"]
    assert len(only(graph, "Conv").inputs) == 3


@pytest.mark.parametrize(
    ("factor", "offset"),
    [((1, 4, 3, 3), (1, 4, 1, 1)), ((1, 4, 1, 1), (1, 4, 3, 3)), ((1, 1, 1, 1), (1, 4, 1, 1))],
    ids=["a factor for each pixel", "an offset for each pixel", "one factor for all"],
)
def test_what_is_not_one_for_each_channel_stays(
    factor: tuple[int, ...], offset: tuple[int, ...]
) -> None:
    assert ops(unified(FROZEN, **CONV, factor=factor, offset=offset)) == ["Conv", "Mul", "Add"]


def test_a_convolution_that_somebody_else_reads_stays() -> None:
    body = FROZEN.replace("(float y)", "(float y, float z)").replace("  y =", "  z = Neg(c)  y =")
    graph = unified(body, **CONV, factor=(1, 4, 1, 1), offset=(1, 4, 1, 1))
    assert {"Mul", "Add"} <= {*ops(graph)}


PARTS = """(float[2,3,7] a, float[2,5,7] b) => (float y, float z) {
    p, q = Split<axis=2>(a, sizes)  r, s = Split<axis=2>(b, sizes)
    y = Concat<axis=1>(p, r)  z = Concat<axis=1>(q, s)
}"""


def test_what_is_cut_alike_is_joined_before() -> None:
    graph = unified(PARTS, sizes=[4, 3])
    assert ops(graph) == ["Concat", "Slice", "Slice"]
    assert only(graph, "Concat").inputs == tuple(graph.inputs)


def test_what_is_cut_otherwise_stays() -> None:
    body = PARTS.replace("(b, sizes)", "(b, turned)").replace("(p, r)", "(p, s)")
    body = body.replace("(q, s)", "(q, r)")
    turned = unified(body, sizes=[4, 3], turned=[3, 4])
    assert ops(turned) == [*4 * ["Slice"], "Concat", "Concat"]
    wider = PARTS.replace("[2,5,7]", "[2,5,8]")
    wider = wider.replace("(b, sizes)", "(b, longer)").replace(
        "z = Concat<axis=1>(q, s)", "z = Neg(q)"
    )
    graph = unified(wider, sizes=[4, 3], longer=[4, 4])
    assert ops(graph).count("Slice") == 3
