"""The rules for what other producers than torch write after a convolution."""

from typing import Any

import numpy as np
import pytest

from tests.reader.test_rules import only, ops, unified

# Read by tests.support.rules_table.
COVERS = {"BiasIntoConv", "SlopeIntoConv"}

CONV: dict[str, Any] = {"w": (4, 3, 3, 3)}
BIASED = "(float[2,3,5,5] x) => (float y) { c = Conv(x, w)  y = Add(b, c) }"
GATE = "(float[2,3,5,5] x) => (float y) { c = Conv(x, w, b)  y = HardSigmoid<alpha=0.2>(c) }"


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1)])
def test_a_number_for_each_channel_is_a_bias(shape: tuple[int, ...]) -> None:
    graph = unified(BIASED, **CONV, b=shape)
    assert ops(graph) == ["Conv"]
    bias = only(graph, "Conv").inputs[2]
    assert bias is not None and bias.shape == (4,)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (BIASED, (1, 4, 3, 3)),
        (BIASED, (1, 1, 1, 1)),
        (BIASED, (2, 4, 1, 1)),
        (BIASED.replace("Conv(x, w)", "Conv(x, w, v)"), (1, 4, 1, 1)),
        (BIASED.replace("float y)", "float y, float c)"), (1, 4, 1, 1)),
        (BIASED.replace("float y)", "float y, float z)").replace("}", "z = Neg(c) }"),
         (1, 4, 1, 1)),
    ],
    ids=["one for each pixel", "one for all", "one for each image", "it has a bias", "an output",
         "read by another"],
)  # fmt: skip
def test_what_is_no_bias_stays(body: str, shape: tuple[int, ...]) -> None:
    assert "Add" in ops(unified(body, **CONV, b=shape, v=(4,)))


@pytest.mark.parametrize("body", [GATE, GATE.replace("w, b)", "w)")])
def test_a_steeper_convolution_takes_the_slope(body: str) -> None:
    graph = unified(body, **CONV, b=(4,))
    gate, conv = only(graph, "HardSigmoid"), only(graph, "Conv")
    assert gate.attrs["alpha"] == np.float32(1 / 6) and gate.attrs["beta"] == 0.5
    assert len(conv.inputs) == body.count("w, b)") + 2


@pytest.mark.parametrize(
    ("body", "slope"),
    [
        (GATE.replace("0.2", "-0.2"), -0.2),
        (GATE.replace("0.2", "0.2, beta=0.4"), 0.2),
        (GATE.replace("Conv(x, w, b)", "Sin(x)"), 0.2),
        (GATE.replace("float y)", "float y, float c)"), 0.2),
    ],
    ids=["downwards", "another offset", "no convolution", "an output"],
)
def test_another_hard_sigmoid_stays(body: str, slope: float) -> None:
    graph = unified(body, **CONV, b=(4,))
    assert only(graph, "HardSigmoid").attrs["alpha"] == pytest.approx(slope)


def test_the_usual_slope_is_nobodys() -> None:
    graph = unified(GATE.replace("0.2", "0.16666667"), **CONV, b=(4,))
    assert "/" not in [value.name for value in only(graph, "Conv").inputs if value][1]
