"""SSD's heads (arXiv:1512.02325): what maps of several sizes say of boxes at each place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.matcher import (
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
    p,
    require,
)

from .attention import layer_scaled
from .conv import Conv, DepthwiseConv, PointwiseConv, conv_bn_act

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor, layers

LAST_AXIS, LAST_BUT_ONE = (-1, 3), (-2, 2)  # columns, and rows
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


class L2Norm(Pattern):
    """(B, C, H, W): the channels of each pixel over their length, times a learned factor each.

    arXiv:1512.02325, section 3.1: of the first map, whose values are larger than those of others.
    """

    keras = "l2_norm"
    main = "scale"

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.ImageLayerScale(op.UnitNormalization(x, role="norm"), role="scale")


def l2_norm(x: KerasTensor, *, name: str) -> KerasTensor:
    """The channels of each pixel over their length, times a learned factor for each."""
    x = layers.UnitNormalization(name=f"{name}_norm")(x)
    return layer_scaled(x, name=name)


class SSDHead(Pattern):
    """(B, C, H, W) → (B, H·W·A, n): n numbers for each of A boxes at every place of a map.

    They are offsets of the box, scores of its classes, or both (arXiv:1512.02325, section 2.1).
    The convolution may be separable (SSDLite, arXiv:1801.04381, section 6.2), with a 1×1 before
    it in ml-cvnets, which may leave out places of large maps.
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
        boxes: dict[str, Any] = {"a": p.anchors.where(lambda count: count > 1), "k": p._outputs}
        said = any_of(separable, plain, alone)
        columns = op.Gather(said, constant("columns"), axis=LAST_AXIS.__contains__)
        rows = op.Gather(columns, constant("rows"), role="sampled", axis=LAST_BUT_ONE.__contains__)
        said = any_of(rows, said)
        return op.Rearrange("b (a k) h w -> b (h w a) k", said, **boxes)

    def params(self, m: Match) -> dict[str, Any]:
        _, _, height, width = m.shape("x", 4)
        readers = {node.op for node in m.graph.consumers(m.root.output)}
        require(height * width > 1 or "Concat" in readers, "it speaks of a single place alone")
        source = m.graph.producer(m.x)
        separated = source is not None and source.op == "ConvBnAct" and source.attrs["depthwise"]
        require(not (m.project and separated), "its 1×1 belongs to the convolution before it")
        boxes, classes = parts_of(m.graph, m.root.output)
        return {
            "num_classes": m._outputs - 4 * boxes if classes else 0,
            **({} if boxes else {"with_boxes": False}),
            **({} if m.depthwise is None else {"separable": True}),
            **({} if m.sampled is None else {"step": step_of(m, height, width)}),
        }


def step_of(m: Match, height: int, width: int) -> int:
    """Every how many rows and columns of the map it speaks of, beginning with half of that."""
    kept = [m.rows.const.tolist(), m.columns.const.tolist()]
    step = kept[0][1] - kept[0][0] if len(kept[0]) > 1 else 2 * kept[0][0]
    require(step > 1, "it leaves out no places")
    places = [list(range(step // 2, length, step)) for length in (height, width)]
    require(kept == places, f"it does not speak of every place of {step}")
    return int(step)


def parts_of(graph: Graph, said: Value) -> tuple[bool, bool]:
    """Whether what is said of boxes has offsets, and whether it has scores of classes.

    It has both where the first four of more numbers are cut off. Otherwise four are offsets,
    unless they are made probabilities.
    """
    *_, outputs = said.shape or (0,)
    readers = graph.consumers(said)
    if joined := [node.output for node in readers if node.op == "Concat"]:
        return parts_of(graph, joined[0])
    if any(node.op == "Slice" and node.attrs.get("end") == 4 < outputs for node in readers):
        return True, True
    probable = any(node.op in ("Softmax", "Sigmoid", "Activation") for node in readers)
    return (True, False) if outputs == 4 and not probable else (False, True)


def ssd_head(
    x: KerasTensor,
    num_classes: int,
    anchors: int,
    kernel_size: int = 3,
    projection: int | None = None,
    separable: bool = False,
    with_boxes: bool = True,
    step: int | None = None,
    activation: str | None = "relu",
    depthwise_activation: str | None = None,
    *,
    name: str,
    **conv: Any,
) -> KerasTensor:
    """(B, H, W, C) → (B, H·W·anchors, n): what is said of boxes at every place of a map.

    It is four offsets and a score for each class, or one of the two alone; if there is a `step`, of
    one place in so many rows and columns.
    """
    inputs = keras.Input(x.shape[1:])
    outputs = num_classes + (4 if with_boxes else 0)
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
    if step is not None:
        y = y[:, step // 2 :: step, step // 2 :: step]
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
