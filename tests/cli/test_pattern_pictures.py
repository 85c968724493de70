"""The pictures of patterns on the site show what the expressions say."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from onnx2mvit.matcher import Expr, Ops, Pattern, Var, any_of, constant, maybe
from onnx2mvit.matcher.expression import Op
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.pattern_picture import picture

SVG = "{http://www.w3.org/2000/svg}"


class Gate(Pattern):
    """A convolution, maybe normalized, times its sigmoid or hard sigmoid."""

    kind, layer = "Gate", "Gate"

    def onnx(self, op: Ops, x: Var) -> Expr:
        """The gate."""
        conv = op.Conv(x, constant("kernel"), group=1)
        y = maybe(op.BatchNormalization(conv, constant("scale")))
        return op.Mul(y, any_of(op.Sigmoid(y), op.HardSigmoid(y)))


def texts(svg: str) -> dict[str, float]:
    """Each text of a picture, and how far down it stands."""
    found = ET.fromstring(svg).iter(f"{SVG}text")
    return {str(each.text): float(each.attrib["y"]) for each in found}


def test_what_is_read_stands_above_what_reads_it() -> None:
    at = texts(picture(Gate()))
    order = ["x", "Conv", "group=1, kernel", "BatchNormalization", "Sigmoid", "or", "Mul"]
    assert sorted(order, key=at.__getitem__) == order
    assert at["Sigmoid"] == at["HardSigmoid"]


def test_what_may_be_absent_is_dashed_and_alone_so() -> None:
    svg = ET.fromstring(picture(Gate()))
    assert [each.attrib["class"] for each in svg.iter(f"{SVG}rect")].count("absent") == 1


def test_no_box_of_a_row_lies_on_another() -> None:
    svg = ET.fromstring(picture(next(p for p in builtin_patterns() if p.kind == "SwinBlock")))
    rows: dict[str, list[tuple[float, float]]] = {}
    for box in svg.iter(f"{SVG}rect"):
        left = float(box.attrib["x"])
        rows.setdefault(box.attrib["y"], []).append((left, left + float(box.attrib["width"])))
    for row in rows.values():
        ends = sorted(row)
        assert all(a[1] <= b[0] for a, b in pairwise(ends))


@pytest.mark.parametrize("pattern", builtin_patterns(), ids=lambda pattern: pattern.kind)
def test_every_pattern_has_a_picture_with_its_operators(pattern: Pattern) -> None:
    shown = set(texts(picture(pattern)))
    parts = pattern.onnx(Ops(), Var("x")).walk()
    said = {text.partition(",")[0] for text in shown}
    assert {part.op for part in parts if isinstance(part, Op)} <= said
