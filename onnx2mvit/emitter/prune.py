"""Leaves out of a Keras function what the network at hand has no use for.

A pattern with options is one function with branches, `if squeeze is not None: …`. A network in
which no block has the option gets the function without it, as one would write it by hand.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeGuard

from onnx2mvit.emitter.source_edits import Edit, Offsets, edited
from onnx2mvit.ir.block import Block


def forwarded(texts: Iterable[str], name: str) -> set[str]:
    """The arguments that the function `name` may be given by these functions.

    A call that hands on `**arguments` may hold any that is given by name somewhere, to a function
    or in a dict.
    """
    every = [node for text in texts for node in ast.walk(ast.parse(text))]
    calls = [call for call in every if isinstance(call, ast.Call)]
    own = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]
    held: set[str] = set()
    if any(keyword.arg is None for call in own for keyword in call.keywords):
        own = calls
        keys = [key for node in every if isinstance(node, ast.Dict) for key in node.keys]
        held = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    return held | {
        keyword.arg for call in own for keyword in call.keywords if keyword.arg is not None
    }


def arguments_of(text: str) -> list[str]:
    """The names of a function's arguments."""
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    every = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
    return [argument.arg for argument in every]


def prune(
    text: str, blocks: Sequence[Block], given: Collection[str], offered: Collection[str] = ()
) -> str:
    """A function's source without branches that none of its blocks takes.

    Left out are `if option:`, `if option is not None:` and joins of them by `and`, where the
    option is an argument that is false by default and never given, and arguments used there
    alone; an else takes the place of its branch. So is `if option in (a, b):` where no block has
    one of these. So does the branch of `if option:` that all blocks take, where it has an else.
    `a if option else b` is treated likewise. What other functions hand on by name is `given`; the
    model function has what is `offered`, for those that take it.
    """
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    never = {
        argument.arg: default.value
        for argument, default in optional_arguments(tree)
        if isinstance(default, ast.Constant)
        and argument.arg not in {*given, *offered}
        and all(block.params.get(argument.arg, default.value) == default.value for block in blocks)
    }
    unset = {name: value for name, value in never.items() if value in (None, False)}
    always = {
        argument.arg
        for argument, default in optional_arguments(tree)
        if isinstance(default, ast.Constant)
        and default.value is False
        and argument.arg not in {*given, *offered}
        and blocks
        and all(block.params.get(argument.arg) is True for block in blocks)
    }
    taken = {
        argument.arg: {repr(block.params.get(argument.arg, default.value)) for block in blocks}
        for argument, default in optional_arguments(tree)
        if isinstance(default, ast.Constant)
    }
    before = _names(tree)
    while (edit := _first_edit(text, unset, always, taken)) is not None:
        text = edited(text, [edit])
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    gone = (before - _names(tree)) & {*never, *always, *offered} - set(given)
    at, cuts = Offsets(text), []
    for argument, default in optional_arguments(tree):
        if argument.arg in gone:
            start, end = at.start(argument), at.end(default)
            cuts.append((len(text[:start].rstrip()), text.index(",", end) + 1, ""))
    return edited(text, cuts)


def _first_edit(
    text: str,
    unset: Mapping[str, object],
    always: Collection[str],
    taken: Mapping[str, Collection[str]],
) -> Edit | None:
    """What to change of the first branch that never or always is taken, or asks more than it need.

    One that always is taken is left as it is, unless it has an else. Which values of its arguments
    blocks have is in `taken`, as they are written.
    """
    at = Offsets(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.IfExp):
            never = _never_holds(node.test, unset, taken)
            if never or (isinstance(node.test, ast.Name) and node.test.id in always):
                left = node.orelse if never else node.body
                return at.start(node), at.end(node), text[at.start(left) : at.end(left)]
        if not isinstance(node, ast.If) or _is_elif(node.orelse):
            continue
        parts = node.test.values if _is_and(node.test) else [node.test]
        if any(_never_holds(part, unset, taken) for part in parts):
            return *at.statement(node), _moved(text, at, node, node.orelse)
        if node.orelse and isinstance(node.test, ast.Name) and node.test.id in always:
            return *at.statement(node), _moved(text, at, node, node.body)
        needed = [part for part in parts if not _always_holds(part, unset)]
        if needed and len(needed) < len(parts):
            asked = " and ".join(ast.unparse(part) for part in needed)
            return at.start(node.test), at.end(node.test), asked
    return None


def _moved(text: str, at: Offsets, node: ast.If, body: Sequence[ast.stmt]) -> str:
    """One of the two bodies of a statement as it is in the statement's place, comments as well."""
    if not body:
        return ""
    last = node.body[-1] if body is node.orelse else node.test
    rest = text[at.end(last) : at.statement(body[-1])[1]]
    _, inside = re.split(r":\n", rest, maxsplit=1)
    return textwrap.indent(textwrap.dedent(inside), " " * node.col_offset)


def _is_elif(orelse: Sequence[ast.stmt]) -> bool:
    """True for what may be an `elif`, which is written like no other statement."""
    return len(orelse) == 1 and isinstance(orelse[0], ast.If)


def _is_and(test: ast.expr) -> TypeGuard[ast.BoolOp]:
    return isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)


def _never_holds(
    test: ast.expr, unset: Mapping[str, object], taken: Mapping[str, Collection[str]]
) -> bool:
    """True for `option` and `option is not None` where it is never given.

    And for `option in (…)` where no block has one of these.
    """
    match test:
        case ast.Compare(ast.Name(id=name), [ast.In()], [ast.Tuple(elts=values)]):
            return name in taken and not {ast.unparse(value) for value in values} & {*taken[name]}
        case ast.Name(id=name):
            return name in unset
        case ast.Compare(ast.Name(id=name), [ast.IsNot()], [ast.Constant(value=None)]):
            return name in unset and unset[name] is None
    return False


def _always_holds(test: ast.expr, unset: Mapping[str, object]) -> bool:
    """True for `not option` where it is never given."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)):
            return name in unset
    return False


def _names(tree: ast.FunctionDef) -> set[str]:
    parts = (part for statement in tree.body for part in ast.walk(statement))
    return {part.id for part in parts if isinstance(part, ast.Name)}


def optional_arguments(tree: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr]]:
    """The arguments that have a default, with it."""
    with_default = tree.args.args[len(tree.args.args) - len(tree.args.defaults) :]
    pairs = list(zip(with_default, tree.args.defaults, strict=True))
    pairs += [
        (argument, default)
        for argument, default in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True)
        if default is not None
    ]
    return pairs
