"""Blocks of real exports are called after torch's modules, whichever exporter wrote them."""

import ast
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from onnx import helper

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.builder import build
from onnx2mvit.ir.block import Block
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.naming import flat_name
from onnx2mvit.reader.scopes import NAME_SCOPES, RULE_NAME
from tests.support import skeletons
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, layer_norm

Fill = Callable[[str], Path]
SKELETONS = sorted(
    path.name.removesuffix(".onnx.xz")
    for path in skeletons.FOLDER.glob("*-mobilevit_*.onnx.xz")
    if not path.name.startswith(
        ("cvnets-", "timm-mobilevit_s_features")
    )  # wrapped in other modules
)
HF = [
    "hf-mobilevit_xxs.dynamo.dynb",
    "hf-mobilevit_xxs.dynamo.dynhw",
    "hf-mobilevit_xxs.dynamo.raw.dynb",
    "hf-mobilevit_xxs.legacy11.dynb",
    "hf-mobilevit_xxs.legacy13.bn.static",
    "hf-mobilevit_xxs.legacy17.dynb",
    "hf-mobilevit_xxs.legacy17.bn.dynb",
]


Lift = Callable[[str], Network]


def walk(network: Network) -> list[Block]:
    return [block for top in network.blocks for block in top.walk()]


def tree(blocks: Iterable[Block]) -> list[tuple[str, str]]:
    return [(block.kind, block.name) for block in blocks]


RESIDUALS = [(0, "layer.0"), (1, "layer.0"), (1, "layer.1"), (1, "layer.2")]
STAGES = {2: 2, 3: 4, 4: 3}
HF_TREE = [
    ("ConvBnAct", "conv_stem"),
    *(("InvertedResidual", f"encoder.layer.{stage}.{rest}") for stage, rest in RESIDUALS),
    *(
        pair
        for stage in STAGES
        for pair in (
            ("InvertedResidual", f"encoder.layer.{stage}.downsampling_layer"),
            ("MobileViTBlock", f"encoder.layer.{stage}"),
        )
    ),
    ("ConvBnAct", "conv_1x1_exp"),
    ("Classifier", "classifier"),
]


@pytest.mark.parametrize("name", HF)
def test_the_tree_is_torchs(lifted: Lift, name: str) -> None:
    network = lifted(name)
    assert tree(network.blocks) == HF_TREE
    layers = [block for block in walk(network) if block.kind == "TransformerLayer"]
    assert [layer.name for layer in layers] == [
        f"encoder.layer.{stage}.transformer.layer.{index}"
        for stage, depth in STAGES.items()
        for index in range(depth)
    ]
    assert [layer.path for layer in layers][:2] == [
        "encoder.layer.2/transformer.layer.0",
        "encoder.layer.2/transformer.layer.1",
    ]


TIMM_TREE = [
    ("ConvBnAct", "stem"),
    *(("InvertedResidual", f"stages.{i}") for i in ("0.0", "1.0", "1.1", "1.2")),
    *(
        pair
        for stage in STAGES
        for pair in (
            ("InvertedResidual", f"stages.{stage}.0"),
            ("MobileViTBlock", f"stages.{stage}.1"),
        )
    ),
    ("ConvBnAct", "final_conv"),
    ("Classifier", "head"),
]


@pytest.mark.parametrize("name", [name for name in SKELETONS if name.startswith("timm-")])
def test_timms_tree_is_timms(lifted: Lift, name: str) -> None:
    network = lifted(name)
    assert tree(network.blocks) == TIMM_TREE
    layers = [block.name for block in walk(network) if block.kind == "TransformerLayer"]
    assert layers == [
        f"stages.{stage}.1.transformer.{index}"
        for stage, depth in STAGES.items()
        for index in range(depth)
    ]


def module_of(model: onnx.ModelProto) -> dict[str, str]:
    """Torch's module of each tensor: by its metadata, and a folded Conv by its weight."""
    modules = {}
    for node in model.graph.node:
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        if "FuseBatchNorm" in metadata.get(RULE_NAME, ""):
            modules[node.output[0]] = node.input[1].removesuffix(".weight")
        elif NAME_SCOPES in metadata:
            modules[node.output[0]] = ast.literal_eval(metadata[NAME_SCOPES])[-2]
    return modules


def holds(whole: str, part: str) -> bool:
    return part == whole or part.startswith(whole + ".")


def around(modules: list[str]) -> str:
    """The module that holds all of these."""
    whole = modules[0]
    while whole and not all(holds(whole, module) for module in modules):
        whole = whole.rpartition(".")[0]
    return whole


@pytest.mark.parametrize("name", [name for name in SKELETONS if ".dynamo" in name])
def test_a_block_is_called_after_the_module_of_its_nodes(
    filled: Fill, lifted: Lift, name: str
) -> None:
    modules = module_of(onnx.load(filled(name)))
    blocks = [block for block in walk(lifted(name)) if block.pattern.nested or block.weights]
    assert len(blocks) > 50
    for block in blocks:
        nodes = [node for leaf in block.walk() if leaf.weights for node in leaf.onnx_nodes()]
        inside = [modules[node.output.name] for node in nodes if node.output.name in modules]
        assert around(inside).removeprefix("model.").removeprefix("mobilevit.") == block.name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hf-mobilevit_xxs.dynamo.dynb", "hf-mobilevit_xxs.legacy17.dynb"),
        ("hf-mobilevit_xxs.dynamo.raw.dynb", "hf-mobilevit_xxs.legacy17.bn.dynb"),
        ("hf-mobilevit_xxs.dynamo.dynb", "hf-mobilevit_xxs.dynamo.dynhw"),
        ("timm-mobilevit_xxs.dynamo.raw.dynb", "timm-mobilevit_xxs.legacy17.bn.dynb"),
    ],
)
def test_every_exporter_gives_the_same_names(lifted: Lift, one: str, other: str) -> None:
    def weights(name: str) -> list[str]:
        return [block.path for block in walk(lifted(name)) if block.weights]

    assert weights(one) == weights(other)


@pytest.mark.parametrize(
    ("kept", "folded"),
    [
        ("hf-mobilevit_xxs.dynamo.raw.dynb", "hf-mobilevit_xxs.dynamo.dynb"),
        ("hf-mobilevit_xxs.legacy17.bn.dynb", "hf-mobilevit_xxs.legacy17.dynb"),
        ("timm-mobilevit_xxs.legacy17.bn.dynb", "timm-mobilevit_xxs.legacy17.dynb"),
    ],
)
def test_folding_normalization_changes_no_blocks_name(lifted: Lift, kept: str, folded: str) -> None:
    def composites(name: str) -> list[tuple[str, str]]:
        return [(b.kind, b.name) for b in walk(lifted(name)) if b.pattern.keras]

    assert composites(kept) == composites(folded)


@pytest.mark.parametrize("name", SKELETONS)
def test_no_two_blocks_share_a_path(lifted: Lift, name: str) -> None:
    assert_unique(lifted(name))


def assert_unique(network: Network) -> None:
    paths: set[str] = set()
    for parent in [None, *walk(network)]:
        for block in parent.children if parent else network.blocks:
            if parent and parent.pattern.main == block.role:
                assert block.path == parent.path  # it takes the name of the whole
                continue
            assert block.path and block.path not in paths
            paths.add(block.path)
    leaves = [block.path for block in walk(network) if block.pattern.is_leaf]
    assert len(leaves) == len(set(leaves)) > 0


@pytest.mark.parametrize("exporter", ["dynamo.dynb", "legacy17.bn.dynb"])
def test_parameters_of_the_network_itself_do_not_name_a_block(filled: Fill, exporter: str) -> None:
    network = inspect(filled(f"timm-vit_tiny_patch16_224.{exporter}"))
    assert tree(network.blocks) == [
        ("ViTEmbeddings", "patch_embed"),
        *(("TransformerLayer", f"blocks.{index}") for index in range(12)),
        ("LayerNorm", "norm"),
        ("TokenClassifier", "head"),
    ]
    paths = [leaf.path for leaf in walk(network) if leaf.weights]
    assert paths[:3] == [f"patch_embed/{name}" for name in (
        "proj", "class_token", "position_embedding"
    )]  # fmt: skip


def residual_network(names: Iterable[str], folder: Path) -> Path:
    """A residual block of two convolutions for each of torch's modules."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Any] = {}
    x = "x"

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def conv(module: str, image: str) -> str:
        weights[f"{module}.weight"] = (4, 4, 3, 3)
        path = f"/{module.replace('.', '/')}/Conv"
        return add("Conv", image, f"{module}.weight", pads=[1] * 4, name=path)

    for name in names:
        inside = add("Relu", conv(f"{name}.conv1", x))
        x = add("Relu", add("Add", conv(f"{name}.conv2", inside), x))
    made = model(f"g (float[N,4,8,8] x) => (float[N,4,8,8] {x}) {{ {x} = Identity(x) }}", **weights)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return save(made, folder, "net.onnx")


@pytest.mark.parametrize(
    "names",
    [
        ("stage.0", "stage.1", "stage_1"),
        ("a.b.c", "a_b.c", "a.b_c"),
        ("Stage", "stage"),
        ("_blocks.0", "blocks.0", "__"),
        ("\ufb01x", "fix", "\uff41", "a"),
        ("a" * 300, "a" * 299 + "b"),
        ("class", "None", "x", "inputs", "keras"),
        ("a b", "a-b"),
        ("a", "a_conv1_conv"),
    ],
)
def test_names_that_one_form_does_not_tell_apart_are_kept_apart(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    network = inspect(residual_network(names, tmp_path))
    tops = [block for block in network.blocks if block.children]
    assert len(tops) == len(names)
    paths = [leaf.path for leaf in walk(network) if leaf.weights]
    assert len({flat_name(path).lower() for path in paths}) == len(paths) == 2 * len(names)
    for top in tops:  # what a scope of TensorFlow and a file may be called
        assert re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_.]*", top.path)


def test_patterns_that_share_a_function_call_its_parts_alike(tmp_path: Path) -> None:
    """Two convolutions with a normalization, of which one moves the channels back (GCViT)."""
    smaller = "strides=[2,2], pads=[0,0,0,0]"
    pixels, image = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"
    text = conv("x", "a", 8, 8, 2, smaller) + Text(f"b = {pixels}(a)\n") + layer_norm("b", "c")
    text += Text(f"i = {image}(c)  d = Relu(i)\n") + conv("d", "e", 8, 8, 2, smaller)
    text += Text(f"f = {pixels}(e)\n") + layer_norm("f", "y")
    made = model(f"g (float[2,8,8,8] x) => (float[2,2,2,8] y) {{ {text.nodes} }}", **text.weights)
    parts = iter(["stem.conv", "stem.norm", "down.reduction", "down.norm2"])
    for node in made.graph.node:
        if node.op_type in ("Conv", "LayerNormalization"):
            node.name = f"/{next(parts).replace('.', '/')}/{node.op_type}"
    result = onnx2mvit.convert(save(made, tmp_path), tmp_path, inputs=2)
    tops = [(block.kind, block.path) for block in result.blocks]
    stem, down = ("PatchifyStem", "stem"), ("NormalizedPatchEmbedding", "down")
    assert [tops[0], tops[-1]] == [stem, down]
    assert result.passed


def test_a_name_goes_to_its_own_weights_in_every_form(tmp_path: Path) -> None:
    file = residual_network(("stage.0", "stage.1", "stage_1"), tmp_path)
    result = onnx2mvit.convert(file, tmp_path, inputs=2)
    assert result.passed
    flat = build(result.folder, nested=False)
    pixels = np.ones((1, 8, 8, 4), np.float32)
    assert np.array_equal(np.asarray(flat(pixels)), np.asarray(result.model(pixels)))
    for layer in flat.layers:  # what that form is for
        assert keras.Model(flat.inputs, flat.get_layer(layer.name).output)
    first, second = onnx2mvit.features(result.model, ["stage.1", "stage_1"])(pixels)
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert np.array_equal(np.asarray(second), np.asarray(result.model(pixels)))
