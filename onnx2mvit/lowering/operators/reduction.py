"""Reductions over axes, and what goes along an axis."""

from __future__ import annotations

from collections.abc import Callable

from onnx2mvit.ir.layout import without
from onnx2mvit.lowering.operators.registry import operator
from onnx2mvit.lowering.operators.step import Code, Step
from onnx2mvit.lowering.operators.text import alone, cut, layer
from onnx2mvit.matcher.pattern import require

# Operator, its versions, and the expression, `{x}` over `{how}`.
REDUCTIONS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("ReduceL1", (11, 13, 18), "ops.sum(ops.abs({x}){how})"),
    ("ReduceL2", (11, 13, 18), "ops.sqrt(ops.sum(ops.square({x}){how}))"),
    ("ReduceLogSum", (11, 13, 18), "ops.log(ops.sum({x}{how}))"),
    ("ReduceLogSumExp", (11, 13, 18), "ops.logsumexp({x}{how})"),
    ("ReduceMax", (11, 12, 13, 18, 20), "ops.max({x}{how})"),
    ("ReduceMean", (11, 13, 18), "ops.mean({x}{how})"),
    ("ReduceMin", (11, 12, 13, 18, 20), "ops.min({x}{how})"),
    ("ReduceProd", (11, 13, 18), "ops.prod({x}{how})"),
    ("ReduceSum", (11, 13), "ops.sum({x}{how})"),
    ("ReduceSumSquare", (11, 13, 18), "ops.sum(ops.square({x}){how})"),
)
POOLING = {"ReduceMax": "Max", "ReduceMean": "Average"}


def reduced_axes(step: Step) -> list[int]:
    """ONNX's axes, an attribute or an input; all of them where none are given."""
    given = step.attrs.get("axes") or step.integers(1) or []
    rank = len(step.shape())
    if not given and step.attrs.get("noop_with_empty_axes"):
        return []
    return sorted({step.axis(axis) for axis in given}) if given else list(range(rank))


def after(step: Step, text: str, axes: list[int], keepdims: bool) -> Code:
    """The answer for an expression that keeps these axes with length one, or drops them."""
    place = step.place()
    if keepdims:
        return step.code(text, place.order, place.batch)
    batch = place.batch
    if batch is not None:
        batch -= sum(axis < batch for axis in axes)
    return step.code(text, without(place.order, axes), batch)


def reduction(step: Step, text: str) -> Code:
    """In the order that is there; over the space of an image by a layer."""
    axes, keepdims = reduced_axes(step), bool(step.attrs.get("keepdims", 1))
    step.keep_apart(axes)
    order, rank = step.place().order, len(step.shape())
    where = tuple(sorted(order.index(axis) for axis in axes))
    if not where:
        return step.code(text.format(x=step.data(), how=", axis=()"), order)
    kind, space = POOLING.get(step.node.op), rank - 2
    dtype = step.node.output.dtype
    floats = dtype is not None and dtype.kind == "f"
    if kind and floats and 1 <= space <= 3 and where == tuple(range(1, rank - 1)):
        pool = layer(f"Global{kind}Pooling{space}D", keepdims=keepdims or None)
        return after(step, f"{pool}({step.data()})", axes, keepdims)
    how = f", axis={alone(where)}"
    how += ", keepdims=True" if keepdims else ""
    return after(step, text.format(x=step.data(), how=how), axes, keepdims)


def _reduction(text: str) -> Callable[[Step], Code]:
    return lambda step: reduction(step, text)


for _name, _since, _text in REDUCTIONS:
    operator(_name, *_since)(_reduction(_text))


def _arg(function: str) -> Callable[[Step], Code]:
    def arg(step: Step) -> Code:
        """The place of the first of the extremes, or of the last."""
        axis = step.axis(step.attrs.get("axis", 0))
        step.keep_apart([axis])
        keepdims, where = bool(step.attrs.get("keepdims", 1)), step.place().order.index(axis)
        how = f"axis={where}{', keepdims=True' if keepdims else ''}"
        text = f"ops.{function}({step.data()}, {how})"
        if step.attrs.get("select_last_index"):
            last = step.shape()[axis] - 1
            text = f"ops.subtract({last}, ops.{function}(ops.flip({step.data()}, {where}), {how}))"
        return after(step, text, [axis], keepdims)

    return arg


operator("ArgMax", 11, 12, 13)(_arg("argmax"))
operator("ArgMin", 11, 12, 13)(_arg("argmin"))


@operator("CumSum", 11, 14)
def cumsum(step: Step) -> Code:
    """The sum of all elements up to each; without itself, or from the end."""
    axis = step.axis(int(step.const(1).reshape(())))
    step.keep_apart([axis])
    order = step.place().order
    where, x = order.index(axis), step.data()
    reverse, exclusive = step.attrs.get("reverse", 0), step.attrs.get("exclusive", 0)
    text = f"ops.flip({x}, {where})" if reverse else x
    if exclusive:
        shift = tuple((1, 0) if at == where else (0, 0) for at in range(len(order)))
        short = cut(text, [":-1" if at == where else ":" for at in range(len(order))])
        text = f"ops.pad({short}, {shift})"
    text = f"ops.cumsum({text}, axis={where})"
    return step.code(f"ops.flip({text}, {where})" if reverse else text, order)


@operator("TopK", 11, 24)
def top_k(step: Step) -> Code:
    """The largest along an axis in order, or the smallest; not where they stand."""
    axis = step.axis(step.attrs.get("axis", -1))
    require(bool(step.attrs.get("sorted", 1)), "its results are in no order")
    step.keep_apart([axis])
    order = (*(other for other in step.place().order if other != axis), axis)
    count, x = int(step.const(1).reshape(())), step.data(0, order)
    if step.attrs.get("largest", 1):
        return step.code(f"ops.top_k({x}, {count})[0]", order)
    return step.code(f"ops.negative(ops.top_k(ops.negative({x}), {count})[0])", order)
