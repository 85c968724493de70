"""A feature pyramid's way from coarse to fine maps, and where it does not hold by one detail."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.texts import Text, conv, every, kinds

NEAREST = 'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"'
LATERAL = conv("x", "lateral", 6, 8, 1)
COARSE = conv("x", "k", 6, 8, 3, attrs="strides=[2,2]")
ENLARGED = Text(f"up = Resize<{NEAREST}>(k, , , size)\n", {"size": [2, 6, 8, 8]})
WHOLE = LATERAL + COARSE + ENLARGED + Text("y = Add(lateral, up)\n")


@pytest.mark.parametrize("old", ["Add(lateral, up)", "Add(up, lateral)"])
def test_a_coarser_map_is_added(old: str, tmp_path: Path) -> None:
    network = WHOLE.but("Add(lateral, up)", old).lifted(tmp_path)
    assert not network.unrecognised
    (block,) = every(network, "TopDown")
    assert block.params["filters"] == 6
    assert [value.shape for value in block.operands] == [(2, 8, 8, 8), (2, 6, 4, 4)]


@pytest.mark.parametrize(
    "how",
    ['Resize<mode="linear">(k, , , size)', 'Resize<mode="linear">(k, , twice)'],
    ids=["to a size", "by a factor"],
)
def test_it_may_be_interpolated(how: str, tmp_path: Path) -> None:
    text = WHOLE.but(
        f"Resize<{NEAREST}>(k, , , size)", how, twice=np.array([1, 1, 2, 2], "float32")
    )
    (block,) = every(text.lifted(tmp_path), "TopDown")
    assert block.params["bilinear"] is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHOLE.but("floor", "ceil"), "other pixels than torch"),
        (WHOLE.but("asymmetric", "half_pixel"), "other pixels than torch"),
        (WHOLE.but('mode="nearest", ', 'mode="cubic", '), ""),
        (WHOLE.but(NEAREST, 'mode="linear", coordinate_transformation_mode="align_corners"'),
         ""),
        (LATERAL.but("lateral = ", "l = ") + COARSE + ENLARGED
         + Text("lateral = Relu(l)  y = Add(lateral, up)\n"), "activation is 'relu', not None"),
        (conv("x", "lateral", 6, 8, 3) + COARSE + ENLARGED + Text("y = Add(lateral, up)\n"),
         "kernel_size is 3, not 1"),
    ],
)  # fmt: skip
def test_near_misses(text: Text, reason: str, tmp_path: Path) -> None:
    assert "TopDown" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "TopDown")
