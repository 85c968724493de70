"""The emitted module: what a person would write, and nothing that the file could smuggle in."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import black
import numpy as np
import pytest

from onnx2mvit import inspect
from onnx2mvit.emitter.emit import DEEPEST, emit, model_name
from onnx2mvit.emitter.functions import model_functions
from onnx2mvit.errors import UnsupportedError
from tests.support import golden
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("emit")


@pytest.fixture(scope="module")
def source() -> str:
    return golden.emitted()


def test_the_golden_example_is_what_is_emitted_today(source: str) -> None:
    assert golden.GOLDEN.read_text(encoding="utf-8") == source, "run `make golden` and look at it"


def test_it_imports_nothing_that_keras_does_not_need(source: str) -> None:
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == [
        "import json",
        "import pathlib",
        "import keras",
        "import numpy as np",
        "from keras import layers, ops",
    ]


def test_xs_is_short(source: str) -> None:
    network, _, every_model = source.partition("    return model\n")
    assert len(network.splitlines()) < 275
    assert len(every_model.splitlines()) < 90  # what all emitted modules have in common


def test_it_is_formatted(source: str) -> None:
    style = black.Mode(line_length=100, magic_trailing_comma=False)
    assert black.format_str(source, mode=style) == source


def test_it_compiles_and_every_name_in_it_is_known(source: str) -> None:
    import builtins
    import symtable

    table = symtable.symtable(source, "module", "exec")
    top = {symbol.get_name() for symbol in table.get_symbols()}
    for function in table.get_children():
        known = top | {*dir(builtins), "__file__"}
        unknown = {
            symbol.get_name()
            for symbol in function.get_symbols()
            if symbol.is_global() and symbol.get_name() not in known
        }
        assert not unknown, function.get_name()


def test_the_docstring_names_the_source_file_and_its_hash(source: str) -> None:
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert "mobilevit_xs.onnx" in docstring
    assert any(
        len(word) == 64 and set(word) <= set("0123456789abcdef") for word in docstring.split()
    )


def test_the_model_function_reads_like_a_person_wrote_it(source: str) -> None:
    for line in (
        'inputs = keras.Input(input_shape, name="pixel_values")',
        'x = conv_bn_act(inputs, 16, kernel_size=3, strides=2, name="conv_stem")',
        'x = inverted_residual(x, 32, expansion=4, name="encoder.layer.0.layer.0")',
        "x, 64, dim=96, depth=2, num_heads=4, patch_size=2, dropout=dropout, "
        'name="encoder.layer.2"',
        "    if include_top:\n        x = classifier(\n            x,\n            num_classes,\n",
        "    else:\n        x = pooled(x, pooling)\n",
        "    model = keras.Model(inputs, x, name=name)\n",
    ):
        assert line in source


def test_there_is_one_function_for_each_kind_and_callees_come_first(source: str) -> None:
    names = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert names == [
        "conv_bn_act",
        "inverted_residual",
        "unfold",
        "transformer_layer",
        "fold",
        "mobilevit_block",
        "classifier",
        "mobilevit_xs",
        *model_functions(),
    ]


def test_a_folded_file_gets_convolutions_with_bias_by_default(
    filled: Callable[[str], Path],
) -> None:
    text = emit(inspect(filled("hf-mobilevit_xxs.dynamo.dynb")), "net", "test")
    assert "batch_norm=False,\n    use_bias=True," in text
    assert 'inverted_residual(x, 16, expansion=2, name="encoder.layer.0.layer.0")' in text


def test_the_defaults_are_for_the_calls_that_show(filled: Callable[[str], Path]) -> None:
    """Most convolutions of MobileViTv2 are without normalization, inside of its blocks."""
    text = emit(inspect(filled("timm-mobilevitv2_050.legacy17.bn.dynb")), "net", "test")
    assert "batch_norm=True,\n    use_bias=False," in text
    assert 'x = conv_bn_act(inputs, 16, kernel_size=3, strides=2, name="stem")' in text
    assert 'x, 128, dim=64, depth=2, patch_size=2, dropout=dropout, name="stages.2.1"' in text


def test_a_function_that_only_another_size_needs_is_there_too(
    filled: Callable[[str], Path],
) -> None:
    network = inspect(filled("timm-mobilevitv2_050.legacy13.dynb"))
    assert "FillPatches" not in {block.kind for top in network.blocks for block in top.walk()}
    assert "def fill_patches(x, patch_size):" in emit(network, "net", "test")


def test_layers_for_any_size_are_those_of_the_network(filled: Callable[[str], Path]) -> None:
    for name, own, other in [
        ("timm-mobilevitv2_050.legacy13.dynb", "class FillPatches", "class Fold("),
        ("mobilevit_xs", "class Fold(", "class FillPatches"),
    ]:
        text = emit(inspect(filled(name)), "net", "test", "any")
        assert own in text
        assert other not in text


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("mobilevit_xs", "mobilevit_xs"),
        ("hf-mobilevit.v2 (1)", "hf_mobilevit_v2_1"),
        ("2net", "model_2net"),
        ("class", "model_class"),
        ("round", "model_round"),
        ("unfold", "model_unfold"),
        ("fmod", "model_fmod"),  # of single operators
        ("weighted_pixels", "model_weighted_pixels"),  # that functions of patterns call
        ("scalar", "scalar"),
        ("'; import os; '", "import_os"),
        ("模型", "model"),
    ],
)
def test_a_stem_becomes_an_identifier(stem: str, name: str) -> None:
    assert model_name(stem) == name
    assert name.isidentifier()


BLOCK = """g (float[N,8,16,16] image) => (float[N,8,16,16] y) {
    c = Conv<pads=[1,1,1,1]>(image, w)  s = Sigmoid(c)  y = Mul(s, c) }"""


def test_hostile_names_reach_the_module_only_as_harmless_names(tmp_path: Path) -> None:
    hostile = "'\"\\\n{__import__('os').system('x')}\u202e"
    made = model(BLOCK, w=(8, 8, 3, 3))
    made.producer_name = hostile
    made.metadata_props.add(key="onnx2mvit.weights", value=f'"""{hostile}')
    for node in made.graph.node:
        node.name = f"/{hostile}.0/{hostile}/{node.op_type}"
    made.graph.input[0].name = hostile
    made.graph.node[0].input[0] = hostile
    text = emit(inspect(save(made, tmp_path, "a'b\"c.onnx")), "net", "test")
    tree = ast.parse(text)
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {name for name in called if "import" in name or "system" in name}
    own = "".join(model_functions().values())
    ours = {n.value for n in ast.walk(ast.parse(own)) if isinstance(n, ast.Constant)}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    ours |= {ast.get_docstring(function, clean=False) for function in functions}
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    strings = [string for string in strings if string not in ours]
    assert not [s for s in strings if isinstance(s, str) and set(s) & set("'\"\\{}\u202e")]
    assert text.isascii() or "\u202e" not in text


def test_what_is_not_recognised_is_named_with_the_closest_pattern(tmp_path: Path) -> None:
    body = """g (float[N,8,16,16] x) => (float[N,8,16,16] y) {
        c = Conv<pads=[1,1,1,1]>(x, w)  d = Bernoulli(c)  y = Mul(d, c) }"""
    with pytest.raises(UnsupportedError) as caught:
        emit(inspect(save(model(body, w=(8, 8, 3, 3)), tmp_path)), "net", "test")
    message = str(caught.value)
    assert "Bernoulli, opset 20" in message
    assert "operator Bernoulli is not known" in message
    assert "The closest pattern is " in message and "Sigmoid" in message


def test_a_value_that_is_needed_later_keeps_its_variable(tmp_path: Path) -> None:
    body = """g (float[N,8,16,16] x) => (float[N,8,16,16] b, float[N,8,16,16] d) {
        a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)
        c = Conv<pads=[1,1,1,1]>(b, v)  d = Relu(c) }"""
    text = emit(inspect(save(model(body, w=(8, 8, 3, 3), v=(8, 8, 3, 3)), tmp_path)), "net", "t")
    outputs = '[layers.Identity(name="b")(x), layers.Identity(name="d")(conv_bn_act_1)]'
    assert outputs in "".join(text.split("\n")).replace("        ", "")


def test_the_input_may_be_called_like_a_layer_or_not_at_all(tmp_path: Path) -> None:
    made = model(BLOCK.replace("image", "stem_conv"), w=(8, 8, 3, 3))
    for node in made.graph.node:
        node.name = f"/stem/{node.op_type}"
    made.graph.node[0].name = "/stem/conv/Conv"
    text = emit(inspect(save(made, tmp_path)), "net", "test")
    assert 'name="stem_conv_input")' in text


BAKED = """g (float[N,3,H,W] x) => (float[N,3,h,w] y) {
    a = Relu(x)  t = Reshape(a, tokens)  m = Mul(t, places)  size = Shape<start=2>(x)
    shape = Concat<axis=0>(images, size)  i = Reshape(m, shape)  y = Conv(i, k)
}"""


@pytest.mark.parametrize(
    ("tokens", "cause"),
    [([0, 3, 1024], r"\(Reshape\) makes 9,216 numbers of 69,120: "), ([0, 3, -1], r"\(Mul, .*")],
)
def test_what_is_of_one_size_in_a_file_that_declares_all_is_the_first_cause(
    tmp_path: Path, tokens: list[int], cause: str
) -> None:
    numbers: dict[str, Any] = {
        "places": np.ones((1, 3, 1024)),
        "images": [-1, 3],
        "k": (3, 3, 3, 3),
    }
    file = save(model(BAKED, tokens=tokens, **numbers), tmp_path)
    assert not inspect(file, size=(32, 32)).refused
    with pytest.raises(UnsupportedError, match=f"{cause}.*if it was exported at one, ask for"):
        emit(inspect(file, size=(96, 80)), "net", "0")


def test_an_output_that_is_a_constant_is_refused(tmp_path: Path) -> None:
    body = """g (float[N,8,16,16] x) => (float[N,8,16,16] y, float[8] z) {
        y = Conv<pads=[1,1,1,1]>(x, w)  z = Identity(b) }"""
    with pytest.raises(UnsupportedError, match="'z' does not depend on the input"):
        emit(inspect(save(model(body, w=(8, 8, 3, 3), b=(8,)), tmp_path)), "net", "test")


@pytest.mark.parametrize(
    "constant", ["z = Constant<value_ints=[3]>()", "z = Shape<start=0,end=1>(x)"]
)
def test_one_that_a_node_gives_is_refused_likewise(tmp_path: Path, constant: str) -> None:
    body = f"""g (float[N,8,16,16] x) => (float[N,8,16,16] y, int64[1] z) {{
        y = Relu(x)  {constant} }}"""
    network = inspect(save(model(body), tmp_path))
    (why,) = network.refused.values()
    assert why == "it is an output that does not depend on what the input holds"


@pytest.mark.parametrize(("given", "made"), [("x.1", "x_1"), ("x:0", "x/0")])
def test_an_output_may_be_called_nearly_like_an_input(
    tmp_path: Path, given: str, made: str
) -> None:
    body = "g (float[N,3,8,8] i) => (float[N,3,8,8] o) { r = Relu(i)  o = Abs(r) }"
    file = model(body)
    file.graph.input[0].name, file.graph.output[0].name = given, made
    file.graph.node[0].input[0], file.graph.node[1].output[0] = given, made
    text = emit(inspect(save(file, tmp_path)), "net", "test")
    name = f"x_{given[-1]}"
    assert f'name="{name}")' in text and f'name="{name}_output")' in text


def test_a_network_that_is_too_deep_for_keras_is_refused(tmp_path: Path) -> None:
    lines = "  ".join(f"v{i + 1} = Sin(v{i})" for i in range(DEEPEST))
    body = f"g (float[1,3,4,4] x) => (float y) {{ v0 = Cos(x)  {lines}  y = Tan(v{DEEPEST}) }}"
    with pytest.raises(UnsupportedError, match="802 layers one after the other, and Keras"):
        emit(inspect(save(model(body), tmp_path)), "net", "test")
