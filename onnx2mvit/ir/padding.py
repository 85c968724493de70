"""How convolutions pad an image: PyTorch's way, TensorFlow's "SAME", or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from onnx2mvit.ir.graph import Graph, Node

_like_tensorflow: WeakKeyDictionary[Graph, bool] = WeakKeyDictionary()


def same_pads(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """ONNX's pads (all beginnings, then all ends) for "SAME": ⌈size / stride⌉ results.

    What is odd is added at the end: `auto_pad="SAME_UPPER"`, and the only one TensorFlow has.
    """
    before, after = [], []
    for length, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        reach = (-(-length // stride) - 1) * stride + (k - 1) * dilation + 1
        total = max(reach - length, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return (*before, *after)


def is_same(node: Node) -> bool:
    """True if a convolution with all attributes written out pads as "SAME" does at this size."""
    image, attrs = node.inputs[0], node.attrs
    if image is None or image.shape is None:
        return False
    steps = attrs["kernel_shape"], attrs["strides"], attrs["dilations"]
    return bool(attrs["pads"] == same_pads(image.shape[2:], *steps))


def like_tensorflow(graph: Graph) -> bool:
    """True if a convolution of the network pads as only TensorFlow does: more at the end.

    At an odd size TensorFlow's and PyTorch's padding are the same for most convolutions, so that
    what they do at other sizes is for the rest of the network to say. It is looked at once, while
    no convolution has become a block yet.
    """
    if graph not in _like_tensorflow:
        pads = ((node, node.attrs["pads"]) for node in graph.of(["Conv"]) if "pads" in node.attrs)
        _like_tensorflow[graph] = any(
            pad[: len(pad) // 2] != pad[len(pad) // 2 :] and is_same(node) for node, pad in pads
        )
    return _like_tensorflow[graph]
