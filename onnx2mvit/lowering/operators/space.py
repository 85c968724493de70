"""Padding, repeating, and moving between channels and space."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import KerasExpr, Literal, alone, call, unless
from onnx2mvit.ir.layout import channels_last
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.sources import literal
from onnx2mvit.lowering.operators.window import zero_padded
from onnx2mvit.matcher.rooted import require

FUNCTIONS = {"edge": "pad_edge", "wrap": "pad_wrap"}


@operator("Pad", 11, 13, 18, 19, 21, 23, 24, 25)
def pad(op: OpContext) -> KerasCode:
    """With a number, by reflection, by the border, or by the other side; less than none is cut."""
    order, rank = op.layout().order, len(op.shape())
    mode, widths = op.attrs.get("mode", "constant"), padding(op)
    op.forbid_batch_reduction([axis for axis, width in enumerate(widths) if any(width)])
    there = [widths[axis] for axis in order]
    x = op.data()[tuple(slice(max(-a, 0), min(b, 0) or None) for a, b in there)]
    wide = tuple((max(a, 0), max(b, 0)) for a, b in there)
    if not any(map(any, wide)):
        return op.code(x)
    if mode in FUNCTIONS:
        return op.code(call(FUNCTIONS[mode], x, wide))
    if mode == "reflect":
        return op.code(call("ops.pad", x, wide, mode="reflect"))
    require(mode == "constant", f"the mode {mode!r} is not known")
    value = op.const(2).reshape(()) if op.has(2) else np.zeros((), op.value().dtype)
    space, image = wide[1:-1], 3 <= rank <= 5 and order[0] == 0
    if value == 0 and image and not any(wide[0]) and not any(wide[-1]):
        return op.code(zero_padded(x, space))
    number = unless(literal(value.item(), value.dtype), Literal(0.0))
    return op.code(call("ops.pad", x, wide, constant_values=number))


def padding(op: OpContext) -> list[tuple[int, int]]:
    """Before and after each of ONNX's axes."""
    flat, rank = op.integers(1) or [], len(op.shape())
    axes = [op.axis(axis) for axis in op.integers(3) or range(rank)]
    widths = [(0, 0)] * rank
    for axis, before, after in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True):
        widths[axis] = (before, after)
    return widths


@operator("Expand", 8, 13)
def expand(op: OpContext) -> KerasCode:
    """Axes of length one are repeated, new ones put before.

    What is alike for all images has no batch, and gets one where it is repeated for each of them.
    """
    before, after, layout = op.shape(), op.output_shape, op.layout()
    missing = len(after) - len(before)
    order = (*range(missing), *(axis + missing for axis in layout.order))
    x = op.data()
    if missing:
        x = call("ops.expand_dims", x, alone(range(missing)))
    batch = None if layout.batch is None else layout.batch + missing
    lengths = zip((1,) * missing + before, after, strict=True)
    repeats = [new if old == 1 else 1 for old, new in lengths]
    if batch is None and op.trace_batch != 1 and op.trace_batch in repeats:
        batch = repeats.index(op.trace_batch)
        repeats[batch] = 1
        x = op.for_each_image(x, order.index(batch), len(order))
    op.one_size |= any(map(op.is_length, repeats))
    return op.code(repeated(x, [repeats[axis] for axis in order]), order, batch)


def repeated(x: KerasExpr, repeats: list[int]) -> KerasExpr:
    """A tensor several times along its axes."""
    return x if set(repeats) == {1} else call("ops.tile", x, tuple(repeats))


@operator("Tile", 6, 13)
def tile(op: OpContext) -> KerasCode:
    """The whole tensor several times along its axes."""
    repeats, order = op.integers(1) or [], op.layout().order
    op.forbid_batch_reduction([axis for axis, count in enumerate(repeats) if count != 1])
    op.one_size |= any(map(op.is_length, repeats))
    return op.code(repeated(op.data(), [repeats[axis] for axis in order]))


def _moved(op: OpContext, function: str) -> KerasCode:
    rank = len(op.shape())
    require(rank == 4, f"its input has rank {rank}, not 4")
    op.forbid_batch_reduction([1, 2, 3])
    x = op.data(0, channels_last(4))
    return op.code(call(function, x, op.attrs["blocksize"]), channels_last(4))


@operator("DepthToSpace", 11, 13)
def depth_to_space(op: OpContext) -> KerasCode:
    """Channels to blocks of pixels: block first (DCR), or channel first as PyTorch (CRD)."""
    mode = op.attrs.get("mode", "DCR")
    require(mode in ("DCR", "CRD"), f"the mode {mode!r} is not known")
    return _moved(op, "ops.depth_to_space" if mode == "DCR" else "depth_to_space_crd")


@operator("SpaceToDepth", 1, 13)
def space_to_depth(op: OpContext) -> KerasCode:
    """Blocks of pixels to channels, block first."""
    return _moved(op, "ops.space_to_depth")
