"""Stage four, emit: the network is written as one Python module in the style of keras.applications.

In: `Network`. Out: source text. Begin with `emit`; `model_function` writes the function of the
whole model, `functions` those of its blocks.
"""

from onnx2mvit.emitter.emit import STYLE, emit, model_name
from onnx2mvit.emitter.functions import emitted
from onnx2mvit.emitter.onnx_functions import block_model

__all__ = ["STYLE", "block_model", "emit", "emitted", "model_name"]
