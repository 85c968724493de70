"""A classifier as a KerasHub preset: `keras_hub.models.ImageClassifier.from_preset(folder)`.

https://keras.io/keras_hub/guides/upload/. Its network takes RGB, and is made of stock layers; its
preprocessor makes of photographs what the network takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import quiet
from onnx2mvit.builder.calls import Call, Calls, calls_of
from onnx2mvit.deployment.head import linear_head
from onnx2mvit.deployment.interface import Interface
from onnx2mvit.errors import UnsupportedError
from onnx2mvit.ir.preprocessing import Preprocessing
from onnx2mvit.runtimes import KerasRunner, Runner

if TYPE_CHECKING:
    import keras

TASK, METADATA = "ImageClassifier", "metadata.json"
INTERPOLATIONS = {"hamming": "bilinear", "box": "area", "lanczos": "lanczos5"}


def write_keras_hub(model: keras.Model, folder: Path, interface: Interface) -> list[str]:
    """Writes the preset.

    Args:
        model: its last layer is linear, with a softmax behind it or none.
        folder: is made.
        interface: of one image (batch, height, width, 3) of float32, whose preprocessing goes into
            the preset.

    Returns:
        Notes on what KerasHub does otherwise.

    Raises:
        UnsupportedError: it is no classifier of images.
        MissingDependencyError: keras-hub is not installed.
    """
    keras_hub = optional("keras_hub")
    calls = calls_of(model)
    if (found := linear_head(calls)) is None:
        raise UnsupportedError("a KerasHub classifier ends in one linear layer, and this does not")
    head, activation = found
    image, *others = interface.inputs
    if others or not image.is_image or image.shape[3] != 3 or image.dtype != "float32":
        raise UnsupportedError("a KerasHub classifier takes one image of three channels")
    height, width = image.shape[1:3]
    how = interface.preprocessing
    with quiet():
        preprocessor = keras_hub.models.ImageClassifierPreprocessor(
            image_converter=keras_hub.layers.ImageConverter(
                image_size=(height, width), **converter_arguments(how)
            )
        )
        task = keras_hub.models.ImageClassifier(
            backbone=_backbone(calls, head, model.name, how),
            num_classes=head.layer.units,
            pooling="avg",
            activation=activation,
            preprocessor=preprocessor,
        )
        kernel, *bias = head.layer.get_weights()
        task.output_dense.set_weights([kernel, *(bias or [0 * kernel[0]])])
        task.save_to_preset(str(folder))
    path = folder / METADATA  # KerasHub leaves out the task of a backbone that is no class of its
    about = json.loads(path.read_text(encoding="utf-8")) | {"tasks": [TASK]}
    path.write_text(json.dumps(about, indent=4), encoding="utf-8")
    cut = how.crop is not None and how.crop < 1
    return [
        f"KerasHub cuts out no centre of {how.crop:.1%}: it takes all of the shorter side"
    ] * cut


def converter_arguments(how: Preprocessing) -> dict[str, Any]:
    """What an ImageConverter of KerasHub is to do: bytes times `scale`, plus `offset`, as RGB."""
    factors, offsets = how.affine
    return {
        "scale": list(factors),
        "offset": list(offsets),
        "interpolation": INTERPOLATIONS.get(how.interpolation, how.interpolation),
        "antialias": how.interpolation != "nearest",  # as pillow does
        "crop_to_aspect_ratio": how.crop is not None,
    }


def keras_hub_runner(folder: Path, interface: Interface) -> Runner:
    """The network of a preset, without its preprocessor, on the pixels that the model takes."""
    import keras

    keras_hub = optional("keras_hub")
    with quiet():
        task = keras_hub.models.ImageClassifier.from_preset(str(folder))
        inputs = keras.Input(task.input_shape[1:], name=interface.inputs[0].name)
        turned = interface.preprocessing.channels == "bgr"
        answers = task(keras.ops.flip(inputs, axis=-1) if turned else inputs)
    return KerasRunner(keras.Model(inputs, answers), None, [interface.outputs[0].name])


def _backbone(calls: Calls, head: Call, name: str, how: Preprocessing) -> keras.Model:
    """What the head reads, as an image of which KerasHub takes the mean: of RGB."""
    import keras

    (vector,) = head.inputs
    maker = calls.maker(vector)
    if maker is not None and isinstance(maker.layer, keras.layers.GlobalAveragePooling2D):
        (features,) = maker.inputs
    else:  # an image of one pixel
        features = keras.layers.Reshape((1, 1, vector.shape[-1]), name="pixel")(vector)
    backbone = keras.Model(calls.inputs, features, name=f"{name}_backbone")
    if how.channels != "bgr":
        return backbone
    inputs = keras.Input(backbone.input_shape[1:], name=calls.inputs[0].name)
    return keras.Model(inputs, backbone(keras.ops.flip(inputs, axis=-1)), name=f"{name}_of_rgb")
