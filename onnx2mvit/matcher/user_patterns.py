"""Patterns that do not come with this package: a user's own file, or an installed package's.

What is wrong with them is told with their own file and line. They are Python, and executed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import sys
import traceback
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

from onnx2mvit.base.quiet import one_line
from onnx2mvit.base.user_files import reading
from onnx2mvit.errors import MALFORMED, Onnx2mvitError, UsageError
from onnx2mvit.ir.block import BlockType
from onnx2mvit.ir.error_context import malformed_node
from onnx2mvit.ir.graph import Node
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.registry import builtin_patterns, in_order, patterns_of, rules_of
from onnx2mvit.matcher.rule import Rule

GROUP = "onnx2mvit.patterns"  # of entry points, each of which names a module
PREFIX = "onnx2mvit_user_patterns_"
_INSTALLED: set[str] = set()  # the modules of installed packages


def all_patterns(files: Sequence[str | Path] = ()) -> tuple[Pattern, ...]:
    """The built-in patterns, those of installed packages and those in these files, in order.

    Raises:
        UsageError: a file or package cannot be used, with its file and line.
    """
    own = [pattern for module in _installed() for pattern in _checked(module)]
    own += [pattern for path in files for pattern in _checked(_load(Path(path)))]
    if not own:
        return builtin_patterns()
    _refuse_clashes(own)
    try:
        return in_order([*builtin_patterns(), *own])
    except ValueError as error:
        raise UsageError(f"{', '.join(sorted({file_of(p) for p in own}))}: {error}") from error


def own_rules(patterns: Iterable[Pattern]) -> tuple[Rule, ...]:
    """The rules in users' files, beside patterns of theirs."""
    modules = dict.fromkeys(
        sys.modules[type(each).__module__] for each in patterns if is_users(each)
    )
    return tuple(rule for module in modules for rule in rules_of(module))


def is_users(part: BlockType | Rule) -> bool:
    """True if a pattern or rule comes from a file of `--patterns` or from another package."""
    module = type(part).__module__
    return module.startswith(PREFIX) or module in _INSTALLED


def place(pattern: BlockType) -> str:
    """The file and line where a pattern is written."""
    return f"{file_of(pattern)}:{inspect.getsourcelines(type(pattern))[1]}"


@contextmanager
def blamed(part: Pattern | Rule, roots: Iterable[Node]) -> Iterator[Iterator[Node]]:
    """Meanwhile a pattern or rule is tried at nodes, one by one: what it raises is told.

    Yields:
        The nodes, of which the last that was asked for is the one that it is tried at.

    Raises:
        UsageError: it is a user's, and raised something.
        UnsupportedError: it is ours: the node is not what the ONNX standard says of it.
    """
    tried: list[Node] = []

    def one_by_one() -> Iterator[Node]:
        for root in roots:
            tried[:] = (root,)
            yield root

    if is_users(part):
        name = f"the {'rule' if isinstance(part, Rule) else 'pattern'} {type(part).__name__}"
        with error_context(file_of(part), f"{name} failed while it was matched"):
            yield one_by_one()
        return
    try:
        yield one_by_one()
    except MALFORMED as error:
        if not tried:
            raise
        raise malformed_node(tried[0], type(part).__name__, error) from error


@contextmanager
def error_context(file: str, what: str) -> Iterator[None]:
    """Turns whatever a user's code raises into a UsageError with the line in its file.

    Raises:
        UsageError: something was raised.
    """
    try:
        yield
    except Onnx2mvitError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or file}:{error.lineno or 1}"
        raise UsageError(f"{where}: {what}: {one_line(error)}") from error
    # It is somebody else's code, which may raise anything.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == file]
        where = f"{file}:{lines[-1]}" if lines else file
        raise UsageError(f"{where}: {what}: {one_line(error)}") from error


@contextmanager
def building(patterns: Iterable[BlockType]) -> Iterator[None]:
    """Meanwhile the emitted module runs: what fails in a user's function is told as theirs.

    Raises:
        UsageError: such a function raised something.
    """
    own = {pattern.keras: pattern for pattern in patterns if pattern.keras and is_users(pattern)}
    try:
        yield
    except (Exception, SystemExit) as error:
        cause = error.__cause__ or error
        frames = traceback.extract_tb(cause.__traceback__)
        guilty = [own[frame.name] for frame in frames if frame.name in own]
        if not guilty:
            raise
        raise UsageError(
            f"{place(guilty[-1])}: the function {guilty[-1].keras} failed: {one_line(cause)}"
        ) from error


def _load(path: Path) -> ModuleType:
    """The module in a file, under a name that no other file has."""
    with reading(path, "Python", UsageError):
        path = path.resolve()
    name = f"{PREFIX}{path.stem}_{zlib.crc32(os.fsencode(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the source of its functions is found by it
    try:
        with error_context(str(path), "it cannot be imported"):
            spec.loader.exec_module(module)
    except UsageError:
        del sys.modules[name]
        raise
    return module


@cache  # looking through all packages takes longer than reading a small file
def _entry_points(path: tuple[str, ...]) -> importlib.metadata.EntryPoints:
    """What packages on this search path have for us."""
    return importlib.metadata.entry_points(group=GROUP)


def _installed() -> Iterator[ModuleType]:
    for entry in _entry_points(tuple(sys.path)):
        package = entry.dist.name if entry.dist is not None else entry.name
        with error_context(entry.value, f"the patterns of the package {package} cannot be loaded"):
            module = entry.load()
        if not isinstance(module, ModuleType):
            raise UsageError(f"{entry.value}, of the package {package}, is not a module")
        _INSTALLED.add(module.__name__)
        yield module


def _checked(module: ModuleType) -> list[Pattern]:
    file = str(module.__file__)
    with error_context(file, "a pattern cannot be made"):
        found = patterns_of(module)
        rules_of(module)
    if not found:
        raise UsageError(
            f"{file}:1: there is no pattern in it: a class that is a Pattern and has `onnx`"
        )
    for pattern in found:
        if pattern.keras is not None and not inspect.isfunction(
            getattr(module, pattern.keras, None)
        ):
            raise UsageError(
                f"{place(pattern)}: {pattern.kind} becomes {pattern.keras!r}, and there is no such "
                "function in its file"
            )
    return found


def _refuse_clashes(own: Iterable[Pattern]) -> None:
    kinds = {pattern.kind: "this package" for pattern in builtin_patterns()}
    functions = {pattern.keras: "this package" for pattern in builtin_patterns() if pattern.keras}
    for pattern in own:
        for name, taken in ((pattern.kind, kinds), (pattern.keras, functions)):
            if name is None:
                continue
            if name in taken:
                raise UsageError(
                    f"{place(pattern)}: there is already a {name!r}, in {taken[name]}: "
                    "choose another name"
                )
            taken[name] = place(pattern)


def file_of(part: BlockType | Rule) -> str:
    """The file that a pattern or rule is written in."""
    return str(sys.modules[type(part).__module__].__file__)
