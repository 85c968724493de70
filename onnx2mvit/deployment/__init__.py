"""A converted model as a file for phones and servers, compared with the network it came from.

Importing this package imports neither Keras, nor TensorFlow, nor LiteRT.
"""

from onnx2mvit.deployment.comparison import Fidelity
from onnx2mvit.deployment.deployment import Deployment, deploy
from onnx2mvit.deployment.interface import describe_model
from onnx2mvit.deployment.litert import litert_metadata, litert_model
from onnx2mvit.deployment.onnx import write_onnx
from onnx2mvit.deployment.openvino import openvino_metadata, openvino_model
from onnx2mvit.deployment.request import FORMATS, PRECISIONS

__all__ = [
    "FORMATS",
    "PRECISIONS",
    "Deployment",
    "Fidelity",
    "deploy",
    "describe_model",
    "litert_metadata",
    "litert_model",
    "openvino_metadata",
    "openvino_model",
    "write_onnx",
]
