"""onnx2mvit lifts exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.

    import onnx2mvit
    result = onnx2mvit.convert("mobilevit_xs.onnx")
    result.model.summary(expand_nested=True)

Importing this package imports neither Keras, nor TensorFlow, nor torch.
"""

from onnx2mvit.api import Conversion, convert, inspect, verify
from onnx2mvit.builder.features import features
from onnx2mvit.deployment import Deployment, deploy
from onnx2mvit.runtimes.preprocessing import IMAGENET_MEAN, IMAGENET_STD, preprocess
from onnx2mvit.version import __version__

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Conversion",
    "Deployment",
    "__version__",
    "convert",
    "deploy",
    "features",
    "inspect",
    "preprocess",
    "verify",
]
