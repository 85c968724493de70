"""Stage four, emit: the network is written as one Python module in the style of keras.applications.

In: `Network`. Out: source text. Begin with `emit`; `model_function` writes the function of the
whole model, `pattern_functions` those of its blocks.
"""

from onnx2mvit.emitter.emit import emit, model_name, pattern_source
from onnx2mvit.emitter.inference_model import Port, inference_model
from onnx2mvit.emitter.onnx_functions import block_model

__all__ = ["Port", "block_model", "emit", "inference_model", "model_name", "pattern_source"]
