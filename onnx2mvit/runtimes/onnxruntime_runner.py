"""onnxruntime: the answers of an ONNX file, and its tensors between the nodes.

It is imported when the first session is made: what runs nothing need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx

from onnx2mvit.base.memory import let_go, place_of
from onnx2mvit.base.output import temporary_folder
from onnx2mvit.base.quiet import one_line
from onnx2mvit.errors import InvalidModelError
from onnx2mvit.reader.cut import cut
from onnx2mvit.reader.mapped import load_mapped
from onnx2mvit.runtimes.exact_means import exact_means
from onnx2mvit.runtimes.runner import Array, Inputs, Outputs, by_name

if TYPE_CHECKING:
    import onnxruntime

NONE: Mapping[str, Array] = MappingProxyType({})
COPIES = ("ConstantFolding",)  # which copies all weights to look for what is made of them alone
FLOATS = {"tensor(float16)": np.float16, "tensor(double)": np.float64}  # beside float32


class OnnxRuntimeRunner:
    """A session of onnxruntime on an ONNX file; inputs and outputs are in the file's layout.

    Floats are handed in and out in float32, whatever the file computes in.

    `batch` is the number of images that the file takes, None for any.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        outputs: Sequence[str] = (),
        inner: Sequence[str] = (),
        any_size: bool = False,
        optimized: bool = True,
        arena: bool = False,
        threads: int = 0,
        weights: Mapping[str, Array] = NONE,
    ) -> None:
        """Loads the model.

        Args:
            model: an ONNX file, or the content of one.
            outputs: tensors at which a file is cut; none for all of it.
            inner: tensors between the nodes of a file that are outputs too; means over several
                axes are then taken exactly, and nothing is computed beforehand. Names that the file
                does not have are left out.
            any_size: runs a file for images of one size as if it took any.
            optimized: False for the nodes one by one, as they stand in the file.
            arena: keeps memory between calls, and weights in the order in which they are read,
                which is faster, and holds every weight and inner tensor twice.
            threads: for each node; 0 leaves it to onnxruntime.
            weights: those that the content of a file refers to as external, by name.

        Raises:
            InvalidModelError: onnxruntime cannot load it.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
        if not arena:  # threads that wait would keep others from the processors
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            # Copies of all weights.
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.intra_op_num_threads = threads
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source: str | bytes = model if isinstance(model, bytes) else str(model)
        self.inner, folder = list(inner), None
        if inner or outputs or any_size or (isinstance(model, Path) and not optimized):
            assert isinstance(model, Path)
            proto, weights = load_mapped(model)
            if outputs:
                cut(proto, outputs)
            known = {name for node in proto.graph.node for name in node.output}
            given = {output.name for output in proto.graph.output}
            self.inner = [name for name in inner if name in known and name not in given]
            proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.inner)
            if inner:
                exact_means(proto)
            if any_size:
                _forget_sizes(proto)
            held = {tensor.name: tensor.data_location for tensor in proto.graph.initializer}
            elsewhere = (held[name] for name in held.keys() - weights.keys())
            if onnx.TensorProto.EXTERNAL in elsewhere:
                folder = model.parent.resolve()
            weights = {name: array for name, array in weights.items() if name in held}
            source = proto.SerializeToString()
        # onnxruntime reads them where they lie, and holds neither them nor what stands for them.
        self.weights = {name: np.ascontiguousarray(array) for name, array in weights.items()}
        self._shared = _share(self.weights, options, folder)
        named = "the model" if isinstance(model, bytes) else model
        self.session = _session(source, options, named, COPIES if inner else ())
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]
        self.floats = {each.name: FLOATS.get(each.type) for each in self.session.get_inputs()}
        batch = next(iter(self.session.get_inputs()[0].shape), None)
        self.batch: int | None = batch if isinstance(batch, int) else None
        let_go(self.weights.values())

    def __call__(self, inputs: Inputs) -> Outputs:
        """All outputs by name, inner ones included.

        Raises:
            InvalidModelError: onnxruntime fails on these inputs.
        """
        return self.tensors(inputs, self.outputs)

    def tensors(self, inputs: Inputs, names: Sequence[str]) -> Outputs:
        """Some outputs or inner tensors by name; the others are not kept in memory.

        Raises:
            InvalidModelError: onnxruntime fails on these inputs.
        """
        feed = {
            name: array if (dtype := self.floats.get(name)) is None else array.astype(dtype)
            for name, array in by_name(inputs, self.inputs).items()
        }
        with _failures_said("fails on the file"):
            answers = self.session.run(list(names), feed)
        if self.inner:  # which are asked for once or twice, and are large themselves
            let_go(self.weights.values())
        return dict(zip(names, map(_as_float32, answers), strict=True))


def _share(
    weights: Mapping[str, Array], options: onnxruntime.SessionOptions, folder: Path | None
) -> list[onnxruntime.OrtValue]:
    """Lets a session have weights that its model only refers to, without a copy.

    It wants to find them in files of one folder nevertheless, where it does not read them. Those
    that lie in none are copied while it loads.

    Args:
        weights: by name. They and what is returned must stay as long as the session.
        options: of the session.
        folder: in which other weights of the model lie.
    """
    import onnxruntime

    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a) for name, a in weights.items()}
    for name, value in values.items():
        options.add_initializer(name, value)
    places = {name: place_of(array) for name, array in weights.items()}
    folders = {name: place[0].parent for name, place in places.items() if place is not None}
    folder = folder or next(iter(folders.values()), None)
    if folder is not None:
        entry = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(entry, str(folder))
    found = {name for name, each in folders.items() if each == folder}
    others = {name: value for name, value in values.items() if name not in found}
    options.add_external_initializers([*others], [*others.values()])
    return [*values.values()]


def _forget_sizes(proto: onnx.ModelProto) -> None:
    """Takes out of a model what it declares of sizes; weights keep theirs."""
    weights = {weight.name for weight in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name not in weights:
            for dim in value.type.tensor_type.shape.dim[1:]:
                dim.Clear()
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]


def _as_float32(array: Array) -> Array:
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def unfused_batch_norms(path: Path) -> int:
    """How many BatchNormalization onnxruntime still has after its optimisations of a file.

    It folds them into convolutions whose weights and bias are constants. Torch's dynamo exporter
    computes the biases when it is not to fold (`optimize=False`); the file then takes nearly
    twice as long (MobileViT-XS, onnxruntime 1.31).

    Raises:
        InvalidModelError: onnxruntime cannot load the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # The last level would write them as convolutions, where the processor likes that.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with temporary_folder() as folder:
        options.optimized_model_filepath = str(folder / "optimized.onnx")
        _session(str(path), options, path)
        optimized = onnx.load(options.optimized_model_filepath, load_external_data=False)
    return sum(node.op_type == "BatchNormalization" for node in optimized.graph.node)


def _session(
    source: str | bytes,
    options: onnxruntime.SessionOptions,
    named: str | Path,
    without: Sequence[str] = (),
) -> onnxruntime.InferenceSession:
    """The one place where a session is made: on the processor, and without a word on stderr.

    Some of its optimisations may be left out.
    """
    import onnxruntime

    options.log_severity_level = 4
    with _failures_said(f"cannot load {named}"):
        return onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=[*without]
        )


@contextmanager
def _failures_said(what: str) -> Iterator[None]:
    """Turns the errors of onnxruntime, which have no base class of their own, into one of ours."""
    import onnxruntime

    classes = vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
    known = [one for one in classes if isinstance(one, type) and issubclass(one, Exception)]
    try:
        yield
    except tuple(known) as error:
        raise InvalidModelError(f"onnxruntime {what}: {one_line(error)}") from error
