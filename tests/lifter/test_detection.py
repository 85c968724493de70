"""Which outputs are boxes and their scores is known by what makes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mvit import inspect
from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.lifter.detection import Detections, detections
from tests.support.graphs import model, save

DIM, CLASSES = 6, 5
TOKENS = "r = Reshape(image, rows)  t = Transpose<perm=[0,2,1]>(r)  x = LayerNormalization(t, s, s)"
LOGITS = "l = MatMul(x, wc)  logits = Add(l, bc)"
BOXES = """
    a1 = MatMul(x, w1)  a2 = Add(a1, b1)  a3 = Relu(a2)
    a4 = MatMul(a3, w2)  a5 = Add(a4, b1)  a6 = Relu(a5)
    a7 = MatMul(a6, w3)  a8 = Add(a7, b3)  where = Sigmoid(a8)
"""
WEIGHTS: dict[str, Any] = {
    "rows": np.array([0, DIM, 64]), "s": (DIM,), "wc": (DIM, CLASSES), "bc": (CLASSES,),
    "w1": (DIM, 8), "b1": (8,), "w2": (8, 8), "w3": (8, 4), "b3": (4,),
}  # fmt: skip
SETS = BoxFormat(corners=False, background=-1, overlapping=False)


def found(nodes: str, outputs: str, folder: Path) -> Detections | None:
    made = ", ".join(
        f"float[N,64,{each.split()[0]}] {each.split()[1]}" for each in outputs.split(", ")
    )
    text = f"g (float[N,{DIM},8,8] image) => ({made}) {{ {nodes} }}"
    return detections(inspect(save(model(text, **WEIGHTS), folder)))


@pytest.mark.parametrize(
    ("more", "outputs", "activation"),
    [
        ("", "5 logits, 4 where", "softmax"),
        ("", "4 where, 5 logits, 6 x", "softmax"),  # the others read x
        ("y = Softmax(logits)", "5 y, 4 where", None),
    ],
)
def test_queries_and_their_boxes(more: str, outputs: str, activation: str, tmp_path: Path) -> None:
    scores = "y" if more else "logits"
    expected = Detections("where", scores, SETS, activation)
    assert found(TOKENS + LOGITS + BOXES + more, outputs, tmp_path) == expected


def test_what_is_read_again_is_the_same() -> None:
    how = Detections("where", "logits", SETS, "softmax")
    assert Detections.from_dict(how.as_dict()) == how


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (TOKENS + LOGITS, "5 logits"),
        (TOKENS + BOXES, "4 where"),
        (TOKENS + LOGITS + BOXES + "other = Neg(logits)  y = Sin(x)", "4 where, 5 other, 6 y"),
        (TOKENS + LOGITS + BOXES.replace("Sigmoid", "Tanh"), "5 logits, 4 where"),
    ],
    ids=["no boxes", "no scores", "two that may be scores", "boxes of another make"],
)
def test_nothing_is_guessed(nodes: str, outputs: str, tmp_path: Path) -> None:
    assert found(nodes, outputs, tmp_path) is None
