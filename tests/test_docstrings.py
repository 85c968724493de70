"""What is public says what it takes, gives and raises, as CONTRIBUTING.md has it.

Public are the names of docs/api.md, and those that a package's `__init__` has or imports. Of a
class that is the class and its public methods. The rules:

* The first sentence describes ("Makes …", "The blocks of …", "Whether …"); it does not command.
* All arguments of a function of docs/api.md stand under `Args`, in order, if there are two or more,
  and the fields of a dataclass under `Attributes`. Elsewhere so do they where two or more are not
  obvious: obvious is what has the name of its class (`graph: Graph`), or stands in the sentences
  in backticks.
* What is raised by name stands under `Raises`.
* Beside a table, a function that does something ("Writes …") and answers says under `Returns`
  what it answers; one that is called by what it gives ("The blocks of …") has said so.
* An array among the arguments or answers has its shape and dtype in the text.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mvit
from onnx2mvit import errors

pytestmark = pytest.mark.xdist_group("docstrings")

API = Path(__file__).parent.parent / "docs" / "api.md"
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises):\n((?:[ ]{4}.*\n|\n)*)", re.MULTILINE
)
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)
VERB = re.compile(r"[A-Z][a-z]+s")
# Words of these letters that are no verbs.
NOUNS = frozenset(("As", "Axes", "Its", "Names", "This", "Images", "Answers", "Inputs", "Values"))
# What docstrings of others begin with, where these say "Makes".
COMMAND = re.compile(
    "Add|Answer|Apply|Ask|Build|Call|Check|Compare|Compute|Convert|Copy|Count|Create|Do|Drop|Emit|"
    "Export|Find|Get|Give|Import|Lift|List|Load|Lower|Make|Match|Move|Open|Parse|Print|Put|Raise|"
    "Read|Register|Remove|Replace|Return|Run|Say|Set|Show|Take|Tell|Test|Turn|Use|Verify|Write"
)
ARRAYS = re.compile(r"\b(?:np\.ndarray|NDArray|Array)\b")
SHAPE, DTYPE = (
    re.compile(r"\([\w×, …*]+\)|\bshape\b|\brank\b"),
    re.compile(r"\b(?:dtype|u?int\d+|float\d*|bool)\b"),
)


def packages() -> Iterator[Any]:
    """The packages of the house."""
    yield onnx2mvit
    for found in pkgutil.walk_packages(onnx2mvit.__path__, "onnx2mvit."):
        if found.ispkg and not found.name.endswith(".zoo"):  # emitted
            yield importlib.import_module(found.name)


@cache
def documented() -> dict[str, Any]:
    """What docs/api.md shows, by its full names there."""
    found = {}
    for path in re.findall(r"^::: (\S+\.\w+)$", API.read_text(encoding="utf-8"), re.MULTILINE):
        module, _, name = path.rpartition(".")
        found[path] = getattr(importlib.import_module(module), name)
    return found


def is_documented(each: object) -> bool:
    """Whether a function or class has its place on docs/api.md."""
    return any(each is other for other in documented().values())


@cache
def public() -> dict[str, Callable[..., Any]]:
    """Functions, classes and their public methods, by their full names."""
    named = [
        getattr(package, name)
        for package in packages()
        for name in getattr(package, "__all__", vars(package))
        if not name.startswith("_")
    ]
    named += documented().values()
    found: dict[str, Callable[..., Any]] = {}
    for each in named:
        if not (inspect.isfunction(each) or inspect.isclass(each)):
            continue
        if not each.__module__.startswith("onnx2mvit"):
            continue
        path = f"{each.__module__}.{each.__qualname__}"
        found[path] = each
        for name in () if inspect.isfunction(each) else vars(each):
            method = inspect.getattr_static(each, name)
            method = getattr(method, "__func__", method)
            if not name.startswith("_") and inspect.isfunction(method):
                found[f"{path}.{name}"] = method
    return found


def sections(text: str) -> dict[str, str]:
    """The parts of a docstring that follow its sentences, by their headings."""
    return {title: body + "\n" for title, body in SECTION.findall(text + "\n")}


def entries(body: str) -> list[str]:
    """What the entries of a part are of."""
    return [name.lstrip("*") for entry in ENTRY.findall(body) for name in entry.split(", ")]


def complaints(each: Callable[..., Any]) -> list[str]:
    """What the docstring of a function or class lacks."""
    text = inspect.getdoc(each) or ""
    if not text or (inspect.isclass(each) and "__doc__" not in vars(each)):
        return ["has no docstring"]
    parts = sections(text)
    found = [*_of_mood(text)]
    if inspect.isclass(each):
        return [*found, *_of_fields(each, parts)]
    found += [*_of_arguments(each, parts), *_of_answers(each, text, parts)]
    return [*found, *_of_raises(each, parts)]


def _of_mood(text: str) -> Iterator[str]:
    first = text.split()[0].strip("`:,.")
    if COMMAND.fullmatch(first):
        yield f"commands: {first}"


def _of_fields(each: type, parts: dict[str, str]) -> list[str]:
    if not (dataclasses.is_dataclass(each) and is_documented(each)):
        return []
    fields = [field.name for field in dataclasses.fields(each) if not field.name.startswith("_")]
    said = entries(parts.get("Attributes", ""))
    if len(fields) > 1 and said[: len(fields)] != fields:
        return [f"Attributes has {said}, not {fields}"]
    return []


def _of_arguments(each: Callable[..., Any], parts: dict[str, str]) -> Iterator[str]:
    signature = inspect.signature(each)
    wanted = [name for name in signature.parameters if name not in ("self", "cls")]
    said = entries(parts.get("Args", ""))
    text = (inspect.getdoc(each) or "").partition("\n\nArgs:")[0]
    unsaid = [
        name
        for name in wanted
        if is_documented(each) or not obvious(signature.parameters[name], text)
    ]
    if (len(unsaid) > 1 or said) and said != wanted:
        yield f"Args has {said}, not {wanted}"


def obvious(argument: inspect.Parameter, text: str) -> bool:
    """Whether an argument needs no line of its own."""
    kind = str(argument.annotation).rpartition(".")[2]
    return argument.name == kind.lower() or f"`{argument.name}`" in text


def _of_answers(each: Callable[..., Any], text: str, parts: dict[str, str]) -> Iterator[str]:
    signature = inspect.signature(each)
    answer = str(signature.return_annotation)
    told = parts.keys() & {"Returns", "Yields"}
    first = text.split()[0]
    does = VERB.fullmatch(first) and first not in NOUNS
    if (
        "Args" in parts
        and does
        and answer not in ("None", "Iterator[None]", "NoReturn")
        and not told
    ):
        yield f"Returns is missing: {answer}"
    arrays = [*(str(one.annotation) for one in signature.parameters.values()), answer]
    if any(map(ARRAYS.search, arrays)) and not (SHAPE.search(text) and DTYPE.search(text)):
        yield "says no shape or dtype of an array"


def _of_raises(each: Callable[..., Any], parts: dict[str, str]) -> Iterator[str]:
    said = entries(parts.get("Raises", ""))
    for name in said:
        known = {*dir(errors), *dir(builtins), *(one.__name__ for one in public().values())}
        if name not in known and name not in vars(inspect.getmodule(each) or errors):
            yield f"Raises has {name}, which is no exception here"
    for name in raised(each):
        if name not in said:
            yield f"Raises lacks {name}"


def raised(each: Callable[..., Any]) -> set[str]:
    """The exceptions that a function raises by name, without functions in it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
    found, left = set(), [*ast.iter_child_nodes(tree)]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            found |= {name} if name[0].isupper() else set()
        left.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", public())
def test_what_is_public_says_what_it_takes_gives_and_raises(path: str) -> None:
    assert complaints(public()[path]) == []


def _good(path: str, blocks: int, seed: int) -> list[str]:
    """Writes blocks.

    Args:
        path: where.
        blocks: how many.
        seed: of them.

    Returns:
        Their names.

    Raises:
        UsageError: there are none.
    """
    raise errors.UsageError(path)


def _commands(path: str) -> None:
    """Write a file."""


def _says_half(path: str, seed: int) -> None:
    """Writes blocks.

    Args:
        path: where.
    """


def _answers_what(path: str, seed: int) -> list[str]:
    """Writes blocks.

    Args:
        path: where.
        seed: of them.
    """
    return []


def _raises_what(path: str) -> None:
    """Writes a file.

    Raises:
        UsgeError: it cannot.
    """
    raise errors.UsageError(path)


def _of_an_array(array: np.ndarray[Any, Any]) -> None:
    """Writes an array."""


@pytest.mark.parametrize(
    ("each", "lacks"),
    [
        (_good, []),
        (_commands, ["commands: Write"]),
        (_says_half, ["Args has ['path'], not ['path', 'seed']"]),
        (_answers_what, ["Returns is missing: list[str]"]),
        (
            _raises_what,
            ["Raises has UsgeError, which is no exception here", "Raises lacks UsageError"],
        ),
        (_of_an_array, ["says no shape or dtype of an array"]),
        (lambda path: path, ["has no docstring"]),
    ],
    ids=["good", "commands", "half", "answers", "raises", "array", "nothing"],
)
def test_what_is_lacking_is_found(each: Callable[..., Any], lacks: list[str]) -> None:
    assert complaints(each) == lacks
