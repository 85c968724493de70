"""onnx2mvit lifts exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.

    import onnx2mvit
    result = onnx2mvit.convert("mobilevit_xs.onnx")
    result.model.summary(expand_nested=True)

Importing this package imports neither Keras, nor TensorFlow, nor torch.
"""

from onnx2mvit.api import (
    Conversion,
    Deployment,
    benchmark,
    convert,
    deploy,
    export,
    features,
    inspect,
    preprocess,
    verify,
)
from onnx2mvit.runtimes.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from onnx2mvit.version import __version__

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Conversion",
    "Deployment",
    "__version__",
    "benchmark",
    "convert",
    "deploy",
    "export",
    "features",
    "inspect",
    "preprocess",
    "verify",
]
