"""The text of a Python function: its arguments, and how it is changed with its comments kept."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import libcst as cst


@cache
def parsed(text: str) -> cst.FunctionDef:
    """The function that is all of a text."""
    (function,) = cst.parse_module(text).body
    assert isinstance(function, cst.FunctionDef)
    return function


def code_of(node: cst.CSTNode) -> str:
    """The text of a syntax node."""
    return cst.Module([]).code_for_node(node)


def arguments_of(function: cst.FunctionDef) -> dict[str, cst.Param]:
    """A function's arguments by name, without what it gathers by `*` and `**`."""
    every = function.params
    return {
        argument.name.value: argument
        for argument in (*every.posonly_params, *every.params, *every.kwonly_params)
    }


def defaults_of(function: cst.FunctionDef) -> dict[str, Any]:
    """The defaults of the arguments that have one, which are literals."""
    return {
        name: ast.literal_eval(code_of(argument.default))
        for name, argument in arguments_of(function).items()
        if argument.default is not None
    }


@cache
def without_annotations(text: str) -> str:
    """A text without the annotations of its functions, arguments and variables."""
    return cst.parse_module(text).visit(_WithoutAnnotations()).code


def as_emitted(
    function: cst.FunctionDef, defaults: Mapping[str, Any], names: Mapping[str, str]
) -> str:
    """The text of a function without annotations, with other defaults and names of layers.

    Args:
        function: a function of a pattern.
        defaults: of its arguments that have one, by name.
        names: for the role in the name of a layer, `norm` in `name="norm"` and in
            `name=f"{name}_norm"`, the name that stands in its place.
    """
    changed = tuple(
        (name, repr(defaults[name]))
        for name, written in defaults_of(function).items()
        if defaults[name] != written
    )
    return _emitted(function, changed, tuple(names.items()))


@lru_cache(maxsize=1024)  # most modules have most of their functions in common
def _emitted(
    function: cst.FunctionDef,
    defaults: tuple[tuple[str, str], ...],
    names: tuple[tuple[str, str], ...],
) -> str:
    arguments = arguments_of(function)
    changed = {arguments[name]: cst.parse_expression(text) for name, text in defaults}
    emitted = function.visit(_Emitted(changed, dict(names)))
    return code_of(cst.ensure_type(emitted, cst.FunctionDef))


class _WithoutAnnotations(cst.CSTTransformer):
    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        return updated_node.with_changes(annotation=None)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        return updated_node.with_changes(returns=None)

    def leave_AnnAssign(
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.AnnAssign | cst.Assign:
        if updated_node.value is None:  # it is nothing but its annotation
            return updated_node
        return cst.Assign([cst.AssignTarget(updated_node.target)], updated_node.value)


class _Emitted(_WithoutAnnotations):
    def __init__(
        self, defaults: Mapping[cst.Param, cst.BaseExpression], names: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.defaults, self.names = defaults, names

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        default = self.defaults.get(original_node, updated_node.default)
        return super().leave_Param(original_node, updated_node.with_changes(default=default))

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        if updated_node.keyword is None or updated_node.keyword.value != "name":
            return updated_node
        text = code_of(updated_node.value)
        role = text.removeprefix("f").strip("\"'").removeprefix("{name}_")
        if role not in self.names:
            return updated_node
        new = text.replace(role, self.names[role])
        return updated_node.with_changes(value=cst.parse_expression(new))
