"""Padding, repeating, and moving between channels and space."""

from __future__ import annotations

import numpy as np

from onnx2mvit.ir.layout import channels_last
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step, literal
from onnx2mvit.lowering.operators.text import alone, cut, unless
from onnx2mvit.lowering.operators.window import zero_padded
from onnx2mvit.matcher.pattern import require

FUNCTIONS = {"edge": "pad_edge", "wrap": "pad_wrap"}


@operator("Pad", 11, 13, 18, 19, 21, 23, 24, 25)
def pad(step: Step) -> Code:
    """With a number, by reflection, by the border, or by the other side; less than none is cut."""
    order, rank = step.place().order, len(step.shape())
    mode, widths = step.attrs.get("mode", "constant"), padding(step)
    step.keep_apart([axis for axis, width in enumerate(widths) if any(width)])
    there = [widths[axis] for axis in order]
    cuts = [f"{max(-a, 0) or ''}:{min(b, 0) or ''}" for a, b in there]
    x = cut(step.data(), cuts)
    wide = tuple((max(a, 0), max(b, 0)) for a, b in there)
    if not any(map(any, wide)):
        return step.code(x, order)
    if mode in FUNCTIONS:
        return step.code(f"{FUNCTIONS[mode]}({x}, {wide})", order)
    if mode == "reflect":
        return step.code(f'ops.pad({x}, {wide}, mode="reflect")', order)
    require(mode == "constant", f"the mode {mode!r} is not known")
    value = step.const(2).reshape(()) if step.has(2) else np.zeros((), step.value().dtype)
    space, image = wide[1:-1], 3 <= rank <= 5 and order[0] == 0
    if value == 0 and image and not any(wide[0]) and not any(wide[-1]):
        return step.code(zero_padded(x, space), order)
    number = unless(literal(value.item(), value.dtype), "0.0")
    option = f", constant_values={number}" if number else ""
    return step.code(f"ops.pad({x}, {wide}{option})", order)


def padding(step: Step) -> list[tuple[int, int]]:
    """Before and after each of ONNX's axes."""
    flat, rank = step.integers(1) or [], len(step.shape())
    axes = [step.axis(axis) for axis in step.integers(3) or range(rank)]
    widths = [(0, 0)] * rank
    for axis, before, after in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True):
        widths[axis] = (before, after)
    return widths


@operator("Expand", 8, 13)
def expand(step: Step) -> Code:
    """Axes of length one are repeated, new ones put before."""
    before, after, place = step.shape(), step.output_shape, step.place()
    missing = len(after) - len(before)
    order = (*range(missing), *(axis + missing for axis in place.order))
    x = step.data()
    if missing:
        x = f"ops.expand_dims({x}, {alone(range(missing))})"
    batch = None if place.batch is None else place.batch + missing
    lengths = zip((1,) * missing + before, after, strict=True)
    repeats = [new if old == 1 else 1 for old, new in lengths]
    step.written_out([at for at, axis in enumerate(order) if repeats[axis] > 1])
    return step.code(repeated(x, [repeats[axis] for axis in order]), order, batch)


def repeated(x: str, repeats: list[int]) -> str:
    """A tensor several times along its axes."""
    return x if set(repeats) == {1} else f"ops.tile({x}, {tuple(repeats)})"


@operator("Tile", 6, 13)
def tile(step: Step) -> Code:
    """The whole tensor several times along its axes."""
    repeats, order = step.integers(1) or [], step.place().order
    step.keep_apart([axis for axis, count in enumerate(repeats) if count != 1])
    return step.code(repeated(step.data(), [repeats[axis] for axis in order]), order)


def _moved(step: Step, function: str) -> Code:
    rank = len(step.shape())
    require(rank == 4, f"its input has rank {rank}, not 4")
    step.keep_apart([1, 2, 3])
    x, size = step.data(0, channels_last(4)), step.attrs["blocksize"]
    return step.code(f"{function}({x}, {size})", channels_last(4))


@operator("DepthToSpace", 11, 13)
def depth_to_space(step: Step) -> Code:
    """Channels to blocks of pixels: block first (DCR), or channel first as PyTorch (CRD)."""
    mode = step.attrs.get("mode", "DCR")
    require(mode in ("DCR", "CRD"), f"the mode {mode!r} is not known")
    return _moved(step, "depth_to_space" if mode == "DCR" else "pixel_shuffle")


@operator("SpaceToDepth", 1, 13)
def space_to_depth(step: Step) -> Code:
    """Blocks of pixels to channels, block first."""
    return _moved(step, "space_to_depth")
