"""What `inspect --json` prints and `report.json` holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Node, Value
from onnx2mvit.ir.image_size import multiples
from onnx2mvit.ir.layout import Layout
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.detection import detections
from onnx2mvit.lifter.head import mask_outputs
from onnx2mvit.lifter.naming import interface_names
from onnx2mvit.lowering import wanted_orders
from onnx2mvit.matcher.diagnosis import Explainer, sentence

EXPLAINED = 100  # single operators; a millisecond each
FOLDED_BIAS = re.compile(r"^onnx::Conv_\d+$|\.weight_bias$|batch_?norm|\bbn\d*\b", re.IGNORECASE)
OWN_BIAS = re.compile(r"(\b|_)bias(add)?\b", re.IGNORECASE)


def describe(network: Network) -> dict[str, Any]:
    """The file, how much of it was recognised, and the tree, as plain values for JSON."""
    source, boxes = network.graph.source, detections(network)
    return {
        "onnx": {
            "file": source.file,
            "sha256": source.sha256,
            "opset": source.opset,
            "producer": source.producer,
            "nodes": source.nodes,
            "weights": source.weights,
            "precision": source.precision,
            "outputs": list(source.outputs),
            "merged_branches": source.merged,
            "dynamic_batch": source.dynamic_batch,
            "dynamic_size": source.dynamic_size,
        },
        **interface(network),
        "preprocessing": network.preprocessing.as_dict() if network.image is not None else None,
        "detections": boxes.as_dict() if boxes is not None else None,
        "coverage": asdict(network.coverage),
        "simplification": {
            "nodes": source.nodes,
            "constants_folded": network.graph.folded,
            "rules_applied": network.coverage.nodes,
            "rules": dict(network.graph.applied),
        },
        "batch_normalization": "merged" if source.merged else batch_normalization(network.blocks),
        "blocks": [tree(block, network.layouts) for block in network.blocks],
        "connections": connections(network),
    }


def interface(network: Network) -> dict[str, list[dict[str, Any]]]:
    """What the model takes and gives, in the order of the file; None is the batch.

    `name`, `file_shape` and `file_axes` are the file's, `keras_name`, `shape` and `axes` those of
    the model; an axis has its length for a name where nothing tells what it is. An output is a
    `mask` if it has the logits of pixels.
    """
    graph, found = network.graph, {}
    named = {
        "inputs": [(value.name, value) for value in graph.inputs],
        "outputs": list(zip(graph.output_names, graph.outputs, strict=True)),
    }
    for kind, tensors in named.items():
        names = interface_names(network, "input" if kind == "inputs" else "output")
        found[kind] = [
            {"name": name, "keras_name": keras_name, **_tensor(network, value)}
            for (name, value), keras_name in zip(tensors, names, strict=True)
        ]
    masks = mask_outputs(network)
    for entry in found["outputs"]:
        entry["mask"] = entry["name"] in masks
    return found


def _tensor(network: Network, value: Value) -> dict[str, Any]:
    if value not in network.layouts or value.shape is None:  # a constant, or not known
        return {"dtype": None, "shape": None, "axes": None, "file_shape": None, "file_axes": None}
    batch, axes = network.layouts[value].batch, network.axes_of(value)
    lengths = [None if axis == batch else length for axis, length in enumerate(value.shape)]
    named = [name or str(length) for name, length in zip(axes, value.shape, strict=True)]
    order = network.order(value)
    return {
        "dtype": str(value.dtype),
        "shape": [lengths[axis] for axis in order],
        "axes": network.axes_in_keras(value),
        "file_shape": lengths,
        "file_axes": named,
    }


def connections(network: Network) -> dict[str, Any]:
    """The inputs, the path of the block that gives each output, and what each block reads.

    A block reads the paths of others and the names of inputs.
    """
    graph = network.graph
    given = {value: block.path for block in network.blocks for value in block.outputs}
    given.update({value: value.name for value in graph.inputs})
    return {
        "inputs": [value.name for value in graph.inputs],
        "outputs": {
            name: given.get(value)
            for name, value in zip(graph.output_names, graph.outputs, strict=True)
        },
        "reads": {
            block.path: [given[value] for value in block.inputs if value in given]
            for block in network.blocks
        },
    }


def single_operators(network: Network) -> list[dict[str, Any]]:
    """The nodes that no pattern took but that could be converted.

    The first few have the pattern that came closest and the first difference; others None.
    """
    explainer = Explainer(network.graph, network.patterns)
    return [
        {
            "path": block.path,
            "op": block.kind,
            "module": block.matched[0].scope,
            "closest": _closest(explainer, block.matched[0]) if number < EXPLAINED else None,
        }
        for number, block in enumerate(network.single_operators)
    ]


def _closest(explainer: Explainer, node: Node) -> str | None:
    failure = explainer.closest(node)
    return sentence(failure) if failure is not None else None


def leftovers(network: Network) -> list[dict[str, Any]]:
    """The nodes that cannot be converted: why not, and the pattern that came closest."""
    explainer = Explainer(network.graph, network.patterns)
    return [
        {
            "node": node.name or node.output.name,
            "op": node.op,
            "module": node.scope,
            "why": network.refused[node],
            "closest": _closest(explainer, node),
        }
        for node in network.refused
    ]


def tree(block: Block, layouts: Mapping[Value, Layout]) -> dict[str, Any]:
    """A block and what is in it; the shape is that of the traced size, in Keras's order."""
    return {
        "kind": block.kind,
        "name": block.name,
        "path": block.path,
        "nodes": block.nodes,
        "output_shape": output_shape(block.output, layouts),
        "parameters": parameters(block),
        "params": block.params,
        "children": [tree(child, layouts) for child in block.children],
    }


def output_shape(value: Value, layouts: Mapping[Value, Layout]) -> list[int | None] | None:
    """The shape of a tensor in Keras's order, None for the batch; None if it is not known."""
    if value.shape is None:
        return None
    layout = layouts[value]
    return [None if axis == layout.batch else value.shape[axis] for axis in layout.order]


def parameters(block: Block) -> int:
    """How many numbers the layers of a block hold."""
    return sum(array.size for leaf in block.walk() for array in leaf.weights.values())


def shared_parameters(blocks: Iterable[Block]) -> int:
    """How many parameters the model has more than the file, where layers share a tensor there.

    Every layer gets a copy of its own. The exporter merges tensors that happen to be equal, so
    what is one tensor in the file need not have been one in torch.
    """
    uses: Counter[Value] = Counter()
    for leaf in (leaf for top in blocks for leaf in top.walk() if leaf.weights):
        nodes = leaf.onnx_nodes()
        uses.update({v for node in nodes for v in node.inputs if v is not None and v.shape})
    return sum(v.const.size * (count - 1) for v, count in uses.items() if v.const is not None)


def layout_transposes(network: Network) -> int:
    """How many tensors the model transposes where the file does not: between NCHW and NHWC.

    Inside of a recognised block there is none.
    """
    graph, layouts = network.graph, network.layouts
    wanted = [
        *(pair for block in network.blocks for pair in wanted_orders(network, block)),
        *((value, network.order(value)) for value in graph.outputs),
    ]
    moved = [graph.producer(value) for value, order in wanted if layouts[value].order != order]
    return sum(producer is None or producer.op != "Transpose" for producer in moved)


def by_rule(network: Network) -> str:
    """Which sizes the model can be made for."""
    steps = network.size_steps
    if network.traced_size is None:
        return "as in the file: what it takes is not one image"
    if network.fixed_by is not None:
        return f"none but the traced one: {network.fixed_why}"
    if steps != (1, 1):
        shifted = any(block.params.get("shift") for top in network.blocks for block in top.walk())
        alone = "; one row or one column of windows cannot be shifted" if shifted else ""
        return multiples(steps) + alone
    if network.coverage.single_ops:
        return "any height and width that the single operators take"
    return "any height and width from 32"


def batch_normalization(blocks: Iterable[Block]) -> str:
    """ "kept", "folded", "none", or "unknown", of a network that was not merged.

    A folded one left a bias to its convolution, which both exporters of torch give other names
    than the biases that a network had. Of a name that says neither it is unknown.
    """
    leaves = [leaf for top in blocks for leaf in top.walk() if leaf.pattern.is_leaf]
    if any(leaf.kind == "BatchNorm" for leaf in leaves):
        return "kept"
    biased = [leaf for leaf in leaves if leaf.kind.endswith("Conv2D") and "bias" in leaf.weights]
    names = [
        value.name
        for leaf in biased
        for node in leaf.onnx_nodes()
        for value in node.inputs
        if value is not None and value.const is not None and value.const.ndim == 1
    ]
    if any(FOLDED_BIAS.search(name) for name in names):
        return "folded"
    return "none" if len(names) >= len(biased) and all(map(OWN_BIAS.search, names)) else "unknown"
