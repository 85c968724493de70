"""onnxruntime on the original file: its answers, and its tensors at the borders of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.runtimes.images import Images

Array = np.ndarray[Any, Any]
AXES_ARE_AN_INPUT = 18  # of ReduceMean: from this opset on
FAILURES = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


class Reference:
    """A session on a file, with some of its inner tensors as further outputs.

    With those, means over several axes are taken more exactly than by onnxruntime (`exact_means`);
    without, the file is run as it is.
    """

    def __init__(
        self,
        path: Path,
        inner: Sequence[str] = (),
        optimized: bool = True,
        instead: bytes | None = None,
    ) -> None:
        """With `instead` it is a session on that model, which was made of the file."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False  # it would keep every inner tensor a second time
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source: str | bytes = str(path) if instead is None else instead
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
            exact_means(model)
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

    def __call__(self, images: Images, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Outputs by name for images (N, C, H, W); a file with a fixed batch gets its own.

        By default all of them. Of inner ones only those that are named are kept in memory.

        Raises:
            InvalidModelError: onnxruntime fails on these images.
        """
        step = self.batch or len(images)
        if names is None:
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


def exact_means(model: onnx.ModelProto) -> None:
    """Lets means over several axes be taken over the last of them first.

    onnxruntime 1.31 adds up all numbers one by one; where they are nearly alike, GlobalAveragePool
    is off by 1e-4 at 112×112 and ReduceMean by 2e-5 (measured), and our tolerance is 1e-5.
    """
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for index, node in reversed(list(enumerate(model.graph.node))):
        axis = 3 if node.op_type == "GlobalAveragePool" else _last_axis(node, constants)
        if axis is None:
            continue
        first = onnx.helper.make_node("ReduceMean", [node.input[0]], [f"{node.output[0]}/first"])
        if opset < AXES_ARE_AN_INPUT:
            first.attribute.append(onnx.helper.make_attribute("axes", [axis]))
        else:
            axes = numpy_helper.from_array(np.array([axis]), f"{node.output[0]}/axes")
            model.graph.initializer.append(axes)
            first.input.append(axes.name)
        node.input[0] = first.output[0]
        model.graph.node.insert(index, first)


def _last_axis(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> int | None:
    """The last axis of a ReduceMean over several; None for one axis, and for another operator."""
    if node.op_type != "ReduceMean":
        return None
    given = [attribute.ints for attribute in node.attribute if attribute.name == "axes"]
    axes = list(given[0]) if given else []
    if len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    # Of axes counted from both ends the last is known only with the rank.
    alike = all(axis < 0 for axis in axes) or all(axis >= 0 for axis in axes)
    return max(axes) if len(axes) > 1 and alike else None
