"""Networks that run: onnxruntime, Keras, LiteRT, OpenVINO, SavedModel; images, comparisons.

In: a file or a model, and images. Out: arrays. Begin with `runner`.
"""

from onnx2mvit.runtimes.comparison import Comparison, compare, sqnr_db, worst
from onnx2mvit.runtimes.exact_means import exact_means
from onnx2mvit.runtimes.float64_runner import Float64Runner
from onnx2mvit.runtimes.images import check_folder, some_images, structured_images
from onnx2mvit.runtimes.inputs import some_inputs
from onnx2mvit.runtimes.keras_runner import KerasRunner
from onnx2mvit.runtimes.layouts import (
    KerasLayout,
    OnnxLayout,
    as_the_file,
    file_outputs,
    keras_inputs,
)
from onnx2mvit.runtimes.litert_runner import LiteRTRunner, import_litert
from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner
from onnx2mvit.runtimes.openvino_runner import (
    OpenVINORunner,
    has_openvino,
    import_openvino,
    read_openvino,
)
from onnx2mvit.runtimes.preprocessing import preprocess
from onnx2mvit.runtimes.runner import InBatches, Inputs, Outputs, Runner
from onnx2mvit.runtimes.saved_model_runner import SERVE, SavedModelRunner

__all__ = [
    "SERVE",
    "Comparison",
    "Float64Runner",
    "InBatches",
    "Inputs",
    "KerasLayout",
    "KerasRunner",
    "LiteRTRunner",
    "OnnxLayout",
    "OnnxRuntimeRunner",
    "OpenVINORunner",
    "Outputs",
    "Runner",
    "SavedModelRunner",
    "as_the_file",
    "check_folder",
    "compare",
    "exact_means",
    "file_outputs",
    "has_openvino",
    "import_litert",
    "import_openvino",
    "keras_inputs",
    "preprocess",
    "read_openvino",
    "some_images",
    "some_inputs",
    "sqnr_db",
    "structured_images",
    "worst",
]
