"""The values that the stages hand to each other: a graph of nodes, and blocks in it.

Begin with `graph`: `Value`, `Node`, `Graph`. `block` is a node that a pattern recognised, `layout`
what a value is in Keras, `network` all of it.
"""

from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.ir.graph import Graph, Node, Source, Value
from onnx2mvit.ir.layout import Layout
from onnx2mvit.ir.network import Coverage, Network

__all__ = [
    "Block",
    "BlockType",
    "Coverage",
    "Graph",
    "Layout",
    "Network",
    "Node",
    "Source",
    "Value",
]
