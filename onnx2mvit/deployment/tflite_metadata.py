"""The standard metadata of TFLite files, which MediaPipe reads: what pixels become, and labels.

https://ai.google.dev/edge/litert/conversion/tensorflow/metadata; the schema is mediapipe's, which
also has the reader. The labels are a file in a zip archive behind the model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

from onnx2mvit.base.optional import optional
from onnx2mvit.deployment.interface import Interface, Tensor
from onnx2mvit.deployment.litert import add_buffer
from onnx2mvit.errors import MissingDependencyError
from onnx2mvit.ir.preprocessing import Preprocessing

NAME, IDENTIFIER = "TFLITE_METADATA", b"M001"
LABELS = "labels.txt"
COLORS = {1: "GRAYSCALE", 3: "RGB"}


def add_standard_metadata(
    content: bytes, interface: Interface, name: str, labels: Sequence[str]
) -> tuple[bytes, list[str]]:
    """The file with the metadata of a model that takes one image.

    Args:
        content: a LiteRT file.
        interface: what it takes and gives; its preprocessing is that of float32 images.
        name: of the model.
        labels: the names of the classes of its first output; there may be none.

    Returns:
        The file, and notes: why it has none, or who cannot read it.
    """
    (image, *others), how = interface.inputs, interface.preprocessing
    if others or not image.is_image or image.shape[3] not in COLORS:
        return content, []  # there are no words for anything else
    if how.channels == "bgr":
        return content, ["without TFLite's metadata, which have no word for BGR"]
    try:
        schema = optional("mediapipe.tasks.metadata.metadata_schema_py_generated")
        flatbuffers = optional("flatbuffers", "metadata")
    except MissingDependencyError as error:
        return content, [f"without the metadata that MediaPipe reads. {error}"]
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata = [_image(schema, image, how)]
    graph.outputTensorMetadata = [_features(schema, tensor) for tensor in interface.outputs]
    if labels:
        file = schema.AssociatedFileT()
        file.name, file.type = LABELS, schema.AssociatedFileType.TENSOR_AXIS_LABELS
        graph.outputTensorMetadata[0].associatedFiles = [file]
    metadata = schema.ModelMetadataT()
    metadata.name, metadata.subgraphMetadata = name, [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(metadata.Pack(builder), IDENTIFIER)
    content = add_buffer(content, NAME, bytes(builder.Output()))
    content = _with_file(content, LABELS, "\n".join(labels)) if labels else content
    several = image.dtype == "float32" and len(_normalization(how)) > 1
    return content, ["MediaPipe knows one mean for all channels, and refuses this file"] * several


def _image(schema: Any, tensor: Tensor, how: Preprocessing) -> Any:
    made, content, color = schema.TensorMetadataT(), schema.ContentT(), schema.ImagePropertiesT()
    color.colorSpace = getattr(schema.ColorSpaceType, COLORS[tensor.shape[3] or 3])
    content.contentPropertiesType = schema.ContentProperties.ImageProperties
    content.contentProperties = color
    made.name, made.content = tensor.name, content
    if tensor.dtype == "float32":
        unit, options = schema.ProcessUnitT(), schema.NormalizationOptionsT()
        options.mean, options.std = (list(each) for each in zip(*_normalization(how), strict=True))
        unit.optionsType = schema.ProcessUnitOptions.NormalizationOptions
        unit.options = options
        made.processUnits = [unit]
    return made


def _normalization(how: Preprocessing) -> list[tuple[float, float]]:
    """Mean and std of bytes, `(byte - mean) / std`: of all channels, or of each."""
    factors, offsets = how.affine
    pairs = [(-b / a, 1 / a) for a, b in zip(factors, offsets, strict=True)]
    return pairs[:1] if len(set(pairs)) == 1 else pairs


def _features(schema: Any, tensor: Tensor) -> Any:
    made, content = schema.TensorMetadataT(), schema.ContentT()
    content.contentPropertiesType = schema.ContentProperties.FeatureProperties
    content.contentProperties = schema.FeaturePropertiesT()
    made.name, made.content = tensor.name, content
    return made


def _with_file(content: bytes, name: str, text: str) -> bytes:
    """The same bytes, with a zip archive of one file behind them; always the same one."""
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), text)
    return whole.getvalue()
