"""The calls of layers that a functional model is made of, by Keras's public way through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras

if TYPE_CHECKING:
    import keras

Tensors = Mapping[int, Any]  # what stands for a symbolic tensor, by its id


@dataclass(frozen=True, eq=False)
class Call:
    """A layer, a nested model or an operation of `keras.ops`, called on symbolic tensors."""

    layer: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answer: Any

    @property
    def inputs(self) -> list[Any]:
        """The symbolic tensors that it reads, in the order of its arguments."""
        keras = import_keras()
        flat = keras.tree.flatten((self.args, self.kwargs))
        return [each for each in flat if isinstance(each, keras.KerasTensor)]

    @property
    def outputs(self) -> list[Any]:
        """The symbolic tensors that it gives."""
        found: list[Any] = import_keras().tree.flatten(self.answer)
        return found

    def arguments(self, tensors: Tensors) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its arguments with these tensors in the place of symbolic ones."""
        args, kwargs = import_keras().tree.map_structure(
            lambda each: tensors.get(id(each), each), (self.args, self.kwargs)
        )
        return args, kwargs


@dataclass(frozen=True, eq=False)
class Calls:
    """All calls of a functional model in the order in which they run; models in it are one each.

    `inputs` and `outputs` are the symbolic tensors that they begin and end with.
    """

    inputs: list[Any]
    outputs: list[Any]
    calls: list[Call]

    @cached_property
    def last_read(self) -> dict[Call, set[int]]:
        """The tensors, by their ids, that no call reads after this one."""
        last = {id(tensor): call for call in self.calls for tensor in call.inputs}
        found: dict[Call, set[int]] = {call: set() for call in self.calls}
        for tensor, call in last.items():
            found[call].add(tensor)
        return found

    def maker(self, tensor: Any) -> Call | None:
        """The call that gives a symbolic tensor; None for an input."""
        made = (call for call in self.calls if any(each is tensor for each in call.outputs))
        return next(made, None)


def calls_of(model: keras.Model) -> Calls:
    """Goes through a functional model once more, on its own inputs, and notes what is called."""
    keras_module = import_keras()
    calls: list[Call] = []

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        answer = layer(*args, **kwargs)
        calls.append(Call(layer, args, kwargs, answer))
        return answer

    # Layers are shared, not cloned: what is asked for is Keras's order of calls alone.
    clone = keras_module.models.clone_model(model, model.input, lambda layer: layer, call)
    return Calls(keras_module.tree.flatten(clone.input), clone.outputs, calls)
