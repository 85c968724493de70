"""Calls the exporters of torch."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import onnx
import torch
from torch import nn
from transformers import PreTrainedModel

from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.errors import UnsupportedError, UsageError
from onnx2mvit.exporter.models import own_size

INPUT = "pixel_values"
LOGITS = "logits"

DEFAULT_OPSETS = {"dynamo": 20, "legacy": 17}

# As measured. Below 9, legacy makes every weight a graph input; from 26 on, dynamo goes through
# ONNX's own version converter, which drops the module paths that a conversion reads.
OPSETS = {"dynamo": range(18, 26), "legacy": range(9, 21)}

_STACK_TRACE = "pkg.torch.onnx.stack_trace"


class Logits(nn.Module):
    """Returns nothing but the logits, in eval mode like everything inside it.

    A detector returns the boxes that they are of as well; `outputs` names what there is. Models
    of transformers have a name for all that they answer, others answer logits.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.outputs: tuple[str, ...] = (LOGITS,)
        self.options: dict[str, bool] = {}
        if isinstance(model, PreTrainedModel):
            family = model.config.model_type
            # ViT has a position for every patch of one size, and interpolates them if asked to.
            if family in ("vit", "deit") and size != own_size(model):
                self.options["interpolate_pos_encoding"] = True
            if family == "detr":
                self.outputs += ("pred_boxes",)
            if family == "swin":  # dynamo fails on the others
                model.set_attn_implementation("eager")
        # A wrapper left in training mode makes the legacy exporter leave its BatchNormalization
        # in training mode, too.
        self.eval()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The logits of a batch of images, NCHW, and the boxes if there are any."""
        answer = self.model(pixel_values, **self.options)
        if isinstance(answer, torch.Tensor):
            return answer
        first, *others = (cast(torch.Tensor, answer[name]) for name in self.outputs)
        return (first, *others) if others else first


@dataclass(frozen=True)
class Request:
    """How to export; the fields are as in `onnx2mvit.exporter.export`."""

    exporter: str
    opset: int
    fold_bn: bool
    dynamic_batch: bool

    @property
    def description(self) -> str:
        """Says how, for the file's metadata."""
        folded = "folded" if self.fold_bn else "kept"
        version = torch.__version__.split("+")[0]
        return f"torch {version} {self.exporter}, opset {self.opset}, BatchNormalization {folded}"


def check_opset(exporter: str, opset: int | None) -> int:
    """The opset to write.

    Raises:
        UsageError: there is no such exporter, or it cannot write this opset.
    """
    if exporter not in OPSETS:
        raise UsageError(f"unknown exporter {exporter!r}: choose one of {', '.join(OPSETS)}")
    if opset is None:
        return DEFAULT_OPSETS[exporter]
    allowed = OPSETS[exporter]
    if opset not in allowed:
        raise UsageError(
            f"the {exporter} exporter writes opsets {allowed[0]} to {allowed[-1]}, not {opset}"
        )
    return opset


def to_onnx(
    module: Logits, images: torch.Tensor, request: Request, outputs: Sequence[str] = (LOGITS,)
) -> onnx.ModelProto:
    """Exports `module` at the size of `images`; its outputs get these names.

    Raises:
        UnsupportedError: the exporter failed, or wrote another opset than was asked for.
    """
    write = _dynamo if request.exporter == "dynamo" else _legacy
    try:
        with quiet():
            model = write(module, images, request, list(outputs))
    # Exporters fail with errors of any kind, from each of the layers below them.
    except Exception as error:
        raise UnsupportedError(
            f"the {request.exporter} exporter failed: {one_line(error)}"
        ) from error
    written = opset_of(model)
    if written != request.opset:
        raise UnsupportedError(
            f"the {request.exporter} exporter wrote opset {written} instead of {request.opset}"
        )
    _strip_paths(model)
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that `model` uses."""
    versions = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return int(next(versions))


# torch.onnx.export has parts without types; mypy --strict would stop at every call.
_export: Callable[..., Any] = torch.onnx.export


def _dynamo(
    module: Logits, images: torch.Tensor, request: Request, outputs: list[str]
) -> onnx.ModelProto:
    program = _export(
        module,
        (images,),
        dynamo=True,
        # The optimizer is what folds BatchNormalization here.
        optimize=request.fold_bn,
        opset_version=request.opset,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},) if request.dynamic_batch else None,
        verbose=False,
    )
    return cast(onnx.ModelProto, program.model_proto)


def _legacy(
    module: Logits, images: torch.Tensor, request: Request, outputs: list[str]
) -> onnx.ModelProto:
    mode = torch.onnx.TrainingMode
    axes = {name: {0: "batch"} for name in (INPUT, *outputs)}
    buffer = io.BytesIO()
    _export(
        module,
        (images,),
        buffer,
        dynamo=False,
        training=mode.EVAL if request.fold_bn else mode.PRESERVE,
        do_constant_folding=request.fold_bn,
        opset_version=request.opset,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_axes=axes if request.dynamic_batch else None,
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _strip_paths(model: onnx.ModelProto) -> None:
    """Drops the stack traces: they name folders of this machine."""
    nodes = list(model.graph.node)
    for function in model.functions:
        nodes.extend(function.node)
    for node in nodes:
        node.doc_string = ""
        kept = [entry for entry in node.metadata_props if entry.key != _STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
