"""onnxruntime on the original file: its answers, and its tensors at the borders of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from onnx2mvit.errors import InvalidModelError
from onnx2mvit.images import Images
from onnx2mvit.quiet import one_line

Array = np.ndarray[Any, Any]
FAILURES = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


class Reference:
    """A session on a file, with some of its inner tensors as further outputs."""

    def __init__(self, path: Path, inner: Sequence[str] = (), optimized: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False  # it would keep every inner tensor a second time
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source: str | bytes = str(path)
        self.inner = list(inner)
        if inner:
            # The weights of a large model stay in their own file, beside the original.
            model = onnx.load(path, load_external_data=False)
            folder = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(folder, str(path.parent))
            known = {name for node in model.graph.node for name in node.output}
            outputs = {output.name for output in model.graph.output}
            self.inner = [name for name in inner if name in known and name not in outputs]
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.inner)
            source = model.SerializeToString()
        try:
            self.session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except FAILURES as error:
            raise InvalidModelError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
        self.input = self.session.get_inputs()[0].name
        batch = self.session.get_inputs()[0].shape[0]
        self.batch: int | None = batch if isinstance(batch, int) else None

    def __call__(self, images: Images) -> dict[str, Array]:
        """All outputs by name for images (N, C, H, W); a file with a fixed batch gets its own.

        Raises:
            InvalidModelError: onnxruntime fails on these images.
        """
        step = self.batch or len(images)
        names = [output.name for output in self.session.get_outputs()]
        parts: list[list[Array]] = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            missing = step - len(part)
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            try:
                answers = self.session.run(names, {self.input: padded})
            except FAILURES as error:
                raise InvalidModelError(
                    f"onnxruntime fails on the file: {one_line(error)}"
                ) from error
            parts.append([answer[: len(answer) // step * len(part)] for answer in answers])
        return {
            name: np.concatenate([part[index] for part in parts])
            for index, name in enumerate(names)
        }
