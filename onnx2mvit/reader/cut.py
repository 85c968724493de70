"""Cutting a graph at tensors in it: they become its outputs, and what comes after them goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import onnx

from onnx2mvit.errors import UsageError

SHOWN = 6  # names in a message


def cut(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Makes these tensors the outputs of a model, in this order; what none of them needs goes.

    Raises:
        UsageError: there is no tensor of a name, or it is named twice.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    for name in outputs:
        if name not in makers:
            close = get_close_matches(name, makers, 1)
            hint = f": did you mean {close[0]!r}?" if close else ""
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


def advice(names: Sequence[str]) -> str:
    """A sentence on where a network can be cut before what cannot be converted; "" if nowhere."""
    listed = ", ".join(map(repr, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
    return f" `--outputs` cuts the network before it, for instance at {listed}." if names else ""
