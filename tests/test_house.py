"""The folders of the package are the way of the data: each imports only from those above it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx
import pytest

PACKAGE = Path(__file__).parent.parent / "onnx2mvit"
# From what every folder may import to what a user calls. A name is a folder or a module.
HOUSE = (
    *(
        "version",
        "errors",
        "ending",
        "base",
        "ir",
        "matcher",
        "pattern",
        "reader",
        "lifter",
        "lowering",
    ),
    *("stages", "emitter", "builder", "runtimes", "verifier", "reports"),
    *(
        "models",
        "exporter",
        "deployment",
        "benchmarks",
        "evaluation",
        "publishing",
        "target",
        "conversion",
        "api",
        "__init__",
    ),
    *("cli", "__main__"),
)
# Imported where they are called, so that what does not need them need not wait for them.
LATE = {
    "onnx2mvit.builder.suppression": "keras",
    "onnx2mvit.emitter.pattern_functions": "libcst",
    "onnx2mvit.exporter.models": "torch and transformers",
    "onnx2mvit.exporter.pipeline": "torch and transformers",
}
# A command imports what it runs when it runs: the others, and `--help`, answer at once.
COMMANDS = ("cli", "__main__")

Import = tuple[str, str, bool]  # from which module, of which, and whether in a function


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


@cache
def imports() -> list[Import]:
    """Every import of ours, those for type checkers and in functions included."""
    known = dict(modules())
    found: list[Import] = []

    def visit(module: str, node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom) and (child.module or "").startswith("onnx2mvit"):
                assert child.module is not None
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    found.append((module, inner if inner in known else child.module, late))
            elif isinstance(child, ast.Import):
                ours = [alias.name for alias in child.names if alias.name.startswith("onnx2mvit")]
                found.extend((module, name, late) for name in ours)
            visit(module, child, late or isinstance(child, ast.FunctionDef))

    for module, path in known.items():
        visit(module, ast.parse(path.read_text(encoding="utf-8")), late=False)
    return found


def place(module: str) -> str:
    """The folder of a module, or the module itself where it lies in none."""
    return module.split(".")[1] if "." in module else "__init__"


def test_every_folder_has_its_place() -> None:
    assert {place(module) for module, _ in modules()} <= set(HOUSE)


@pytest.mark.parametrize("folder", HOUSE)
def test_a_folder_imports_only_from_those_above_it(folder: str) -> None:
    up = [
        (importer, imported)
        for importer, imported, _ in imports()
        if place(importer) == folder and HOUSE.index(place(imported)) > HOUSE.index(folder)
    ]
    assert not up


def test_there_is_no_circle() -> None:
    graph = networkx.DiGraph((importer, imported) for importer, imported, _ in imports())
    graph.remove_edges_from([(a, b) for a, b in graph.edges if b.startswith(a + ".")])
    assert list(networkx.simple_cycles(graph)) == []


def test_late_imports_are_those_with_a_reason() -> None:
    late = {
        imported
        for importer, imported, late in imports()
        if late and place(importer) not in COMMANDS
    }
    assert late == set(LATE)
