"""Sums of branches are one convolution, and what is none stays what it is."""

from pathlib import Path

import numpy as np
import pytest

from onnx2mvit.errors import UsageError
from onnx2mvit.lifter import merge_branches
from tests.patterns.test_mobileone import batch_norm
from tests.support.graphs import model
from tests.support.run_graph import assert_same_answers
from tests.support.texts import IMAGE, Text, conv

STRIDED, DILATED = "strides=[2,2]", "dilations=[2,2], pads=[2,2,2,2]"
ODD = "float[2,8,9,7]"  # a padding that is right for even lengths alone shows
NORM = batch_norm("x", "b")
GAMMA = {"gamma": (8, 1, 1)}


def added(*operands: str, y: str = "y", op: str = "Sum") -> Text:
    return Text(f"{y} = {op}({', '.join(operands)})\n")


def dw(y: str, kernel: int = 3, attrs: str = "", x: str = "x") -> Text:
    """A convolution of every channel by itself."""
    return conv(x, y, 8, 8, kernel, attrs, group=8)


def normed(y: str, before: Text) -> Text:
    """A convolution `y_c` with batch normalization."""
    return before + batch_norm(f"{y}_c", y)


DENSE = conv("x", "c", 8, 8) + conv("x", "p", 8, 8, 1)
REP_MIXER = dw("c") + dw("s", 1) + NORM + batch_norm("x", "n") + added("s", "b", "c", y="m")
REP_MIXER += Text("d = Sub(m, n)  g = Mul(gamma, d)  y = Add(x, g)\n", GAMMA)
LARGE = conv("x", "l", 16, 8, 7, STRIDED, group=8) + conv("x", "s", 16, 8, 3, STRIDED, group=8)


@pytest.mark.parametrize(
    ("text", "kernel", "group"),
    [
        (DENSE + NORM + added("c", "p", "b"), (8, 8, 3, 3), 1),
        (DENSE + NORM + added("p", "b", y="q") + added("q", "c", op="Add"), (8, 8, 3, 3), 1),
        (conv("x", "c", 8, 8, group=2) + NORM + added("b", "c"), (8, 4, 3, 3), 2),
        (conv("x", "c", 6, 8, 3, STRIDED) + conv("x", "p", 6, 8, 1, STRIDED) + added("c", "p"),
         (6, 8, 3, 3), 1),
        (dw("c") + dw("s", 1) + NORM + added("c", "s", "b"), (8, 1, 3, 3), 8),
        (normed("c", dw("c_c")) + normed("s", dw("s_c", 1)) + added("c", "s"), (8, 1, 3, 3), 8),
        (dw("c", 3, DILATED) + NORM + added("c", "b"), (8, 1, 3, 3), 8),
        (conv("x", "p", 8, 8, 1) + dw("s", 1) + added("p", "s"), (8, 8, 1, 1), 1),
        (LARGE + added("l", "s"), (16, 1, 7, 7), 8),
        (dw("c", 3, "kernel_shape=[3,3], pads=[0,1,2,1]") + NORM + added("c", "b"),
         (8, 1, 3, 3), 8),
        (dw("c", 2, "pads=[1,0,0,1]") + dw("s", 1) + added("c", "s"), (8, 1, 2, 2), 8),
        (dw("c", 3, 'auto_pad="SAME_UPPER"') + added("c", "x"), (8, 1, 3, 3), 8),
        (dw("c", 7) + added("c", "x"), (8, 1, 7, 7), 8),
        (dw("c") + Text("h = Mul(c, half)  y = Sub(x, h)\n", {"half": 0.5}), (8, 1, 3, 3), 8),
        (dw("c") + added("c", "x", y="t") + batch_norm("t", "y"), (8, 1, 3, 3), 8),
        (REP_MIXER, (8, 1, 3, 3), 8),
    ],
)  # fmt: skip
def test_a_sum_of_branches_is_a_convolution(
    tmp_path: Path, text: Text, kernel: tuple[int, ...], group: int
) -> None:
    whole = text.but("y = ", "z = ") + Text("y = Relu(z)\n")
    read = whole.read(tmp_path, image=ODD)
    before = [node.op for node in read]
    merged = merge_branches(read)
    (first, last) = merged
    assert (first.op, last.op) == ("Conv", "Relu")
    assert first.attrs["group"] == group
    assert first.inputs[1] is not None and first.inputs[1].shape == kernel
    assert merged.source.merged == 1
    made = model(f"g ({ODD} x) => (float y) {{ {whole.nodes} }}", **whole.weights)
    # float32 adds up the branches in another order.
    assert_same_answers(made, merged, tolerance=3e-6)
    assert [node.op for node in read] == before and read.source.merged == 0


@pytest.mark.parametrize(
    "text",
    [
        conv("x", "c", 8, 8) + added("c", "x", y="s") + Text("y = Relu(s)\n"),
        dw("c") + NORM + added("c", "b", y="s") + Text("y = Relu(s)\n"),
    ],
)
def test_with_sums_normalizations_are_merged_too(tmp_path: Path, text: Text) -> None:
    more = normed("f", conv("y", "f_c", 8, 8, 1))
    merged = merge_branches((text + more).read(tmp_path, outputs="f"))
    assert [node.op for node in merged] == ["Conv", "Relu", "Conv"]


OTHER = Text("o = Sin(x)\n")


@pytest.mark.parametrize(
    "text",
    [
        OTHER + dw("c") + dw("s", 3, x="o") + added("c", "s"),
        OTHER + dw("c") + added("c", "o"),
        conv("x", "c", 8, 8) + dw("s") + added("c", "s"),
        dw("c") + dw("s", 3, DILATED) + added("c", "s"),
        dw("c") + Text("r = Relu(c)\n") + added("r", "x"),
        dw("c") + Text("y = Mul(c, x)\n"),
        dw("c") + Text("y = Sub(c, half)\n", {"half": (8, 1, 1)}),
        # As many pixels, but not of the same places at every size.
        conv("x", "c", 8, 8, 3, STRIDED)
        + conv("x", "s", 8, 8, 3, "strides=[2,2], pads=[1,1,0,0]") + added("c", "s"),
        dw("c", 3, 'strides=[2,2], auto_pad="SAME_UPPER"') + dw("s", 1, STRIDED)
        + added("c", "s"),
        normed("y", conv("x", "y_c", 8, 8)),
        NORM + added("b", "x"),
        Text("y = Relu(x)\n"),
    ],
)  # fmt: skip
def test_what_is_no_sum_of_branches_is_left(tmp_path: Path, text: Text) -> None:
    with pytest.raises(UsageError, match=r"model\.onnx has no branches to merge"):
        merge_branches(text.read(tmp_path, image=IMAGE))


SUMS = DENSE + NORM + added("c", "p", y="q") + added("q", "b")


def test_a_sum_that_the_network_gives_is_merged_and_kept(tmp_path: Path) -> None:
    merged = merge_branches(SUMS.read(tmp_path, outputs="y q"))
    assert [node.op for node in merged] == ["BatchNormalization", "Conv", "Sum"]
    made = model(f"g ({IMAGE} x) => (float y, float q) {{ {SUMS.nodes} }}", **SUMS.weights)
    assert_same_answers(made, merged, tolerance=3e-6)


@pytest.mark.parametrize("outputs", ["y c q", "y p q"])
def test_a_branch_that_the_network_gives_is_not_merged(tmp_path: Path, outputs: str) -> None:
    with pytest.raises(UsageError):
        merge_branches(SUMS.read(tmp_path, outputs=outputs))


@pytest.mark.parametrize("name", ["b_gamma", "b_mean"])
def test_statistics_that_do_not_fit_are_left_to_whom_they_concern(
    tmp_path: Path, name: str
) -> None:
    text = dw("c") + NORM.having(**{name: np.full(4, 0.5)}) + added("c", "b")
    with pytest.raises(UsageError):
        merge_branches(text.read(tmp_path))


def test_a_kernel_that_was_made_smaller_than_float32_says_is_the_sum(tmp_path: Path) -> None:
    """Branches are added up in float64: two that cancel leave what is between them."""
    large = np.full((8, 1, 3, 3), 1e4)
    text = dw("c").having(c_w=large, c_b=np.zeros(8)) + dw("s").having(
        s_w=large + 0.25, s_b=np.zeros(8)
    )
    merged = merge_branches((text + Text("y = Sub(s, c)\n")).read(tmp_path))
    (node,) = merged
    assert node.inputs[1] is not None and node.inputs[1].const is not None
    assert np.array_equal(node.inputs[1].const, np.full((8, 1, 3, 3), 0.25, np.float32))
