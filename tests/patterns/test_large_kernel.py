"""Convolutions with a large kernel beside a small one, and where they are none by one detail."""

from pathlib import Path

import pytest

from tests.support.texts import Text, conv, kinds


def large(kernel: int = 7, small: int = 3, filters: int = 16) -> Text:
    text = conv("x", "l", filters, 8, kernel, "strides=[2,2]", group=8)
    return text + conv("x", "s", 16, 8, small, "strides=[2,2]", group=8) + Text("y = Add(s, l)\n")


def test_a_large_convolution_with_a_small_one(tmp_path: Path) -> None:
    (block,) = large().lifted(tmp_path).blocks
    assert (block.kind, block.kernel_size, block.small_kernel) == ("LargeKernelConv", 7, 3)
    assert (block.filters, block.strides, block.groups, block.activation) == (16, 2, 8, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (large(3, 3), "its kernels are not a large and a small one"),
        (large(3, 1), "its kernels are not a large and a small one"),
        (large().but("l = Conv<pads=[3,3,3,3], group=8", "l = Conv<pads=[3,3,3,3], group=4").having(
            l_w=(16, 2, 7, 7)), "has groups"),
    ],
)  # fmt: skip
def test_no_large_convolution_by_one_detail(tmp_path: Path, text: Text, reason: str) -> None:
    assert "LargeKernelConv" not in kinds(text.lifted(tmp_path))
    assert reason in text.reason(tmp_path, "LargeKernelConv")
