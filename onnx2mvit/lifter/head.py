"""The head of a network: the blocks that make its answers of its features.

It can be left out of the model, or made anew for other classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from onnx2mvit.base.numbers import written_whole
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block, onnx_nodes_of
from onnx2mvit.ir.graph import Graph, Value
from onnx2mvit.lifter.detection import detections
from onnx2mvit.lifter.naming import layer_name

if TYPE_CHECKING:
    from onnx2mvit.ir.network import Network

HeadChoice = int | Literal["keep", "none"]  # or so many new classes
MOST_CLASSES = 1_000_000
PYRAMID = (4, 8, 16, 32)  # strides
ELEMENTWISE = ("Activation", "HardSigmoid", "Sigmoid", "Tanh")
OVER_CLASSES = ("LogSoftmax", "Probabilities", "Softmax")
CLASSES = {"Dense": "units", "ConvBnAct": "filters"}  # where a linear layer has their number
LARGER = ("BilinearUpsampling", "ResizeToInput")  # the same logits for more pixels
JOINED = ("AllBoxes", "BoxOffsets", "ClassScores")  # the same logits, or a part of them


@dataclass(frozen=True)
class Head:
    """The last blocks of a network, which answer with classes: of images, of pixels or of boxes.

    `blocks` are the classifiers and what follows them, such as a softmax, in their order; of a
    detector also what says where boxes are. `features` is what they read, one tensor or several,
    none where they cannot be left out: where they read a vector, or the network answers with
    something else as well. `layers` are the paths of those whose weights are for the classes.
    `logits` says that the answers are logits.
    """

    blocks: tuple[Block, ...]
    num_classes: int
    features: tuple[Value, ...]
    layers: tuple[str, ...]
    logits: bool


def head_of(network: Network) -> Head | None:
    """The head of a network; None where it has none, or heads for different classes."""
    graph = network.graph
    makers = {block.output: block for block in network.blocks}
    found = [_last_blocks(makers, value) for value in graph.outputs]
    boxes = detections(network)
    scores = boxes.scores if boxes is not None else None
    of_boxes = [name == scores for name in graph.output_names]
    classes: dict[Block, int] = {}
    for last, wide in zip(found, of_boxes, strict=True):
        for block in last:
            number = _classes(block, graph, wide)
            if number:
                classes[block] = number
    if len(set(classes.values())) != 1:
        return None
    (num_classes,) = set(classes.values())
    heads = [last for last in found if not classes.keys().isdisjoint(last)]
    ours = {block for blocks in heads for block in blocks}
    ours |= {block for last in found if last and _gives_boxes(last[-1]) for block in last}
    blocks = tuple(block for block in network.blocks if block in ours)
    made = {value for block in blocks for value in block.outputs}
    read = dict.fromkeys(value for block in blocks for value in _operands(block))
    features = tuple(value for value in read if value not in made)
    others = (block for block in network.blocks if block not in ours)
    alone = made.issuperset(graph.outputs) and made.isdisjoint(
        value for block in others for value in block.inputs
    )
    if not alone or any(len(value.shape or ()) not in (3, 4) for value in features):
        features = ()
    layers = [leaf.path for block in blocks if block in classes for leaf in _last_layers(block)]
    logits = not any(_changes(block) for blocks in heads for block in blocks)
    return Head(blocks, num_classes, features, tuple(dict.fromkeys(layers)), logits)


def _last_blocks(makers: Mapping[Value, Block], output: Value) -> list[Block]:
    """What gives an output, with what is before it and makes nothing but another scale of it."""
    blocks: list[Block] = []
    wanted = [output]
    while wanted:
        block = makers.get(wanted.pop())
        if block is None or block in blocks:
            continue
        blocks.insert(0, block)
        if block.kind in JOINED:
            wanted += block.inputs
        elif block.kind in LARGER or _keeps_classes(block) or _decodes(block):
            wanted.append(block.inputs[0])
    return blocks


def _decodes(block: Block) -> bool:
    """True for boxes that are worked out of what maps say, which is their first input."""
    return not block.children and block.pattern.boxes(block.params) is not None


def _gives_boxes(block: Block) -> bool:
    """True for what says where boxes are."""
    return block.kind in JOINED or block.pattern.boxes(block.params) is not None


def _changes(block: Block) -> bool:
    """True for what makes another scale of logits."""
    return _keeps_classes(block) or bool(block.params.get("softmax"))


def _keeps_classes(block: Block) -> bool:
    """True for a function of each logit, or of all logits that an image or a pixel has."""
    shape = block.output.shape or ()
    if not block.inputs or block.inputs[0].shape != shape:
        return False
    classes = 1 if len(shape) == 4 else len(shape) - 1
    over = block.kind in OVER_CLASSES and block.params.get("axis", -1) % len(shape) == classes
    return over or block.kind in ELEMENTWISE


def _operands(block: Block) -> tuple[Value, ...]:
    """What a block reads; of an image whose size it takes it reads nothing else."""
    return block.inputs[:1] if block.kind in LARGER else block.inputs


def _last_layers(block: Block) -> list[Block]:
    """The linear layers of a block that no other of its linear layers reads from."""
    linear = [leaf for leaf in block.walk() if leaf.pattern.layer in ("Dense", "Conv2D")]
    read: set[Value | None] = set()
    for node in reversed(onnx_nodes_of(block)):
        if read.intersection(node.outputs) or any(node in leaf.onnx_nodes() for leaf in linear):
            read.update(node.inputs)
    return [leaf for leaf in linear if leaf.output not in read]


def _classes(block: Block, graph: Graph, of_boxes: bool) -> int | None:
    """How many classes a block has logits for: a classifier, or one linear layer in the end.

    `of_boxes` says that its output has the scores of boxes.
    """
    size = CLASSES.get(block.kind)
    if of_boxes and block.kind == "Dense":
        return int(block.params["units"])
    if size is not None and len(graph.outputs) == 1 and _is_linear(block):
        return int(block.params[size])
    return block.params.get("num_classes")


def _is_linear(block: Block) -> bool:
    """True for a layer that makes logits of features alone: of a vector, or of every pixel."""
    if block.kind == "Dense":
        return len(block.output.shape or ()) == 2
    plain: dict[str, Any] = {"kernel_size": 1, "strides": 1, "depthwise": False, "groups": 1}
    plain |= {"use_bias": True, "activation": None, "batch_norm": False}
    return all(block.params[key] == value for key, value in plain.items())


def parse_head(text: str) -> HeadChoice:
    """ "keep", "none", or the number of classes of a fresh head.

    Raises:
        UsageError: it is neither, or out of bounds.
    """
    if text == "keep":
        return "keep"
    if text == "none":
        return "none"
    classes = written_whole(text)
    if classes is not None and 1 <= classes <= MOST_CLASSES:
        return classes
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
        ends = ", ".join(dict.fromkeys(block.kind for block in network.blocks[-1:]))
        raise UsageError(
            f"the network has no classifier at its end, where {ends} is, or several for different "
            "classes: only `--head keep` is possible"
        )
    if choice == "none" and not head.features:
        raise UsageError("the classifier cannot be left out: it is not all that stands at the end")


def mask_outputs(network: Network) -> tuple[str, ...]:
    """The outputs, by their names in the file, that are logits of pixels: (B, classes, H, W)."""
    graph, head = network.graph, head_of(network)
    if head is None or head.num_classes < 2 or not head.logits:
        return ()
    made = {value for block in head.blocks for value in block.outputs}
    pairs = zip(graph.output_names, graph.outputs, strict=True)
    return tuple(name for name, value in pairs if value in made and network.is_image(value))


def pyramid(network: Network) -> tuple[str, ...]:
    """The last blocks before the head at the strides 4, 8, 16 and 32, where there are such."""
    inputs, head = network.graph.inputs, head_of(network)
    image = _size(network, inputs[0]) if len(inputs) == 1 else ()
    found: dict[int, str] = {}
    for block in network.blocks:
        made = _size(network, block.output)
        in_head = head is not None and block in head.blocks
        if not image or not made or block.code is not None or in_head:
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
