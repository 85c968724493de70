"""Transposed convolutions, which make images larger."""

from __future__ import annotations

from dataclasses import dataclass

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import alike, call, layer, unless
from onnx2mvit.ir.kernels import conv_kernel
from onnx2mvit.ir.layout import channels_last
from onnx2mvit.ir.window import Pads, halves, spans
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.convolution import has_bias, image
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.window import cropped, zero_padded
from onnx2mvit.matcher.rooted import require


@dataclass(frozen=True)
class Geometry:
    """Numbers for every axis of space; `crops` are what is cut from the whole result."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    crops: Pads

    @property
    def spans(self) -> tuple[int, ...]:
        """How many elements the window reaches over."""
        return spans(self.size, self.dilations)


def geometry(op: OpContext, size: tuple[int, ...]) -> Geometry:
    """Reads the attributes; the end is cut so that the result has the length it has."""
    attrs, rank = op.attrs, len(size)
    require(1 <= rank <= 3, f"it goes over {rank} axes of space")
    strides = tuple(attrs.get("strides") or (1,) * rank)
    dilations = tuple(attrs.get("dilations") or (1,) * rank)
    before = tuple(attrs.get("pads") or (0,) * (2 * rank))[:rank]
    auto_pad = attrs.get("auto_pad", "NOTSET")
    whole = [
        (length - 1) * stride + span
        for length, stride, span in zip(
            op.shape()[2:], strides, spans(size, dilations), strict=True
        )
    ]
    results = op.output_shape[2:]
    if auto_pad == "VALID":
        before = (0,) * rank
    elif auto_pad != "NOTSET" or attrs.get("output_shape"):
        extra = attrs.get("output_padding") or (0,) * rank
        require(auto_pad == "NOTSET" or not any(extra), "it pads its result automatically")
        totals = [
            max(full + more - result, 0)
            for full, more, result in zip(whole, extra, results, strict=True)
        ]
        before = tuple(pad[0] for pad in halves(totals, larger_first=auto_pad != "SAME_UPPER"))
    op.one_size |= bool(attrs.get("output_shape"))
    crops = [
        (first, full - first - result)
        for first, full, result in zip(before, whole, results, strict=True)
    ]
    return Geometry(size, strides, dilations, tuple(crops))


@operator("ConvTranspose", 11, 22)
def conv_transpose(op: OpContext) -> KerasCode:
    """As `Conv2DTranspose`, whose result is cut where ONNX pads.

    ONNX's kernel is (channels, filters / groups, …), Keras's (…, filters, channels).
    """
    kernel, group = op.const(1), op.attrs.get("group", 1)
    g = geometry(op, kernel.shape[2:])
    if group > 1 or max(g.dilations) > 1:
        return as_convolution(op, g, group)
    rank, use_bias = len(g.size), None if has_bias(op) else False
    # Keras reaches at least one stride; with `output_padding` it adds just that.
    missing = [max(-after, 0) for _, after in g.crops]  # filled with the bias
    beyond = [max(stride - span, 0) for stride, span in zip(g.strides, g.spans, strict=True)]
    fits = not any(missing) or missing == beyond
    added = beyond if fits else missing
    require(all(map(int.__lt__, added, g.strides)), "its result is longer than its windows reach")
    crops = tuple((first, last + more) for (first, last), more in zip(g.crops, added, strict=True))
    padding = "same" if fits and is_same(g) else None
    conv = layer(
        f"Conv{rank}DTranspose",
        kernel.shape[1],
        alike(g.size),
        strides=unless(alike(g.strides), 1),
        padding=padding,
        output_padding=None if fits else alike(missing),
        use_bias=use_bias,
    )
    op.weights["kernel"] = conv_kernel(kernel)
    x = conv(image(op))
    return op.code(x if padding else cropped(x, crops), channels_last(rank + 2))


def is_same(g: Geometry) -> bool:
    """True if it is Keras's "same" for images of every size."""
    parts = zip(g.spans, g.strides, g.crops, strict=True)
    return any(map(any, g.crops)) and all(
        span >= stride and crop == halves([span - stride], larger_first=False)[0]
        for span, stride, crop in parts
    )


def as_convolution(op: OpContext, g: Geometry, group: int) -> KerasCode:
    """The same as a convolution with the kernel turned round, of an image with zeros between.

    For what Keras has no transposed convolution: groups, and dilations.
    """
    kernel, rank = op.const(1), len(g.size)
    channels, filters = kernel.shape[0] // group, kernel.shape[1]
    pads = tuple(
        (span - 1 - before, span - 1 - after)
        for span, (before, after) in zip(g.spans, g.crops, strict=True)
    )
    require(min(map(min, pads)) >= 0, "its padding is wider than its window")
    kernel = kernel[(slice(None), slice(None), *(slice(None, None, -1),) * rank)]
    kernel = kernel.reshape(group, channels, filters, *g.size).swapaxes(1, 2)
    kernel = kernel.reshape(group * filters, channels, *g.size)
    op.weights["kernel"] = conv_kernel(kernel)
    conv = layer(
        f"Conv{rank}D",
        group * filters,
        alike(g.size),
        dilation_rate=unless(alike(g.dilations), 1),
        use_bias=None if has_bias(op) else False,
        groups=unless(group, 1),
    )
    x = image(op)
    if max(g.strides) > 1:
        x = call("spread", x, g.strides)
    if any(map(any, pads)):
        x = zero_padded(x, pads)
    return op.code(conv(x), channels_last(rank + 2))
