"""A Network: the graph after lifting, and after lowering what its values and nodes become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Layout


@dataclass(frozen=True)
class Coverage:
    """How many nodes of the simplified graph ended where."""

    nodes: int
    in_blocks: int
    single_ops: int
    unsupported: int

    @property
    def percent(self) -> float:
        """The share of nodes in blocks, in percent."""
        return 100.0 * self.in_blocks / self.nodes if self.nodes else 0.0


@dataclass(frozen=True)
class Network:
    """A graph of blocks. What lifting leaves open, lowering fills in.

    Attributes:
        graph: its nodes are blocks, and operators that no pattern took.
        patterns: those that it was lifted by, in their order.
        blocks: those at the top in topological order; once lowered, there are others with
            `code` among them: single operators that no pattern took.
        layouts: once lowered, the layout of every value that a block makes, and of the inputs.
        refused: once lowered, the nodes that cannot be converted, and why.
        batch: the number of images, where it is fixed because they see each other.
    """

    graph: Graph
    patterns: tuple[BlockType, ...]
    blocks: tuple[Block, ...] = ()
    layouts: Mapping[Value, Layout] = field(default_factory=dict)
    refused: Mapping[Node, str] = field(default_factory=dict)
    batch: int | None = None

    @property
    def coverage(self) -> Coverage:
        """How much of the graph lies in blocks."""
        single = sum(1 for block in self.blocks if block.code is not None)
        in_blocks = sum(block.nodes for block in self.blocks) - single
        rest = len(self.refused)
        return Coverage(in_blocks + single + rest, in_blocks, single, rest)

    @property
    def unrecognised(self) -> tuple[Node, ...]:
        """The nodes that no pattern took, whether they can be converted by themselves or not."""
        return tuple(node for node in self.graph if not isinstance(node, Block))

    @property
    def fixed_by(self) -> Block | None:
        """The first block that is right for the traced height and width alone."""
        return next((block for block in self.blocks if self.layouts[block.output].one_size), None)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that the graph was read for."""
        (image,) = self.graph.inputs
        assert image.shape is not None
        _, channels, height, width = image.shape
        return channels, height, width

    @property
    def traced_size(self) -> tuple[int, int]:
        """Height and width that the graph was read at."""
        return self.image_shape[1:]
