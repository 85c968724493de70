"""What goes into a deployed file and what comes out: names, shapes and axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mvit.builder import image_input
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing, from_dict
from onnx2mvit.lifter.naming import identifier
from onnx2mvit.runtimes import InBatches, Inputs, Outputs, Runner
from onnx2mvit.runtimes.images import some_images, structured_images
from onnx2mvit.runtimes.inputs import as_pixels, drawn
from onnx2mvit.runtimes.runner import by_name

if TYPE_CHECKING:
    from pathlib import Path

    import keras

Array = np.ndarray[Any, Any]
Shape = tuple[int | None, ...]
IMAGE = {"height", "width", "channels"}
SEVERAL = 4  # at once where any number may come, so that what is for one alone shows
CHANNELS_FIRST = ("batch", "channels", "height", "width")
DATA_FORMATS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class Tensor:
    """An input or an output: None is a length that is free, `axes` are what its axes are.

    An axis of which nothing is known is called "?". Integers are below `below`, if that is known.
    """

    name: str
    shape: Shape
    dtype: str
    axes: tuple[str, ...]
    below: int | None = None

    @property
    def is_image(self) -> bool:
        """True for (batch, height, width, channels)."""
        return len(self.shape) == 4 and set(self.axes) >= IMAGE

    @property
    def to_channels_first(self) -> tuple[int, ...]:
        """Where (batch, channels, height, width) of an image are; what is none stays as it is."""
        if set(self.axes) != set(CHANNELS_FIRST):
            return tuple(range(len(self.shape)))
        return tuple(map(self.axes.index, CHANNELS_FIRST))

    def turned(self, order: Sequence[int]) -> Tensor:
        """The same tensor with its axes in another order."""
        shape = tuple(self.shape[axis] for axis in order)
        return replace(self, shape=shape, axes=tuple(self.axes[axis] for axis in order))

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        found = {key: value for key, value in asdict(self).items() if key != "below"}
        return found | {"shape": list(self.shape), "axes": list(self.axes)}


@dataclass(frozen=True)
class Interface:
    """All that a file takes and gives, in the order of the model.

    `batched` says which inputs have a batch, `batch` is its length, None for any;
    `preprocessing` is what photographs become before they are the one that is an image.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: tuple[bool, ...]
    batch: int | None
    preprocessing: Preprocessing = ASSUMED

    @property
    def size(self) -> str:
        """Height and width of its images, or the shapes of what is none, for a person."""
        shapes = (t.shape[1:3] if t.is_image else t.shape[1:] for t in self.inputs)
        return ", ".join("×".join(map(str, shape)) or "scalars" for shape in shapes)

    @property
    def axes(self) -> dict[str, int | None]:
        """Where each input has the batch; the answers of `run` have it first."""
        return {
            tensor.name: 0 if batched else None
            for tensor, batched in zip(self.inputs, self.batched, strict=True)
        }

    def in_order(self, runner: Runner) -> Runner:
        """A runner whose answers are in the order of these outputs, under the names of these."""
        names = [tensor.name for tensor in self.outputs]
        return lambda inputs: dict(zip(names, runner(inputs).values(), strict=True))

    def run(
        self,
        runner: Runner,
        inputs: Inputs,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Outputs:
        """What a runner answers to `batch` inputs at a time, or to several, by the outputs' names.

        What has no batch, as a scalar, is a row of its answer for each input.
        """
        single = {tensor.name for tensor in self.outputs if "batch" not in tensor.axes}
        batch = self.batch or (1 if single else SEVERAL)

        def once(inputs: Inputs) -> Outputs:
            answers = runner(inputs)
            return {name: a[None] if name in single else a for name, a in answers.items()}

        return InBatches(once, batch, self.axes, progress)(inputs)

    @property
    def channels_first(self) -> Interface:
        """The same, images with their channels after the batch."""
        inputs, outputs = (
            tuple(tensor.turned(tensor.to_channels_first) for tensor in tensors)
            for tensors in (self.inputs, self.outputs)
        )
        return replace(self, inputs=inputs, outputs=outputs)

    def some_inputs(
        self, folder: str | Path | None, count: int, seed: int, most: int
    ) -> tuple[dict[str, Array], str]:
        """Inputs by name, of images in a folder or made here, and what they are.

        Raises:
            UsageError: the folder holds no images.
            UnsupportedError: there is a folder, and no input, or several, are images.
        """
        images = [tensor for tensor in self.inputs if tensor.is_image]
        if folder is not None and len(images) != 1:
            raise UnsupportedError("the model does not take one image: leave out the folder")
        found: dict[str, Array] = {}
        what = f"{count} inputs (seed {seed})"
        if len(images) == 1:
            height, width, channels = map(int, filter(None, images[0].shape[1:]))
            how = self.preprocessing.for_input(np.dtype(images[0].dtype))
            pixels, what = some_images(folder, count, height, width, channels, seed, most, how)
            found, count = {images[0].name: pixels}, len(pixels)
        made = {}
        for number, (tensor, batched) in enumerate(zip(self.inputs, self.batched, strict=True)):
            dtype, shape = np.dtype(tensor.dtype), [length or 1 for length in tensor.shape]
            if batched:
                shape[0] = count
            if tensor.is_image:
                if tensor.name not in found:
                    found[tensor.name] = structured_images(
                        count, shape[1], shape[2], shape[3], seed + number
                    )
                made[tensor.name] = as_pixels(found[tensor.name], dtype)
            else:
                rng = np.random.default_rng([seed, number])
                made[tensor.name] = drawn(shape, dtype, tensor.below, rng)
        return made, what


def in_keras_layout(runner: Runner, keras: Interface, file: Interface) -> Runner:
    """Runs a file on what the Keras model takes, and hands out what that gives.

    Args:
        runner: of the file.
        keras: what the model takes and gives.
        file: the same tensors, perhaps with their axes in another order.
    """

    def run(inputs: Inputs) -> Outputs:
        """Images are turned before and after."""
        named = by_name(inputs, [tensor.name for tensor in keras.inputs])
        answers = runner(turned(named, keras.inputs, file.inputs))
        return turned(answers, file.outputs, keras.outputs)

    return runner if keras == file else run


def turned(
    arrays: Mapping[str, Array], have: Sequence[Tensor], want: Sequence[Tensor]
) -> dict[str, Array]:
    """Arrays by name, whose axes are brought from one order to another."""
    turns = {
        tensor.name: [tensor.axes.index(axis) for axis in other.axes]
        for tensor, other in zip(have, want, strict=True)
        if tensor.axes != other.axes
    }
    return {
        name: np.ascontiguousarray(array.transpose(turns[name])) if name in turns else array
        for name, array in arrays.items()
    }


def describe_model(
    model: keras.Model,
    batch: int | None,
    size: tuple[int, int] | None,
    report: Mapping[str, Any] | None = None,
) -> Interface:
    """The interface of a model.

    Args:
        model: of any number of inputs.
        batch: so many images at a time; None for any. A model of a fixed batch keeps that.
        size: height and width of its image, where the model leaves them open.
        report: of the conversion, which has the names of the file and what its axes are.

    Raises:
        UnsupportedError: a length other than these is open.
    """
    fixed = next((tensor.shape[0] for tensor in model.inputs if tensor.shape), None)
    batched = tuple(bool(tensor.shape) and tensor.shape[0] == fixed for tensor in model.inputs)
    batch = batch if fixed is None else fixed
    known = report or {}
    inputs = []
    entries = _entries(model.inputs, known.get("inputs", ()))
    for tensor, has_batch, entry in zip(model.inputs, batched, entries, strict=True):
        shape = list(tensor.shape)
        if has_batch:
            shape[0] = batch
        if tensor is image_input(model) and size is not None:
            shape[1:3] = size
        if None in shape[1:]:
            raise UnsupportedError(f"input {tensor.name!r} is open: {list(tensor.shape)}")
        inputs.append(_tensor(tensor, tensor.name, shape, entry, fixed))
    names = _output_names(model, known.get("outputs", ()))
    outputs = [
        _tensor(tensor, name, tensor.shape, entry, fixed)
        for tensor, name, entry in zip(
            model.outputs, names, _entries(names, known.get("outputs", ())), strict=True
        )
    ]
    how = from_dict(known.get("preprocessing") or {})
    return Interface(tuple(inputs), tuple(outputs), batched, batch, how)


def _tensor(
    tensor: Any,
    name: str,
    shape: Sequence[int | None],
    entry: Mapping[str, Any],
    batch: int | None,
) -> Tensor:
    """With the axes that the report has for it; `batch` is that of the model."""
    axes = entry.get("axes") or ()
    if len(axes) != len(shape):
        usual = ["batch", "height", "width", "channels"] if len(shape) == 4 else ["batch"]
        known = usual if tensor.shape and tensor.shape[0] == batch else []
        axes = [*known, *["?"] * len(shape)][: len(shape)]
    return Tensor(name, tuple(shape), str(tensor.dtype), tuple(axes), entry.get("below"))


def _entries(tensors: Sequence[Any], report: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the report has for each of them, if it is of these."""
    return list(report) if len(report) == len(tensors) else [{}] * len(tensors)


def _output_names(model: keras.Model, report: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of the file, made safe, as far as these are its outputs; else those of Keras."""
    if [each["keras_name"] for each in report] != list(model.output_names):
        return list(model.output_names)
    names = [identifier(each["name"]).strip("_") for each in report]
    fit = len(set(names)) == len(names) and all(map(str.isidentifier, names))
    return names if fit else list(model.output_names)
