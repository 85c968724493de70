"""Pixels that stand in a row in the file are an image inside of Keras's blocks."""

from typing import Any, cast

import keras
import numpy as np

from onnx2mvit.verifier.sub_model import SubModel


def test_a_part_whose_pixels_stand_in_a_row_is_compared() -> None:
    image = keras.Input((2, 3, 4))
    layer = keras.layers.Dense(5, use_bias=False)
    model = keras.Model(image, layer(image))
    tokens = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    nothing = cast(Any, None)
    for shape in ((2, 6, 5), (12, 5)):
        expected = (tokens @ np.asarray(layer.kernel)).reshape(shape)
        part = SubModel(nothing, nothing, model, [], [tokens.reshape(*shape[:-1], 4)], expected)
        assert part.comparison.within(1e-5)
        part = SubModel(nothing, nothing, model, [], [tokens], expected[::-1].copy())
        assert not part.comparison.within(1e-5)
