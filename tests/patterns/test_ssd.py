"""SSD's heads and its boxes, and where they do not hold by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.texts import Text, conv, every, kinds
from tests.support.torch_detection import default_boxes

MAPS, OUTPUTS, SCALES, RATIOS = ((8, 8), (4, 4)), 7, (0.2, 0.5, 0.9), ((2, 3), (2,))
OFFSETS = "o = Slice(all, zero, four, last)\n"
SCORES = "c = Slice(all, four, seven, last)  y = Softmax<axis=-1>(c)\n"
DECODING = """
    s = Slice(o, two, four, last)  s1 = Mul(s, size_variance)  e = Exp(s1)  size = Mul(e, sizes)
    m = Slice(o, zero, two, last)  m1 = Mul(m, centre_variance)  m2 = Mul(m1, sizes)
    centre = Add(m2, centres)
    boxes = Concat<axis=-1>(centre, size)
"""
CORNERS = """
    middle = Slice(boxes, zero, two, last)  whole = Slice(boxes, two, four, last)
    h = Mul(whole, half)  less = Sub(middle, h)  more = Add(middle, h)
    z = Concat<axis=2>(less, more)
"""


def numbers() -> dict[str, Any]:
    boxes = default_boxes(MAPS, SCALES, RATIOS).numpy()
    places = {"zero": [0], "two": [2], "four": [4], "seven": [OUTPUTS], "last": [2]}
    scalars = {"size_variance": 0.2, "centre_variance": 0.1, "half": 0.5}
    return {
        **places,
        **{name: np.float32(value) for name, value in scalars.items()},
        **{"centres": boxes[None, :, :2], "sizes": boxes[None, :, 2:]},
    }


def said(x: str, y: str, anchors: int, size: int) -> Text:
    """The two nodes by which a head's image becomes a row for each box."""
    nodes = f"{y}_t = Transpose<perm=[0,2,3,1]>({x})  {y} = Reshape({y}_t, {y}_s)\n"
    return Text(nodes, {f"{y}_s": [2, size * size * anchors, OUTPUTS]})


def separable(x: str, y: str, anchors: int, channels: int, size: int) -> Text:
    return (
        conv(x, f"{y}_d", channels, channels, 3, group=channels)
        + conv(f"{y}_d", f"{y}_p", anchors * OUTPUTS, channels, 1)
        + said(f"{y}_p", y, anchors, size)
    )


def relu(x: str, y: str) -> Text:
    return Text(f"{y} = Relu({x})\n")


PROJECTED = conv("x", "p_c", 12, 8, 1) + relu("p_c", "p") + separable("p", "a", 6, 12, 8)
COARSE = conv("x", "k_c", 10, 8, 3, attrs="strides=[2,2]") + relu("k_c", "k")
ALONE = conv("k", "b_p", 4 * OUTPUTS, 10, 3) + said("b_p", "b", 4, 4)
ALL = PROJECTED + COARSE + ALONE + Text("all = Concat<axis=1>(a, b)\n", numbers())
WHOLE = ALL + Text(OFFSETS + SCORES + DECODING + CORNERS)
BOTH = {"outputs": "y z"}
OTHERS = np.linspace(0.1, 0.9, 896, dtype="float32").reshape(1, -1, 2)


def test_heads_and_boxes(tmp_path: Path) -> None:
    network = WHOLE.lifted(tmp_path, **BOTH)
    assert not network.unrecognised
    first, second = every(network, "SSDHead")
    assert {"anchors": 6, "projection": 12, "separable": True}.items() <= first.params.items()
    assert {"anchors": 4, "num_classes": 3, "kernel_size": 3}.items() <= second.params.items()
    assert "separable" not in second.params
    (scores,), (boxes,) = every(network, "ClassScores"), every(network, "DecodedBoxes")
    assert scores.params == {"start": 4, "softmax": True}
    assert boxes.params == {"scales": SCALES, "aspect_ratios": RATIOS, "variances": (0.1, 0.2)}
    assert [(value.shape or ())[2:] for value in boxes.operands[1:]] == [*MAPS]


@pytest.mark.parametrize("old", [CORNERS, DECODING + CORNERS], ids=["centres", "offsets"])
def test_boxes_as_centre_and_size_and_their_offsets(old: str, tmp_path: Path) -> None:
    outputs = "y boxes" if old == CORNERS else "y o"
    network = WHOLE.but(old, "").lifted(tmp_path, outputs=outputs)
    assert not network.unrecognised
    if old == CORNERS:
        (boxes,) = every(network, "DecodedBoxes")
        assert boxes.params["corners"] is False
    else:
        assert "BoxOffsets" in kinds(network)


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        (WHOLE.having(sizes=OTHERS), False),
        (WHOLE.but("m2 = Mul(m1, sizes)", "m2 = Mul(m1, others)", others=OTHERS), True),
    ],
)
def test_boxes_that_no_rule_gives_are_a_table(text: Text, apart: bool, tmp_path: Path) -> None:
    network = text.lifted(tmp_path, **BOTH)
    assert not network.unrecognised
    (boxes,) = every(network, "TabledBoxes")
    assert boxes.params.get("apart", False) is apart
    table = boxes.weights["embeddings"]
    sizes = text.weights["sizes"].reshape(-1, 2)
    assert (table[:, :2] == text.weights["centres"].reshape(-1, 2)).all()
    assert (table[:, 2:4] == sizes).all()
    assert (table[:, 4:] == OTHERS.reshape(-1, 2)).all() if apart else table.shape[1] == 4


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (WHOLE.having(sizes=OTHERS), "DecodedBoxes"),
        (WHOLE.but("m2 = Mul(m1, sizes)", "m2 = Mul(m1, centres)"), "DecodedBoxes"),
        (WHOLE.having(centres=np.array([0.5, 0.5], "float32")), "TabledBoxes"),
        (WHOLE.having(seven=[6]), "ClassScores"),
        (ALL.but("all = Concat<axis=1>(a, b)", "n = Neg(b)  y = Concat<axis=1>(a, n)"), "AllBoxes"),
    ],
)  # fmt: skip
def test_near_misses_of_boxes(text: Text, kind: str, tmp_path: Path) -> None:
    outputs = "y z" if "z =" in text.nodes else "y"
    assert kind not in kinds(text.lifted(tmp_path, outputs=outputs))


SAMPLED = (
    conv("x", "c", 14, 8, 3)
    + Text(
        "w = Gather<axis=-1>(c, columns)  h = Gather<axis=-2>(w, rows)\n",
        {"columns": np.array([1, 4, 7]), "rows": np.array([1, 4, 7])},
    )
    + said("h", "y", 2, 3)
)


def test_a_head_may_leave_out_places(tmp_path: Path) -> None:
    (head,) = every(SAMPLED.lifted(tmp_path), "SSDHead")
    assert (head.step, head.anchors, head.num_classes) == (3, 2, 7)


@pytest.mark.parametrize(
    "changed",
    [{"rows": np.array([0, 3, 6])}, {"rows": np.array([1, 4, 6])}],
    ids=["from the first on", "not alike"],
)
def test_other_places_are_no_part_of_a_head(changed: dict[str, Any], tmp_path: Path) -> None:
    text = SAMPLED.having(**changed)
    assert "it does not speak of every place of 3" in text.reason(tmp_path, "SSDHead")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (said("x", "y", 1, 8).having(y_s=[2, 64, 8]), ""),
        (conv("x", "c", 14, 8, 3) + said("c", "y", 2, 8).but("[0,2,3,1]", "[0,3,2,1]"), "moved"),
        (conv("x", "c", 7, 8, 3) + said("c", "y", 1, 8), ""),
        (conv("x", "c", 14, 8, 3, attrs="strides=[2,2]") + said("c", "y", 2, 4), ""),
        (conv("x", "c_0", 14, 8, 3) + relu("c_0", "c") + said("c", "y", 2, 8), ""),
    ],
    ids=["no convolution", "columns first", "one box", "strided", "active"],
)
def test_near_misses_of_a_head(text: Text, reason: str, tmp_path: Path) -> None:
    assert "SSDHead" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "SSDHead")


NORM = Text(
    "n = ReduceL2<keepdims=1>(x, first)  c = Clip(n, least)  u = Div(x, c)  y = Mul(u, scale)",
    {"first": [1], "least": 1e-12, "scale": (1, 8, 1, 1)},
)


def test_channels_over_their_length_with_a_factor_each(tmp_path: Path) -> None:
    (block,) = NORM.lifted(tmp_path).blocks
    assert block.kind == "L2Norm"
    assert [leaf.kind for leaf in block.children] == ["UnitNormalization", "ImageLayerScale"]


@pytest.mark.parametrize("changed", [{"first": [2]}, {"least": 1e-3}, {"scale": (1, 1, 8, 8)}])
def test_near_misses_of_l2_norm(changed: dict[str, Any], tmp_path: Path) -> None:
    assert "L2Norm" not in kinds(NORM.having(**changed).lifted(tmp_path))


def test_other_corners_are_no_part_of_it(tmp_path: Path) -> None:
    network = WHOLE.having(half=np.float32(0.4)).lifted(tmp_path, **BOTH)
    (boxes,) = every(network, "DecodedBoxes")
    assert boxes.params["corners"] is False


def test_the_convolution_before_a_head_is_not_its_own(tmp_path: Path) -> None:
    before = conv("x", "e_d", 8, 8, 3, group=8) + conv("e_d", "e_c", 12, 8, 1) + relu("e_c", "e")
    network = (before + separable("e", "y", 6, 12, 8)).lifted(tmp_path)
    assert [block.kind for block in network.blocks] == ["DepthwiseSeparable", "SSDHead"]
    assert "projection" not in network.blocks[1].params
