"""Keras expressions as objects, and the one printer that writes them as Python.

    layer("Activation", "relu")(x)      layers.Activation('relu', name=…)(x)
    call("ops.mean", x, axis=(1, 2))    ops.mean(x, axis=(1, 2))
    x[:, ::2]                           x[:, ::2]

A converter builds its expression of operands that have no variables yet; `bind` gives them some.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, TypeVar

from onnx2mvit.base.numbers import shortest

Index = int | slice | list[int] | EllipsisType
Kind = TypeVar("Kind", bound="KerasExpr")


class KerasExpr:
    """A Keras expression. It is called and sliced as what it stands for would be."""

    __iter__ = None  # or Python would ask for its items one by one, without an end

    def __call__(self, *arguments: Any, **options: Any) -> Call:
        """A call of it; options that are None are left out."""
        given = tuple((key, as_expr(value)) for key, value in options.items() if value is not None)
        return Call(self, tuple(map(as_expr, arguments)), given)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> KerasExpr:
        """An index or a slice for each axis; slices of everything at the end go."""
        kept = [_tidy(part) for part in (index if isinstance(index, tuple) else (index,))]
        while kept and kept[-1] == slice(None):
            kept.pop()
        if len(kept) == 1 and isinstance(kept[0], slice):
            kept.append(...)  # Keras takes no slice by itself
        return Item(self, tuple(kept)) if kept else self

    def along(self, axis: int, part: int | slice) -> KerasExpr:
        """An index or a slice of one axis, and all of the others."""
        return self[(slice(None),) * axis + (part,)]

    def __str__(self) -> str:
        return source(self)

    @property
    def parts(self) -> tuple[KerasExpr, ...]:
        """The expressions that it is made of."""
        match self:
            case List(items):
                return items
            case Item(whole):
                return (whole,)
            case Call(function, arguments, options):
                return (function, *arguments, *(value for _, value in options))
        return ()

    def find(self, kind: type[Kind]) -> Iterator[Kind]:
        """What is of this kind in it, itself included."""
        if isinstance(self, kind):
            yield self
        for part in self.parts:
            yield from part.find(kind)

    def bind(self, operands: Sequence[KerasExpr]) -> KerasExpr:
        """The same with these expressions for its operands."""
        return self.changed(
            lambda part: operands[part.index] if isinstance(part, Operand) else part
        )

    def changed(self, change: Callable[[KerasExpr], KerasExpr]) -> KerasExpr:
        """The same with others for the names and values that it is made of in the end."""

        def changed(part: KerasExpr) -> KerasExpr:
            return part.changed(change)

        match self:
            case List(items):
                return List(tuple(map(changed, items)))
            case Item(whole, index):
                return Item(changed(whole), index)
            case Call(function, arguments, options):
                named = tuple((key, changed(value)) for key, value in options)
                return Call(changed(function), tuple(map(changed, arguments)), named)
        return change(self)

    @property
    def is_named_layer(self) -> bool:
        """True if it is what a layer with a name answers."""
        match self:
            case Call(function=Call(options=options)):
                return any(isinstance(value, LayerName) for _, value in options)
        return False


@dataclass(frozen=True)
class Operand(KerasExpr):
    """One of the tensors that an operator takes, counted from 0."""

    index: int


@dataclass(frozen=True)
class LayerName(KerasExpr):
    """The name of the layer that an operator or a block becomes, which the network gives it."""


@dataclass(frozen=True)
class Name(KerasExpr):
    """A variable, or a function with its module: `x`, `ops.add`."""

    text: str


@dataclass(frozen=True)
class Arithmetic(KerasExpr):
    """Numbers with the way they were come by, for the reader: `12 / 7`."""

    text: str


@dataclass(frozen=True, eq=False)
class Literal(KerasExpr):
    """A number, a string, a tuple of them, or None."""

    value: Any

    def __eq__(self, other: object) -> bool:
        # In Python 1, 1.0 and True are equal, and nan is not.
        return isinstance(other, Literal) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True)
class List(KerasExpr):
    """Several expressions in square brackets."""

    items: tuple[KerasExpr, ...]


@dataclass(frozen=True)
class Item(KerasExpr):
    """A part of a tensor."""

    whole: KerasExpr
    index: tuple[Index, ...]


@dataclass(frozen=True)
class Call(KerasExpr):
    """A call of a function, or of a layer that a call made."""

    function: KerasExpr
    arguments: tuple[KerasExpr, ...]
    options: tuple[tuple[str, KerasExpr], ...]


def source(expr: KerasExpr, name: str = "$name") -> str:
    """An expression as Python.

    Args:
        expr: the expression; operands that it is not bound to are written `$0`, `$1`, …
        name: the source of the layer's name, such as `'stem'` or `f'layer.{i}'`.
    """

    def several(parts: Sequence[KerasExpr]) -> list[str]:
        return [source(part, name) for part in parts]

    match expr:
        case Operand(index):
            return f"${index}"
        case LayerName():
            return name
        case Name(text) | Arithmetic(text):
            return text
        case Literal(float(value)) if not math.isfinite(value):
            return f"float({str(value)!r})"
        case Literal(value):
            return repr(value)
        case List(items):
            return f"[{', '.join(several(items))}]"
        case Item(whole, index):
            return f"{source(whole, name)}[{', '.join(map(_index, index))}]"
        case Call(function, arguments, options):
            given = several(arguments)
            given += [f"{key}={source(value, name)}" for key, value in options]
            return f"{source(function, name)}({', '.join(given)})"
    raise TypeError(f"no Keras expression: {expr!r}")


def _tidy(part: Index) -> Index:
    """A slice without what is usual: `0:3:1` is `:3`."""
    if isinstance(part, slice):
        return slice(part.start or None, part.stop, unless(part.step, 1))
    return part


def _index(part: Index) -> str:
    if isinstance(part, slice):
        ends = [part.start, part.stop] + ([] if part.step is None else [part.step])
        return ":".join("" if end is None else str(end) for end in ends)
    return "..." if part is ... else str(part)


def as_expr(value: Any) -> KerasExpr:
    """A value of Python as an expression; float32's numbers are written as short as can be."""
    if isinstance(value, KerasExpr):
        return value
    if isinstance(value, list):
        return List(tuple(map(as_expr, value)))
    return Literal(shortest(value) if type(value) is float else value)


def call(function: str, /, *arguments: Any, **options: Any) -> Call:
    """A call of a function by its name; options that are None are left out."""
    return Name(function)(*arguments, **options)


def layer(kind: str, /, *arguments: Any, **options: Any) -> Call:
    """A layer of Keras that gets the name of its node; it is to be called with its input."""
    return call(f"layers.{kind}", *arguments, **options, name=LayerName())


def unless(value: Any, default: Any) -> Any:
    """The value of an option, or None where it is Keras's default."""
    return None if value == default else value


def alike(values: Sequence[int]) -> int | tuple[int, ...]:
    """One number for all axes if they agree, as Keras takes it too."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def alone(values: Sequence[int]) -> int | tuple[int, ...]:
    """A number that is by itself without brackets, as functions of `keras.ops` take axes."""
    return values[0] if len(values) == 1 else tuple(values)
