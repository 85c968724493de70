"""Published networks by name, as in keras.applications: their source, ready to build and to train.

    from onnx2mvit import models
    models.list("mobilevit*")
    model = models.mobilevit_xs(input_shape=(192, 256, 3), num_classes=10)

Each is the module that `onnx2mvit convert` writes of the network that `onnx2mvit export` has under
this name (`make zoo`). Neither torch nor ONNX is needed, or imported.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import pkgutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.hub import from_cache_or_hub
from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError, UsageError

if TYPE_CHECKING:
    import keras

    Maker = Callable[..., keras.Model]

ZOO = Path(__file__).parent / "zoo"
HUB = "hf://"


def list(filter: str = "*") -> builtins.list[str]:  # noqa: A001, A002 — models.list(filter), as in timm
    """The names of all models, or of some.

    Args:
        filter: a pattern as for file names: "mobilevit*".

    Returns:
        The names in the order of the alphabet; each is a function of this module.
    """
    return [name for name in _names() if fnmatch(name, filter)]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in _names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _maker(name)
    return made


def __dir__() -> builtins.list[str]:
    return ["list", *_names()]


@functools.cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(ZOO)])))


def _maker(name: str) -> Maker:
    """The function of an emitted module, with weights from more places."""
    import_keras()  # with a backend that is there
    emitted: Maker = getattr(importlib.import_module(f"{__name__}.zoo.{name}"), name)

    @functools.wraps(emitted)
    def make(*args: Any, weights: str | Path | None = None, **options: Any) -> keras.Model:
        file = None if weights is None else _file(name, weights)
        try:
            return emitted(*args, weights=file, **options)
        except ValueError as error:
            if file is not None and str(file) in str(error):
                raise InvalidModelError(one_line(error)) from error
            raise

    make.__doc__ = (make.__doc__ or "").replace(
        "weights: a safetensors file, beside this module or anywhere; None for a fresh model.",
        "weights: a safetensors file that `convert` wrote, or the folder that it is in, or\n"
        '            "hf://OWNER/REPOSITORY" that has one; None for a fresh model.',
    )
    return make


def _file(name: str, weights: str | Path) -> Path:
    """The weights by layer path: a file, the one in a folder, or the one in a repository.

    Raises:
        UsageError: there is none.
        HubError: the hub does not answer, or has no such file.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if str(weights).startswith(HUB):
        return _from_hub(name, str(weights).removeprefix(HUB))
    path = Path(weights).absolute()
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise UsageError(f"{weights} has {len(found)} safetensors files: name one of them")
        return found[0]
    if not path.is_file():
        raise UsageError(f"weights={str(weights)!r}: there is no such file; {HUB}… is on the hub")
    return path


def _from_hub(name: str, repository: str) -> Path:
    if repository.count("/") != 1:
        raise UsageError(f"{HUB}{repository}: {HUB}OWNER/REPOSITORY is wanted")
    hub = optional("huggingface_hub")

    def read(cached: bool) -> str:
        found = hub.hf_hub_download(repository, f"{name}.safetensors", local_files_only=cached)
        return str(found)

    return Path(from_cache_or_hub(read, repository))
