"""ONNX's Attention (from opset 23 on) where it is no block's: masks, shared heads, causality."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.operators import code, converted, reason

IMAGE = "float[N,8,3,2] x"
TOKENS = """
    f = Reshape(x, flat)  t = Transpose<perm=[0,2,1]>(f)
    q = MatMul(t, wq)  k = MatMul(t, wk)  v = MatMul(t, wv)
"""
WEIGHTS: dict[str, Any] = {
    "flat": [0, 8, 6],
    "wq": (8, 16),
    "wk": (8, 8),
    "wv": (8, 8),
    "seen": np.tri(6, 6, 2, dtype=bool),
    "added": (1, 4, 6, 6),
}
HEADS = "q_num_heads=4, kv_num_heads=2"


def test_masks_shared_heads_and_causality_answer_right(tmp_path: Path) -> None:
    nodes = f"""{TOKENS}
        a = Attention<{HEADS}>(q, k, v, seen)
        b = Attention<{HEADS}, is_causal=1, scale=0.3>(q, k, v, added)
        y = Add(a, b)
    """
    made = converted(nodes, tmp_path, image=IMAGE, opset=23, **WEIGHTS)
    assert made.report["verification"]["rewrite"]["max_rel_error"] < 1e-5
    text = code(nodes, tmp_path, image=IMAGE, opset=23, **WEIGHTS)
    assert "ops.repeat(ops.reshape($1, (-1, 6, 2, 4)), 2, axis=2)" in text[-3]
    assert ", scale=0.3, is_causal=True), (-1, 6, 16))" in text[-2]


def test_windows_of_an_image_have_masks_of_their_own(tmp_path: Path) -> None:
    """As in shifted windows: the two windows of an image, for the three images of the trace."""
    nodes = f"""w = Reshape(x, windows)  t = Transpose<perm=[0,2,1]>(w)
        q = MatMul(t, wq)  k = MatMul(t, wk)  v = MatMul(t, wv)
        y = Attention<{HEADS}>(q, k, v, masks)
    """
    own = np.random.default_rng(0).normal(size=(2, 4, 3, 3))
    numbers: dict[str, Any] = {"windows": [6, 8, 3], "masks": np.tile(own, (3, 1, 1, 1))}
    made = converted(nodes, tmp_path, image="float[3,2,8,3] x", opset=23, **WEIGHTS, **numbers)
    assert made.report["verification"]["rewrite"]["max_rel_error"] < 1e-5


@pytest.mark.parametrize(
    ("how", "mask", "expected"),
    [
        ("softcap=2.0", "", "its scores are capped"),
        ("", ", hidden", "a query sees no token"),
        ("", ", short", "its mask is for fewer tokens"),
    ],
)
def test_what_keras_lacks_is_refused(how: str, mask: str, expected: str, tmp_path: Path) -> None:
    options = ", ".join(filter(None, (HEADS, how)))
    nodes = f"{TOKENS} y = Attention<{options}>(q, k, v{mask})"
    masks = {"hidden": np.eye(6, 6, 1, dtype=bool), "short": np.ones((6, 5), dtype=bool)}
    found = reason(nodes, tmp_path, image=IMAGE, opset=23, **(WEIGHTS | masks))
    assert found == expected
