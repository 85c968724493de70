"""LiteRT files: written by TensorFlow's converter, looked into, and run."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mvit.base.optional import import_tensorflow, optional
from onnx2mvit.base.quiet import one_line, quiet
from onnx2mvit.deployment._saved_model import SERVE
from onnx2mvit.errors import UnsupportedError

Array = np.ndarray[Any, Any]
METADATA = "onnx2mvit"
THREADS = min(os.cpu_count() or 1, 4)


def convert_saved_model(folder: Path, half: bool = False) -> bytes:
    """A SavedModel as a LiteRT file, its weights in float32 or, if `half`, in float16.

    Batch normalization is folded by the converter.

    Raises:
        UnsupportedError: something in it needs TensorFlow's own operators (Flex).
    """
    tensorflow = import_tensorflow()
    with quiet():
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(
            str(folder), signature_keys=[SERVE]
        )
        if half:
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
    tools = optional("ai_edge_litert.tools.flatbuffer_utils", extra="deploy")
    model = tools.read_model_from_bytearray(bytearray(content))
    return Counter(
        _name(tools, model, operator.opcodeIndex)
        for graph in model.subgraphs
        for operator in graph.operators or ()
    )


def _name(tools: Any, model: Any, code: int) -> str:
    custom = model.operatorCodes[code].customCode
    if custom:
        return custom.decode() if isinstance(custom, bytes) else str(custom)
    return str(tools.opcode_to_name(model, code))


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


def add_metadata(content: bytes, entries: dict[str, Any]) -> bytes:
    """The file with these entries as JSON in a metadata buffer named `onnx2mvit`."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils", extra="deploy")
    schema = optional("ai_edge_litert.schema_py_generated", extra="deploy")
    model = tools.read_model_from_bytearray(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    text = json.dumps(entries, ensure_ascii=False)
    buffer.data = np.frombuffer(text.encode(), dtype=np.uint8)
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    return bytes(tools.convert_object_to_bytearray(model))


def read_metadata(content: bytes) -> dict[str, Any]:
    """What `add_metadata` wrote; empty if there is nothing."""
    tools = optional("ai_edge_litert.tools.flatbuffer_utils", extra="deploy")
    model = tools.read_model_from_bytearray(bytearray(content))
    for entry in model.metadata or ():
        name = entry.name.decode() if isinstance(entry.name, bytes) else entry.name
        if name == METADATA:
            found: dict[str, Any] = json.loads(bytes(model.buffers[entry.buffer].data))
            return found
    return {}


class LiteRT:
    """Runs a LiteRT file's signature on as many images at a time as it takes."""

    def __init__(self, content: bytes, threads: int = THREADS) -> None:
        interpreter = optional("ai_edge_litert.interpreter", extra="deploy")
        with quiet():
            self.interpreter = interpreter.Interpreter(model_content=content, num_threads=threads)
            self.interpreter.allocate_tensors()
            self.runner = self.interpreter.get_signature_runner(SERVE)
        (self.input,) = self.runner.get_input_details()
        self.batch = int(self.runner.get_input_details()[self.input]["shape"][0])

    def __call__(self, images: Array) -> dict[str, Array]:
        """All outputs by name for float32 images (N, height, width, channels)."""
        parts: list[dict[str, Array]] = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            missing = np.repeat(part[-1:], self.batch - len(part), axis=0)
            padded = np.ascontiguousarray(np.concatenate([part, missing]))
            answers = self.runner(**{self.input: padded})
            parts.append(
                {
                    name: answer[: len(answer) * len(part) // self.batch].copy()
                    for name, answer in answers.items()
                }
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
