"""A Block: a piece of the network that a pattern recognised, as one node in place of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from onnx2mvit.ir.box_format import BoxFormat
from onnx2mvit.ir.code import KerasCode
from onnx2mvit.ir.graph import Node, Value, position
from onnx2mvit.ir.layout import Order, channels_last, plain

Array = np.ndarray[Any, Any]


class BlockType:
    """What a kind of block becomes in Keras; patterns say so of theirs.

    A *leaf* is one Keras layer, named in `layer`. A *composite* becomes a call of the function
    `keras`, whose source lands in the emitted module; a *nested* one is a model in the model.

    A tensor of rank 4 is taken and given as an image, NHWC, unless `order` says otherwise; the
    axes of what it `keeps` may have another order, which stays.

    Attributes:
        layer: the Keras layer of a leaf.
        keras: the name of the function of a composite.
        nested: whether that function makes a model.
        main: the role of the child that takes the name of the block itself.
        style: the parameters that a network chooses once and for all: the commonest value becomes
            the default of the emitted function, so other functions must hand them on.
        inner: whether it is a part of others alone: where no block takes one, it is its operators
            again.
        one_size: whether what it has for each place in an image fits no other size, whatever is
            around it.
        counts_pixels: whether its function counts the pixels of the image that it takes, where a
            file of one size may have their number.
    """

    layer: ClassVar[str | None] = None
    keras: ClassVar[str | None] = None
    nested: ClassVar[bool] = False
    main: ClassVar[str | None] = None
    style: ClassVar[tuple[str, ...]] = ()
    inner: ClassVar[bool] = False
    one_size: ClassVar[bool] = False
    counts_pixels: ClassVar[bool] = False

    @staticmethod
    def order(rank: int) -> Order:
        """The order of axes of what it takes and gives: images NHWC, tokens as they are."""
        return channels_last(rank) if rank == 4 else plain(rank)

    def gives(self, rank: int) -> Order:
        """The order of what it gives, where it is another than that of what it takes."""
        return self.order(rank)

    def keeps(self, order: Order) -> bool:
        """True if what it takes may have its axes in this order, and what it gives has it then."""
        return False

    def boxes(self, params: dict[str, Any]) -> BoxFormat | None:
        """How a block with these hyperparameters gives boxes, None if it gives none."""
        return None

    def windows(self, block: Block) -> tuple[int, ...] | None:
        """Which other sizes of images its function takes, where the file has constants of one size.

        These are numbers for each place in an image, such as positions.

        Args:
            block: one of this kind.

        Returns:
            The rows and columns of windows in an image of the traced size, of which others must be
            whole numbers; none where any size will do. None where it is for the traced size alone.
        """
        return None

    def may_be_factor(self, block: Block) -> int | None:
        """The factor that a size may be, where a block goes by the image and the file has a number.

        Args:
            block: one of this kind.

        Returns:
            By how much it makes a map of the traced size larger; None where the file could not
            mean that.
        """
        return None

    @property
    def kind(self) -> str:
        """The name of the block, in the words of its paper."""
        return type(self).__name__

    def usual(self) -> dict[str, Any]:
        """Hyperparameters as they usually are, which say nothing about a block."""
        return {}

    @property
    def is_leaf(self) -> bool:
        """True if the block is one Keras layer, whatever it was recognised from."""
        return self.layer is not None


@dataclass(eq=False, slots=True, repr=False, kw_only=True)
class Block(Node):
    """A matched piece of the graph with kind, hyperparameters, tensors and children.

    As a node its `op` is its kind, its `attrs` are its hyperparameters, and its inputs are those
    that are computed. It is whole when it is made, and not changed afterwards.

    `matched` are the nodes that it stands for, blocks among them. `role` is the place it has in
    its parent ("expand"; "layer.0" for the first of several), `name` the place in torch's module
    tree, or a numbered kind where the file has no names, `path` that of its layer in Keras.
    `children` are the blocks in it, in topological order; a leaf has none.
    `operands` are what a call of its layer or function gets, where that is not its inputs as they
    come. `weights` is filled for leaves alone, in Keras's own layout and by Keras's variable names;
    `weights_from` gives what they would be if constants of the graph were other arrays.
    `code` is there where no pattern took the node, but its operator could be converted.
    """

    inputs: tuple[Value, ...]
    pattern: BlockType
    matched: tuple[Node, ...]
    operands: tuple[Value, ...] = ()
    weights: dict[str, Array] = field(default_factory=dict)
    weights_from: Callable[[Mapping[Value, Array]], dict[str, Array]] = lambda arrays: {}
    role: str = ""
    path: str = ""
    code: KerasCode | None = None
    children: tuple[Block, ...] = field(init=False, default=())

    @property
    def kind(self) -> str:
        """What it is: the name of its pattern."""
        return self.op

    @property
    def params(self) -> dict[str, Any]:
        """Its hyperparameters."""
        return self.attrs

    def __post_init__(self) -> None:
        if not self.pattern.is_leaf:
            blocks = [node for node in self.matched if isinstance(node, Block)]
            self.children = tuple(sorted(blocks, key=position))

    @property
    def nodes(self) -> int:
        """How many nodes of the simplified graph lie in it."""
        return sum(1 for _ in self.onnx_nodes())

    def onnx_nodes(self) -> Iterator[Node]:
        """The nodes of the simplified graph that lie in it."""
        for node in self.matched:
            if isinstance(node, Block):
                yield from node.onnx_nodes()
            else:
                yield node

    def walk(self) -> Iterator[Block]:
        """This block and everything below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def child(self, role: str) -> Block:
        """The child with this role.

        Raises:
            KeyError: there is none.
        """
        for block in self.children:
            if block.role == role:
                return block
        raise KeyError(role)

    def changed(self, change: Callable[[Block], dict[str, Any]]) -> Self:
        """A copy of the tree in which every block has other values for some of its fields."""
        copies: dict[Node, Node] = {child: child.changed(change) for child in self.children}
        matched = tuple(copies.get(node, node) for node in self.matched)
        return replace(self, **{"matched": matched, **change(self)})

    def __getattr__(self, name: str) -> Any:
        # Patterns read hyperparameters as attributes: m.project.filters.
        if name.startswith("__") or name not in self.attrs:
            raise AttributeError(f"{type(self).__name__} has no hyperparameter {name!r}")
        return self.attrs[name]


def onnx_nodes_of(node: Node) -> list[Node]:
    """The nodes of the simplified graph that lie in a node, in topological order; be it itself."""
    inside = node.onnx_nodes() if isinstance(node, Block) else [node]
    return sorted(inside, key=position)
