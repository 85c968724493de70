"""Single operators: a small file for each group, and a registry of them all.

A converter is given one node and answers with a Keras expression: a stock layer where there is
one, a call of `keras.ops` otherwise, never a Lambda.
"""

from onnx2mvit.lowering.operators import (  # noqa: F401 - importing them fills the registry
    activation,
    arithmetic,
    attention,
    convolution,
    linear,
    logic,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    selection,
    shape,
    softmax,
    space,
    transposed_convolution,
)
from onnx2mvit.lowering.operators.context import OpContext
from onnx2mvit.lowering.operators.operands import MixesBatch
from onnx2mvit.lowering.operators.registry import REGISTRY, converter_for, operator, version_of

__all__ = [
    "REGISTRY",
    "MixesBatch",
    "OpContext",
    "converter_for",
    "operator",
    "version_of",
]
