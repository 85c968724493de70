"""From options to a checked file: load, export, compare, write."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from onnx2mvit.base.output import write_file
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import (
    InvalidModelError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from onnx2mvit.exporter.models import Loaded, load
from onnx2mvit.exporter.result import ExportResult
from onnx2mvit.exporter.torch_export import Logits, Request, check_opset, opset_of, to_onnx
from onnx2mvit.reader.preprocessing import METADATA
from onnx2mvit.runtimes import Comparison, OnnxRuntimeRunner, worst
from onnx2mvit.runtimes.tolerances import EXPORT

Say = Callable[[str], object]
_MAX_BYTES = 2**31 - 1


def run(
    model: str,
    output: Path,
    *,
    weights: str,
    seed: int,
    exporter: str,
    opset: int | None,
    image_size: tuple[int, int] | None,
    fold_bn: bool,
    dynamic_batch: bool,
    num_labels: int | None,
    progress: Say,
    warn: Say,
) -> ExportResult:
    """Do what `onnx2mvit.exporter.export` promises, which has the same arguments."""
    start = time.perf_counter()
    request = Request(exporter, check_opset(exporter, opset), fold_bn, dynamic_batch)
    _check(output, seed, image_size, num_labels)
    progress(f"loading {model}")
    loaded = load(model, weights, seed=seed, num_labels=num_labels, warn=warn, size=image_size)
    size = image_size or loaded.size
    module = Logits(loaded.model, size)

    progress(f"exporting with torch's {exporter} exporter, opset {request.opset}")
    # Not the batch of the comparison, so that a batch size baked in shows there.
    traced = _images(loaded, 3 if dynamic_batch else 1, size)
    proto = to_onnx(module, traced, request, module.outputs)
    onnx.helper.set_model_props(proto, _metadata(model, loaded, request))

    progress("comparing onnxruntime with torch")
    content = _serialize(proto)
    error, largest = compare(module, content, _images(loaded, 2 if dynamic_batch else 1, size))

    progress(f"writing {output}")
    write_file(output, content)
    return ExportResult(
        path=output,
        nodes=len(proto.graph.node),
        opset=opset_of(proto),
        weights=loaded.weights,
        max_abs_error=error,
        max_abs_logit=largest,
        parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
        seconds=time.perf_counter() - start,
    )


def compare(module: Logits, content: bytes, images: torch.Tensor) -> tuple[float, float]:
    """The largest error of the file `content` against torch, and torch's largest logit.

    Of several outputs the error is that of the farthest, as a share of its largest value.

    Raises:
        UnsupportedError: onnxruntime cannot run the file.
        VerificationError: the error is above `EXPORT`.
    """
    try:
        runner = OnnxRuntimeRunner(content)
        got = list(runner(images.numpy()).values())
    except InvalidModelError as error:
        raise UnsupportedError(f"onnxruntime cannot run the export: {one_line(error)}") from error
    with torch.no_grad():
        answer = module(images)
    expected = [each.numpy() for each in (answer if isinstance(answer, tuple) else (answer,))]
    shapes = [[each.shape for each in answers] for answers in (got, expected)]
    if shapes[0] != shapes[1]:
        raise VerificationError(f"the export answers {shapes[0]}, torch {shapes[1]}")
    compared = [Comparison().add(*pair) for pair in zip(got, expected, strict=True)]
    comparison = worst(compared)
    if not comparison.within(EXPORT):
        raise VerificationError(
            f"the export differs from torch by {comparison.error:.2e} where the largest logit is "
            f"{comparison.largest:.2e}; nothing was written"
        )
    return comparison.error, compared[0].largest


def _check(output: Path, seed: int, size: tuple[int, int] | None, num_labels: int | None) -> None:
    """Finds out what is wrong with the arguments before minutes of work."""
    if size is not None and (len(size) != 2 or min(size) < 32):
        raise UsageError(f"image size {size}: height and width of at least 32 wanted")
    if num_labels is not None and num_labels < 1:
        raise UsageError(f"{num_labels} labels: at least 1 wanted")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed}: a number from 0 to 2**63 - 1 is wanted")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; the name of a file is wanted")


def _images(loaded: Loaded, batch: int, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.rand(batch, loaded.channels, *size, generator=generator)


def _metadata(model: str, loaded: Loaded, request: Request) -> dict[str, str]:
    # A model given as a folder goes in by its name alone: files must not name this machine's paths.
    name = Path(model).name if Path(model).is_dir() else model
    how = loaded.preprocessing
    known = {} if how.is_assumed else {METADATA: json.dumps(how.as_dict())}
    return known | {
        "onnx2mvit.model": name,
        "onnx2mvit.weights": loaded.weights,
        "onnx2mvit.source": loaded.source,
        "onnx2mvit.export": request.description,
    }


def _serialize(proto: onnx.ModelProto) -> bytes:
    if proto.ByteSize() > _MAX_BYTES:
        raise UnsupportedError("the model does not fit into one ONNX file (2 GB)")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnsupportedError(f"the exporter wrote no valid ONNX: {one_line(error)}") from error
    return bytes(proto.SerializeToString(deterministic=True))
