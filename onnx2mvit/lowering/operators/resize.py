"""Images in another size.

Every mode of ONNX asks for pixels at positions `start + step · i` of an axis, in its own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import Raw, alike, call, cut, layer, unless
from onnx2mvit.matcher.pattern import Array, require

F = np.float32
SMOOTH = {"linear": "bilinear", "cubic": "bicubic"}


@dataclass(frozen=True)
class Line:
    """How one axis is resized: its lengths, and at which positions (`text` is Python code)."""

    before: int
    after: int
    scale: np.float32
    positions: Array
    start: str
    step: str

    @property
    def inside(self) -> bool:
        """True if no position lies outside."""
        return bool((self.positions >= 0).all() and (self.positions <= self.before - 1).all())


@operator("Resize", 11, 13, 18, 19)
def resize(step: Step) -> Code:
    """By a layer where Keras has the mode, by positions written out elsewhere."""
    attrs, order, shape = step.attrs, step.place().order, step.shape()
    mode, coordinates = mode_of(step)
    lines = {axis: line for axis in range(len(shape)) if (line := _line(step, axis)) is not None}
    step.keep_apart(list(lines))
    if not lines:
        return step.code(step.data(), order)
    if coordinates == "tf_crop_and_resize":
        require(all(line.inside for line in lines.values()), "it looks outside of the image")
    there = {order.index(axis): line for axis, line in lines.items()}
    if attrs.get("antialias") and mode != "nearest":
        shrinks = any(line.scale < 1 for line in there.values())
        require(not shrinks, f"it smoothes (mode {mode!r} with antialias)")
    if mode == "nearest":
        return step.code(_nearest(step, there), order)
    require(mode in SMOOTH, f"the mode {mode!r} is not known")
    return step.code(_smooth(step, there, mode, coordinates), order)


def mode_of(step: Step) -> tuple[str, str]:
    """The mode, and how positions are computed; our rules write "align_corners" for a mode."""
    mode = step.attrs.get("mode", "nearest")
    if mode == "align_corners":
        return "linear", mode
    return mode, step.attrs.get("coordinate_transformation_mode", "half_pixel")


def _line(step: Step, axis: int) -> Line | None:
    """How an axis is resized; None if it is not."""
    attrs, before, after = step.attrs, step.shape()[axis], step.output_shape[axis]
    rank = len(step.shape())
    axes = [step.axis(a) for a in attrs.get("axes") or range(rank)]
    scales = step.const(2) if step.has(2) else np.zeros(0, F)
    stretch = attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    require(stretch or not step.has(3), "it keeps the ratio of height and width")
    scale = F(after / before)
    if scales.size and axis in axes:
        scale = F(scales.reshape(-1)[axes.index(axis)])
    exact = float(scale) * before
    whole = round(exact) if abs(exact - round(exact)) < 1e-3 else None
    require(whole in (after, None), "its scale may be rounded either way")
    _, how = mode_of(step)
    crop = how == "tf_crop_and_resize" and axis in axes
    if before == after and scale == 1 and not crop:
        return None
    i = np.arange(after, dtype=F)
    half = f"{0.5 / float(scale) - 0.5!r}"
    ratio = f"{before} / {after}" if scale == F(after / before) else f"{1 / float(scale)!r}"
    match how:
        case "half_pixel":
            return Line(before, after, scale, (i + F(0.5)) / scale - F(0.5), half, ratio)
        case "pytorch_half_pixel":
            there = (i + F(0.5)) / scale - F(0.5) if after > 1 else F(0) * i
            return Line(before, after, scale, there, half if after > 1 else "0.0", ratio)
        case "asymmetric":
            return Line(before, after, scale, i / scale, "0.0", ratio)
        case "align_corners":
            require(whole == after, "its scales are not those of the sizes")
            there = i * F(before - 1) / F(max(after - 1, 1))
            return Line(before, after, scale, there, "0.0", f"{before - 1} / {max(after - 1, 1)}")
        case "half_pixel_symmetric":
            offset = F(before / 2) * (F(1) - F(after) / (scale * F(before)))
            there = offset + (i + F(0.5)) / scale - F(0.5)
            start = f"{float(offset) + 0.5 / float(scale) - 0.5!r}"
            return Line(before, after, scale, there, start, ratio)
        case "tf_crop_and_resize":
            roi = step.const(1).reshape(-1).tolist()
            at = axes.index(axis)
            first, last = (roi[at] * (before - 1), roi[at + len(axes)] * (before - 1))
            by = (last - first) / (after - 1) if after > 1 else 0.0
            first = first if after > 1 else (first + last) / 2
            return Line(before, after, scale, first + i * F(by), repr(first), repr(by))
    require(False, f"its coordinates are {how}")
    return None


def _nearest(step: Step, lines: dict[int, Line]) -> str:
    """The pixel itself: whole repeats by a layer, regular steps by a slice."""
    mode, rank = step.attrs.get("nearest_mode", "round_prefer_floor"), len(step.shape())
    taken = {at: _rounded(line, mode) for at, line in lines.items()}
    if mode_of(step)[1] == "half_pixel_symmetric":
        nudged = [F(1e-4), F(-1e-4)]  # its arithmetic is not the same everywhere
        for at, line in lines.items():
            near = [_rounded(replace(line, positions=line.positions + by), mode) for by in nudged]
            same = all((index == taken[at]).all() for index in near)
            require(same, "a position lies between two pixels")
    factors = [1] * rank
    for at, line in lines.items():
        factor = max(line.after // line.before, 1)
        if (taken[at] == np.arange(line.after) // factor).all():
            factors[at] = factor
    space, x = rank - 2, step.data()
    if all(factors[at] > 1 for at in lines) and 1 <= space <= 3 and factors[0] == factors[-1] == 1:
        return f"{layer(f'UpSampling{space}D', size=unless(alike(factors[1:-1]), 2))}({x})"
    for at, line in sorted(lines.items()):
        x = _picked(step, x, at, taken[at], line)
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


def _picked(step: Step, x: str, at: int, index: Array, line: Line) -> str:
    n, m, head = line.before, line.after, [":"] * at
    numbers = np.arange(m)
    regular = line.scale == F(m / n)  # else another size would have other steps
    if regular and m <= n and (index == index[0] + numbers * (n // m)).all():
        return (
            cut(x, [*head, f"{index[0] or ''}::{n // m}"]) if n % m == 0 else _listed(x, at, index)
        )
    step.written_out([at])
    if (index == numbers * n // m).all():
        return f"ops.take({x}, [i * {n} // {m} for i in range({m})], axis={at})"
    if (index == (2 * numbers + 1) * n // (2 * m)).all():
        return f"ops.take({x}, [(2 * i + 1) * {n} // {2 * m} for i in range({m})], axis={at})"
    return _listed(x, at, index)


def _listed(x: str, at: int, index: Array) -> str:
    return f"ops.take({x}, {index.tolist()}, axis={at})"


def _smooth(step: Step, lines: dict[int, Line], mode: str, how: str) -> str:
    """Between pixels."""
    x, rank = step.data(), len(step.shape())
    plain = how == "half_pixel" or (
        how == "pytorch_half_pixel" and min(line.after for line in lines.values()) > 1
    )
    exact = all(line.scale == F(line.after / line.before) for line in lines.values())
    if mode == "linear" and plain and exact and rank == 4 and set(lines) <= {1, 2}:
        lengths = [step.shape()[axis] for axis in step.place().order]
        size = [lines[at].after if at in lines else lengths[at] for at in (1, 2)]
        if all(after % before == 0 for after, before in zip(size, lengths[1:3], strict=True)):
            factor = alike(
                [after // before for after, before in zip(size, lengths[1:3], strict=True)]
            )
            return f"{layer('UpSampling2D', size=unless(factor, 2), interpolation='bilinear')}({x})"
        step.fixed_size = True
        return f'ops.image.resize({x}, {tuple(size)}, interpolation="bilinear")'
    step.fixed_size = True
    options = {"axis": 0, "size": 0, "start": Raw(), "step": Raw()}
    if mode == "cubic":
        require(not step.attrs.get("exclude_outside"), "it leaves out what lies outside")
        options["sharpness"] = step.attrs.get("cubic_coeff_a", -0.75)
    for at, line in sorted(lines.items()):
        options |= {
            "axis": at,
            "size": line.after,
            "start": Raw(line.start),
            "step": Raw(line.step),
        }
        x = call(f"interpolate_{mode}", Raw(x), **options)
    return x
