"""onnx2mvit lifts exported ONNX graphs of MobileViT back into idiomatic Keras 3 models.

    import onnx2mvit
    result = onnx2mvit.convert("mobilevit_xs.onnx")
    result.model.summary(expand_nested=True)

Importing this package imports nothing else; what it has is imported when it is first used, and
that imports neither Keras, nor TensorFlow, nor torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx2mvit.api import (
        Conversion,
        Deployment,
        Evaluation,
        Publication,
        benchmark,
        convert,
        deploy,
        detector,
        evaluate,
        export,
        features,
        inspect,
        preprocess,
        publish,
        verify,
    )
    from onnx2mvit.runtimes.preprocessing import IMAGENET_MEAN, IMAGENET_STD
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
    "evaluate",
    "export",
    "features",
    "inspect",
    "preprocess",
    "publish",
    "verify",
]

_HOMES = {
    "IMAGENET_MEAN": "onnx2mvit.runtimes.preprocessing",
    "IMAGENET_STD": "onnx2mvit.runtimes.preprocessing",
    "__version__": "onnx2mvit.version",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES.get(name, "onnx2mvit.api")), name)
    return found


def __dir__() -> list[str]:
    return __all__
