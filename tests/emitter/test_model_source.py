"""The function that makes the model: its variables, its loops, and what it hands out."""

from pathlib import Path
from typing import Any

import onnx
import pytest

import onnx2mvit
from onnx2mvit.emitter.emit import emit
from onnx2mvit.emitter.functions import operator_functions
from onnx2mvit.emitter.model_function import fill, loops
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.graphs import model, save


def numbered(line: str, *numbers: int) -> list[str]:
    return [line.replace("{}", str(number)) for number in numbers]


@pytest.mark.parametrize("count", [3, 4, 30])
def test_lines_that_differ_only_in_a_number_of_the_name_are_a_loop(count: int) -> None:
    lines = numbered("x = block(x, 8, name='layer.{}')", *range(count))
    assert loops(lines) == [f"for i in range({count}):", "    x = block(x, 8, name=f'layer.{i}')"]


def test_a_loop_may_begin_anywhere_and_the_number_stand_anywhere() -> None:
    lines = numbered("x = block(x, name='stages.2.blocks.{}.conv_1')", 1, 2, 3)
    assert loops(lines) == [
        "for i in range(1, 4):",
        "    x = block(x, name=f'stages.2.blocks.{i}.conv_1')",
    ]
    lines = numbered("x = block(x, name='{}')", 9, 10, 11)
    assert loops(lines) == ["for i in range(9, 12):", "    x = block(x, name=f'{i}')"]


def test_what_stands_around_a_loop_stays() -> None:
    one, other = (numbered(f"x = {kind}(x, name='{kind}.{{}}')", 0, 1, 2) for kind in "ab")
    assert loops([*one, "x = stem(x, name='a.3')", *other, "x = last(x)"]) == [
        "for i in range(3):",
        "    x = a(x, name=f'a.{i}')",
        "x = stem(x, name='a.3')",
        "for i in range(3):",
        "    x = b(x, name=f'b.{i}')",
        "x = last(x)",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        numbered("x = block(x, name='layer.{}')", 0, 1),
        numbered("x = block(x, name='layer.{}')", 0, 2, 4),
        numbered("x = block(x, name='layer.{}')", 2, 1, 0),
        numbered("x = block(x, name='layer.{}')", 3, 3, 3),
        numbered("x = block(x, {}, name='layer')", 0, 1, 2),
        numbered("x = block(x, {}, name='layer.{}')", 0, 1, 2),
        numbered("x = block(x, name='layer.{}.norm{}')", 0, 1, 2),
        numbered("layer{} = block(x, name='layer.{}')", 0, 1, 2),
        numbered("x = block(x, name='layer.0{}')", 1, 2, 3),
        ["x = a(x, name='l.0')", "x = b(x, name='l.1')", "x = a(x, name='l.2')"],
        [],
    ],
    ids=str,
)
def test_lines_that_differ_in_more_are_no_loop(lines: list[str]) -> None:
    assert loops(lines) == lines


def test_a_loop_does_what_its_lines_did() -> None:
    lines = [
        *numbered("x = call(x, name='a.{}')", 0, 1, 2),
        *numbered("x = call(x, name='b.1.{}.c')", 5, 6, 7, 8),
        "x = call(x, name='b.1.9.d')",
        *numbered("x = call(x, name='b.{}.1.c')", 5, 6, 7, 8),
    ]

    def names(body: list[str]) -> list[str]:
        found: list[str] = []
        scope = {"call": lambda x, name: found.append(name), "x": None}
        exec("\n".join(body), scope)
        return found

    assert names(loops(lines)) == names(lines)
    assert len(loops(lines)) == 7


def test_a_converters_text_gets_its_operands_and_its_name() -> None:
    text = "ops.add($0, layers.Dense(3, name=$name)($10))"
    operands = [f"v{number}" for number in range(11)]
    assert fill(text, operands, "a'b") == 'ops.add(v0, layers.Dense(3, name="a\'b")(v10))'


def test_blocks_in_a_row_are_a_loop_in_the_module(tmp_path: Path) -> None:
    lines = " ".join(
        f"c{i} = Conv<pads=[1,1,1,1]>({'x' if i == 0 else f'r{i - 1}'}, w{i}) r{i} = Relu(c{i})"
        for i in range(4)
    )
    weights: dict[str, Any] = {f"w{i}": (8, 8, 3, 3) for i in range(4)}
    body = f"g (float[N,8,16,16] x) => (float[N,8,16,16] y) {{ {lines} y = Neg(r3) }}"
    made = model(body, **weights)
    for i in range(4):
        made.graph.node[2 * i].name = f"/layers.{i}/conv/Conv"
        made.graph.node[2 * i + 1].name = f"/layers.{i}/act/Relu"
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path)
    assert result.passed
    text = result.source.read_text(encoding="utf-8")
    assert 'x = conv_bn_act(inputs, 8, kernel_size=3, name="0")' in text
    assert "    for i in range(1, 4):\n        x = conv_bn_act(x, 8, kernel_size=3, " in text
    assert 'name=f"{i}")' in text


def named(made: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    for node, name in zip(made.graph.node, names, strict=False):
        node.name = name
    return made


THREE = """g (float[N,4,8,8] x) => (float y, float z, float u) {
    a = Relu(x)  b = Tanh(x)  c = Neg(x)
    d = Add(a, b)  y = Sub(d, c)  z = Mul(a, b)  u = Mul(z, c) }"""


@pytest.mark.parametrize(
    "names",
    [
        ("/st/Relu", "/Act/Tanh", "/act/Neg"),  # one name in lower case
        ("/x/Relu", "/inputs/Tanh", "/name/Neg"),
        ("/a/Relu", "/keras/Tanh", "/ops/Neg"),
        ("/a/Relu", "/range/Tanh", "/lambda/Neg"),
        ("/a/Relu", "/1/Tanh", "/x_1/Neg"),
        ("/a/Relu", "/i/Tanh", "/input_shape/Neg"),
    ],
    ids=str,
)
def test_no_variable_takes_the_place_of_one_that_is_needed(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = save(named(model(THREE), *names), tmp_path)
    assert onnx2mvit.convert(path, tmp_path / "out").passed


def test_no_variable_is_called_as_a_function_of_the_module(tmp_path: Path) -> None:
    body = """g (float[N,4,8,8] x) => (float y) {
        a = Neg(x)  b = Tan(x)  c = Mul(b, large)  d = Add(a, c)  y = Add(d, b) }"""
    made = named(model(body, large=(4, 8, 8)), "/st/Neg", "/parameter/Tan")
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path / "out")
    assert result.passed
    assert "    parameter = " not in result.source.read_text(encoding="utf-8")


def test_functions_of_operators_have_other_names_than_those_of_patterns() -> None:
    every = "\n".join(f"{name}()" for name in everything())
    ours = {text.partition("(")[0].removeprefix("def ") for text in operator_functions(every, ())}
    assert "parameter" in ours
    assert not ours & {pattern.keras for pattern in builtin_patterns()}


def everything() -> set[str]:
    text = (Path(onnx2mvit.__file__).parent / "lowering" / "operators" / "_functions.py").read_text(
        "utf-8"
    )
    starts = [line for line in text.splitlines() if line.startswith("def ")]
    return {line.partition("(")[0].removeprefix("def ") for line in starts}


def test_an_input_that_is_handed_out_as_it_is(tmp_path: Path) -> None:
    image = "float[N,4,8,8]"
    body = f"g ({image} x) => ({image} y, {image} z) {{ y = Tan(x)  z = Identity(x) }}"
    assert onnx2mvit.convert(save(model(body), tmp_path), tmp_path / "out").passed


def test_a_transpose_alone_is_no_line(tmp_path: Path) -> None:
    body = """g (float[N,4,8,6] x) => (float y) {
        a = Transpose<perm=[0,2,3,1]>(x)  b = Tan(a)  y = Transpose<perm=[0,3,1,2]>(b) }"""
    path = save(model(body), tmp_path)
    text = emit(onnx2mvit.inspect(path), "net", "test")
    assert "transpose" not in text
    assert onnx2mvit.convert(path, tmp_path / "out").passed
