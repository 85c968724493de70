"""What `convert` is given: an ONNX file, or a network that is exported to one first."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx2mvit import models
from onnx2mvit.base.suggest import suggestion
from onnx2mvit.errors import InvalidModelError, UsageError
from onnx2mvit.exporter import ExportResult, export, is_checkpoint

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # owner/name


def is_network(target: str) -> bool:
    """Whether `target` is exported first: what is a file is none, but for checkpoints of torch.

    Neither a file nor a network is what has the ending or the folder of a file that is not there.

    Raises:
        UsageError: it is no file, and no network has this name.
        InvalidModelError: it lies in a folder that may not be read.
    """
    path = Path(target)
    try:
        is_file = path.is_file()
    except PermissionError as error:
        raise InvalidModelError(f"{path} may not be read: permission denied") from error
    if is_file:
        return is_checkpoint(target)
    if target in models.list() or ("/" in target and (path / "config.json").is_file()):
        return True
    if path.exists() or path.suffix in (".onnx", ".pt", ".pth"):
        return False
    if _REPOSITORY.fullmatch(target) and not path.parent.is_dir():
        return True
    files = [str(file) for file in path.parent.glob("*.onnx")]
    otherwise = "; `onnx2mvit export --list` has all"
    hint = suggestion(target, [*models.list(), *files], otherwise)
    raise UsageError(f"{target} does not exist, and is no name of a network{hint}")


@dataclass(frozen=True)
class ExportRequest:
    """How a network is exported, with the options of `exporter.export`; weights None are "hub"."""

    weights: str | Path | None = None
    seed: int = 0
    fold_bn: bool = False
    image_size: tuple[int, int] | None = None


def exported(
    target: str,
    request: ExportRequest,
    progress: Callable[[str], object],
    warn: Callable[[str], object],
) -> ExportResult | None:
    """Exports the network that `target` names, to where `export` does so; None if it is a file.

    Raises:
        Onnx2mvitError: as `is_network` and `export`.
        UsageError: a file was given weights.
    """
    if is_network(target):
        return export(
            target,
            weights=request.weights or "hub",
            seed=request.seed,
            image_size=request.image_size,
            fold_bn=request.fold_bn,
            progress=progress,
            warn=warn,
        )
    if request.weights or request.seed or request.fold_bn:
        raise UsageError(
            f"{target} is no network to be exported, which weights, seed and fold_bn are for"
        )
    return None
