"""Boxes from their offsets to default boxes (arXiv:1512.02325, equation 2, backwards)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.ir.graph import Value
from onnx2mvit.matcher import (
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


class DecodedBoxes(Pattern):
    """(B, N, n) → (B, N, 4): corners, or centre and size, from offsets to default boxes.

    arXiv:1512.02325, equation 2, backwards. The default boxes of maps of any size follow from
    their scales and aspect ratios (section 2.2).
    """

    keras = "decoded_boxes"
    before = ("PositionEmbedding", "BoxOffsets")

    def onnx(self, op: Ops, x: Var) -> Expr:
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
        boxes = np.concatenate([m.centres.const, m.sizes.const], axis=-1)
        boxes = boxes.reshape(-1, boxes.shape[-2], 4)
        require(
            len(boxes) == 1 or bool((boxes == boxes[0]).all()), "boxes differ from image to image"
        )
        found = self.heads(m)
        maps = [(block.inputs[0].shape or ())[2:] for block in found]
        rule = default_boxes_of(boxes[0], maps, [block.attrs["anchors"] for block in found])
        variances = (
            float(m.bound[f"{of}_variance"].const.reshape(())) for of in ("centre", "size")
        )
        return {
            **rule,
            "variances": tuple(map(short, variances)),
            **({} if m.corners is not None else {"corners": False}),
        }


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
    centre = x[..., :2] * variances[0] * lengths + places
    size = ops.exp(x[..., 2:4] * variances[1]) * lengths
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
            centre = x[..., :2] * self.variances[0] * lengths + places
            size = ops.exp(x[..., 2:4] * self.variances[1]) * lengths
            pair = (centre - size / 2, centre + size / 2) if self.corners else (centre, size)
            return ops.concatenate(pair, axis=-1)

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
