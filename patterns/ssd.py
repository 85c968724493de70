"""SSD (arXiv:1512.02325): what maps of several sizes say of boxes at each of their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.matcher import (
    Array,
    Builder,
    Expr,
    Match,
    Ops,
    Pattern,
    Rule,
    Var,
    any_of,
    constant,
    each,
    maybe,
    p,
    require,
    scalar,
)

from .conv import Conv, DepthwiseConv, PointwiseConv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers, ops

Shape = tuple[int | None, ...]
Sizes = Sequence[tuple[int, ...]]

INNER = p("batch_norm", "use_bias", "bn_epsilon", "bn_momentum")
LAST: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": True}


class PartsOfJoined(Rule):
    """Joins what maps say before it is cut into boxes and scores, so that this is done once.

    Concat(Slice(a, axis=2, …), Slice(b, axis=2, …), …, axis=1)
    → Slice(Concat(a, b, …, axis=1), axis=2, …)
    """

    needed_by = "SSD of ml-cvnets, whose heads cut what they say themselves"
    forward = True  # so that the first of two makes what both read

    def onnx(self, op: Ops, x: Var) -> Expr:
        part = op.Slice(Var("whole"), role="part", axis=2)
        return op.Concat(each(part, role="parts"), axis=1)

    def rewrite(self, m: Match, new: Builder) -> Value:
        attrs, wholes = m.parts[0].part.attrs, tuple(part.whole for part in m.parts)
        require(all(part.part.attrs == attrs for part in m.parts), "they are not cut alike")
        shapes: list[Sequence[int]] = [whole.shape or () for whole in wholes]
        require({len(shape) for shape in shapes} == {3}, "they have another rank than 3")
        require(len({shape[2] for shape in shapes}) == 1, "they differ in the last axis")
        for node in m.graph.of(["Concat"]):
            if node.inputs == wholes and node.position < m.root.position:
                return new.like_root(node.output, op="Slice", **attrs)
        batch, _, channels = shapes[0]
        joined = (batch, sum(shape[1] for shape in shapes), channels)
        return new.like_root(new.Concat(*wholes, axis=1, shape=joined), op="Slice", **attrs)


class SSDHead(Pattern):
    """(B, C, H, W) → (B, H·W·A, n): n numbers for each of A boxes at every place of a map.

    They are offsets of the box, scores of its classes, or both (arXiv:1512.02325, section 2.1).
    The convolution may be separable (SSDLite, arXiv:1801.04381, section 6.2), with a 1×1 before
    it in ml-cvnets.
    """

    keras = "ssd_head"
    nested = True
    style = ("kernel_size", "activation", "depthwise_activation")
    before = ("InvertedResidual", "DepthwiseSeparable", "AllBoxes")

    def onnx(self, op: Ops, x: Var) -> Expr:
        own: dict[str, Any] = {"strides": 1, "kernel_size": p.kernel_size, "padding": None}
        projected = PointwiseConv(
            x, role="project", filters=p.projection, activation=p.activation, **INNER
        )
        inner = p.depthwise_activation
        plain, separable = (
            PointwiseConv(
                DepthwiseConv(y, role="depthwise", activation=inner, dilation=1, **own, **INNER),
                role="predict",
                **LAST,
            )
            for y in (x, projected)
        )
        alone = Conv(x, role="predict", dilation=1, **own, **LAST)
        boxes: dict[str, Any] = {"a": p.anchors.where(lambda count: count > 1), "k": p.outputs}
        said = any_of(separable, plain, alone)
        return op.Rearrange("b (a k) h w -> b (h w a) k", said, **boxes)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        readers = {node.op for node in m.graph.consumers(m.root.output)}
        require(height * width > 1 or "Concat" in readers, "it speaks of a single place alone")
        source = m.graph.producer(m.x)
        separated = source is not None and source.op == "ConvBnAct" and source.attrs["depthwise"]
        require(not (m.project and separated), "its 1×1 belongs to the convolution before it")
        return {} if m.depthwise is None else {"separable": True}


def ssd_head(
    x: KerasTensor,
    outputs: int,
    anchors: int,
    kernel_size: int = 3,
    projection: int | None = None,
    separable: bool = False,
    activation: str | None = "relu",
    depthwise_activation: str | None = None,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """(B, H, W, C) → (B, H·W·anchors, outputs): what is said of boxes at every place of a map."""
    inputs = keras.Input(x.shape[1:])
    y = inputs
    last: dict[str, Any] = {"activation": None, "batch_norm": False, "use_bias": True}
    if projection is not None:
        y = conv_bn_act(y, projection, 1, activation=activation, name="project", **conv)
    if separable:
        y = conv_bn_act(
            y,
            y.shape[-1],
            kernel_size,
            depthwise=True,
            activation=depthwise_activation,
            name="depthwise",
            **conv,
        )
        kernel_size = 1
    y = conv_bn_act(y, anchors * outputs, kernel_size, name="predict", **last)
    y = layers.Reshape((-1, outputs), name="boxes")(y)
    return keras.Model(inputs, y, name=name)(x)


class AllBoxes(Pattern):
    """(B, N₁, n), (B, N₂, n), … → (B, N₁ + N₂ + …, n): what several maps say, in their order."""

    keras = "all_boxes"
    before = ("ClassToken", "DecodedBoxes", "BoxOffsets", "ClassScores")

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Concat(each(Var("said"), role="parts"), axis=1)

    def params(self, m: Match) -> dict[str, Any]:
        require(all(part.said in heads(m.graph) for part in m.parts), "a part is of no SSDHead")
        return {}


def heads(graph: Graph) -> dict[Value | None, Block]:
    """What each SSDHead of a graph gives, and the block."""
    found = graph.of(["SSDHead"])
    return {block.output: block for block in found if isinstance(block, Block)}


def all_boxes(x: KerasTensor, *others: KerasTensor, name: str) -> KerasTensor:
    """What all maps say of their boxes."""
    return layers.Concatenate(axis=1, name=name)([x, *others])


def of_all(m: Match) -> None:
    """Requires that it reads what SSD's heads say."""
    node = m.graph.producer(m.x)
    require(node is not None and node.op in ("AllBoxes", "SSDHead"), "it reads no SSDHead")


class BoxOffsets(Pattern):
    """(B, N, n) → (B, N, 4): of what is said of each box, where it lies."""

    keras = "box_offsets"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Slice(x, axis=2, start=0, end=4)

    def params(self, m: Match) -> dict[str, Any]:
        of_all(m)
        return {}


def box_offsets(x: KerasTensor) -> KerasTensor:
    """(B, N, n) → (B, N, 4): of what is said of each box, where it lies."""
    return x[..., :4]


class ClassScores(Pattern):
    """(B, N, n) → (B, N, classes): of what is said of each box, what is in it.

    They are logits, or probabilities by softmax; the first class is the background.
    """

    keras = "class_scores"

    def onnx(self, op: Ops, x: Var) -> Expr:
        y = op.Slice(x, role="scores", axis=2)
        last = {"axis": lambda axis: axis in (-1, 2)}
        return any_of(
            op.Softmax(y, role="softmax", **last), y, op.Softmax(x, role="softmax", **last)
        )

    def params(self, m: Match) -> dict[str, Any]:
        of_all(m)
        *_, outputs = m.shape("x", 3)
        part = m.scores.attrs if m.scores is not None else {"start": 0, "end": outputs}
        require(part["end"] == outputs, "it leaves out the last class")
        return {"start": part["start"], "softmax": m.softmax is not None}


def class_scores(x: KerasTensor, start: int = 4, softmax: bool = True) -> KerasTensor:
    """(B, N, n) → (B, N, classes): of what is said of each box, what is in it."""
    x = x[..., start:]
    if softmax:
        x = layers.Softmax()(x)
    return x


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


def default_boxes_of(boxes: Array, maps: Sizes, anchors: Sequence[int]) -> dict[str, Any]:
    """The scales and aspect ratios of default boxes (N, 4).

    Raises:
        Mismatch: there are none by which these are the default boxes of maps of these sizes.
    """
    counts = [height * width * count for (height, width), count in zip(maps, anchors, strict=True)]
    require(sum(counts) == len(boxes), "they are not those of the maps")
    require(all(count % 2 == 0 for count in anchors), "a place has an odd number of boxes")
    firsts = [
        boxes[start : start + count, 2:].astype(np.float64)
        for start, count in zip(np.cumsum([0, *counts]), anchors, strict=False)
    ]
    scales = [float(first[0, 0]) for first in firsts]
    # Between two scales is the root of their product, so that the last has one after it.
    scales.append(float(firsts[-1][1, 0]) ** 2 / scales[-1])
    ratios = [
        tuple(short((scale / float(first[at].min())) ** 2) for at in range(2, len(first), 2))
        for scale, first in zip(scales, firsts, strict=False)
    ]
    rule: dict[str, Any] = {"scales": tuple(map(short, scales)), "aspect_ratios": tuple(ratios)}
    for clip in (True, False):
        made = default_boxes(maps, **rule, clip=clip)
        if np.allclose(made, boxes, rtol=0, atol=2e-6):
            return rule if clip else {**rule, "clip": False}
    require(False, "its default boxes do not follow from scales and aspect ratios")
    return {}


def short(number: float) -> float:
    """A number with as many digits as a constant of single precision has."""
    rounded = float(f"{number:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def default_boxes(
    maps: Sizes,
    scales: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    clip: bool = True,
) -> Any:
    """(N, 4): centre x and y, width and height of SSD's default boxes, as shares of the image."""
    boxes = []
    for k, (height, width) in enumerate(maps):
        shapes = box_shapes(scales[k], scales[k + 1], aspect_ratios[k])
        y, x = np.indices((height, width)).reshape(2, -1) + 0.5
        centres = np.stack([x / width, y / height], axis=-1).repeat(len(shapes), axis=0)
        boxes.append(np.concatenate([centres, np.tile(shapes, (height * width, 1))], axis=-1))
    return np.clip(np.concatenate(boxes), 0, 1 if clip else None).astype("float32")


def box_shapes(scale: float, following: float, aspect_ratios: Sequence[float]) -> Any:
    """(A, 2): widths and heights of the boxes at a place, for the scales of a map and the next."""
    between = (scale * following) ** 0.5
    shapes = [(scale, scale), (between, between)]
    for root in (ratio**0.5 for ratio in aspect_ratios):
        shapes += [(scale * root, scale / root), (scale / root, scale * root)]
    return np.array(shapes, "float32")


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
