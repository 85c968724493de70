"""OpenVINO: the answers of a file for processors of Intel and ARM.

It computes in bfloat16 or float16 where the processor can, whatever the file says, unless it is
told otherwise when the file is loaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import quiet
from onnx2mvit.errors import InvalidModelError, UnsupportedError
from onnx2mvit.runtimes.runner import Inputs, Outputs, by_name

HINT = "INFERENCE_PRECISION_HINT"
PINNED = ["runtime_options", HINT]  # where a file says what it is to be computed in
NAMES = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # what is not in int8 is in float32


def import_openvino() -> ModuleType:
    """The module of OpenVINO's runtime.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return optional("openvino")


def has_openvino() -> bool:
    """Whether it is installed."""
    return find_spec("openvino") is not None


def read_openvino(file: Path) -> Any:
    """The model of OpenVINO that a file holds: NAME.xml with NAME.bin beside it, or ONNX.

    Raises:
        InvalidModelError: OpenVINO cannot read it.
        MissingDependencyError: OpenVINO is not installed.
    """
    core = import_openvino().Core()
    try:
        with quiet():
            return core.read_model(file)
    except RuntimeError as error:
        raise InvalidModelError(f"OpenVINO cannot read {file}: {_cause(error)}") from error


def _cause(error: RuntimeError) -> str:
    """What OpenVINO says, without where in its own sources it found out."""
    own = ("Exception from", "Check '", "FrontEnd API failed")
    told = [line.strip() for line in str(error).splitlines() if not line.startswith(own)]
    return " ".join(filter(None, told))[:300]


class OpenVINORunner:
    """An OpenVINO model on the processor, in the precision that it is pinned to, else in float32.

    `batch` is the number of images that it takes, None for any; `takes` and `gives` have the shape,
    with None for what is open, and the type of each input and output, by name.
    """

    def __init__(self, model: Path | Any, threads: int = 0) -> None:
        """Compiles the model.

        Args:
            model: NAME.xml with NAME.bin beside it, an ONNX file, or a model of OpenVINO.
            threads: 0 leaves them to OpenVINO.

        Raises:
            InvalidModelError: OpenVINO cannot read it.
            UnsupportedError: the processor has not the precision that it is pinned to, or OpenVINO
                cannot run what it has read.
            MissingDependencyError: OpenVINO is not installed.
        """
        core = import_openvino().Core()
        if isinstance(model, Path):
            model = read_openvino(model)
        pinned = str(model.get_rt_info(PINNED).astype(str)) if model.has_rt_info(PINNED) else "f32"
        if pinned == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UnsupportedError("this processor does not compute in bfloat16")
        options: dict[str, Any] = {HINT: pinned, "PERFORMANCE_HINT": "LATENCY"}
        options |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        try:
            with quiet():
                self.compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise UnsupportedError(f"OpenVINO cannot run the model: {_cause(error)}") from error
        # What is compiled may have names of inner tensors beside those of the file.
        self.takes = {port.get_any_name(): _port(port) for port in model.inputs}
        self.gives = {port.get_any_name(): _port(port) for port in model.outputs}
        self.inputs, self.outputs = list(self.takes), list(self.gives)
        lengths = [shape[0] for shape, _ in self.takes.values() if shape]
        self.batch = lengths[0] if lengths else None

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name."""
        answers = self.compiled(by_name(inputs, self.inputs))
        return {name: answers[at].copy() for at, name in enumerate(self.outputs)}


def _port(port: Any) -> tuple[list[int | None], np.dtype[Any]]:
    """The shape and the type of an input or output."""
    lengths = [each.get_length() if each.is_static else None for each in port.get_partial_shape()]
    return lengths, np.dtype(port.get_element_type().to_dtype())
