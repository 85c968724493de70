"""onnx2mvit lifts exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.

    import onnx2mvit
    result = onnx2mvit.convert("mobilevit_xs.onnx")
    result.model.summary(expand_nested=True)

Importing this package imports nothing else; what it has is imported when it is first used, and
that imports neither Keras, nor TensorFlow, nor torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx2mvit.api import convert, verify
    from onnx2mvit.benchmarks import benchmark
    from onnx2mvit.builder import detector, distill, fast_training, features, quantization_aware
    from onnx2mvit.conversion import Conversion
    from onnx2mvit.deployment import Deployment, deploy
    from onnx2mvit.evaluation import Evaluation, evaluate
    from onnx2mvit.exporter import export
    from onnx2mvit.publishing import Publication, publish
    from onnx2mvit.runtimes import preprocess
    from onnx2mvit.runtimes.preprocessing import IMAGENET_MEAN, IMAGENET_STD
    from onnx2mvit.stages import inspect
    from onnx2mvit.version import __version__

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Conversion",
    "Deployment",
    "Evaluation",
    "Publication",
    "__version__",
    "benchmark",
    "convert",
    "deploy",
    "detector",
    "distill",
    "evaluate",
    "export",
    "fast_training",
    "features",
    "inspect",
    "preprocess",
    "publish",
    "quantization_aware",
    "verify",
]

_HOMES = {  # each is imported when it is asked for: `inspect` needs little of the house
    "Conversion": "onnx2mvit.conversion",
    "Deployment": "onnx2mvit.deployment",
    "Evaluation": "onnx2mvit.evaluation",
    "IMAGENET_MEAN": "onnx2mvit.runtimes.preprocessing",
    "IMAGENET_STD": "onnx2mvit.runtimes.preprocessing",
    "Publication": "onnx2mvit.publishing",
    "__version__": "onnx2mvit.version",
    "benchmark": "onnx2mvit.benchmarks",
    "convert": "onnx2mvit.api",
    "deploy": "onnx2mvit.deployment",
    "detector": "onnx2mvit.builder",
    "distill": "onnx2mvit.builder",
    "evaluate": "onnx2mvit.evaluation",
    "export": "onnx2mvit.exporter",
    "fast_training": "onnx2mvit.builder",
    "features": "onnx2mvit.builder",
    "inspect": "onnx2mvit.stages",
    "preprocess": "onnx2mvit.runtimes",
    "publish": "onnx2mvit.publishing",
    "quantization_aware": "onnx2mvit.builder",
    "verify": "onnx2mvit.api",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return __all__
