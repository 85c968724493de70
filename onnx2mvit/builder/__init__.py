"""Stage five, build: the emitted module is imported and its weights are loaded.

In: a folder that `convert` wrote. Out: `keras.Model`. Begin with `build`.
"""

from onnx2mvit.builder.activations import activations_of, is_swapped
from onnx2mvit.builder.build import (
    build,
    float64_allowed,
    import_module,
    in_float64,
    load,
    loading,
    save,
)
from onnx2mvit.builder.detector import detector
from onnx2mvit.builder.distill import distill
from onnx2mvit.builder.fast_training import fast_training
from onnx2mvit.builder.features import features
from onnx2mvit.builder.layers import block_finder
from onnx2mvit.builder.quantization_aware import quantization_aware
from onnx2mvit.builder.sizes import at_size, default_size, image_input, single_operators_fit
from onnx2mvit.builder.weights import (
    block_weights,
    check_weights,
    other_weights,
    save_weights,
    weights_by_path,
)

__all__ = [
    "activations_of",
    "at_size",
    "block_finder",
    "block_weights",
    "build",
    "check_weights",
    "default_size",
    "detector",
    "distill",
    "fast_training",
    "features",
    "float64_allowed",
    "image_input",
    "import_module",
    "in_float64",
    "is_swapped",
    "load",
    "loading",
    "other_weights",
    "quantization_aware",
    "save",
    "save_weights",
    "single_operators_fit",
    "weights_by_path",
]
