"""Pixels at places that are computed, such places, and patches that are summed up to images."""

from __future__ import annotations

from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.expr import call, unless
from onnx2mvit.ir.layout import channels_last, plain
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.matcher.rooted import require

# The names of before opset 20, and those of now.
MODES = {"bilinear": "linear", "bicubic": "cubic"}


@operator("GridSample", 16, 20, 22)
def grid_sample(op: OpContext) -> KerasCode:
    """Spatial transformers (arXiv:1506.02025): a grid says which pixel comes where."""
    rank = len(op.shape())
    require(rank == 4, f"its input has rank {rank}, not 4")
    batches = {op.layout(index).batch for index in (0, 1) if op.value(index).const is None}
    if not batches <= {0, None}:
        raise MixesBatch("GridSample goes over the images of a batch")
    mode = op.attrs.get("mode", "linear")
    require(op.value(0).const is None, "it samples from a constant")
    x = op.data(0, channels_last(4))
    if op.value(1).const is None:
        grid = op.data(1, plain(4))
    else:
        grid = op.for_every_image(op.one_row(op.const(1), plain(4)), x, 0)
    # As many places as an image has pixels, at this size, are those of a grid over all of it.
    fixed = [op.shape(1)[axis] for axis in (1, 2) if not op.varies([axis], 1)]
    op.one_size |= op.varies([2, 3]) and bool(fixed) and all(map(op.is_length, fixed))
    sampled = call(
        "grid_sample",
        x,
        grid,
        mode=unless(MODES.get(mode, mode), "linear"),
        padding=unless(op.attrs.get("padding_mode", "zeros"), "zeros"),
        align_corners=bool(op.attrs.get("align_corners", 0)) or None,
    )
    return op.code(sampled, channels_last(4))


@operator("AffineGrid", 20)
def affine_grid(op: OpContext) -> KerasCode:
    """torch's `affine_grid`: where a matrix for each image brings the places of an image."""
    size, corners = (op.integers(1) or [])[2:], bool(op.attrs.get("align_corners", 0))
    require(not corners or min(size) > 1, "corners of a single pixel are at no certain place")
    op.one_size |= any(map(op.is_length, size))
    op.forbid_batch_reduction([1, 2])
    grid = call("affine_grid", op.data(0, plain(3)), tuple(size), align_corners=corners or None)
    return op.code(grid, plain(2 + len(size)), op.layout().batch)


@operator("Col2Im", 18)
def col2im(op: OpContext) -> KerasCode:
    """torch.nn.Fold: patches (batch, channels · block, places), which may overlap."""
    require(len(op.shape()) == 3, f"its input has rank {len(op.shape())}, not 3")
    if op.layout().batch not in (0, None):
        raise MixesBatch("Col2Im goes over the images of a batch")
    size, block = tuple(op.integers(1) or ()), tuple(op.integers(2) or ())
    ones, rank = (1,) * len(block), len(block)
    flat = op.attrs.get("pads") or (0,) * 2 * rank
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    steps = (op.attrs.get(key) or ones for key in ("strides", "dilations"))
    op.has_lengths_of([2])
    folded = call("col2im", op.data(0, (0, 2, 1)), size, block, *map(tuple, steps), pads)
    return op.code(folded, channels_last(rank + 2), op.layout().batch)
