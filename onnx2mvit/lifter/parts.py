"""Parts of a pointwise convolution's channels, each by a convolution of its own.

Query, key and value of separable self-attention (arXiv:2206.02680, section 3.1) are one convolution
that is cut up. OpenVINO cuts channels by its reference implementation, which takes a quarter of
MobileViTv2's time; to onnxruntime it is the same.
"""

from __future__ import annotations

from dataclasses import replace

from onnx2mvit.ir.graph import Graph, Node, Value


def parts_apart(graph: Graph) -> Graph:
    """Makes a convolution of each part of one, where nothing reads it whole.

    Args:
        graph: of operators; it is not changed.

    Returns:
        A graph of the same inputs and outputs.
    """
    made = graph.with_nodes(_part(graph, node) or node for node in graph)
    made.sweep()
    return made


def _part(graph: Graph, node: Node) -> Node | None:
    """The convolution that makes what a Slice takes, None if it stays a Slice."""
    conv = graph.producer(node.inputs[0]) if _cuts_channels(node) else None
    if conv is None or not _is_pointwise(conv) or graph.is_output(conv.output):
        return None
    if not all(map(_cuts_channels, graph.consumers(conv.output))):
        return None
    first, (_, units, *_) = node.attrs["start"], node.output.shape or ()
    x, *weights = conv.inputs
    name = node.output.name
    parts = []
    for role, value in zip(("kernel", "bias"), weights, strict=False):
        assert value is not None and value.const is not None
        array = value.const[first : first + units]
        parts.append(Value(f"{name}/{role}", array.shape, array.dtype, array))
    # It lies where the whole one did.
    place = (*conv.position, *node.position)
    return replace(conv, inputs=(x, *parts), outputs=node.outputs, position=place)


def _cuts_channels(node: Node) -> bool:
    """True for a Slice of channels that follow each other, counted from the first."""
    attrs = node.attrs
    step, start = attrs.get("step", 1), attrs.get("start", -1)
    return node.op == "Slice" and attrs.get("axis") == 1 and step == 1 and start >= 0


def _is_pointwise(node: Node) -> bool:
    """True for a convolution of 1×1 in one group, with constant weights."""
    weights = [value.const for value in node.inputs[1:] if value is not None]
    return (
        node.op == "Conv"
        and node.attrs.get("group", 1) == 1
        and all(array is not None for array in weights)
        and set(node.attrs["kernel_shape"]) == {1}
    )
