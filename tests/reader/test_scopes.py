"""Names from hostile, malformed or missing scopes, and how each exporter writes them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from onnx2mvit import convert
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter import lift
from onnx2mvit.lifter.naming import identifier, layer_name, safe, snake
from onnx2mvit.lowering import lower
from onnx2mvit.reader import read
from onnx2mvit.reader.scopes import NAME_SCOPES, RULE_NAME, common_prefix, scope_of
from tests.support import graphs
from tests.support.texts import residual


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("/conv_stem/convolution/Conv", "conv_stem.convolution"),
        # A container's segment is repeated as the beginning of the next one.
        ("/layer_3/layer_3.1/qkv_proj/MatMul", "layer_3.1.qkv_proj"),
        ("/a/a.0/a.0.1/Conv", "a.0.1"),
        # Equal neighbours are a module in a module of the same name.
        ("/layer.0/attention/attention/query/MatMul", "layer.0.attention.attention.query"),
        ("/attention/attention/attention.0/MatMul", "attention.attention.0"),
        # Only whole segments count.
        ("/layer/layer1.0/Conv", "layer.layer1.0"),
        ("/Conv", ""),
        ("/", ""),
        ("", ""),
        ("node_Conv_12", ""),
    ],
)
def test_legacy_spells_the_module_in_the_nodes_name(name: str, scope: str) -> None:
    assert scope_of("Conv", name, {}, []) == scope


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("['', 'model', 'model.stem', 'conv2d']", "model.stem"),
        ("['', 'conv2d']", ""),
        ("['conv2d']", ""),
        ("[]", ""),
        ("('a', 'b')", ""),
        ("'a.b'", ""),
        ("[1, 2]", ""),
        ("['a', 'b'", ""),
        ("{[]: 1}", ""),
        ("__import__('os').system('false')", ""),
        ("['a', open('x'), 'b']", ""),
        ("\0", ""),
        ("[" * 10_000, ""),
        ("9" * 10_000, ""),
        ("", ""),
    ],
)
def test_dynamo_lists_the_modules_in_the_metadata(text: str, scope: str) -> None:
    assert scope_of("Conv", "/not/this/Conv", {NAME_SCOPES: text}, []) == scope


def test_a_folded_normalization_leaves_the_convolution_its_own_name() -> None:
    metadata = {NAME_SCOPES: "['', 'stem.bn', 'n']", RULE_NAME: "FuseBatchNormIntoConv"}
    assert scope_of("Conv", "n", metadata, ["x", "stem.conv.weight"]) == "stem.conv"
    assert scope_of("Conv", "n", metadata, ["x", "stem.conv.weight_folded"]) == "stem.bn"
    assert scope_of("Conv", "n", metadata, ["x", None]) == "stem.bn"


@pytest.mark.parametrize(
    ("scopes", "prefix"),
    [
        (["a.b.c", "a.b.d"], "a.b"),
        (["a.bc", "a.bd"], "a"),
        (["a.b", "a.b.c"], "a.b"),
        (["a", "b"], ""),
        (["a", ""], ""),
        (["a.b"], "a.b"),
        (["a.10", "a.9", "a.1"], "a"),
        ([], ""),
    ],
)
def test_the_module_around_several_in_whole_segments(scopes: list[str], prefix: str) -> None:
    assert common_prefix(scopes) == prefix


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("InvertedResidual", "inverted_residual"),
        ("ConvBnAct", "conv_bn_act"),
        ("Conv2D", "conv2d"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("Dense", "dense"),
        ("MLPBlock", "mlp_block"),
    ],
)
def test_a_kind_as_a_python_name(kind: str, name: str) -> None:
    assert snake(kind) == name


def walk(network: Network) -> list[Block]:
    return [block for top in convolutions(network) for block in top.walk()]


def convolutions(network: Network) -> list[Block]:
    return [top for top in network.blocks if top.code is None]


def chain(folder: Path, names: Sequence[str], between: str) -> Path:
    """Convolutions one after the other in the modules of these names."""
    numbers = range(len(names))
    links = "".join(f"c{i} = Conv(x{i}, w{i})  x{i + 1} = {between}(c{i})\n" for i in numbers)
    body = f"g (float[1,8,6,6] x0) => (float x{len(names)}) {{ {links} }}"
    weights: dict[str, Any] = {f"w{i}": (8, 8, 1, 1) for i in numbers}
    made = graphs.model(body, **weights)
    for node, name in zip(made.graph.node[::2], names, strict=True):
        node.metadata_props.add(key=NAME_SCOPES, value=repr(["", name, "conv2d"]))
    return graphs.save(made, folder)


def named(folder: Path, *names: str) -> Network:
    return lower(lift(read(chain(folder, names, "Sin"))))


def test_a_graph_without_names_gets_numbered_kinds(tmp_path: Path) -> None:
    network = named(tmp_path, "", "", "")
    numbered = ["conv_bn_act_0", "conv_bn_act_1", "conv_bn_act_2"]
    assert [block.name for block in convolutions(network)] == numbered
    assert [block.path for block in walk(network)][:2] == ["conv_bn_act_0", "conv_bn_act_0_conv"]


def test_the_parts_of_a_block_without_a_name_are_called_after_their_roles(tmp_path: Path) -> None:
    network = lower(residual().lifted(tmp_path))
    assert [block.path for block in walk(network) if block.weights] == [
        "inverted_residual_0/expand_conv",
        "inverted_residual_0/depthwise_conv",
        "inverted_residual_0/project_conv",
    ]


def test_what_wraps_the_network_is_taken_off(tmp_path: Path) -> None:
    network = named(tmp_path, *(f"outer.{name}" for name in ("base.stem", "base.last", "head")))
    assert [block.name for block in convolutions(network)] == ["stem", "last", "head"]


HOSTILE = [
    "a'); __import__('os').system('x') #",
    'q"""\n\nimport os',
    "{name}{i}{0!r}",
    "../../etc/passwd",
    "a/b\\c",
    "größe.Ünïcode.模型",
    "sp ace\ttab\rreturn\x00null",
    "%s%n$PATH`id`",
    "a" * 1000,
    "...",
    "class.def.return",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_only_letters_digits_dots_and_underscores_reach_a_path(tmp_path: Path, name: str) -> None:
    for block in walk(named(tmp_path, name, "plain", f"x.{name}")):
        assert re.fullmatch(r"[A-Za-z0-9_.]+", block.path), block.path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe(safe(name)) == safe(name) and identifier(safe(name)) == identifier(name)


@pytest.mark.parametrize(
    "names",
    [
        ("b.a", "b_a", "c"),
        ("b/a", "b?a", "b.a", "b_a"),
        ("b", "b", "b"),
        ("b", "b_0", "b", "b_1"),
        ("b", "b_conv", "b_conv_conv"),
        ("m", "m.conv", "n"),
        ("é", "è", "ê"),
        ("l" * 300, "l" * 301, "l" * 302),
        ("conv_bn_act_0", "", ""),
        ("", "conv_bn_act_0", ""),
    ],
)
def test_different_modules_have_different_paths(tmp_path: Path, names: tuple[str, ...]) -> None:
    network = named(tmp_path, *names)
    paths = [block.path for block in walk(network)]
    assert len(paths) == 2 * len(names) == len(set(paths))
    # Weights go by path, the emitted module by name.
    assert all(top.path == layer_name(top, top.name) for top in convolutions(network))


def test_a_model_of_hostile_and_colliding_names_is_built_and_right(tmp_path: Path) -> None:
    names = ["b", "b_conv", "b.conv", "é", "è", HOSTILE[0], HOSTILE[1], HOSTILE[0], "class", ""]
    conversion = convert(chain(tmp_path, names, "Relu"), tmp_path / "out")
    assert conversion.passed
