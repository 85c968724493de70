"""The function that makes the model: its variables, its loops, and what it hands out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import onnx2mvit
from onnx2mvit.emitter.emit import emit
from onnx2mvit.emitter.functions import operator_functions
from onnx2mvit.emitter.loops import Statement, loops
from onnx2mvit.ir.expr import LayerName, Name, call
from onnx2mvit.matcher.registry import builtin_patterns
from tests.support.graphs import model, save


def statement(
    name: str, *arguments: object, function: str = "block", variable: str = "x"
) -> Statement:
    return Statement(variable, call(function, Name("x"), *arguments, name=LayerName()), name)


def numbered(name: str, *numbers: int, **how: str) -> list[Statement]:
    return [statement(name.replace("{}", str(number)), **how) for number in numbers]


@pytest.mark.parametrize("count", [3, 4, 30])
def test_statements_that_differ_only_in_a_number_of_the_name_are_a_loop(count: int) -> None:
    statements = [statement(f"layer.{number}", 8) for number in range(count)]
    assert loops(statements) == [
        f"for i in range({count}):",
        "    x = block(x, 8, name=f'layer.{i}')",
    ]


def test_a_loop_may_begin_anywhere_and_the_number_stand_anywhere() -> None:
    assert loops(numbered("stages.2.blocks.{}.conv_1", 1, 2, 3)) == [
        "for i in range(1, 4):",
        "    x = block(x, name=f'stages.2.blocks.{i}.conv_1')",
    ]
    assert loops(numbered("{}", 9, 10, 11)) == [
        "for i in range(9, 12):",
        "    x = block(x, name=f'{i}')",
    ]


def test_what_stands_around_a_loop_stays() -> None:
    one, other = (numbered(f"{kind}.{{}}", 0, 1, 2, function=kind) for kind in "ab")
    stem, last = statement("a.3", function="stem"), Statement("x", call("last", Name("x")), "l")
    assert loops([*one, stem, *other, last]) == [
        "for i in range(3):",
        "    x = a(x, name=f'a.{i}')",
        "x = stem(x, name='a.3')",
        "for i in range(3):",
        "    x = b(x, name=f'b.{i}')",
        "x = last(x)",
    ]


def test_several_statements_that_come_again_are_a_loop() -> None:
    """MBConv and attention of MaxViT; an operation without a name may stand between them."""
    convs = numbered("stages.1.blocks.{}.conv", 1, 2, function="conv")
    others = numbered("stages.1.blocks.{}", 1, 2, function="attention")
    relu = Statement("x", call("ops.relu", Name("x")), "relu")
    rounds = [
        each
        for number, pair in enumerate(zip(convs, others, strict=True))
        for each in (pair[0], replace(relu, name=f"relu_{number}"), pair[1])
    ]
    last = statement("stages.1.blocks.3.conv", function="conv")
    assert loops([*rounds, last]) == [
        "for i in range(1, 3):",
        "    x = conv(x, name=f'stages.1.blocks.{i}.conv')",
        "    x = ops.relu(x)",
        "    x = attention(x, name=f'stages.1.blocks.{i}')",
        "x = conv(x, name='stages.1.blocks.3.conv')",
    ]


def test_the_loop_with_the_shortest_body_is_taken() -> None:
    both = [each for i in range(2) for each in numbered(f"b.{i}.{{}}", 0, 1, 2)]
    assert loops(both) == [
        "for i in range(3):",
        "    x = block(x, name=f'b.0.{i}')",
        "for i in range(3):",
        "    x = block(x, name=f'b.1.{i}')",
    ]


@pytest.mark.parametrize(
    "statements",
    [
        [statement("a.0"), statement("b.1", 1), statement("a.1"), statement("b.2", 1)],
        [statement("a.0"), statement("b.0", 1), statement("a.1"), statement("b.1", 2)],
        [statement("a.0"), statement("b", 1), statement("a.1"), statement("b", 1)],
        numbered("layer.{}", 0, 1),
        numbered("layer.{}", 0, 2, 4),
        numbered("layer.{}", 2, 1, 0),
        numbered("layer.{}", 3, 3, 3),
        [statement("layer", number) for number in range(3)],
        [statement(f"layer.{number}", number) for number in range(3)],
        [statement("layer.0", 0), statement("layer.1", False), statement("layer.2", 0.0)],
        numbered("layer.{}.norm{}", 0, 1, 2),
        [statement(f"layer.{number}", variable=f"layer{number}") for number in range(3)],
        numbered("layer.0{}", 1, 2, 3),
        [statement(f"l.{number}", function=name) for number, name in enumerate("aba")],
        [Statement("x", call("ops.relu", Name("x")), f"layer.{number}") for number in range(3)],
        [],
    ],
    ids=lambda statements: " ".join(loops(statements)),
)
def test_statements_that_differ_in_more_are_no_loop(statements: list[Statement]) -> None:
    assert loops(statements) == [each.source(repr(each.name)) for each in statements]


def test_a_loop_does_what_its_statements_did() -> None:
    statements = [
        *numbered("a.{}", 0, 1, 2),
        *numbered("b.1.{}.c", 5, 6, 7, 8),
        statement("b.1.9.d"),
        *numbered("b.{}.1.c", 5, 6, 7, 8),
    ]
    found: list[str] = []
    scope = {"block": lambda x, name: found.append(name), "x": None}
    exec("\n".join(loops(statements)), scope)
    assert found == [each.name for each in statements]
    assert len(loops(statements)) == 7


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
