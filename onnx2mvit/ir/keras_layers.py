"""What operators of ONNX are called and what numbers they take as layers of Keras.

Leaves of patterns and single operators are made of the same declarations.
"""

from __future__ import annotations

import math

from onnx2mvit.base.numbers import shortest
from onnx2mvit.ir.graph import Node

# Functions without numbers, by the operator: Keras's names.
ACTIVATIONS = {
    "HardSwish": "hard_silu",
    "Mish": "mish",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
# The constant inputs of BatchNormalization, in their order.
BATCH_NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")


def is_hard_sigmoid(alpha: float | None, beta: float = 0.5) -> bool:
    """True for PyTorch's and Keras's relu6(x + 3) / 6; ONNX's own slope is 0.2 where none is."""
    return alpha is not None and math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5


def is_exact_gelu(approximate: str | None) -> bool:
    """True for GELU by the error function."""
    return approximate in (None, "none")


def epsilon(node: Node) -> float:
    """What a normalization adds to the variance."""
    return shortest(node.attrs.get("epsilon", 1e-5))


def batch_norm(node: Node) -> dict[str, float]:
    """The numbers of a BatchNormalization (operator versions 9 to 15).

    ONNX's momentum is the share of the old statistic that is kept, as in Keras.
    """
    return {"epsilon": epsilon(node), "momentum": shortest(node.attrs.get("momentum", 0.9))}
