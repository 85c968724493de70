"""Distillation: the student comes to answer as the teacher does, on images that it never saw."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import onnx2mvit
from onnx2mvit.errors import UsageError


def network(activation: str = "silu", classes: int = 4, last: str | None = None) -> keras.Model:
    """A stem, a nested block and a head."""
    keras.utils.set_random_seed(0)
    inside = keras.Input((8, 8, 6))
    y = layers.Conv2D(6, 3, padding="same", use_bias=False)(inside)
    y = layers.BatchNormalization(momentum=0.5)(y)
    block = keras.Model(inside, layers.Activation(activation)(y), name="stages.0")
    x = keras.Input((8, 8, 3))
    y = layers.Activation(activation, name="stem")(layers.Conv2D(6, 1)(x))
    y = layers.GlobalAveragePooling2D()(block(y))
    return keras.Model(x, layers.Dense(classes, last)(y), name="net")


def pair() -> tuple[keras.Model, keras.Model]:
    """A student with hard swish and its teacher's weights, and the teacher."""
    student, teacher = network("hard_silu"), network()
    for _ in range(8):  # its normalization knows the images
        teacher(images(64, 2), training=True)
    student.set_weights(teacher.get_weights())
    return student, teacher


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (count, 8, 8, 3)).astype("float32")


def far(student: keras.Model, teacher: keras.Model, pixels: np.ndarray) -> float:
    ours, theirs = (model.predict(pixels, verbose=0) for model in (student, teacher))
    return float(np.square(ours - theirs).sum() / np.square(theirs).sum())


@pytest.mark.parametrize("how", [{}, {"blocks": ["stages.0"]}, {"temperature": None}])
def test_it_is_nearer_on_images_that_it_never_saw(how: dict[str, Any]) -> None:
    student, teacher = pair()
    kept = [np.array(each) for each in teacher.weights]
    before = far(student, teacher, images(64, 1))
    history = onnx2mvit.distill(
        student,
        teacher,
        images(128, 0),
        optimizer=keras.optimizers.Adam(0.003),
        epochs=4,
        batch_size=16,
        validation_data=images(64, 1),
        verbose=0,
        **how,
    )
    assert far(student, teacher, images(64, 1)) < before / 2
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]
    assert all(
        (np.array(each) == old).all() for each, old in zip(teacher.weights, kept, strict=True)
    )
    assert all(each.trainable for each in teacher.layers)


def test_the_loss_is_the_divergence_of_softened_answers_and_the_share_of_blocks() -> None:
    student, teacher = pair()
    pixels = images(16, 0)
    student.trainable = False
    ends = [
        onnx2mvit.features(each, ["stages.0"]).predict(pixels, verbose=0)
        for each in (student, teacher)
    ]
    s, t = (keras.ops.softmax(each.predict(pixels, verbose=0) / 3) for each in (student, teacher))
    right = 9 * np.mean(keras.losses.kl_divergence(t, s))
    right += np.square(ends[0] - ends[1]).mean() / np.square(ends[1]).mean()
    history = onnx2mvit.distill(
        student, teacher, pixels, temperature=3, blocks="stages.0", batch_size=16, verbose=0
    )
    assert history.history["loss"] == [pytest.approx(right, rel=1e-4)]


def test_an_output_of_one_column_is_no_logits_of_classes() -> None:
    student, teacher = network("hard_silu", classes=1), network(classes=1)
    student.set_weights(teacher.get_weights())
    history = onnx2mvit.distill(student, teacher, images(16, 0), verbose=0)
    assert history.history["loss"][0] > 1e-6


def test_it_takes_what_fit_takes_and_reads_no_labels() -> None:
    student, teacher = pair()
    pixels = images(32, 0)
    data = tf.data.Dataset.from_tensor_slices((pixels, np.zeros(32))).batch(8)
    first = onnx2mvit.distill(student, teacher, data, verbose=0).history["loss"]
    student.set_weights(teacher.get_weights())
    again = onnx2mvit.distill(student, teacher, pixels, batch_size=8, shuffle=False, verbose=0)
    assert again.history["loss"] == pytest.approx(first, rel=1e-5)


def test_the_student_keeps_what_it_was_compiled_with_and_is_saved_stock(tmp_path: Path) -> None:
    student, teacher = pair()
    student.compile("sgd", "mse")
    with onnx2mvit.fast_training(student):
        onnx2mvit.distill(student, teacher, images(32, 0), verbose=0)
    assert student.loss == "mse"
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    pixels = images(4, 1)
    assert (np.array(again(pixels)) == np.array(student(pixels))).all()
    assert not any("call" in vars(layer) for layer in student.layers)


@pytest.mark.parametrize(
    ("student", "teacher", "how", "says"),
    [
        (lambda: [], network, {}, "takes two Keras models, not list"),
        (network, lambda: network(classes=5), {}, r"gives \[\(4,\)\], the teacher \[\(5,\)\]"),
        (lambda: network(last="softmax"), network, {}, "net gives probabilities"),
        (network, network, {"blocks": ["stages.1"]}, "has no block 'stages.1'"),
        (network, network, {"temperature": 0}, "temperature=0: give a positive number"),
    ],
    ids=["no model", "other classes", "probabilities", "no such block", "no temperature"],
)
def test_what_cannot_be_matched_is_said(
    student: Any, teacher: Any, how: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        onnx2mvit.distill(student(), teacher(), images(4, 0), **how)
