"""LiteRT files: written by TensorFlow's converter, and looked into."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.base.optional import import_tensorflow, optional
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.deployment.litert_graph import named_operators, read_model
from onnx2mvit.deployment.saved_model import write_saved_model
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.runtimes import SERVE

if TYPE_CHECKING:
    import keras

METADATA = "onnx2mvit"


def litert_model(model: keras.Model, interface: Interface, precision: str = "float32") -> bytes:
    """A model as a LiteRT file, with its weights in float32 or float16.

    Batch normalization is folded by the converter, and of layer normalization γ and β.

    Args:
        model: gives the outputs of `interface`, by their names.
        interface: of the file.
        precision: float32 or float16; with int8 it is in float32, and left so that `int8.quantize`
            rounds the kernels that the model has: with no γ in them.

    Raises:
        UnsupportedError: something in it needs TensorFlow's own operators (Flex).
    """
    tensorflow = import_tensorflow()
    with tempfile.TemporaryDirectory() as folder, quiet():
        write_saved_model(model, Path(folder), interface, norms=precision != "int8")
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVE])
        if precision == "float16":
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tensorflow.float16]
        try:
            content = bytes(converter.convert())
        except Exception as error:  # the converter has classes of its own, hidden in TensorFlow
            if type(error).__name__ != "ConverterError":
                raise
            raise UnsupportedError(
                f"LiteRT has no operator for something in this model: {one_line(error)}"
            ) from error
    refuse_flex(content)
    return content


def operators(content: bytes) -> Counter[str]:
    """How often each operator stands in a LiteRT file; custom ones by their own name."""
    model = read_model(content)
    return Counter(name for graph in model.subgraphs for name, _ in named_operators(model, graph))


def refuse_flex(content: bytes) -> None:
    """Makes sure that a LiteRT file runs without TensorFlow in the application.

    Raises:
        UnsupportedError: it holds operators of TensorFlow.
    """
    flex = sorted(name for name in operators(content) if name.startswith("Flex"))
    if flex:
        raise UnsupportedError(
            f"the LiteRT file would need TensorFlow's own operators ({', '.join(flex)}), which "
            "the interpreter on a phone does not have; try another --image-size"
        )


def add_buffer(content: bytes, name: str, data: bytes) -> bytes:
    """The file with these bytes in a metadata buffer of this name."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    model = read_model(content)
    _add_buffer(model, name, data)
    return bytes(tools.convert_object_to_bytearray(model))


def _add_buffer(model: Any, name: str, data: bytes) -> None:
    schema = optional("ai_edge_litert.schema_py_generated")
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(data, dtype=np.uint8)
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]


def add_metadata(content: bytes, interface: Interface, entries: dict[str, Any]) -> bytes:
    """The file with these entries as JSON in a metadata buffer named `onnx2mvit`.

    Its inputs and outputs are in the order of the interface; the converter sorts them by name.
    """
    tools = optional("ai_edge_litert.tools.flatbuffer_utils")
    model = read_model(content)
    _add_buffer(model, METADATA, json.dumps(entries, ensure_ascii=False).encode())
    (graph, *_), (signature,) = model.subgraphs, model.signatureDefs
    for kind, tensors in (("inputs", interface.inputs), ("outputs", interface.outputs)):
        given = {each.name.decode(): each for each in getattr(signature, kind)}
        ordered = [given[tensor.name] for tensor in tensors]
        setattr(signature, kind, ordered)
        setattr(graph, kind, [each.tensorIndex for each in ordered])
    return bytes(tools.convert_object_to_bytearray(model))


def litert_metadata(content: bytes) -> dict[str, Any]:
    """What `add_metadata` wrote into a file; empty where it did not."""
    model = read_model(content)
    for entry in model.metadata or ():
        if entry.name in (METADATA, METADATA.encode()):
            found = json.loads(bytes(model.buffers[entry.buffer].data))
            return dict(found)
    return {}
