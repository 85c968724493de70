"""A converted model as a file for phones and servers, compared with the network it came from.

Importing this package imports neither Keras, nor TensorFlow, nor LiteRT.
"""

from onnx2mvit.deployment._deployment import FORMATS, PRECISIONS, Deployment, deploy

__all__ = ["FORMATS", "PRECISIONS", "Deployment", "deploy"]
