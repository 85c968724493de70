"""Branches that are summed, merged into one convolution: a network's form for inference.

A convolution, batch normalization, a factor for each channel and the tensor itself are linear in
what they read, so that their sums and differences are one convolution. RepVGG (arXiv:2101.03697,
section 3.3), MobileOne (arXiv:2206.04040, section 3.2), FastViT (arXiv:2303.14189, section 3.2)
and RepViT (arXiv:2307.09283, section 3) are trained with branches for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.window import window_of
from onnx2mvit.lifter.branch import Axis, Branch, Weights


def merge_branches(graph: Graph) -> Graph:
    """Merges every sum of branches, and every normalization of a convolution, into one convolution.

    What is needed elsewhere as well stays what it is.

    Args:
        graph: as it was read; it is not changed.

    Returns:
        A graph of the same inputs and outputs, whose source says how many sums were merged.

    Raises:
        UsageError: there are none.
    """
    made = inference_form(graph)
    if not made.source.merged:
        raise UsageError(
            f"{graph.source.file} has no branches to merge: nowhere is a convolution added to "
            "another one, or to what it reads"
        )
    return made


def inference_form(graph: Graph) -> Graph:
    """The same, where there may be none: normalizations are folded all the same."""
    found = branches(graph)
    merged: dict[Node, Branch] = {}
    inside: set[Node] = set()
    for node in reversed(list(graph)):
        branch = found.get(node.output)
        if branch is None or node in inside or not branch.has_conv:
            continue
        if branch.terms > 1 or node.op == "BatchNormalization":
            merged[node] = branch
            inside |= branch.nodes
    sums = sum(branch.terms > 1 for branch in merged.values())
    made = graph.with_nodes(
        merged[node].conv(node) if node in merged else node
        for node in graph
        if node in merged or node not in inside
    )
    made.source = replace(graph.source, merged=sums)
    return made


def branches(graph: Graph) -> dict[Value, Branch]:
    """The values that are convolutions of others, however many nodes make them."""
    found: dict[Value, Branch] = {}

    def of(value: Value | None) -> Iterator[Branch]:
        """What an operand may be: its nodes, where nobody else needs it, or a tensor as it is."""
        if value is None or value.const is not None or len(value.shape or ()) != 4:
            return
        if value in found and len(graph.consumers(value)) == 1 and not graph.is_output(value):
            yield found[value]
        yield _identity(value)

    def summed(node: Node) -> Branch | None:
        first, *others = node.inputs
        for start in of(first):
            total: Branch | None = start
            for other in others:
                sums = (total.plus(each, sign[node.op], node) for each in of(other) if total)
                total = next(filter(None, sums), None)
            if total is not None:
                return total
        return None

    sign = {"Add": 1, "Sum": 1, "Sub": -1}
    for node in graph:
        branch = None
        if node.op == "Conv":
            branch = _of_conv(node)
        elif node.op == "BatchNormalization":
            branch = next((_normalized(node, each) for each in of(node.inputs[0])), None)
        elif node.op == "Mul":
            pairs = (node.inputs, node.inputs[::-1])
            scaled = (_scaled(node, each, factor) for x, factor in pairs for each in of(x))
            branch = next(filter(None, scaled), None)
        elif node.op in sign:
            branch = summed(node)
        if branch is not None:
            found[node.output] = branch
    return found


def _identity(value: Value) -> Branch:
    """A tensor as it is: every channel times 1."""
    channels = (value.shape or ())[1]
    axes = (Axis(), Axis())

    def weights() -> Weights:
        return np.ones((channels, 1, 1, 1)), np.zeros(channels)

    return Branch(value, channels, channels, (1, 1), axes, weights)


def _of_conv(node: Node) -> Branch | None:
    x, kernel, *rest = node.inputs
    learned = [value.const for value in (kernel, *rest) if value is not None]
    made = node.output.shape
    if x is None or x.shape is None or made is None or not len(x.shape) == len(made) == 4:
        return None
    filters, groups = made[1], node.attrs.get("group", 1)
    try:
        window = window_of(node)
    except ValueError:  # it is refused, with its name, where it is converted
        return None
    shapes = [array.shape for array in learned if array is not None]
    fitting = [(filters, x.shape[1] // groups, *window.size), (filters,)][: len(learned)]
    if shapes != fitting or window.pads_by_size:
        return None

    def weights() -> Weights:
        first, *bias = (np.asarray(array, np.float64) for array in learned)
        return first, bias[0] if bias else np.zeros(filters)

    return Branch(
        x,
        filters,
        groups,
        window.strides,
        tuple(
            Axis(size, -before, after - (size - 1) * step + before, step)
            for size, (before, after), step in zip(
                window.size, window.pads, window.dilations, strict=True
            )
        ),
        weights,
        frozenset((node,)),
        has_conv=True,
    )


def _normalized(node: Node, branch: Branch) -> Branch | None:
    learned = [value.const for value in node.inputs[1:] if value is not None]
    fits = [array is not None and array.shape == (branch.filters,) for array in learned]
    if node.attrs.get("training_mode") or fits != [True] * 4:
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in learned)
    factor = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    return branch.scaled(factor, beta - mean * factor, node)


def _scaled(node: Node, branch: Branch, factor: Value | None) -> Branch | None:
    """LayerScale, say: times a number, or one for each channel."""
    if factor is None or factor.const is None:
        return None
    one_each = (1, *factor.const.shape)[-4:] == (1, branch.filters, 1, 1)
    if not one_each and factor.const.size > 1:
        return None
    array = np.asarray(factor.const, np.float64).reshape(-1)
    return branch.scaled(np.broadcast_to(array, (branch.filters,)), 0.0, node)
