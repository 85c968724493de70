"""The source of the patterns' Keras functions, as it lands in an emitted module."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

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


@dataclass
class Function:
    """A Keras function of a pattern, or a helper of its file: its text and how it is called.

    `defaults` are those of the emitted function, `required` its arguments without one, tensors
    first, `keywords` those of them that are given by name alone, and `forwards` the functions that
    get its further keyword arguments. `left_out` are
    arguments that the pattern's function has and the emitted one does not. `layers` are the
    classes that it needs; where it `depends_on_size`, it has them for images of any size alone.
    """

    name: str
    text: str
    required: tuple[str, ...]
    defaults: dict[str, Any]
    keywords: tuple[str, ...] = ()
    forwards: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    takes_name: bool = True
    left_out: frozenset[str] = frozenset()
    layers: str = ""
    depends_on_size: bool = False


# Arguments of the model function that every block gets whose function has one of this name.
FORWARDED = ("dropout", "classifier_activation", "input_shape")


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
    patterns = {_keras_of(b.pattern): b.pattern for b in everything if b.pattern.keras is not None}
    sources = [_source_of(function) for function in patterns]
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
        pattern = patterns.get(python)
        layers, whole = any_size_source(python)
        depends_on_size = bool(whole)
        if not any_size or not whole:
            layers, whole = "", _source_of(python)
        siblings = [block for block in everything if block.pattern is pattern]
        text = whole
        if siblings:
            text = prune(whole, siblings, forwarded(sources, name), FORWARDED)
        # The defaults are for the calls that the reader sees, those of the whole model.
        siblings = [block for block in blocks if block.pattern is pattern] or siblings
        made = _function(text, python, pattern, siblings, roles)
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
    classes, functions = _definitions(inspect.getsource(holder), tree.body)
    layers = "\n\n".join(without_annotations(text) for text in classes.values())
    return layers, functions[function.__name__]


def operator_functions(model: str, taken: Container[str]) -> list[str]:
    """The functions of `operators/_functions.py` that the text of a model calls, in order."""
    file = Path(__file__).parent.parent / "lowering" / "operators" / "_functions.py"
    return _called(_functions_in(file), model, taken)


def model_functions() -> dict[str, str]:
    """The functions of `_model_functions.py`, by name."""
    return _functions_in(Path(__file__).parent / "_model_functions.py")


def called_model_functions(model: str) -> list[str]:
    """Those that the text of a model calls, in order."""
    return _called(model_functions(), model, ())


def _called(functions: dict[str, str], model: str, taken: Container[str]) -> list[str]:
    called = {node.id for node in ast.walk(ast.parse(model)) if isinstance(node, ast.Name)}
    for name, text in reversed(functions.items()):  # later ones may call those before
        if name in called and name not in taken:
            called |= {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    return [text for name, text in functions.items() if name in called and name not in taken]


@cache
def _functions_in(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8")
    return _definitions(text, ast.parse(text).body)[1]


def _definitions(text: str, body: Iterable[ast.stmt]) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of the classes and functions in the body of a file or function, by name."""
    lines = text.splitlines()
    classes: dict[str, str] = {}
    functions: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            source = textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno])) + "\n"
            (classes if isinstance(node, ast.ClassDef) else functions)[node.name] = source
    return classes, functions


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
    pattern: BlockType | None = None,
    blocks: Sequence[Block] = (),
    roles: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Function:
    function = parsed(text)
    kind, style = ("", ()) if pattern is None else (pattern.kind, pattern.style)
    defaults = {
        name: _commonest(blocks, name, written) if name in style else written
        for name, written in defaults_of(function).items()
    }
    names = {role: name for (owner, role), name in roles.items() if owner == kind}
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
