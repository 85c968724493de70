"""Feature maps of a converted model: a second model with the same layers and other outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.arguments import check_arguments
from onnx2mvit.base.backend import import_keras
from onnx2mvit.errors import UsageError

if TYPE_CHECKING:
    import keras


def features(model: keras.Model, names: Iterable[str]) -> keras.Model:
    """A model that answers with a list of what the named blocks give.

    The emitted module has the last blocks at the strides 4, 8, 16 and 32 as `PYRAMID`.

    Args:
        model: as `convert` or `build` made it, nested or flat; the weights are shared with it.
        names: those of `summary(expand_nested=True)` or of the emitted module, with a slash between
            a block and what is in it: "encoder.layer.2", "encoder.layer.2/transformer.layer.0".

    Returns:
        A model that takes what `model` takes and gives a list of tensors in the order of `names`:
        feature maps are (batch, height, width, channels), tokens (batch, tokens, channels).

    Raises:
        UsageError: the model has no block of such a name.
    """
    names = [names] if isinstance(names, str) else list(names)
    check_arguments({"names": names})
    if not names:
        raise UsageError("no name of a block is given")
    whole = with_features(model, names)
    outputs = whole.outputs[len(model.outputs) :]
    return import_keras().Model(whole.input, outputs, name=f"{model.name}_features")


def with_features(model: keras.Model, names: list[str]) -> keras.Model:
    """The same model, which answers with a list: its own outputs, then what these blocks give.

    The names and the shapes are as in `features`.

    Raises:
        UsageError: the model has no block of such a name.
    """
    clone, seen = _run(model, names)
    found = [_output(seen, name, model.name) for name in names]
    return import_keras().Model(clone.input, [*clone.outputs, *found], name=model.name)


def _run(model: keras.Model, wanted: list[str]) -> tuple[keras.Model, dict[str, Any]]:
    """The same layers on new inputs, and what each of them gives, by its path, the last one last.

    A nested model with something wanted in it gives that as well.
    """
    import keras

    seen: dict[str, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        own = layer.name
        inside = [rest[1:] for name in wanted if (rest := _after(own, name)) and rest[0] in "./"]
        if isinstance(layer, keras.Model) and inside:
            clone, below = _run(layer, inside)
            answers = keras.Model(clone.input, list(below.values()))(args[0])
            seen.update(zip((f"{own}/{path}" for path in below), answers, strict=True))
            answer = answers[-1]
        else:
            answer = layer(*args, **kwargs)
        seen.pop(own, None)
        seen[own] = answer
        return answer

    return keras.models.clone_model(model, None, lambda layer: layer, call), seen


def _after(path: str, name: str) -> str | None:
    """What of a name comes after the path of a layer; None if that is another's.

    A dot or slash of the name may be an underscore in the path, as all of them are in a flat
    model, but no other way round: "stage_1" is not "stage.1".
    """
    pairs = zip(name, path, strict=False)
    same = all(ours == theirs or (ours in "./" and theirs in "._/") for ours, theirs in pairs)
    return name[len(path) :] if same and len(name) >= len(path) else None


def _output(seen: dict[str, Any], name: str, model: str) -> Any:
    """What a layer or nested block gives; a block of several layers, what its last one gives."""
    of_it = [answer for path, answer in seen.items() if _after(path, name) == ""]
    inside = [
        answer
        for path, answer in seen.items()
        if path[len(name) :].startswith("_") and _after(path[: len(name)], name) == ""
    ]
    if not of_it and not inside:
        raise UsageError(
            f"{model} has no block {name!r}: `model.summary(expand_nested=True)` shows their names"
        )
    return (of_it or inside)[-1]
