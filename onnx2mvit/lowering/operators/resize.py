"""Images in another size.

Every mode of ONNX asks for pixels at positions `start + step · i` of an axis, in its own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import Arithmetic, KerasExpr, Literal, alike, call, layer, unless
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import Array, require

F = np.float32
LARGEST_PART = 64  # of a scale: an image is repeated so many times
CUBIC = -0.75  # as PyTorch has it
SMOOTH = {"linear": "bilinear", "cubic": "bicubic"}


@dataclass(frozen=True)
class Line:
    """How one axis is resized: its lengths, and at which positions."""

    before: int
    after: int
    scale: np.float32
    positions: Array
    start: KerasExpr
    step: KerasExpr

    @property
    def ratio(self) -> Fraction | None:
        """The scale in whole numbers; None if it is none of those that make what it makes."""
        scale = float(self.scale)
        near = Fraction(scale).limit_denominator(LARGEST_PART)
        alike = F(near) == self.scale and 0 < near.numerator <= LARGEST_PART
        return near if alike and Fraction(scale) >= near else None  # else a length may be less

    @property
    def inside(self) -> bool:
        """True if no position lies outside."""
        return bool((self.positions >= 0).all() and (self.positions <= self.before - 1).all())


@operator("Resize", 11, 13, 18, 19)
def resize(op: OpContext) -> KerasCode:
    """By a layer where Keras has the mode, by positions written out elsewhere."""
    attrs, order, shape = op.attrs, op.layout().order, op.shape()
    mode, coordinates = mode_of(op)
    lines = {axis: line for axis in range(len(shape)) if (line := _line(op, axis)) is not None}
    op.forbid_batch_reduction(list(lines))
    crop = coordinates == "tf_crop_and_resize"
    if not lines or (shape == op.output_shape and not crop):  # onnxruntime looks at no scale then
        return op.code(op.data(), order)
    if crop:
        require(all(line.inside for line in lines.values()), "it looks outside of the image")
    if op.attrs.get("by_sizes") or op.has(3):
        op.has_lengths_of(lines)
    there = {order.index(axis): line for axis, line in lines.items()}
    if attrs.get("antialias") and mode != "nearest":
        shrinks = any(line.scale < 1 for line in there.values())
        require(not shrinks, f"it smoothes (mode {mode!r} with antialias)")
    if mode == "nearest":
        return op.code(_nearest(op, there), order)
    require(mode in SMOOTH, f"the mode {mode!r} is not known")
    return op.code(_smooth(op, there, mode, coordinates), order)


def mode_of(op: OpContext) -> tuple[str, str]:
    """The mode, and how positions are computed; our rules write "align_corners" for a mode."""
    mode = op.attrs.get("mode", "nearest")
    if mode == "align_corners":
        return "linear", mode
    return mode, op.attrs.get("coordinate_transformation_mode", "half_pixel")


def _line(op: OpContext, axis: int) -> Line | None:
    """How an axis is resized; None if it is not."""
    attrs, before, after = op.attrs, op.shape()[axis], op.output_shape[axis]
    rank = len(op.shape())
    axes = [op.axis(a) for a in attrs.get("axes") or range(rank)]
    scales = op.const(2) if op.has(2) else np.zeros(0, F)
    stretch = attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    require(stretch or not op.has(3), "it keeps the ratio of height and width")
    scale = F(after / before)
    if scales.size and axis in axes:
        scale = F(scales.reshape(-1)[axes.index(axis)])
    exact = float(scale) * before
    whole = round(exact) if abs(exact - round(exact)) < 1e-3 else None
    require(whole in (after, None), "its scale may be rounded either way")
    _, how = mode_of(op)
    crop = how == "tf_crop_and_resize" and axis in axes
    if before == after and scale == 1 and not crop:
        return None
    i = np.arange(after, dtype=F)
    half, zero = Literal(0.5 / float(scale) - 0.5), Literal(0.0)
    of_sizes = scale == F(after / before)
    ratio = Arithmetic(f"{before} / {after}") if of_sizes else Literal(1 / float(scale))
    match how:
        case "half_pixel":
            return Line(before, after, scale, (i + F(0.5)) / scale - F(0.5), half, ratio)
        case "pytorch_half_pixel":
            there = (i + F(0.5)) / scale - F(0.5) if after > 1 else F(0) * i
            return Line(before, after, scale, there, half if after > 1 else zero, ratio)
        case "asymmetric":
            return Line(before, after, scale, i / scale, zero, ratio)
        case "align_corners":
            require(whole == after, "its scales are not those of the sizes")
            there = i * F(before - 1) / F(max(after - 1, 1))
            ratio = Arithmetic(f"{before - 1} / {max(after - 1, 1)}")
            return Line(before, after, scale, there, zero, ratio)
        case "half_pixel_symmetric":
            offset = F(before / 2) * (F(1) - F(after) / (scale * F(before)))
            there = offset + (i + F(0.5)) / scale - F(0.5)
            start = Literal(float(offset) + 0.5 / float(scale) - 0.5)
            return Line(before, after, scale, there, start, ratio)
        case "tf_crop_and_resize":
            roi = op.const(1).reshape(-1).tolist()
            at = axes.index(axis)
            first, last = (roi[at] * (before - 1), roi[at + len(axes)] * (before - 1))
            by = (last - first) / (after - 1) if after > 1 else 0.0
            first = first if after > 1 else (first + last) / 2
            return Line(before, after, scale, first + i * F(by), Literal(first), Literal(by))
    require(False, f"its coordinates are {how}")
    return None


def _nearest(op: OpContext, lines: dict[int, Line]) -> KerasExpr:
    """The pixel itself: whole repeats by a layer, regular steps by a slice."""
    mode, rank = op.attrs.get("nearest_mode", "round_prefer_floor"), len(op.shape())
    taken = {at: _rounded(line, mode) for at, line in lines.items()}
    symmetric = mode_of(op)[1] == "half_pixel_symmetric"  # its arithmetic is not alike everywhere
    for at, line in lines.items() if symmetric or mode.startswith("round") else ():
        halves = line.positions % 0.5 == 0  # elsewhere onnxruntime rounds a little before a half
        for by in (F(1e-4), F(-1e-4)):
            near = _rounded(replace(line, positions=line.positions + by), mode) != taken[at]
            between = bool((near if symmetric else near & ~halves).any())
            require(not between, "a position lies between two pixels")
    factors = [1] * rank
    for at, line in lines.items():
        factor = max(line.after // line.before, 1)
        if (taken[at] == np.arange(line.after) // factor).all():
            factors[at] = factor
    space, x = rank - 2, op.data()
    if all(factors[at] > 1 for at in lines) and 1 <= space <= 3 and factors[0] == factors[-1] == 1:
        return layer(f"UpSampling{space}D", size=unless(alike(factors[1:-1]), 2))(x)
    for at, line in sorted(lines.items()):
        x = _picked(op, x, at, taken[at], line)
    return x


def _rounded(line: Line, mode: str) -> Array:
    """The indices that a way of rounding gives, as onnxruntime computes them."""
    there = line.positions
    match mode:
        case "floor":
            index = np.floor(there)
        case "ceil":
            index = np.ceil(there)
        case "round_prefer_floor":
            index = np.ceil(there - F(0.5))
        case "round_prefer_ceil":
            index = np.floor(there + F(0.5))
        case _:
            require(False, f"the rounding {mode!r} is not known")
    return index.astype(int).clip(0, line.before - 1)


def _picked(op: OpContext, x: KerasExpr, at: int, index: Array, line: Line) -> KerasExpr:
    n, m = line.before, line.after
    numbers = np.arange(m)
    first, step = int(index[0]), max(round(1 / float(line.scale)), 1)
    if line.scale == F(1 / step) and m == n // step and (index == first + numbers * step).all():
        # What is left over at the end of another length is none.
        left = first + 1 - step if op.varies([op.layout().order[at]]) else 0
        return x.along(at, slice(first, left or None, step))
    ratio = line.ratio if op.varies([op.layout().order[at]]) and not op.has(3) else None
    if ratio is not None and (index == numbers * ratio.denominator // ratio.numerator).all():
        steps = {"up": ratio.numerator, "down": unless(ratio.denominator, 1)}
        return call("resample", x, axis=at, **steps, mode="nearest")
    op.has_lengths_of([op.layout().order[at]])
    if (index == numbers * n // m).all():
        listed: Any = Arithmetic(f"[i * {n} // {m} for i in range({m})]")
    elif (index == (2 * numbers + 1) * n // (2 * m)).all():
        listed = Arithmetic(f"[(2 * i + 1) * {n} // {2 * m} for i in range({m})]")
    else:
        listed = index.tolist()
    return call("ops.take", x, listed, axis=at)


def _smooth(op: OpContext, lines: dict[int, Line], mode: str, how: str) -> KerasExpr:
    """Between pixels."""
    x, rank = op.data(), len(op.shape())
    plain = how == "half_pixel" or (
        how == "pytorch_half_pixel" and min(line.after for line in lines.values()) > 1
    )
    exact = all(line.scale == F(line.after / line.before) for line in lines.values())
    if mode == "linear" and plain and exact and rank == 4 and set(lines) <= {1, 2}:
        lengths = [op.shape()[axis] for axis in op.layout().order]
        size = [lines[at].after if at in lines else lengths[at] for at in (1, 2)]
        if all(after % before == 0 for after, before in zip(size, lengths[1:3], strict=True)):
            factor = alike(
                [after // before for after, before in zip(size, lengths[1:3], strict=True)]
            )
            return layer("UpSampling2D", size=unless(factor, 2), interpolation="bilinear")(x)
        if (resampled := _resampled(op, x, lines, mode, "half_pixel")) is not None:
            return resampled
        op.has_lengths_of(op.layout().order[at] for at in lines)
        return call("ops.image.resize", x, tuple(size), interpolation="bilinear")
    same = "half_pixel" if plain else how
    if (resampled := _resampled(op, x, lines, mode, same)) is not None:
        return resampled
    op.has_lengths_of(op.layout().order[at] for at in lines)
    sharpness = None
    if mode == "cubic":
        require(not op.attrs.get("exclude_outside"), "it leaves out what lies outside")
        sharpness = op.attrs.get("cubic_coeff_a", -0.75)
    for at, line in sorted(lines.items()):
        where = {"axis": at, "size": line.after, "start": line.start, "step": line.step}
        x = call(f"interpolate_{mode}", x, **where, sharpness=sharpness)
    return x


def _resampled(
    op: OpContext, x: KerasExpr, lines: dict[int, Line], mode: str, how: str
) -> KerasExpr | None:
    """By scales, whatever the lengths are; None where that cannot be, or need not."""
    ratios = {at: line.ratio for at, line in sorted(lines.items())}
    sizes = op.attrs.get("by_sizes") or op.has(3)
    varies = op.varies(op.layout().order[at] for at in lines)
    whole = all(ratio is not None and ratio.denominator == 1 for ratio in ratios.values())
    if (sizes or not varies) and not (whole and mode == "linear" and how != "half_pixel"):
        return None
    if op.attrs.get("exclude_outside") or op.attrs.get("cubic_coeff_a", CUBIC) != CUBIC:
        return None
    for at, ratio in ratios.items():
        if ratio is None or how not in ("half_pixel", "asymmetric", "align_corners"):
            return None
        start = float(1 / ratio - 1) / 2 if how == "half_pixel" else 0.0
        x = call(
            "resample",
            x,
            axis=at,
            up=ratio.numerator,
            down=unless(ratio.denominator, 1),
            mode=unless(mode, "linear"),
            start=start or None,
            corners=True if how == "align_corners" else None,
        )
    return x
