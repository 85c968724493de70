"""Lite R-ASPP's head: two maps, a gate, and where it does not hold by one detail."""

from pathlib import Path

import numpy as np
import pytest

from onnx2mvit import convert
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, kinds, only

COARSE = conv("x", "k_c", 6, 8, 3, attrs="strides=[2,2]") + Text("k = Relu(k_c)\n")
CONV = conv("k", "a_c", 10, 6, 1) + Text("a = Relu(a_c)\n")
GATE = (
    Text("m = ReduceMean<keepdims=1>(k, axes)  s_c = Conv(m, s_w)  s = Sigmoid(s_c)\n")
    + Text("g = Mul(a, s)  r = Resize<mode=\"linear\">(g, , , size)\n")
).having(s_w=(10, 6, 1, 1), axes=np.array([2, 3]), size=np.array([2, 10, 8, 8]))  # fmt: skip
LOGITS = conv("r", "high", 5, 10, 1) + conv("x", "low", 5, 8, 1) + Text("y = Add(low, high)\n")
WHOLE = COARSE + CONV + GATE + LOGITS


def test_logits_of_two_maps(tmp_path: Path) -> None:
    block = only(WHOLE.lifted(tmp_path), "LRASPPHead")
    assert (block.params["filters"], block.params["num_classes"]) == (10, 5)
    assert block.params["activation"] == "relu"
    assert [value.shape for value in block.operands] == [(2, 6, 4, 4), (2, 8, 8, 8)]


def test_the_head_answers_as_the_file(tmp_path: Path) -> None:
    """In a process that has made no other model, whose first resize Keras calls "resize"."""
    body = f"g (float[2,8,8,8] x) => (float y) {{ {WHOLE.nodes} }}"
    assert convert(save(model(body, **WHOLE.weights), tmp_path), tmp_path, inputs=2).passed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHOLE.but('"linear"', '"linear", coordinate_transformation_mode="align_corners"'),
         "corners on corners"),
        (WHOLE.but("s = Sigmoid(s_c)", "s = HardSigmoid(s_c)"), "scale"),
        (WHOLE.but("ReduceMean<keepdims=1>(k, axes)", "MaxPool<kernel_shape=[4,4]>(k)"), ""),
        (WHOLE.but('"linear"', '"nearest"'), ""),
        (WHOLE.having(s_w=(1, 6, 1, 1)), "filters"),
    ],
)  # fmt: skip
def test_near_misses(text: Text, reason: str, tmp_path: Path) -> None:
    assert "LRASPPHead" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "LRASPPHead")
