"""Swin's merging of patches and its head, as dynamo writes transformers' unoptimized."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.texts import Text, kinds, only

IMAGE, TOKENS = "float[2,4,6,8]", "float[2,24,8]"
ROWS = "".join(f"r{at} = Slice(x, start_{at % 2}, end, rows, two)\n" for at in range(4))
PARTS = "".join(f"p{at} = Slice(r{at}, start_{at // 2}, end, columns, two)\n" for at in range(4))
MERGED = Text(
    ROWS + PARTS + """
    j = Concat<axis=-1>(p0, p1, p2, p3)  t = Reshape(j, tokens)
    n = LayerNormalization(t, s, b)  y = MatMul(n, w)
    """,
    {
        **{"start_0": [0], "start_1": [1], "end": [2**63 - 1], "rows": [1], "columns": [2]},
        **{"two": [2], "tokens": [2, 6, 32], "s": (32,), "b": (32,), "w": (32, 16)},
    },
)  # fmt: skip
HEAD = Text(
    """
    t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, row)
    m = ReduceMean<keepdims=1>(r, axes)  f = ReduceMean<keepdims=0>(m, axes)
    z = MatMul(f, w)  y = Add(z, b)
    """,
    {"row": [2, 8, 1, 24], "axes": np.array([2, 3]), "w": (8, 5), "b": (5,)},
)


def test_every_part_may_cut_its_own_rows(tmp_path: Path) -> None:
    block = only(MERGED.lifted(tmp_path, image=IMAGE), "PatchMerging")
    assert {"dim": 16, "flat_output": True}.items() <= block.params.items()
    assert "stride" not in block.params


@pytest.mark.parametrize(
    ("old", "new"),
    [("p1 = Slice(r1", "p1 = Slice(r0"), ("(p0, p1, p2, p3)", "(p0, p2, p1, p3)")],
)
def test_other_parts_are_no_merging(old: str, new: str, tmp_path: Path) -> None:
    text = MERGED.but(old, new)
    assert "PatchMerging" not in kinds(text.lifted(tmp_path, image=IMAGE))


def test_the_mean_of_tokens_in_a_row_of_pixels(tmp_path: Path) -> None:
    block = only(HEAD.lifted(tmp_path, image=TOKENS), "MeanClassifier")
    assert block.params["num_classes"] == 5


def test_the_mean_of_channels_is_no_head(tmp_path: Path) -> None:
    text = HEAD.but("perm=[0,2,1]", "perm=[0,1,2]")
    assert "MeanClassifier" not in kinds(text.lifted(tmp_path, image=TOKENS))


MEAN = Text(
    "n = LayerNormalization(x, s, b)  y = ReduceMean<keepdims=0>(n, axes)\n",
    {"axes": np.array([1, 2]), "s": (8,), "b": (8,)},
)


@pytest.mark.parametrize(
    "text",
    [
        MEAN,
        MEAN.but("y = ReduceMean<keepdims=0>(n", "t = Transpose<perm=[0,3,1,2]>(n)  "
                 "y = ReduceMean<keepdims=0>(t", axes=np.array([2, 3])),
    ],
    ids=["channels last", "turned"],
)  # fmt: skip
def test_the_mean_of_pixels_without_classes(text: Text, tmp_path: Path) -> None:
    network = text.lifted(tmp_path, image=IMAGE)
    assert [block.kind for block in network.blocks] == ["LayerNorm", "MeanOfPixels"]


@pytest.mark.parametrize(
    "text",
    [MEAN.but("n = LayerNormalization(x, s, b)", "n = Sin(x)"), MEAN.having(axes=np.array([1]))],
    ids=["of what may be anything", "of a column"],
)
def test_another_mean_is_none_of_pixels(text: Text, tmp_path: Path) -> None:
    assert "MeanOfPixels" not in kinds(text.lifted(tmp_path, image=IMAGE))
