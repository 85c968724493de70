"""Which patterns there are, and in which order they are applied."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

import networkx

from onnx2mvit.base.suggest import suggestion
from onnx2mvit.errors import UsageError
from onnx2mvit.matcher.expression import AnyOf, Expr, Op
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.rule import Rule


@cache
def builtin_patterns() -> tuple[Pattern, ...]:
    """One instance of every pattern in `onnx2mvit.patterns`, lower ones first."""
    return in_order(pattern for module in _families() for pattern in patterns_of(module))


@cache
def builtin_rules() -> tuple[Rule, ...]:
    """One instance of every rule that one family alone needs, and so stands in its file."""
    return tuple(rule for module in _families() for rule in rules_of(module))


def patterns_of(module: ModuleType) -> list[Pattern]:
    """The patterns that a module defines itself."""
    return [cls() for cls in _classes(module, Pattern)]


def rules_of(module: ModuleType) -> list[Rule]:
    """The rules that a module defines itself."""
    return [cls() for cls in _classes(module, Rule)]


def _families() -> list[ModuleType]:
    package = importlib.import_module("onnx2mvit.patterns")
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    names = sorted(name for name in found if not name.startswith("_"))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def _classes(module: ModuleType, kind: type) -> list[Any]:
    """Those of a kind that a module defines itself and that can be made.

    `issubclass` would ask every subclass of an abstract class, and remember each of its answers.
    """
    return [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if kind in cls.__mro__ and cls.__module__ == module.__name__ and not inspect.isabstract(cls)
    ]


def of_kind(kind: str, patterns: Iterable[Pattern]) -> Pattern:
    """The pattern of this kind.

    Raises:
        UsageError: there is none.
    """
    every = {pattern.kind: pattern for pattern in patterns}
    if kind not in every:
        hint = suggestion(kind, every, f"; there are {', '.join(sorted(every))}")
        raise UsageError(f"there is no pattern {kind!r}{hint}")
    return every[kind]


def in_order(found: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """Sorts patterns so that each comes after those that it is made of or that go before it.

    Parts of others alone wait for all that can stand by themselves, and some for these as well.

    Raises:
        ValueError: two patterns of one kind, patterns made of each other, or a pattern that is
            neither a leaf nor has a function for Keras, or that would take any neighbour's Reshape.
    """
    by_kind: dict[str, Pattern] = {}
    for pattern in found:
        if pattern.kind in by_kind:
            raise ValueError(f"there are two patterns {pattern.kind}")
        if pattern.kind in pattern.ops:
            raise ValueError(
                f"pattern {pattern.kind} is called like an operator that it is made of"
            )
        if (pattern.layer is None) == (pattern.keras is None):
            raise ValueError(f"pattern {pattern.kind} needs either `layer` or `keras`")
        whole = pattern.expression
        last = whole.parts if isinstance(whole, AnyOf) else (whole,)
        if any(_is_any_reshape(part, last) for part in whole.walk()):
            raise ValueError(
                f"pattern {pattern.kind} has a Reshape to whatever shape: write op.Rearrange, or "
                "give it a role and require its shape"
            )
        by_kind[pattern.kind] = pattern
    needs: networkx.DiGraph[str] = networkx.DiGraph()
    needs.add_nodes_from(by_kind)
    needs.add_edges_from(
        (op, kind) for kind, pattern in by_kind.items() for op in pattern.ops if op in by_kind
    )
    needs.add_edges_from(
        (kind, later)
        for kind, pattern in by_kind.items()
        for later in pattern.before
        if later in by_kind
    )
    try:
        rank = {kind: (pattern.last, pattern.inner, kind) for kind, pattern in by_kind.items()}
        order = list(networkx.lexicographical_topological_sort(needs, key=rank.__getitem__))
    except networkx.NetworkXUnfeasible:
        cycle = " → ".join(kind for kind, _ in networkx.find_cycle(needs))
        raise ValueError(f"patterns are made of each other: {cycle}") from None
    return tuple(by_kind[kind] for kind in order)


def _is_any_reshape(part: Expr, last: Iterable[Expr]) -> bool:
    """True for a Reshape whose shape nobody can ask for; the last node's is that of the block."""
    return isinstance(part, Op) and part.op == "Reshape" and not (part.role or part in last)
