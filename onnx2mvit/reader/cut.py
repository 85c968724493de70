"""Cutting a graph at tensors in it: they become its outputs, and what comes after them goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from onnx2mvit.base.suggest import suggestion
from onnx2mvit.errors import UsageError

SHOWN = 6  # names in a message
# How much these give depends on the numbers that they read.
CHOOSING = frozenset(
    {"NonZero", "NonMaxSuppression", "Unique", "Compress", "If", "Loop", "Scan", "TopK"}
)
# By these alone a choice is prepared: one image, the scores of one class, and those above a bound.
PREPARING = frozenset(
    {"Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Identity", "Cast", "Shape"}
    | {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"}
)


def cut(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Makes these tensors the outputs of a model, in this order; what none of them needs goes.

    Raises:
        UsageError: there is no tensor of a name, or it is named twice.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    for name in outputs:
        if name not in makers:
            hint = suggestion(name, makers)
            raise UsageError(f"no node of the file computes a tensor {name!r}{hint}")
    if len({*outputs}) < len(outputs):
        raise UsageError("an output is named twice")
    needed, wanted = {*outputs}, list(outputs)
    while wanted:
        maker = makers.get(wanted.pop())
        unseen = {*reads(maker)} - needed if maker is not None else set()
        wanted += unseen
        needed |= unseen
    declared = {value.name: value for value in (*graph.value_info, *graph.output)}
    kept = onnx.GraphProto()
    for name in outputs:
        kept.output.add(name=name).MergeFrom(declared.get(name, onnx.ValueInfoProto()))
    graph.ClearField("output")
    graph.output.extend(kept.output)
    _drop(graph.node, lambda node: needed.isdisjoint(node.output))
    for field in (graph.input, graph.initializer):
        _drop(field, lambda each: each.name not in needed)


def _drop(field: Any, gone: Callable[[Any], bool]) -> None:
    for index in reversed(range(len(field))):
        if gone(field[index]):
            del field[index]


def reads(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads, and the graphs in it, some of which they make themselves."""
    inner = [
        name
        for attribute in node.attribute
        for graph in (attribute.g, *attribute.graphs)
        for each in graph.node
        for name in reads(each)
    ]
    return [name for name in dict.fromkeys([*node.input, *inner]) if name]


def before_choice(node: ir.Node) -> list[str]:
    """The tensors among which a node with graphs in it chooses: what it needs, before any choice.

    Of a detector with its non-max suppression these are the boxes and scores of all places.
    Without a choice before it they are what it reads itself.
    """
    graph = node.graph
    assert graph is not None
    known: set[ir.Value] = set(graph.inputs)
    chosen: set[ir.Value] = set()
    for each in graph:
        read = [value for value in each.inputs if value is not None]
        if not known.isdisjoint(read):
            known.update(each.outputs)
        if each.op_type in CHOOSING or not chosen.isdisjoint(read):
            chosen.update(each.outputs)
    inner = [attr.as_graph() for attr in node.attributes.values() if attr.type.name == "GRAPH"]
    wanted = [value for each in inner for own in each.all_nodes() for value in own.inputs]
    wanted, found, seen = [*node.inputs, *wanted], set[ir.Value](), set[ir.Value]()
    while wanted:
        value = wanted.pop()
        maker = value.producer() if value is not None else None
        if value is None or maker is None or value in seen or value not in known:
            continue
        seen.add(value)
        if value in chosen or maker.op_type in PREPARING:
            wanted.extend(maker.inputs)
        elif maker.graph is graph:
            found.add(value)
    if chosen.isdisjoint(seen) or not found:
        found = {value for value in node.inputs if value is not None and value.producer()}
    return [value.name for each in graph for value in each.outputs if value in found and value.name]


def advice(names: Sequence[str]) -> str:
    """A sentence on where a network can be cut before what cannot be converted; "" if nowhere."""
    listed = ", ".join(map(repr, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
    return f" `--outputs` cuts the network before it, for instance at {listed}." if names else ""
