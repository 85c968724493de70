"""The source of the patterns' Keras functions, as it lands in an emitted module."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any

from onnx2mvit.emitter.functions import FORWARDED, Function, definitions
from onnx2mvit.emitter.prune import forwarded, prune
from onnx2mvit.emitter.syntax import (
    arguments_of,
    as_emitted,
    defaults_of,
    parsed,
    without_annotations,
)
from onnx2mvit.errors import UsageError
from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.lifter.naming import Roles

Python = FunctionType


def functions_of(
    blocks: Sequence[Block], roles: Roles, any_size: bool = False
) -> dict[str, Function]:
    """The functions that these blocks need, those that are called first.

    They are those of the blocks' patterns, and what these call: of other patterns, or helpers of
    their files. With `any_size`, what stands in `NAME_any_size` takes the place of NAME.

    Raises:
        UsageError: two functions of one name are needed.
    """
    everything = [block for top in blocks for block in top.walk()]
    made_by: defaultdict[Python, list[Block]] = defaultdict(list)
    for block in everything:
        if block.pattern.keras is not None:
            made_by[_keras_of(block.pattern)].append(block)
    tops = {*blocks}
    written = [node for each in made_by for node in ast.walk(ast.parse(_source_of(each)))]
    taken: dict[str, Python] = {}
    found: dict[str, Function] = {}

    def add(python: Python) -> None:
        name = python.__name__
        if (there := taken.get(name)) is python:
            return
        if there is not None:
            files = " and ".join(each.__code__.co_filename for each in (there, python))
            raise UsageError(f"there is a function {name!r} in {files}: rename one of them")
        taken[name] = python
        layers, whole = any_size_source(python)
        depends_on_size = bool(whole)
        if not any_size or not whole:
            layers, whole = "", _source_of(python)
        siblings = made_by.get(python, [])
        text = whole
        if siblings:
            text = prune(whole, siblings, forwarded(written, name), FORWARDED)
        # The defaults are for the calls that the reader sees, those of the whole model.
        siblings = [block for block in siblings if block in tops] or siblings
        made = _function(text, python, siblings, roles)
        made.layers, made.depends_on_size = layers, depends_on_size
        made.left_out = frozenset(arguments_of(parsed(whole))) - {*arguments_of(parsed(text))}
        for callee in made.calls:
            add(python.__globals__[callee])
        found[name] = made

    for block in blocks:
        if block.pattern.keras is not None:
            add(_keras_of(block.pattern))
    return found


def any_size_source(function: Python) -> tuple[str, str]:
    """What a file has for images of any size: layers, and the function; "" if nothing.

    They stand in a function called NAME_any_size, beside the function NAME. It is never called:
    Keras is not imported where patterns are, so layers can be no classes there.
    """
    holder = function.__globals__.get(f"{function.__name__}_any_size")
    if holder is None:
        return "", ""
    (tree,) = ast.parse(inspect.getsource(holder)).body
    assert isinstance(tree, ast.FunctionDef)
    classes, functions = definitions(inspect.getsource(holder), tree.body)
    layers = "\n\n".join(without_annotations(text) for text in classes.values())
    return layers, functions[function.__name__]


def emitted(pattern: BlockType) -> str:
    """The function of a pattern as it lands in a module, with all of its options."""
    function = _keras_of(pattern)
    return _function(_source_of(function), function).text


def _keras_of(pattern: BlockType) -> Python:
    function: Python = getattr(sys.modules[type(pattern).__module__], str(pattern.keras))
    return function


def _source_of(function: Python) -> str:
    return textwrap.dedent(inspect.getsource(function))


def _function(
    text: str,
    python: Python,
    blocks: Sequence[Block] = (),
    roles: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Function:
    function = parsed(text)
    style = {name for block in blocks for name in block.pattern.style}
    defaults = {
        name: _commonest(blocks, name, written) if name in style else written
        for name, written in defaults_of(function).items()
    }
    names = {role: name for (owner, role), name in roles.items() if owner == python.__name__}
    tree = ast.parse(text)
    every = arguments_of(function)
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    local = {*every, *(node.id for node in stored if isinstance(node.ctx, ast.Store))}
    own = {name for name, value in python.__globals__.items() if inspect.isfunction(value)} - local
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called.sort(key=lambda call: (call.lineno, call.col_offset))
    calls = [(call.func.id, call) for call in called if isinstance(call.func, ast.Name)]
    calls = [(name, call) for name, call in calls if name in own]
    required = [name for name in every if name not in defaults and name != "name"]
    by_name = {argument.name.value for argument in function.params.kwonly_params}
    return Function(
        name=function.name.value,
        text=as_emitted(function, defaults, names),
        required=tuple(name for name in required if name not in by_name),
        keywords=tuple(name for name in required if name in by_name),
        defaults=defaults,
        forwards=tuple(
            dict.fromkeys(
                name
                for name, call in calls
                if any(keyword.arg is None for keyword in call.keywords)
            )
        ),
        calls=tuple(dict.fromkeys(name for name, _ in calls)),
        takes_name="name" in every,
    )


def _commonest(blocks: Iterable[Block], name: str, otherwise: Any) -> Any:
    counts = Counter(block.params[name] for block in blocks if name in block.params)
    most = max(counts.values(), default=0)
    if counts[otherwise] == most:
        return otherwise
    return next(value for value, count in counts.items() if count == most)
