"""What heads for segmentation end in: a class for every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx2mvit.ir.graph import Graph, Node
from onnx2mvit.matcher import Expr, p

from .conv import PointwiseConv, conv_bn_act

if TYPE_CHECKING:
    from keras import KerasTensor, layers


def is_mask(graph: Graph, node: Node) -> bool:
    """True for a node that makes logits of pixels as large as the network gives them."""
    larger = ("BilinearUpsampling", "Resize", "ResizeToInput")
    return node.op in larger and graph.is_output(node.output)


def mask_classifier(features: Expr) -> Expr:
    """A 1×1 convolution alone, the classifier of every pixel, at the end of a block for masks."""
    plain = {"activation": None, "batch_norm": False, "use_bias": True}
    return PointwiseConv(features, role="classifier", filters=p.num_classes, **plain)


def pixel_classifier(
    x: KerasTensor, num_classes: int, dropout: float = 0.0, *, name: str
) -> KerasTensor:
    """(B, H, W, C) → (B, H, W, classes): logits of every pixel."""
    if dropout:
        x = layers.SpatialDropout2D(dropout, name=f"{name}_dropout")(x)
    return conv_bn_act(
        x, num_classes, 1, activation=None, batch_norm=False, use_bias=True, name=name
    )
