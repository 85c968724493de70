"""What a network does itself to its pixels before its first layer, so that it is not done twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnx2mvit.ir.graph import Graph, Node, Value
from onnx2mvit.ir.preprocessing import BYTE, CHANNELS, Preprocessing

Array = np.ndarray[Any, Any]
ALIKE = 0.02  # of a byte's range as a network sees it; mean and std are rounded in configurations
SEEN = (0.4, 4.0)  # the largest that a network sees of a picture, whoever normalized it
ITSELF = "the network's first operations"


@dataclass(frozen=True)
class Leading:
    """Arithmetic on the channels of an image: times `factors`, plus `offsets`, then maybe turned.

    Attributes:
        factors, offsets: one for each channel, in the order in which the image comes in.
        turned: whether the order of the channels is turned around.
    """

    factors: Array
    offsets: Array
    turned: bool

    def of_grey(self, scale: float) -> Array:
        """What comes of black and of white bytes times `scale`, (2, channels), at the end."""
        made = np.array([[0.0], [255.0]]) * scale * self.factors + self.offsets
        return made[:, ::-1] if self.turned else made


def without_leading(graph: Graph, how: Preprocessing) -> Preprocessing:
    """What is left to be done to images where a graph begins with some of it.

    Args:
        graph: as it was read.
        how: what its images want, or an assumption.

    Returns:
        `how`, without what the graph does itself; where nothing was known, what the graph says.
    """
    leading = leading_of(graph)
    if leading is None:
        return how
    ways = [replace(how, scale=scale, mean=(0.0,), std=(1.0,)) for scale in (1.0, BYTE)]
    if how.is_assumed:
        if (leading.factors == 1).all():
            return how
        for way in ways:
            if SEEN[0] <= np.abs(leading.of_grey(way.scale)).max() <= SEEN[1]:
                return replace(way, origin=ITSELF)
        return how
    factors, offsets = how.affine
    wanted = np.array([[0.0], [255.0]]) * factors + offsets
    wanted = wanted[:, ::-1] if how.channels == "bgr" else wanted
    for way in ways:
        if np.abs(leading.of_grey(way.scale) - wanted).max() < ALIKE * np.ptp(wanted):
            order = CHANNELS[1 - CHANNELS.index(how.channels)] if leading.turned else how.channels
            origin = f"{how.origin}, without what the network does itself"
            return replace(way, channels=order, origin=origin)
    return how


def leading_of(graph: Graph) -> Leading | None:
    """The arithmetic with which a graph of one image begins, if it does."""
    images = [value for value in graph.inputs if len(value.shape or ()) == 4]
    if len(images) != 1:
        return None
    value, axis = images[0], graph.channel_axes.get(images[0])
    shape = value.shape or ()
    axis = (3 if shape[1] not in (1, 3) and shape[3] in (1, 3) else 1) if axis is None else axis
    channels = shape[axis]
    factors, offsets, turned, found = np.ones(channels), np.zeros(channels), False, False
    while len(readers := graph.consumers(value)) == 1 and not graph.is_output(value):
        node = readers[0]
        if node.op == "Transpose":
            axis = tuple(node.attrs["perm"]).index(axis)
        elif node.op in ("Sub", "Add", "Mul", "Div"):
            number = _each_channel(node, value, axis, channels)
            if number is None:
                break
            number = number[::-1] if turned else number
            if node.op in ("Sub", "Add"):
                if node.op == "Sub" and node.inputs[0] is not value:
                    break
                offsets = offsets + (-number if node.op == "Sub" else number)
            elif node.op == "Div" and (node.inputs[0] is not value or not number.all()):
                break
            else:
                factor = 1 / number if node.op == "Div" else number
                factors, offsets = factors * factor, offsets * factor
            found = True
        elif _turns(node, axis, channels):
            turned, found = not turned, True
        elif node.op != "Cast":
            break
        value = node.output
    return Leading(factors, offsets, turned) if found else None


def _each_channel(node: Node, value: Value, axis: int, channels: int) -> Array | None:
    """The constant operand of an operator of two, as one number for each channel."""
    other = next((each for each in node.inputs if each is not value), None)
    if other is None or other.const is None:
        return None
    array = np.asarray(other.const, np.float64)
    if array.ndim > 4:
        return None
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    if array.size == 1:
        return np.full(channels, array.item())
    alone = all(length == 1 for place, length in enumerate(array.shape) if place != axis)
    return array.reshape(-1) if alone and array.shape[axis] == channels else None


def _turns(node: Node, axis: int, channels: int) -> bool:
    """True for what turns three channels around: torch's `flip`, or an index of its own."""
    given = [each.const for each in node.inputs[1:] if each is not None and each.const is not None]
    if channels != 3 or not given or any(array.size > 3 for array in given):
        return False
    numbers = [array.reshape(-1).tolist() for array in given]
    if node.op == "Gather":
        along = node.attrs.get("axis", 0) in (axis, axis - 4)
        return along and [number % 3 for number in numbers[0]] == [2, 1, 0]
    if node.op != "Slice" or len(numbers) != 4 or any(len(each) != 1 for each in numbers):
        return False
    (start,), (end,), (along,), (step,) = numbers
    return start in (2, -1) and end < -3 and along in (axis, axis - 4) and step == -1
