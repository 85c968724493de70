"""A Network: the graph after lifting, and after lowering what its values and nodes become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import Axes, Layout, Order, Shape, interface_order
from onnx2mvit.ir.preprocessing import Preprocessing


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
        axes: once lowered, what the axes of its values are, where that is known.
        refused: once lowered, the nodes that cannot be converted, and why.
        held: once lowered, the lengths in constants of blocks that go with the traced size, by what
            the blocks give.
        batch: the number of images, where it is fixed because they see each other.
    """

    graph: Graph
    patterns: tuple[BlockType, ...]
    blocks: tuple[Block, ...] = ()
    layouts: Mapping[Value, Layout] = field(default_factory=dict)
    axes: Mapping[Value, Axes] = field(default_factory=dict)
    refused: Mapping[Node, str] = field(default_factory=dict)
    held: Mapping[Value, Shape] = field(default_factory=dict)
    batch: int | None = None

    @property
    def coverage(self) -> Coverage:
        """How much of the graph lies in blocks."""
        single = len(self.single_operators)
        in_blocks = sum(block.nodes for block in self.blocks) - single
        rest = len(self.refused)
        return Coverage(in_blocks + single + rest, in_blocks, single, rest)

    @property
    def single_operators(self) -> tuple[Block, ...]:
        """The blocks of one operator that no pattern took.

        An input, an output or what blocks read that is only turned around in the file needs none in
        Keras.
        """
        return tuple(
            block
            for block in self.blocks
            if block.code is not None and not (block.code.is_nothing and self._as_is(block))
        )

    def _as_is(self, block: Block) -> bool:
        """True if what a block gives is taken in the order of axes that it has in Keras."""
        order = self.layouts[block.output].order
        border = {*self.graph.inputs, *self.graph.outputs}
        return bool(border & {*block.inputs, block.output}) or all(
            isinstance(reader, Block)
            and reader.code is None
            and order == reader.pattern.order(len(order))
            for reader in self.graph.consumers(block.output)
        )

    @property
    def cut_points(self) -> tuple[str, ...]:
        """The file's tensors before what cannot be converted, and its outputs that can be had."""
        graph, lost = self.graph, set[Node]()
        before = {
            value: name for name, value in zip(graph.output_names, graph.outputs, strict=True)
        }
        for node in graph:
            makers = [graph.producer(value) for value in node.inputs if value is not None]
            if node in self.refused or not lost.isdisjoint(filter(None, makers)):
                lost.add(node)
                before |= {value: value.name for value in node.inputs if value is not None}
        kept = [
            name
            for value, name in before.items()
            if graph.producer(value) not in (None, *lost) and name in graph.source.tensors
        ]
        return tuple(dict.fromkeys(kept)) if self.refused else ()

    @property
    def unrecognised(self) -> tuple[Node, ...]:
        """The nodes that no pattern took, whether they can be converted by themselves or not."""
        return tuple(node for node in self.graph if not isinstance(node, Block))

    @property
    def fixed_by(self) -> Block | None:
        """The first block that is right for the traced height and width alone, or what is in it."""
        found, blocks = None, self.blocks
        while blocks:
            first = next((each for each in blocks if self.layouts[each.output].one_size), None)
            found, blocks = first or found, first.children if first is not None else ()
        return found

    @property
    def fixed_why(self) -> str:
        """The same in words."""
        block = self.fixed_by
        if block is None:
            return ""
        places = "×".join(map(str, self.held.get(block.output, ())))
        said = f"has numbers for {places} places, which are those of" if places else "holds for"
        unknown = ""
        if block.code is not None:
            unknown = ", which is not part of a known block,"
            if block.code.places:
                said = f"has a factor for {block.code.places} places, which are those of"
        return f"{block.name!r} ({block.kind}){unknown} {said} that size alone"

    @property
    def counted(self) -> dict[str, tuple[int, ...]]:
        """The places in an image that a file of one size counts from a border, by operators."""
        codes = ((block.name, block.code) for block in self.blocks)
        return {name: code.counted for name, code in codes if code is not None and code.counted}

    @property
    def size_or_factor(self) -> dict[str, int]:
        """The blocks that go by the size of the image, in a file of one, and may go by a factor."""
        if self.graph.source.dynamic_size:
            return {}
        blocks = [block for top in self.blocks for block in top.walk()]
        found = {block.name: block.pattern.may_be_factor(block) for block in blocks}
        return {name: factor for name, factor in found.items() if factor is not None}

    @property
    def counts_pixels(self) -> Block | None:
        """The first block that counts pixels, whose number a file of one size may have instead."""
        if self.graph.source.dynamic_size:
            return None
        blocks = (block for top in self.blocks for block in top.walk())
        return next((block for block in blocks if block.pattern.counts_pixels), None)

    @property
    def size_steps(self) -> tuple[int, int]:
        """The numbers of which height and width of images must be multiples, by their windows."""
        steps = (1, 1)
        for block in (each for top in self.blocks for each in top.walk()):
            if self.traced_size and (windows := block.pattern.windows(block)):
                pairs = zip(steps, self.traced_size, windows, strict=True)
                height, width = (math.lcm(step, size // count) for step, size, count in pairs)
                steps = height, width
        return steps

    def order(self, value: Value) -> Order:
        """The order in which the model takes an input, or hands out an output."""
        return interface_order(self.axes_of(value), self.layouts[value].batch)

    def axes_of(self, value: Value) -> Axes:
        """What the axes of a tensor are, in the order of the file."""
        named = list(self.axes.get(value, (None,) * len(value.shape or ())))
        if value in self.layouts and (batch := self.layouts[value].batch) is not None:
            named[batch] = "batch"
        return tuple(named)

    def axes_in_keras(self, value: Value) -> list[str]:
        """What the axes of an input or an output are in the model: a name, else the length."""
        axes, shape = self.axes_of(value), value.shape or ()
        return [axes[axis] or str(shape[axis]) for axis in self.order(value)]

    @property
    def image(self) -> Value | None:
        """The one input that is an image; None where there is none, or several."""
        images = [value for value in self.graph.inputs if self.is_image(value)]
        return images[0] if len(images) == 1 else None

    def is_image(self, value: Value) -> bool:
        """True for a tensor of channels, height and width."""
        axes = self.axes_of(value)
        return len(axes) == 4 and {"channels", "height", "width"} <= set(axes)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the image that the graph was read for, if there is one."""
        return None if self.image is None else self.shape_of_image(self.image)

    def shape_of_image(self, image: Value) -> tuple[int, int, int]:
        """Height, width and channels of an input that is an image."""
        lengths = dict(zip(self.axes_of(image), image.shape or (), strict=True))
        return lengths["height"], lengths["width"], lengths["channels"]

    @property
    def traced_size(self) -> tuple[int, int] | None:
        """Height and width of that image."""
        return None if self.image_shape is None else self.image_shape[:2]

    @property
    def preprocessing(self) -> Preprocessing:
        """What the image that it takes wants, at the size that the graph was read for."""
        return replace(self.graph.source.preprocessing, size=self.traced_size)

    @property
    def file_batch(self) -> int | None:
        """How many images the file takes at a time; None for any number."""
        source = self.graph.source
        any_number = source.dynamic_batch and not source.squeezes
        return None if any_number else self.graph.batch_size

    @property
    def batch_axes(self) -> dict[str, int | None]:
        """The axis that holds the batch in each input and output of the file, by its name."""
        named = zip(self.graph.output_names, self.graph.outputs, strict=True)
        given = {name: self.layouts[value].batch for name, value in named}
        return given | {value.name: axis for value, axis in self.graph.batch_axes.items()}

    @property
    def open_size(self) -> tuple[bool, bool]:
        """Whether height and width may be others: those that the file leaves open, or both."""
        source = self.graph.source
        if self.image is None or not source.dynamic_size:
            return True, True
        named = self.axes_of(self.image)
        height, width = (named.index(name) in source.open_axes for name in ("height", "width"))
        return height, width
