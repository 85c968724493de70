"""Whatever a file calls its parts, the emitted module is what our templates make of its graph.

The module is executed, so this is about more than looks: names of nodes, tensors, scopes and
metadata may reach it as safe strings and as safe names of variables, and in no other way.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import onnx2mvit
from onnx2mvit.emitter.emit import emit, model_name, unformatted
from onnx2mvit.lifter import lift
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from onnx2mvit.reader.scopes import NAME_SCOPES
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("hostile-names")

# A residual block with normalization, something no pattern takes, and a classifier.
NET = """g (float[N,8,8,8] image) => (float[N,10] logits) {
    a = Conv<pads=[1,1,1,1]>(image, w1)  b = BatchNormalization(a, s, s, s, s)  c = Relu(b)
    d = Conv<pads=[1,1,1,1]>(c, w2)  e = Add(d, image)  f = Sin(e)
    g = GlobalAveragePool(f)  h = Flatten(g)  logits = Gemm<transB=1>(h, w3, b3) }"""
WEIGHTS: dict[str, Any] = {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3), "w3": (10, 8), "b3": (10,)}
NASTY = (
    *("'", '"', '"""', "'''", "\\", "\\'", "\n", "\r\n", "\t", "\0", "#", ";", "{", "}", "{x}"),
    *("{{}}", "%s", "$name", "$0", "${x}", "__import__('os').system('x')", "__class__", "../../x"),
    *("/etc/passwd", "C:\\x", "a/b/c", "а", "ｋｅｒａｓ", "\u202eevil", "\u2028", "\ufeff", "é"),
    *("\N{FULLWIDTH QUOTATION MARK}", "x = 1", "')\nimport os\n('", "i", "{i}", "x", "inputs"),
    *("name", "keras", "layers", "ops", "input_shape", "num_classes", "conv_bn_act", "classifier"),
    *("print", "None", "True", "self", "", ".", "..", "0", "1.0", "_", "__", "a.b", "a..b"),
    *("[" * 3000, "n" * 10_000, "/" * 5000, "a." * 3000, *keyword.kwlist),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAME = st.sampled_from(NASTY) | TEXT | st.builds(str.__add__, st.sampled_from(NASTY), TEXT)
STRING = re.compile(r"[0-9A-Za-z_.]{0,240}")


def tensors(names: Sequence[str]) -> dict[str, str]:
    """What each tensor is called."""
    values = {name: f"{names[0]}{name}{names[1]}" for name in "abcdefgh"}
    values |= {name: f"{names[2]}{name}" for name in ("s", *WEIGHTS)}
    return values | {"image": f"{names[3]} ", "logits": f"{names[4]}\0"}


def different(names: Sequence[str]) -> bool:
    return len({*tensors(names).values()}) == len(tensors(names))


def named(names: Sequence[str]) -> onnx.ModelProto:
    """The network with these names, used over and over, in every place that has one."""
    made = model(NET, s=np.ones(8, np.float32), **WEIGHTS)
    graph = made.graph
    values = tensors(names)
    for number, node in enumerate(graph.node):
        one, two = names[number % len(names)], names[(number + 1) % len(names)]
        node.name = f"/{one}/{one}.{number}/{two}/{node.op_type}"
        node.doc_string = one
        node.metadata_props.add(key=names[5], value=two)
        if number % 2:
            node.metadata_props.add(key=NAME_SCOPES, value=repr([one, two, "node"]))
        node.input[:] = [values[name] for name in node.input]
        node.output[:] = [values[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = values[tensor.name]
    for value in (*graph.input, *graph.output):
        value.name = values[value.name]
    graph.name, graph.doc_string = f"{names[6]}g", names[0]
    made.producer_name, made.producer_version, made.domain = names[1], names[2], names[3]
    made.doc_string = names[4]
    for key in ("onnx2mvit.weights", names[5]):
        made.metadata_props.add(key=key, value=names[6])
    return made


def module(folder: Path, names: Sequence[str], file: str = "model") -> str:
    network = lower(lift(read(save(named(names), folder, f"{file}.onnx"))))
    assert not network.refused
    return unformatted(network, model_name(file), "test")


class Erased(ast.NodeTransformer):
    """Takes strings and the names of variables out of a syntax tree, and remembers them."""

    def __init__(self, tree: ast.Module) -> None:
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        self.variables = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        (self.own,) = (f.name for f in functions if "nested" in {arg.arg for arg in f.args.args})
        self.functions = {function.name for function in functions} - {self.own}
        self.strings: set[str] = set()
        for node in ast.walk(tree):  # docstrings are no expressions of the module
            if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node):
                assert isinstance(node.body[0], ast.Expr)
                node.body = node.body[1:] or [ast.Pass()]
        self.tree = ast.dump(self.visit(tree))

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if not isinstance(node.value, str):
            return node
        self.strings.add(node.value)
        return ast.Constant("s")

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("v" if node.id in self.variables else node.id, node.ctx)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name == self.own:  # the model's own, called after the file
            node.name = "model"
        return self.generic_visit(node)


@cache
def reference(folder: Path) -> Erased:
    """The module for a file of plain names."""
    return Erased(ast.parse(module(folder, ["a", "b", "c", "d", "e", "f", "h"])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def assert_harmless(source: str, plain: Erased) -> None:
    tree = ast.parse(source)
    compile(tree, "module", "exec")
    docstring = ast.get_docstring(tree, clean=False) or ""
    assert re.fullmatch(r"[\n -\[\]-~]*", docstring)  # printable ASCII without a backslash
    assert len(docstring) < 2000
    found = Erased(tree)
    assert found.tree == plain.tree
    for text in found.strings - plain.strings:
        assert STRING.fullmatch(text), text
    for variable in found.variables:
        assert variable.isidentifier() and variable.isascii() and not keyword.iskeyword(variable)
        assert variable not in dir(builtins)
        assert variable not in {"keras", "layers", "ops", *found.functions}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(NAME, min_size=7, max_size=12))
def test_names_never_change_the_syntax_tree(folder: Path, names: list[str]) -> None:
    assume(different(names))
    assert_harmless(module(folder, names), reference(folder))


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_in_every_place(folder: Path, name: str) -> None:
    assert_harmless(module(folder, [name] * 7), reference(folder))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), max_size=60))
def test_a_file_name_never_changes_the_syntax_tree(folder: Path, file: str) -> None:
    plain = ["a", "b", "c", "d", "e", "f", "h"]
    assert_harmless(module(folder, plain, f"m{file}"), reference(folder))
    assert model_name(file).isidentifier() and not keyword.iskeyword(model_name(file))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(NAME, min_size=7, max_size=12))
def test_what_is_written_is_the_same_in_form(folder: Path, names: list[str]) -> None:
    """Brought into form (by black), which changes no syntax tree."""
    assume(different(names))
    network = lower(lift(read(save(named(names), folder))))
    assert_harmless(emit(network, "model", "test"), reference(folder))


@pytest.mark.parametrize(
    "name", ["')\nimport os\n('", "{i}\\\"'", "keras", "a." * 3000, "\u202eevil/../../x"]
)
def test_the_module_of_hostile_names_still_answers_right(tmp_path: Path, name: str) -> None:
    path = save(named([name] * 7), tmp_path, 'it\'s {a} "net".onnx')
    result = onnx2mvit.convert(path, tmp_path / "out")
    assert result.passed
    assert [each.name for each in tmp_path.iterdir() if each != path] == ["out"]
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["it_s_a_net"]
