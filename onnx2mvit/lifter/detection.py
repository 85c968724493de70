"""The outputs of a detector: boxes, and what is in each of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onnx2mvit.ir.box_format import BoxFormat

if TYPE_CHECKING:
    from onnx2mvit.ir.block import Block
    from onnx2mvit.ir.network import Network

PROBABILITIES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Detections:
    """The outputs that say of N boxes where they are and what is in them.

    Attributes:
        boxes: the name in the file of the output (batch, N, 4).
        scores: that of the output (batch, N, classes).
        format: how boxes are said.
        activation: "softmax" or "sigmoid", what makes probabilities of the scores; None where
            they are probabilities.
    """

    boxes: str
    scores: str
    format: BoxFormat
    activation: str | None

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Detections:
        """What `as_dict` made, read again."""
        return cls(**{**values, "format": BoxFormat(**values["format"])})


def detections(network: Network) -> Detections | None:
    """The boxes that a network gives; None where it gives none, or it is open which.

    Which output has boxes is known by the block that makes it. Their scores are the one other
    output with as many rows that nothing in the network reads.
    """
    graph = network.graph
    makers = {value: block for block in network.blocks for value in block.outputs}
    read = {value for block in network.blocks for value in block.inputs}
    found = [
        (name, value, makers[value])
        for name, value in zip(graph.output_names, graph.outputs, strict=True)
        if value in makers and len(value.shape or ()) == 3 and network.image is not None
    ]
    boxes = [
        (name, value, how)
        for name, value, block in found
        if (how := block.pattern.boxes(block.params)) is not None
    ]
    if len(boxes) != 1:
        return None
    ((name, box, how),) = boxes
    scores = [
        (other, block)
        for other, value, block in found
        if other != name and (value.shape or ())[:2] == (box.shape or ())[:2] and value not in read
    ]
    if len(scores) != 1:
        return None
    ((other, block),) = scores
    activation = "sigmoid" if how.background is None else "softmax"
    made = _probabilities(block)
    if made == "sigmoid":
        how = BoxFormat(how.corners, how.pixels, None, how.overlapping)
    return Detections(name, other, how, None if made else activation)


def _probabilities(block: Block) -> str | None:
    """By what a block makes probabilities, None where it makes logits."""
    if block.params.get("softmax"):
        return "softmax"
    made: str | None = PROBABILITIES.get(block.kind, block.params.get("activation"))
    return made
