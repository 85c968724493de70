"""What goes into a deployed file and what comes out: names, shapes, and where the head begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx2mvit.builder.calls import calls_of
from onnx2mvit.errors import UnsupportedError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Interface:
    """The names, and the shape of the images: (batch or None, height, width, channels)."""

    input: str
    shape: tuple[int | None, int, int, int]
    outputs: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[1], self.shape[2]


def describe_model(
    model: keras.Model, batch: int | None, size: tuple[int, int] | None
) -> Interface:
    """The interface of a model that takes images, under Keras's names.

    Raises:
        UnsupportedError: the model takes something else than one batch of images.
    """
    if size is None or len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = [list(tensor.shape) for tensor in model.inputs]
        raise UnsupportedError(
            f"only a model of one batch of images can be deployed; {model.name} takes {shapes}"
        )
    (image,) = model.inputs
    return Interface(image.name, (batch, *size, image.shape[-1]), tuple(model.output_names))


def feature_extractor(model: keras.Model) -> keras.Model | None:
    """The model up to the head: to the last image or sequence before one vector for each image.

    None if the first output is no vector, as then there is no head to leave out.
    """
    import keras

    calls = calls_of(model)
    tensor = calls.outputs[0]
    if len(tensor.shape) != 2:
        return None
    while len(tensor.shape) <= 2:
        maker = calls.maker(tensor)
        if maker is None:
            return None
        tensor = maker.inputs[0]
    return keras.Model(calls.inputs, tensor, name=f"{model.name}_features")
