"""The functions of an emitted module: what is known of each, and the texts of our helpers."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from onnx2mvit.matcher.registry import builtin_patterns


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


OF_OPERATORS = Path(__file__).parent.parent / "lowering" / "operators" / "_functions.py"


def operator_functions(model: str, taken: Container[str]) -> list[str]:
    """The functions of `operators/_functions.py` that the text of a model calls, in order."""
    return _called(_functions_in(OF_OPERATORS), model, taken)


@cache
def function_names() -> frozenset[str]:
    """The names of all functions that a module may have beside that of the model."""
    modules = {sys.modules[type(pattern).__module__] for pattern in builtin_patterns()}
    own = {
        name
        for module in modules
        for name, each in vars(module).items()
        if inspect.isfunction(each) and each.__module__ == module.__name__
    }
    return frozenset({*own, *_functions_in(OF_OPERATORS), *model_functions()})


def model_functions() -> dict[str, str]:
    """The functions of `_model_functions.py`, by name."""
    return _functions_in(Path(__file__).parent / "_model_functions.py")


def called_model_functions(model: str) -> list[str]:
    """Those that the text of a model calls, in order."""
    return _called(model_functions(), model, ())


def _called(functions: dict[str, str], model: str, taken: Container[str]) -> list[str]:
    called = {*_names_in(model)}
    for name, text in reversed(functions.items()):  # later ones may call those before
        if name in called and name not in taken:
            called |= _names_in(text)
    return [text for name, text in functions.items() if name in called and name not in taken]


@lru_cache(maxsize=256)
def _names_in(text: str) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))


@cache
def _functions_in(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8")
    return definitions(text, ast.parse(text).body)[1]


def definitions(text: str, body: Iterable[ast.stmt]) -> tuple[dict[str, str], dict[str, str]]:
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
