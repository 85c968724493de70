"""Pieces of emitted code: calls with their arguments written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx2mvit.base.numbers import shortest


class Raw(str):
    """Code that is put into a call as it stands."""

    __slots__ = ()
    __repr__ = str.__str__


def call(function: str, *arguments: Any, **options: Any) -> str:
    """`layers.ReLU(6.0, name=$name)`; options that are None are left out."""
    given = [_written(argument) for argument in arguments]
    given += [f"{key}={_written(value)}" for key, value in options.items() if value is not None]
    return f"{function}({', '.join(given)})"


def layer(kind: str, *arguments: Any, **options: Any) -> str:
    """The same for a layer that gets the name of its node."""
    return call(f"layers.{kind}", *arguments, **options, name=Raw("$name"))


def _written(value: Any) -> str:
    return repr(shortest(value)) if type(value) is float else repr(value)


def unless(value: Any, default: Any) -> Any:
    """The value of an option, or None where it is Keras's default."""
    return None if value == default else value


def alike(values: Sequence[int]) -> int | tuple[int, ...]:
    """One number for all axes if they agree, as Keras takes it too."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def alone(values: Sequence[int]) -> int | tuple[int, ...]:
    """A number that is by itself without brackets, as functions of `keras.ops` take axes."""
    return values[0] if len(values) == 1 else tuple(values)


def cut(text: str, slices: Sequence[str]) -> str:
    """The text of a tensor with an index for every axis; those at the end that cut nothing go."""
    kept = list(slices)
    while kept and kept[-1] == ":":
        kept.pop()
    if len(kept) == 1 and ":" in kept[0]:
        kept.append("...")  # Keras takes no slice by itself
    return f"{text}[{', '.join(kept)}]" if kept else text
