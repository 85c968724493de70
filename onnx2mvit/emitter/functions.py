"""The source of the patterns' Keras functions, as it lands in an emitted module."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onnx2mvit.emitter.prune import arguments_of, forwarded, prune
from onnx2mvit.emitter.source_edits import Edit, Offsets, edited
from onnx2mvit.ir.block import Block, BlockType
from onnx2mvit.lifter.naming import Roles
from onnx2mvit.matcher.registry import builtin_patterns


@dataclass
class Function:
    """A Keras function of a pattern: its text and what a call of it needs to know.

    `defaults` are those of the emitted function, `required` its arguments without one, and
    `forwards` the functions that get its further keyword arguments. `left_out` are arguments that
    the pattern's function has and the emitted one does not. `layers` are the classes that
    it needs; where it `depends_on_size`, it has them for images of any size alone.
    """

    name: str
    text: str
    required: tuple[str, ...]
    defaults: dict[str, Any]
    forwards: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    takes_name: bool = True
    left_out: frozenset[str] = frozenset()
    layers: str = ""
    depends_on_size: bool = False


# Arguments of the model function that every block gets whose function has one of this name.
FORWARDED = ("dropout", "classifier_activation", "input_shape")


def functions_of(
    blocks: Sequence[Block],
    roles: Roles,
    any_size: bool = False,
    among: Sequence[BlockType] | None = None,
) -> dict[str, Function]:
    """The functions that these blocks need, those that are called first.

    They may call those of the patterns `among`, all built-in ones by default.

    With `any_size`, what stands in `NAME_any_size` takes the place of NAME.
    """
    everything = [block for top in blocks for block in top.walk()]
    # A function may call that of a block which this network does not have at the traced size.
    known = [
        *(builtin_patterns() if among is None else among),
        *(block.pattern for block in everything),
    ]
    patterns = {pattern.keras: pattern for pattern in known if pattern.keras is not None}
    there = {b.pattern for b in everything if b.pattern.keras is not None}
    sources = [_source_of(pattern) for pattern in there]
    wanted = [block.pattern.keras for block in blocks if block.pattern.keras is not None]
    found: dict[str, Function] = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            pattern = patterns[name]
            siblings = [block for block in everything if block.pattern is pattern]
            layers, whole = any_size_source(pattern)
            depends_on_size = bool(whole)
            if not any_size or not whole:
                layers, whole = "", _source_of(pattern)
            text = prune(whole, siblings, forwarded(sources, name), FORWARDED)
            # The defaults are for the calls that the reader sees, those of the whole model.
            siblings = [block for block in blocks if block.pattern is pattern] or siblings
            found[name] = _function(text, pattern, siblings, roles, set(patterns))
            found[name].layers, found[name].depends_on_size = layers, depends_on_size
            found[name].left_out = frozenset(arguments_of(whole)) - {*arguments_of(text)}
            wanted.extend(found[name].calls)
    order: dict[str, Function] = {}

    def place(name: str) -> None:
        for callee in found[name].calls:
            place(callee)
        order.setdefault(name, found[name])

    for block in blocks:
        if block.pattern.keras is not None:
            place(block.pattern.keras)
    return order


def any_size_source(pattern: BlockType) -> tuple[str, str]:
    """What a pattern's file has for images of any size: layers, and the function; "" if nothing.

    They stand in a function called NAME_any_size, beside the function NAME. It is never called:
    Keras is not imported where patterns are, so layers can be no classes there.
    """
    holder = getattr(sys.modules[type(pattern).__module__], f"{pattern.keras}_any_size", None)
    if holder is None:
        return "", ""
    (tree,) = ast.parse(inspect.getsource(holder)).body
    assert isinstance(tree, ast.FunctionDef)
    classes, functions = _definitions(inspect.getsource(holder), tree.body)
    layers = "\n\n".join(_without_annotations(text) for text in classes.values())
    return layers, functions[str(pattern.keras)]


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
    return _function(_source_of(pattern), pattern, (), {}, set()).text


def _source_of(pattern: BlockType) -> str:
    module = sys.modules[type(pattern).__module__]
    return textwrap.dedent(inspect.getsource(getattr(module, str(pattern.keras))))


def _function(
    text: str, pattern: BlockType, blocks: Sequence[Block], roles: Roles, known: set[str | None]
) -> Function:
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    edits: list[Edit] = []
    at = Offsets(text)
    positional = [*tree.args.posonlyargs, *tree.args.args]
    named = [*positional[1:], *tree.args.kwonlyargs]
    values: list[ast.expr | None] = [None] * (len(positional) - len(tree.args.defaults))
    values += [*tree.args.defaults, *tree.args.kw_defaults]
    defaults: dict[str, Any] = {}
    for argument, value in zip(named, values[1:], strict=True):
        if value is None:
            continue
        written = default = ast.literal_eval(value)
        if argument.arg in pattern.style:
            default = _commonest(blocks, argument.arg, written)
        if default != written:
            edits.append((at.start(value), at.end(value), repr(default)))
        defaults[argument.arg] = default
    edits += _annotations(text, tree)
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called.sort(key=lambda call: (call.lineno, call.col_offset))
    for call in called:
        for keyword in call.keywords:
            if keyword.arg == "name" and (new := _renamed(keyword.value, pattern.kind, roles)):
                edits.append((at.start(keyword.value), at.end(keyword.value), new))
    names = [(call.func.id, call) for call in called if isinstance(call.func, ast.Name)]
    return Function(
        name=tree.name,
        text=edited(text, edits),
        required=tuple(a.arg for a in named if a.arg not in defaults and a.arg != "name"),
        defaults=defaults,
        forwards=tuple(
            dict.fromkeys(
                name
                for name, call in names
                if any(keyword.arg is None for keyword in call.keywords)
            )
        ),
        calls=tuple(dict.fromkeys(name for name, _ in names if name in known)),
        takes_name=any(argument.arg == "name" for argument in named),
    )


def _without_annotations(text: str) -> str:
    return edited(text, _annotations(text, ast.parse(text)))


def _annotations(text: str, tree: ast.AST) -> list[Edit]:
    """The edits that take the annotations from all functions in a text."""
    at, edits = Offsets(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            edits.append((at.start(node) + len(node.arg), at.end(node.annotation), ""))
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            edits.append((text.rindex("->", 0, at.start(node.returns)), at.end(node.returns), ""))
    return edits


def _commonest(blocks: Iterable[Block], name: str, otherwise: Any) -> Any:
    counts = Counter(block.params[name] for block in blocks if name in block.params)
    most = max(counts.values(), default=0)
    if counts[otherwise] == most:
        return otherwise
    return next(value for value, count in counts.items() if count == most)


def _renamed(value: ast.expr, kind: str, roles: Roles) -> str | None:
    """The text of a layer's name with the role in it replaced by torch's name."""
    match value:
        case ast.Constant(value=str(role)):
            return repr(roles[kind, role]) if (kind, role) in roles else None
        case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name("name")), ast.Constant(rest)]):
            role = str(rest).removeprefix("_")
            return f'f"{{name}}_{roles[kind, role]}"' if (kind, role) in roles else None
        case ast.JoinedStr(
            values=[ast.Constant(str(stem)), ast.FormattedValue(value=ast.Name("i"))]
        ):
            role = stem + "{i}"
            return f'f"{roles[kind, role]}"' if (kind, role) in roles else None
    return None
