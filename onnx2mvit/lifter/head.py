"""The head of a network: the blocks that make its answers of its features.

It can be left out of the model, or made anew for other classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.graph import Value
from onnx2mvit.lifter.naming import layer_name

if TYPE_CHECKING:
    from onnx2mvit.ir.network import Network

HeadChoice = int | Literal["keep", "none"]  # or so many new classes
MOST_CLASSES = 1_000_000
PYRAMID = (4, 8, 16, 32)  # strides


@dataclass(frozen=True)
class Head:
    """The last blocks of a network, which answer with classes.

    `features` is what they read, None where they cannot be left out: where they read different
    tensors, or the network answers with something else as well. `layers` are the paths of those
    whose weights are for the classes.
    """

    blocks: tuple[Block, ...]
    num_classes: int
    features: Value | None
    layers: tuple[str, ...]


def head_of(network: Network) -> Head | None:
    """The head of a network; None where it has none, or heads for different classes."""
    graph = network.graph
    blocks = tuple(
        block
        for block in network.blocks
        if "num_classes" in block.params and graph.is_output(block.output)
    )
    classes = {block.params["num_classes"] for block in blocks}
    if len(classes) != 1:
        return None
    num_classes = classes.pop()
    read = {value for block in blocks for value in block.inputs}
    alone = (
        network.blocks[-len(blocks) :] == blocks
        and graph.outputs == [block.output for block in blocks]
        and len(read) == 1
    )
    features = read.pop() if alone else None
    if features is None or len(features.shape or ()) not in (3, 4):
        features = None
    leaves = [leaf for block in blocks for leaf in block.walk() if leaf.pattern.is_leaf]
    layers = [leaf.path for leaf in leaves if leaf.params.get("units") == num_classes]
    return Head(blocks, num_classes, features, tuple(dict.fromkeys(layers)))


def parse_head(text: str) -> HeadChoice:
    """ "keep", "none", or the number of classes of a fresh head.

    Raises:
        UsageError: it is neither, or out of bounds.
    """
    if text == "keep":
        return "keep"
    if text == "none":
        return "none"
    if text.isdecimal() and 1 <= int(text) <= MOST_CLASSES:
        return int(text)
    raise UsageError(f"head {text!r}: give keep, none, or a number of classes")


def own_head(network: Network) -> dict[str, Any]:
    """The arguments of the model function that give the head of the file, whatever the default."""
    head = head_of(network)
    if head is None:
        return {}
    return {"num_classes": head.num_classes} | ({"include_top": True} if head.features else {})


def check_choice(network: Network, choice: HeadChoice) -> None:
    """Raises UsageError if the network has no head to leave out or to replace."""
    head = head_of(network)
    if choice == "keep":
        return
    if head is None:
        raise UsageError("the network has no classifier at its end: only `--head keep` is possible")
    if choice == "none" and head.features is None:
        raise UsageError("the classifier cannot be left out: it is not all that stands at the end")


def pyramid(network: Network) -> tuple[str, ...]:
    """The last blocks before the head at the strides 4, 8, 16 and 32, where there are such."""
    inputs = network.graph.inputs
    image = _size(network, inputs[0]) if len(inputs) == 1 else ()
    found: dict[int, str] = {}
    for block in network.blocks:
        made = _size(network, block.output)
        if not image or not made or block.code is not None:
            continue
        for stride in PYRAMID:
            if made == tuple(-(-length // stride) for length in image):
                found[stride] = layer_name(block, block.name)
    return tuple(found[stride] for stride in PYRAMID if stride in found)


def _size(network: Network, value: Value) -> tuple[int, ...]:
    """Height and width of an image, wherever the file has them; () for what is none."""
    shape = value.shape or ()
    return (
        tuple(shape[axis] for axis in network.layouts[value].order[1:3]) if len(shape) == 4 else ()
    )
