"""Boxes from their offsets to default boxes (arXiv:1512.02325, equation 2, backwards)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
    Array,
    Expr,
    Match,
    Ops,
    Pattern,
    Var,
    any_of,
    constant,
    maybe,
    require,
    scalar,
)

from .default_boxes import box_shapes, default_boxes, default_boxes_of, short
from .ssd import heads

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]


def decoding(op: Ops, x: Var) -> Expr:
    """(B, N, n) → (B, N, 4): what offsets make of the places and sizes of default boxes."""
    last = {"axis": lambda axis: axis in (-1, 2)}
    y: Expr = maybe(op.Slice(x, role="offsets", axis=2, start=0, end=4))
    size = op.Exp(op.Mul(op.Slice(y, axis=2, start=2, end=4), scalar("size_variance")))
    size = op.Mul(size, constant("sizes"))
    centre = op.Mul(op.Slice(y, axis=2, start=0, end=2), scalar("centre_variance"))
    centre = op.Add(op.Mul(centre, constant("lengths")), constant("centres"))
    y = op.Concat(centre, size, **last)
    # Exporters may cut the same piece off twice.
    low, high = (op.Slice(y, axis=2, start=0, end=2) for _ in range(2))
    less, more = (
        op.Mul(op.Slice(y, axis=2, start=2, end=4), scalar(role, 0.5))
        for role in ("half", "other_half")
    )
    corners = op.Concat(op.Sub(low, less), op.Add(high, more), role="corners", **last)
    return any_of(corners, y)


def decoding_params(m: Match) -> dict[str, Any]:
    """The hyperparameters that every decoding has."""
    variances = (float(m.bound[f"{of}_variance"].const.reshape(())) for of in ("centre", "size"))
    corners = {} if m.corners is not None else {"corners": False}
    return {"variances": tuple(map(short, variances)), **corners}


class DecodedBoxes(Pattern):
    """(B, N, n) → (B, N, 4): corners, or centre and size, from offsets to default boxes.

    arXiv:1512.02325, equation 2, backwards. The default boxes of maps of any size follow from
    their scales and aspect ratios (section 2.2).
    """

    keras = "decoded_boxes"
    before = ("TabledBoxes", "PositionEmbedding", "BoxOffsets")

    def onnx(self, op: Ops, x: Var) -> Expr:
        return decoding(op, x)

    def boxes(self, params: dict[str, Any]) -> BoxFormat:
        return BoxFormat(corners=params.get("corners", True))

    def operands(self, m: Match) -> tuple[Value, ...]:
        return (m.x, *(block.inputs[0] for block in self.heads(m)))

    def heads(self, m: Match) -> list[Block]:
        """The blocks that say what is decoded, in order."""
        node, known = m.graph.producer(m.x), heads(m.graph)
        said = node.inputs if node is not None and node.op == "AllBoxes" else (m.x,)
        require(all(each in known for each in said), "it reads no SSDHead")
        return [known[each] for each in said]

    def params(self, m: Match) -> dict[str, Any]:
        require(np.array_equal(m.sizes.const, m.lengths.const), "it has boxes of two sizes")
        parts = [m.centres.const, m.sizes.const]
        require(all(part.shape[-1:] == (2,) for part in parts), "they are no places and sizes")
        require(parts[0].shape == parts[1].shape, "there are more places than sizes, or fewer")
        boxes = np.concatenate(parts, axis=-1)
        boxes = boxes.reshape(-1, boxes.shape[-2], 4)
        require(
            len(boxes) == 1 or bool((boxes == boxes[0]).all()), "boxes differ from image to image"
        )
        found = self.heads(m)
        maps = [(block.inputs[0].shape or ())[2:] for block in found]
        rule = default_boxes_of(boxes[0], maps, [block.attrs["anchors"] for block in found])
        return {**rule, **decoding_params(m)}

    def windows(self, block: Block) -> tuple[int, ...]:
        return ()  # the default boxes are those of any map


def decoded_boxes(
    x: KerasTensor,
    *maps: KerasTensor,
    scales: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    variances: tuple[float, float] = (0.1, 0.2),
    clip: bool = True,
    corners: bool = True,
) -> KerasTensor:
    """(B, N, n) → (B, N, 4): corners of boxes from their offsets to the default boxes of maps."""
    defaults = default_boxes([image.shape[1:3] for image in maps], scales, aspect_ratios, clip)
    places, lengths = defaults[:, :2], defaults[:, 2:]
    return moved_boxes(x, places, lengths, lengths, variances, corners)


def moved_boxes(
    x: KerasTensor,
    places: KerasTensor,
    lengths: KerasTensor,
    sizes: KerasTensor,
    variances: Sequence[float],
    corners: bool = True,
) -> KerasTensor:
    """Corners of boxes: places moved by shares of lengths, and sizes times a power of e."""
    by_place, by_size = np.array(variances, "float32")
    centre = x[..., :2] * by_place * lengths + places
    size = ops.exp(x[..., 2:4] * by_size) * sizes
    if not corners:
        return ops.concatenate([centre, size], axis=-1)
    return ops.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def decoded_boxes_any_size() -> None:
    """For images of any size: what takes the place of `decoded_boxes`."""

    @keras.saving.register_keras_serializable("onnx2mvit")
    class DecodedBoxes(layers.Layer):
        """(B, N, n) → (B, N, 4): boxes from their offsets to the default boxes of maps."""

        def __init__(
            self,
            shapes: list[list[list[float]]],
            variances: tuple[float, float],
            clip: bool,
            corners: bool,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.shapes, self.variances = shapes, tuple(variances)
            self.clip, self.corners = clip, corners

        def call(self, inputs: list[KerasTensor]) -> KerasTensor:
            x, *maps = inputs
            boxes = []
            for image, listed in zip(maps, self.shapes, strict=True):
                _, height, width, _ = ops.shape(image)
                shapes = np.array(listed, "float32")
                row = (ops.arange(height, dtype="float32") + 0.5) / ops.cast(height, "float32")
                column = (ops.arange(width, dtype="float32") + 0.5) / ops.cast(width, "float32")
                centres = ops.stack(ops.meshgrid(column, row), axis=-1)[:, :, None]
                both = [centres + np.zeros_like(shapes), ops.zeros_like(centres) + shapes]
                boxes.append(ops.reshape(ops.concatenate(both, axis=-1), (-1, 4)))
            defaults = ops.concatenate(boxes, axis=0)
            if self.clip:
                defaults = ops.clip(defaults, 0, 1)
            places, lengths = defaults[:, :2], defaults[:, 2:]
            return moved_boxes(x, places, lengths, lengths, self.variances, self.corners)

        def compute_output_shape(self, shapes: list[Shape]) -> Shape:
            return (*shapes[0][:2], 4)

        def get_config(self) -> dict[str, Any]:
            names = ("shapes", "variances", "clip", "corners")
            return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def decoded_boxes(
        x: KerasTensor,
        *maps: KerasTensor,
        scales: Sequence[float],
        aspect_ratios: Sequence[Sequence[float]],
        variances: tuple[float, float] = (0.1, 0.2),
        clip: bool = True,
        corners: bool = True,
    ) -> KerasTensor:
        """(B, N, n) → (B, N, 4): boxes from their offsets to the default boxes of maps."""
        shapes = [
            box_shapes(scales[k], scales[k + 1], ratios).tolist()
            for k, ratios in enumerate(aspect_ratios)
        ]
        return DecodedBoxes(shapes, variances, clip, corners)([x, *maps])


class TabledBoxes(Pattern):
    """(B, N, n) → (B, N, 4): boxes from their offsets to the default boxes of a table.

    arXiv:1512.02325, equation 2, backwards, where no scales and aspect ratios say which they are.
    Keras: Embedding, a row for each box: centre, width and height. It is not trained.
    """

    keras = "tabled_boxes"
    before = ("PositionEmbedding", "BoxOffsets")

    def onnx(self, op: Ops, x: Var) -> Expr:
        return decoding(op, x)

    def boxes(self, params: dict[str, Any]) -> BoxFormat:
        return BoxFormat(corners=params.get("corners", True))

    def params(self, m: Match) -> dict[str, Any]:
        _, count, _ = m.shape("x", 3)
        tables = [m.centres.const, m.lengths.const, m.sizes.const]
        require(all(table.size == 2 * count for table in tables), "its boxes are no table")
        apart = {} if np.array_equal(*tables[1:]) else {"apart": True}
        return {"boxes": count, **decoding_params(m), **apart}

    def weights(self, m: Match) -> dict[str, Array]:
        tables = [m.centres.const, m.sizes.const, m.lengths.const]
        columns = 2 if np.array_equal(*tables[1:]) else 3
        rows = [table.reshape(-1, 2) for table in tables[:columns]]
        return {"embeddings": np.concatenate(rows, axis=-1)}


def tabled_boxes(
    x: KerasTensor,
    boxes: int,
    variances: tuple[float, float] = (0.1, 0.2),
    apart: bool = False,
    corners: bool = True,
    *,
    name: str,
) -> KerasTensor:
    """(B, N, n) → (B, N, 4): corners of boxes from their offsets to those of a table."""
    index = ops.zeros_like(x[:1, :, 0], dtype="int32") + np.arange(boxes, dtype="int32")
    table = layers.Embedding(boxes, 6 if apart else 4, trainable=False, name=name)(index)
    places, sizes = table[..., :2], table[..., 2:4]
    # What offsets are shares of need not be the sizes.
    lengths = table[..., 4:] if apart else sizes
    return moved_boxes(x, places, lengths, sizes, variances, corners)
