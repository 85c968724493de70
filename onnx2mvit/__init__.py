"""onnx2mvit lifts exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.

    import onnx2mvit
    result = onnx2mvit.convert("mobilevit_xs.onnx")
    result.model.summary(expand_nested=True)

Importing this package imports neither Keras, nor TensorFlow, nor torch.
"""

from typing import Any

from onnx2mvit.api import (
    Conversion,
    Deployment,
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


def __getattr__(name: str) -> Any:
    # It needs onnxruntime from the outset, which nothing else here does.
    if name == "benchmark":
        from onnx2mvit.benchmarks.benchmark import benchmark

        return benchmark
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
