"""Images that are cut into patches, or put together of them, with their channels last meanwhile.

MobileViT's unfold and fold (arXiv:2110.02178, section 3.1; arXiv:2206.02680, section 3.1) are
written in PyTorch with channels first, so that each number of a pixel is fetched from another
place. With channels last whole pixels move, and OpenVINO, whose convolutions have channels last
anyway, need not reorder the image before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.layout import axes_between, channels_last, plain
from onnx2mvit.matcher import Builder
from onnx2mvit.matcher.rearrange import MOVES, Digits, digits_of

TO_LAST = channels_last(4)
TO_FIRST = axes_between(TO_LAST, plain(4))
TRANSPOSED = 4  # digits of an image whose height and width change places: none of them is cut


def with_channels_last(graph: Graph) -> Graph:
    """Writes the moves between an image and its patches or tokens with channels last.

    Args:
        graph: of operators; it is not changed.

    Returns:
        A graph of the same inputs and outputs.
    """
    written: dict[Node, list[Node]] = {}
    for node in graph:
        moves = _moves(node)
        if moves and not _goes_on(graph, node.output):
            before = _moves_before(graph, node)
            if nodes := _rewritten([*before, *moves], one_image=graph.batch_size == 1):
                written |= {each: [] for each in before} | {node: nodes}
    return graph.with_nodes(each for node in graph for each in written.get(node, [node]))


def _moves(node: Node) -> list[Node]:
    """What moves numbers alone: a move, or what Col2Im does to patches side by side; else none."""
    if node.op in MOVES:
        return [node]
    if node.op != "Col2Im" or len(node.output.shape or ()) != 4:
        return []
    x, _, block = node.inputs
    batch, channels, *size = node.output.shape or ()
    patch = [] if block is None or block.const is None else block.const.tolist()
    ones = [1] * len(size)
    given = {key: list(node.attrs.get(key) or ones) for key in ("strides", "dilations")}
    if given != {"strides": patch, "dilations": ones} or any(node.attrs.get("pads") or ()):
        return []
    counts = [length // step for length, step in zip(size, patch, strict=True)]
    new = Builder(node)
    apart = new.Reshape(x, shape=(batch, channels, *patch, *counts))
    new.Reshape(new.Transpose(apart, perm=(0, 1, 4, 2, 5, 3)), shape=node.output.shape)
    return new.making(node.output)


def _goes_on(graph: Graph, value: Value) -> bool:
    """True if a move alone needs it."""
    readers = graph.consumers(value)
    return len(readers) == 1 and bool(_moves(readers[0])) and not graph.is_output(value)


def _moves_before(graph: Graph, last: Node) -> list[Node]:
    """The moves that end in what a node reads, in their order."""
    chain: list[Node] = []
    value = last.inputs[0]
    while (node := graph.producer(value)) and node.op in MOVES and _goes_on(graph, node.output):
        chain.insert(0, node)
        value = node.inputs[0]
    return chain


def _rewritten(chain: Sequence[Node], one_image: bool) -> list[Node]:
    """The same moves by one Transpose of whole pixels, none where no pixel stays whole.

    What is read is brought to channels last, what is made from there, or both.
    """
    start, end = chain[0].inputs[0], chain[-1].output
    assert start is not None
    if len(chain) == 1 or len(digits_of(chain) or ()) < 2:  # one Transpose, or nothing moves
        return []
    if one_image and any(node.attrs.get("perm", (0,))[0] for node in chain):
        return []  # where the batch goes, of which there is one, is not to be seen any more
    images = _is_image(start), _is_image(end)
    for before, after in ((True, True), (True, False), (False, True)):
        if before <= images[0] and after <= images[1]:
            digits = _digits(chain, before, after)
            if digits and one_image:  # the batch has an axis of its own all the same
                digits.insert(0, (1, math.prod(start.shape or ())))
            if digits and not (before and after and len(digits) <= TRANSPOSED):
                return _by_pixels(chain, digits, before, after)
    return []


def _digits(chain: Sequence[Node], before: bool, after: bool) -> Digits | None:
    """What moves do where images have channels last; None where those do not stay at the end."""
    moves, images = list(chain), []
    if before and (image := chain[0].inputs[0]):
        images.append(image)
        moves.insert(0, Node("Transpose", (_last(image),), (image,), {"perm": TO_FIRST}))
    if after:
        images.append(image := chain[-1].output)
        moves.append(Node("Transpose", (image,), (_last(image),), {"perm": TO_LAST}))
    digits = digits_of(moves)
    if not digits or digits[-1][1] != 1 or any(digits[-1][0] % _channels(x) for x in images):
        return None
    return digits


def _by_pixels(chain: Sequence[Node], digits: Digits, before: bool, after: bool) -> list[Node]:
    new, value, end = Builder(chain[-1]), chain[0].inputs[0], chain[-1].output
    assert value is not None
    if before:
        value = new.Transpose(value, perm=TO_LAST)
    order = sorted(digits, key=lambda digit: -digit[1])
    if order != digits:
        lengths = np.array([length for length, _ in order])
        value = new.Reshape(value, new.constant(lengths, "lengths"), shape=tuple(lengths))
        value = new.Transpose(value, perm=tuple(map(order.index, digits)))
    shape = (_last(end) if after else end).shape
    if value.shape != shape:
        value = new.Reshape(value, new.constant(np.array(shape), "shape"), shape=shape)
    if after:
        new.Transpose(value, perm=TO_FIRST)
    return new.making(end)


def _is_image(value: Value) -> bool:
    return len(value.shape or ()) == 4 and _channels(value) > 1


def _channels(image: Value) -> int:
    return (image.shape or ())[1]


def _last(image: Value) -> Value:
    """The same with channels last."""
    return Value(image.name, tuple((image.shape or ())[axis] for axis in TO_LAST))
