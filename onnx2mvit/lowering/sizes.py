"""Which blocks of a network are others where the same file is read at another size.

A file that leaves the size open computes with it: it is read at several, and what the readings
agree on holds for all sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.ir.layout import Layout
from onnx2mvit.ir.network import Network


def compared(network: Network, others: Sequence[Network]) -> Network:
    """The network with the layouts that hold for one size alone where readings differ.

    Args:
        network: as it is read at one size.
        others: as the same file is read at other sizes.

    Returns:
        The network; where it holds for these sizes alike, none of its layouts is for one size.
    """
    fixed = [_differences(network, other) for other in others]
    layouts: dict[Value, Layout] = {}
    for value in network.graph.inputs:
        layouts[value] = replace(network.layouts[value], one_size=False)
    for index, block in enumerate(network.blocks):
        one_size = any(index in differing for differing in fixed)
        one_size |= any(layouts[value].one_size for value in block.inputs)
        for value in block.outputs:
            if value in network.layouts:
                layouts[value] = replace(network.layouts[value], one_size=one_size)
    return replace(network, layouts={**network.layouts, **layouts})


def _differences(network: Network, other: Network) -> set[int]:
    """The places of the blocks that are others there."""
    numbers, theirs = _numbers(network), _numbers(other)
    pairs = enumerate(zip(network.blocks, other.blocks, strict=False))
    differing = {
        index
        for index, (block, its) in pairs
        if not _alike(block, its)
        or [numbers[value] for value in block.inputs] != [theirs[value] for value in its.inputs]
        or not _same_layouts(block, its, network.layouts, other.layouts)
    }
    return differing | {*range(len(other.blocks), len(network.blocks))}


def _numbers(network: Network) -> dict[Value, int]:
    """Inputs and results, numbered in their order."""
    made = [value for block in network.blocks for value in block.outputs]
    return {value: number for number, value in enumerate([*network.graph.inputs, *made])}


def _alike(block: Block, other: Block) -> bool:
    """True if two blocks are written alike and have the same weights."""
    pairs = list(zip(block.walk(), other.walk(), strict=False))
    return (
        len(pairs) == len([*block.walk()]) == len([*other.walk()])
        and _code(block) == _code(other)
        and (block.code is not None or block.params == other.params)
        and all(one.kind == two.kind and one.path == two.path for one, two in pairs)
        and all(_same_weights(one, two) for one, two in pairs)
    )


def _code(block: Block) -> str | None:
    return str(block.code.expr) if block.code is not None else None


def _same_weights(block: Block, other: Block) -> bool:
    return block.weights.keys() == other.weights.keys() and all(
        np.array_equal(array, other.weights[name]) for name, array in block.weights.items()
    )


def _same_layouts(
    block: Block, other: Block, ours: Mapping[Value, Layout], theirs: Mapping[Value, Layout]
) -> bool:
    """True if what they give has its axes and its batch at the same places."""
    first = [(layout.order, layout.batch) for v in block.outputs if (layout := ours.get(v))]
    return first == [
        (layout.order, layout.batch) for v in other.outputs if (layout := theirs.get(v))
    ]
