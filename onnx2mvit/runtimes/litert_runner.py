"""LiteRT: the answers of a file for phones, with XNNPACK, its default."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import quiet
from onnx2mvit.runtimes.runner import Inputs, Outputs, by_name

THREADS = min(os.cpu_count() or 1, 4)


def import_litert() -> ModuleType:
    """The module of LiteRT's interpreter.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
    """
    return optional("ai_edge_litert.interpreter")


class LiteRTRunner:
    """The signature of a LiteRT file that has one; inputs and outputs are in Keras's layout.

    `batch` is the number of images that the file takes; `takes` and `gives` are what LiteRT says of
    inputs and outputs, by name: `shape`, `dtype`, …. With `keep_tensors`, what lies between them
    can be read after a call.
    """

    def __init__(
        self, content: bytes, threads: int = THREADS, *, keep_tensors: bool = False
    ) -> None:
        with quiet():
            interpreter = import_litert().Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_preserve_all_tensors=keep_tensors,
            )
            interpreter.allocate_tensors()
            self._interpreter = interpreter
            (signature,) = interpreter.get_signature_list()
            self.signature = interpreter.get_signature_runner(signature)
        self.takes = self.signature.get_input_details()
        self.gives = self.signature.get_output_details()
        self.inputs, self.outputs = list(self.takes), sorted(self.gives)
        shapes = [each["shape"] for each in self.takes.values()]
        self.batch = int(next((shape[0] for shape in shapes if len(shape)), 1))

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name."""
        feed = by_name(inputs, self.inputs)
        answers = self.signature(
            **{name: np.asarray(array, order="C") for name, array in feed.items()}
        )
        return {name: answers[name] for name in self.outputs}

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """The tensors of the last call, which were kept.

        Yields:
            Names in the file, and float32 arrays of any shape, images as (1, height, width,
            channels).
        """
        for detail in self._interpreter.get_tensor_details():
            if detail["dtype"] == np.float32 and detail["name"]:
                with suppress(ValueError):  # one that the runtime has no memory for
                    array = self._interpreter.get_tensor(detail["index"])
                    if array.size:
                        yield detail["name"], array
