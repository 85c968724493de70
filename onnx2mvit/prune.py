"""Leaves out of a Keras function what the network at hand has no use for.

A pattern with options is one function with branches, `if squeeze is not None: …`. A network in
which no block has the option gets the function without it, as one would write it by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from onnx2mvit.block import Block


def keywords(texts: Iterable[str]) -> set[str]:
    """The names of all arguments that these functions hand on by name."""
    calls = [node for text in texts for node in ast.walk(ast.parse(text))]
    return {
        keyword.arg
        for call in calls
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg is not None
    }


def prune(text: str, blocks: Sequence[Block], handed_on: set[str]) -> str:
    """A function's source without branches that none of its blocks takes.

    Left out are `if option:` and `if option is not None:` without an else, where the option is
    an argument that is false by default and never given, and arguments used there alone. What
    some function hands on by name, `handed_on`, may be given.
    """
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    constant = {
        argument.arg: default.value
        for argument, default in _optional(tree)
        if isinstance(default, ast.Constant)
    }
    never = {
        name
        for name, default in constant.items()
        if name not in handed_on
        and all(block.params.get(name, default) == default for block in blocks)
    }
    dead = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and not node.orelse
        and (option := _option(node.test)) in never
        and constant[option] in (None, False)
    ]
    within = {id(part) for branch in dead for part in ast.walk(branch)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    gone = {n.id for n in names if id(n) in within} - {n.id for n in names if id(n) not in within}
    source = text.encode()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    cuts = [(starts[node.lineno - 1], starts[node.end_lineno or node.lineno]) for node in dead]
    for argument, default in _optional(tree):
        if argument.arg in gone & never:
            start = starts[argument.lineno - 1] + argument.col_offset
            end = starts[(default.end_lineno or 0) - 1] + (default.end_col_offset or 0)
            cuts.append((len(source[:start].rstrip()), source.index(b",", end) + 1))
    for start, end in sorted(cuts, reverse=True):
        source = source[:start] + source[end:]
    return source.decode()


def _option(test: ast.expr) -> str:
    """The name of the option that a condition asks for; "" if it is another condition."""
    match test:
        case ast.Name(id=name):
            return name
        case ast.Compare(ast.Name(id=name), [ast.IsNot()], [ast.Constant(value=None)]):
            return name
    return ""


def _optional(tree: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr]]:
    """The arguments that have a default, with it."""
    with_default = tree.args.args[len(tree.args.args) - len(tree.args.defaults) :]
    pairs = list(zip(with_default, tree.args.defaults, strict=True))
    pairs += [
        (argument, default)
        for argument, default in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True)
        if default is not None
    ]
    return pairs
