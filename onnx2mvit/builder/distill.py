"""Distillation: a model learns to answer as another one does, from images without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.backend import import_keras
from onnx2mvit.builder.activations import activation_of
from onnx2mvit.builder.features import with_features
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    import keras

# (what the student gives, what the teacher gives) → a number; both have the batch first
Distance = Callable[[Any, Any], Any]


def distill(
    student: keras.Model,
    teacher: keras.Model,
    images: Any,
    *,
    blocks: Iterable[str] = (),
    temperature: float | None = 2.0,
    optimizer: Any = "adam",
    **fit: Any,
) -> keras.callbacks.History:
    """Trains a student to answer as a teacher does (Hinton, Vinyals, Dean: arXiv:1503.02531).

        onnx2mvit.distill(student, teacher, images, epochs=10, validation_data=others)

    The student's weights change, and nothing else of it: what it was compiled with stays, and it is
    saved as ever. Its normalization sees batches, the teacher's does not; the teacher stays as it
    is. `fast_training` and the like work around it.

    Args:
        student: where it has the teacher's layers, it begins best with the teacher's weights:
            `student.set_weights(teacher.get_weights())`.
        teacher: takes what the student takes, and gives tensors of the same shapes.
        images: float32 (count, height, width, channels) as both take them, or what else `fit`
            takes: a `PyDataset`, a `tf.data.Dataset`, a generator of batches. Labels are not read.
        blocks: names of blocks whose outputs shall be the teacher's too, as in `features`: their
            squared differences, as a share of the teacher's squares, are added to the loss.
        temperature: of the softmax over the last axis, whose divergence times its square is the
            loss (section 2 of the paper). None for outputs that are no logits, as boxes or
            embeddings: then they are compared as those of blocks are, and so is one of one column.
        optimizer: what `compile` takes.
        fit: further arguments of `fit`: `epochs`, `batch_size`, `validation_data`, `callbacks`.

    Returns:
        What `fit` answers; `history["val_loss"]` is the loss on `validation_data`, images alone.

    Raises:
        UsageError: one of the two is no model, they give tensors of other shapes or no logits, a
            name is of no block, or the temperature is no positive number.
    """
    blocks = [blocks] if isinstance(blocks, str) else list(blocks)
    check_arguments({"names": blocks, "temperature": temperature}, optional=["temperature"])
    for model in (student, teacher):
        _check_model(model, temperature)
    shapes = [[tuple(each.shape[1:]) for each in model.outputs] for model in (student, teacher)]
    if shapes[0] != shapes[1]:
        raise UsageError("the student gives {}, the teacher {}".format(*shapes))
    ours, theirs = (with_features(model, blocks) for model in (student, teacher))
    distances = [
        _softened(temperature) if temperature and each.shape[-1] != 1 else _relative
        for each in student.outputs
    ]
    made = _matching(ours, theirs, distances + [_relative] * len(blocks))
    made.compile(optimizer)
    return made.fit(images, **fit)


def _check_model(model: object, temperature: float | None) -> None:
    """Raises UsageError for what is no functional model, or has probabilities for logits."""
    keras = import_keras()
    if not isinstance(model, keras.Model) or not hasattr(model, "output_names"):
        raise UsageError(f"distill takes two Keras models, not {type(model).__name__}")
    last = model.layers[-1]
    if temperature and (activation_of(last) == "softmax" or isinstance(last, keras.layers.Softmax)):
        raise UsageError(
            f"{model.name} gives probabilities, and distillation wants logits: build it without "
            "classifier_activation, or give temperature=None"
        )


def _matching(student: Any, teacher: Any, distances: list[Distance]) -> keras.Model:
    """A model whose loss is how far the outputs of one model are from those of another.

    Its weights are the student's: the teacher is none of its layers.
    """
    import keras
    from keras import ops

    class Matching(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.student = student

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.student(inputs, training=training)

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            given, wanted = (
                [ops.cast(each, "float32") for each in keras.tree.flatten(answers)]
                for answers in (y_pred, teacher(x, training=False))
            )
            pairs = zip(distances, given, wanted, strict=True)
            return sum(
                distance(ours, ops.stop_gradient(theirs)) for distance, ours, theirs in pairs
            )

    return Matching()


def _softened(temperature: float) -> Distance:
    """The divergence of the student's softmax from the teacher's, both at this temperature.

    Gradients become smaller by the square of it, for which it is multiplied.
    """
    from keras import ops

    def divergence(ours: Any, theirs: Any) -> Any:
        right = ops.log_softmax(theirs / temperature)
        gap = right - ops.log_softmax(ours / temperature)
        return temperature**2 * ops.mean(ops.sum(ops.exp(right) * gap, axis=-1))

    return divergence


def _relative(ours: Any, theirs: Any) -> Any:
    """The squared difference as a share of the teacher's squares."""
    from keras import ops

    return ops.mean(ops.square(ours - theirs)) / (ops.mean(ops.square(theirs)) + 1e-12)
