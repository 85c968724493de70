"""The window that a convolution or a pooling moves over an image, read off the node once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx2mvit.ir.graph import Node

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """Numbers for every axis of space.

    Attributes:
        size: elements along the axis, as `kernel_shape`.
        strides: elements from one window to the next.
        dilations: elements from one element of the window to the next.
        pads: elements that are added before and after the image, as they are at the traced size.
        auto_pad: ONNX's word for where `pads` come from, "NOTSET" where the file gives them.
        ceil_mode: whether a last window may reach over the padding.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    @property
    def spans(self) -> tuple[int, ...]:
        """How many elements it reaches over."""
        return spans(self.size, self.dilations)

    @property
    def padded(self) -> bool:
        """True if there is any padding."""
        return any(map(any, self.pads))

    @property
    def onnx_pads(self) -> tuple[int, ...]:
        """The padding as ONNX writes it: all beginnings, then all ends."""
        return (*(first for first, _ in self.pads), *(last for _, last in self.pads))

    @property
    def same(self) -> bool:
        """True where Keras's padding "same" means the same for images of every size."""
        steps_by_one = set(self.strides) == {1} and self.pads == halves(
            [span - 1 for span in self.spans], larger_first=False
        )
        return (self.auto_pad == "SAME_UPPER" or steps_by_one) and max(self.spans) > 1

    @property
    def same_from_the_end(self) -> bool:
        """True where "same" on the image turned round means the same for images of every size.

        SAME_LOWER is SAME_UPPER from the other side, where windows leave no elements between them.
        """
        apart = any(n < stride for n, stride in zip(self.spans, self.strides, strict=True))
        return self.auto_pad == "SAME_LOWER" and max(self.strides) > 1 and not apart

    @property
    def pads_by_size(self) -> bool:
        """True if `pads`, or what is beyond them, are others for images of another size."""
        return (self.auto_pad.startswith("SAME") or self.ceil_mode) and max(self.strides) > 1

    def pads_as_same(self, lengths: Sequence[int]) -> bool:
        """True if its padding is that of "same" for an image of these lengths."""
        return self.pads == same_pads(lengths, self.strides, self.spans)

    def beyond(self, lengths: Sequence[int], results: Sequence[int]) -> Pads:
        """What the last windows need behind the padding, where their number is rounded up."""
        reach = [
            (result - 1) * stride + span - length - sum(pad)
            for length, result, stride, span, pad in zip(
                lengths, results, self.strides, self.spans, self.pads, strict=True
            )
        ]
        return tuple((0, max(more, 0)) for more in reach)


def window_of(node: Node) -> Window:
    """The window of a Conv (operator versions 1 to 22) or a pooling (7 to 22).

    Args:
        node: with a constant kernel, or the attribute `kernel_shape`. For automatic padding its
            input, channels first, must have a known shape.

    Raises:
        ValueError: it has neither, or its attributes are for different numbers of axes.
    """
    attrs, image = node.attrs, node.inputs[0]
    size = attrs.get("kernel_shape")
    if node.op == "Conv":
        kernel = node.inputs[1]
        size = kernel.shape[2:] if kernel is not None and kernel.shape is not None else size
    if not size:
        raise ValueError("the size of its window is not known")
    rank = len(size)
    strides = tuple(attrs.get("strides") or (1,) * rank)
    dilations = tuple(attrs.get("dilations") or (1,) * rank)
    flat = tuple(attrs.get("pads") or (0,) * (2 * rank))
    if not len(strides) == len(dilations) == len(flat) // 2 == rank:
        raise ValueError(f"its attributes are not for {rank} axes")
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    auto_pad = attrs.get("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        pads = ((0, 0),) * rank
    elif auto_pad != "NOTSET":
        if image is None or image.shape is None:
            raise ValueError("the input's shape is not known")
        reach = spans(size, dilations)
        pads = same_pads(image.shape[2:], strides, reach, larger_first=auto_pad == "SAME_LOWER")
    ceil_mode = bool(attrs.get("ceil_mode"))
    return Window(tuple(size), strides, dilations, pads, auto_pad, ceil_mode)


def spans(size: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """How many elements windows of these sizes reach over."""
    return tuple((n - 1) * d + 1 for n, d in zip(size, dilations, strict=True))


def same_pads(
    lengths: Sequence[int],
    strides: Sequence[int],
    spans: Sequence[int],
    larger_first: bool = False,
) -> Pads:
    """The padding of "SAME", for ⌈length / stride⌉ windows.

    What is odd is added at the end (`SAME_UPPER`, and the only one that TensorFlow has), or with
    `larger_first` at the beginning (`SAME_LOWER`).
    """
    totals = [
        max((-(-length // stride) - 1) * stride + span - length, 0)
        for length, stride, span in zip(lengths, strides, spans, strict=True)
    ]
    return halves(totals, larger_first)


def halves(totals: Sequence[int], larger_first: bool) -> Pads:
    """Padding divided between before and after."""
    pads = [(total // 2, total - total // 2) for total in totals]
    return tuple(pad[::-1] if larger_first else pad for pad in pads)
