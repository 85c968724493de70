"""The window that convolutions and poolings move over an image: its size, steps and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx2mvit.ir.expr import KerasExpr, alike, call
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.matcher.pattern import require

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """Numbers for every axis of space; `pads` are those before and after it."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    same: bool

    @property
    def spans(self) -> tuple[int, ...]:
        """How many elements it reaches over."""
        return spans(self.size, self.dilations)

    @property
    def padded(self) -> bool:
        """True if there is any padding."""
        return any(sum(pad) for pad in self.pads)

    def beyond(self, lengths: Sequence[int], results: Sequence[int]) -> Pads:
        """What the last windows need behind the padding, where their number is rounded up."""
        reach = [
            (result - 1) * stride + span - length - sum(pad)
            for length, result, stride, span, pad in zip(
                lengths, results, self.strides, self.spans, self.pads, strict=True
            )
        ]
        return tuple((0, max(more, 0)) for more in reach)


def window(op: OpContext, size: Sequence[int]) -> Window:
    """The window of a Conv or a pooling of this size.

    `same` is true where Keras's padding "same" means the same for images of every size.
    """
    attrs, rank = op.attrs, len(size)
    require(1 <= rank <= 3, f"it goes over {rank} axes of space")
    require(len(op.shape()) == rank + 2, "its window has not the rank of its input")
    strides = tuple(attrs.get("strides") or (1,) * rank)
    dilations = tuple(attrs.get("dilations") or (1,) * rank)
    reach = spans(size, dilations)
    flat = tuple(attrs.get("pads") or (0,) * (2 * rank))
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    auto_pad = attrs.get("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        pads = ((0, 0),) * rank
    elif auto_pad != "NOTSET":
        totals = [
            max((-(-length // stride) - 1) * stride + span - length, 0)
            for length, stride, span in zip(op.shape()[2:], strides, reach, strict=True)
        ]
        pads = halves(totals, larger_first=auto_pad == "SAME_LOWER")
    same = auto_pad == "SAME_UPPER" or (
        set(strides) == {1} and pads == halves([span - 1 for span in reach], larger_first=False)
    )
    require(min(min(pad) for pad in pads) >= 0, f"its padding {flat} is negative")
    return Window(tuple(size), strides, dilations, pads, same and any(s > 1 for s in reach))


def spans(size: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """How many elements windows of these sizes reach over."""
    return tuple((n - 1) * d + 1 for n, d in zip(size, dilations, strict=True))


def halves(totals: Sequence[int], larger_first: bool) -> Pads:
    """Padding divided between before and after."""
    pads = [(total // 2, total - total // 2) for total in totals]
    return tuple(pad[::-1] if larger_first else pad for pad in pads)


def zero_padded(x: KerasExpr, pads: Pads) -> KerasExpr:
    """An image, channels last, with zeros around it."""
    return call(f"layers.ZeroPadding{len(pads)}D", widths(pads))(x)


def padded(x: KerasExpr, pads: Pads, value: float | None = None) -> KerasExpr:
    """The same with another number, or by a function."""
    return call("ops.pad", x, ((0, 0), *pads, (0, 0)), constant_values=value)


def cropped(x: KerasExpr, pads: Pads) -> KerasExpr:
    """An image with elements at its borders taken away."""
    return call(f"layers.Cropping{len(pads)}D", widths(pads))(x) if any(map(any, pads)) else x


def widths(pads: Pads) -> Any:
    """As Keras's layers for padding and cropping take it: 1, (1, 2) or ((0, 1), (0, 1))."""
    if len(pads) == 1:
        return pads[0][0] if len(set(pads[0])) == 1 else pads[0]
    if all(before == after for before, after in pads):
        return alike([before for before, _ in pads])
    return pads
