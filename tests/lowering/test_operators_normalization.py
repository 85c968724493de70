"""Single operators that normalize."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.operators import CONV, code, converted, reason

LEARNED: dict[str, Any] = {"g": (8,), "b": (8,), "m": (8,), "v": np.linspace(0.5, 2, 8)}
SMALL = "epsilon=1e-05, name=$name)($0)"


@pytest.mark.parametrize(
    ("node", "opset", "expected"),
    [
        (
            "BatchNormalization(x, g, b, m, v)",
            20,
            f"layers.BatchNormalization(momentum=0.9, {SMALL}",
        ),
        ("InstanceNormalization(x, g, b)", 20, f"layers.GroupNormalization(-1, {SMALL}"),
        (
            "InstanceNormalization(x, ones, zeros)",
            20,
            "layers.GroupNormalization(-1, epsilon=1e-05, center=False, scale=False, "
            "name=$name)($0)",
        ),
        (
            "GroupNormalization<num_groups=4>(x, g, b)",
            21,
            f"layers.GroupNormalization(4, {SMALL}",
        ),
        ("LpNormalization<axis=1>(x)", 20, "layers.UnitNormalization(name=$name)($0)"),
        (
            "LpNormalization<axis=2, p=1>(x)",
            20,
            "ops.normalize($0, axis=1, order=1, epsilon=1e-12)",
        ),
        (
            "LRN<size=3>(x)",
            20,
            "local_response_normalization($0, 3, alpha=0.0001, beta=0.75, bias=1.0)",
        ),
    ],
)
def test_what_it_becomes(node: str, opset: int, expected: str, tmp_path: Path) -> None:
    numbers = {**LEARNED, "ones": np.ones(8), "zeros": np.zeros(8)}
    assert code(f"y = {node}", tmp_path, opset=opset, **numbers) == [expected]


def test_a_batch_normalization_works_where_the_channels_are(tmp_path: Path) -> None:
    nodes = "t = Reshape(x, flat)  y = BatchNormalization(t, g, b, m, v)"
    _, text = code(nodes, tmp_path, flat=[0, 8, 120], **LEARNED)
    assert text == f"layers.BatchNormalization(momentum=0.9, {SMALL}"  # (N, 120, 8) in Keras
    nodes = "t = Transpose<perm=[0,2,1,3]>(x)  y = BatchNormalization(t, g, b, m, v)"
    twelve = {name: np.linspace(1, 2, 12) for name in LEARNED}
    _, text = code(nodes, tmp_path, **twelve)
    assert text == f"layers.BatchNormalization(axis=1, momentum=0.9, {SMALL}"


def test_they_answer_as_onnxruntime(tmp_path: Path) -> None:
    found = converted(
        """
        a = Conv<pads=[1,1,1,1]>(x, w)           h = Transpose<perm=[0,2,3,1]>(a)
        c = LayerNormalization<axis=-1>(h, g, b)
        d = LayerNormalization<axis=2>(a, plane)
        e = LayerNormalization<axis=-1>(a, ten)
        f = RMSNormalization<axis=-1>(h, g)      i = RMSNormalization<axis=1>(a, all)
        j = InstanceNormalization(a, g, b)       k = GroupNormalization<num_groups=2>(a, g, b)
        l = MeanVarianceNormalization<axes=[1,2,3]>(a)
        m0 = Add(a, b1)                          n = BatchNormalization(m0, g, b, m, v)
        o = LRN<size=5, alpha=0.5>(a)            p = LpNormalization<axis=1, p=1>(a)
        q = LRN<size=21, alpha=9.0>(a)
        """,
        tmp_path,
        outputs="c d e f i j k l n o p q",
        opset=23,
        plane=(12, 10),
        ten=(10,),
        all=(8, 12, 10),
        b1=(8, 1, 1),
        **CONV,
        **LEARNED,
    )
    assert found.transposes == 2  # d, and e over the width alone


def test_the_first_group_normalization_has_a_scale_for_each_group() -> None:
    from onnx2mvit.lowering.operators import converter_for

    assert converter_for("GroupNormalization", 20) is not converter_for("GroupNormalization", 21)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("BatchNormalization(x, g, b, m, wide)", "input 4 is not one per channel"),
        ("MeanVarianceNormalization(x)", "mixes the images"),
        ("LayerNormalization<axis=0>(x, g)", "mixes the images"),
    ],
)
def test_what_is_refused(node: str, expected: str, tmp_path: Path) -> None:
    numbers = {**LEARNED, "wide": (9,)}
    nodes = f"y = {node}"
    assert expected in reason(nodes, tmp_path, opset=17, **numbers)
