"""Stage four, emit: the network is written as one Python module in the style of keras.applications.

In: `Network`. Out: source text. Begin with `emit`; `model_function` writes the function of the
whole model, `pattern_functions` those of its blocks.
"""

from onnx2mvit.emitter.emit import emit, model_name, pattern_source
from onnx2mvit.emitter.onnx_functions import block_model

__all__ = ["block_model", "emit", "model_name", "pattern_source"]
