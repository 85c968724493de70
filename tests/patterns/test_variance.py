"""The variance of all pixels, and where it is none by one detail."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnx2mvit
from onnx2mvit.errors import UnsupportedError
from tests.support.graphs import model, save
from tests.support.texts import Text, kinds, only

VARIANCE = Text(
    """
    m = ReduceMean<keepdims=1>(x, space)  d = Sub(x, m)  q = Mul(d, d)
    v = ReduceMean<keepdims=1>(q, space)  y = Mul(v, unbiased)
    """,
    {"space": [2, 3], "unbiased": 64 / 63},
)
FLAT = VARIANCE.but("v = ReduceMean<keepdims=1>", "v = ReduceMean<keepdims=0>")
KEPT = FLAT.but("y = Mul(v", "k = Reshape(v, kept)  y = Mul(k", kept=[2, 8, 1, 1])
IN_STEPS = VARIANCE.but("y = Mul(v, unbiased)", "w = Mul(v, all)  y = Div(w, less)").having(
    all=64.0, less=63.0
)
IN_A_ROW = Text(
    """
    r = Reshape(x, rows)  m = ReduceMean<keepdims=1>(r, last)  d = Sub(r, m)  q = Mul(d, d)
    v = ReduceMean<keepdims=0>(q, last)  y = Mul(v, unbiased)
    """,
    {"rows": [2, 8, -1], "last": [2], "unbiased": 64 / 63},
)


@pytest.mark.parametrize(
    ("text", "flat"),
    [(VARIANCE, False), (FLAT, True), (KEPT, False), (IN_STEPS, False), (IN_A_ROW, True)],
    ids=["kept", "flat", "by dynamo", "by legacy", "in a row"],
)
def test_a_variance(tmp_path: Path, text: Text, flat: bool) -> None:
    assert only(text.lifted(tmp_path), "UnbiasedVariance").params == {"flat": flat}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (VARIANCE.having(unbiased=63 / 64), "its variance is no estimate"),
        (VARIANCE.having(unbiased=1.0158), "its variance is no estimate"),
        (VARIANCE.but("d = Sub(x, m)", "d = Sub(m, x)"), ""),
        (VARIANCE.but("q = Mul(d, d)", "q = Mul(d, x)"), ""),
        (VARIANCE.having(space=[1, 2]), ""),
        (IN_A_ROW.but("v = ReduceMean<keepdims=0>", "v = ReduceMean<keepdims=1>"), "it gives"),
    ],
    ids=[
        "the other way round",
        "nearly",
        "of the mean",
        "no square",
        "of other axes",
        "neither images nor vectors",
    ],
)
def test_no_variance_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "UnbiasedVariance" not in kinds(text.lifted(tmp_path))
    assert text.reason(tmp_path, "UnbiasedVariance").startswith(reason)


def written(nodes: str, size: tuple[int, int], tmp_path: Path) -> Path:
    """A file of one size, where what is counted is a number, as torch's exporters write it."""
    count = np.float32(size[0] * size[1])
    text = f"g (float[1,3,{size[0]},{size[1]}] i) => (float y) {{ x = Conv(i, wide) {nodes} }}"
    numbers: dict[str, Any] = {
        "space": [2, 3],
        "one": [1],
        "rows": [1, -1, 8],
        "eps": np.float32(1e-3),
    }
    numbers["kept"] = [1, 8, 1, 1]
    made = model(text, wide=(8, 3, 1, 1), unbiased=count / (count - 1), **numbers)
    return save(made, tmp_path, f"net_{size[0]}.onnx")


@pytest.mark.parametrize(
    ("text", "asked"), [(FLAT, (24, 20)), (KEPT, "any")], ids=["flat", "kept and any size"]
)
def test_it_is_that_of_the_image_at_other_sizes(text: Text, asked: Any, tmp_path: Path) -> None:
    nodes = f"{text.nodes.replace('y = Mul', 'w = Mul')} s = Sqrt(w)  y = Add(s, eps)"
    file = written(nodes, (16, 18), tmp_path)
    result = onnx2mvit.convert(file, tmp_path / "out", inputs=1, image_size=asked)
    assert result.report["sizes"]["proven"] == [[16, 18]]
    assert result.passed
    there = onnxruntime.InferenceSession(written(nodes, (24, 20), tmp_path))
    images = np.random.default_rng(0).normal(size=(1, 3, 24, 20)).astype("float32")
    (right,) = there.run(None, {"i": images})
    found = np.asarray(result.model(images.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(found.ravel(), right.ravel(), rtol=1e-5)


def test_elsewhere_the_factor_is_told_to_be_that_of_the_size(tmp_path: Path) -> None:
    nodes = """t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, rows)
        m = ReduceMean<keepdims=1>(r, one)  d = Sub(r, m)  q = Mul(d, d)
        v = ReduceMean<keepdims=0>(q, one)  w = Mul(v, unbiased)  y = Sqrt(w)"""
    file = written(nodes, (16, 18), tmp_path)
    told = r"images of 16×18: 'mul\d' \(Mul\).* has a factor for 288 places, which are those of"
    with pytest.raises(UnsupportedError, match=told):
        onnx2mvit.convert(file, tmp_path, image_size=(24, 20), verify=False)
