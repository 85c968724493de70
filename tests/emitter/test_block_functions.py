"""The rewritten graph in ONNX: blocks are functions, and answer as the file does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx2mvit
from onnx2mvit import inspect
from onnx2mvit.emitter.onnx_functions import DOMAIN, block_model
from onnx2mvit.ir.network import Network
from onnx2mvit.runtimes.inputs import some_inputs
from onnx2mvit.runtimes.onnxruntime_runner import OnnxRuntimeRunner
from onnx2mvit.verifier.rewrite import check_rewrite
from tests.support.graphs import model, save
from tests.support.texts import conv, mobilevit, residual

Fill = Callable[[str], Path]
pytestmark = pytest.mark.xdist_group("block_functions")

NETWORKS = [
    "hf-mobilevit_xxs.legacy11.dynb",  # no LayerNormalization yet
    "hf-mobilevit_xxs.legacy13.bn.static",
    "timm-mobilevit_xs.dynamo23.static",  # Attention
    "timm-mobilevitv2_050.legacy13.dynb",  # no GroupNormalization yet
    "timm-mobilevitv2_050.dynamo.dynb",
    "timm-regnety_004.legacy17.bn.dynb",
    "timm-vit_tiny_patch16_224.legacy17.bn.dynb",  # no Gelu yet
]


def proof(file: Path, network: Network) -> dict[str, float]:
    inputs, _ = some_inputs(network, None, network.graph.batch_size or 1)
    return check_rewrite(network, inputs, OnnxRuntimeRunner(file, optimized=False)(inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_functions_answers_as_its_file(filled: Fill, name: str) -> None:
    file = filled(name)
    network = inspect(file)
    made = block_model(network)
    onnx.checker.check_model(made)
    assert proof(file, network)["max_rel_error"] <= 2e-6
    called = [node for node in made.graph.node if node.domain == DOMAIN]
    assert [node.name for node in called] == [block.name for block in network.blocks]
    kinds = {function.name.partition("_")[0] for function in made.functions}
    assert {block.kind for top in network.blocks for block in top.walk()} <= kinds
    assert any(node.domain == DOMAIN for each in made.functions for node in each.node)


def text_network(folder: Path, nodes: str, opset: int = 20, **weights: Any) -> tuple[Path, Network]:
    body = f"g (float[2,8,8,8] x) => (float y) {{ {nodes} }}"
    file = save(model(body, opset=opset, **weights), folder)
    return file, inspect(file)


def test_weights_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    body = "g (float[2,256] x) => (float[2,256] y) { y = MatMul(x, w) }"
    made = model(body, w=np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32))
    onnx.save(made, tmp_path / "net.onnx", save_as_external_data=True, location="data")
    assert proof(tmp_path / "net.onnx", inspect(tmp_path / "net.onnx"))["max_rel_error"] <= 2e-6


OPERATORS = [
    (20, "y = Gelu(x)"),
    (20, 'y = Gelu<approximate="tanh">(x)'),
    (13, "h = HardSigmoid<alpha=0.16666667, beta=0.5>(x)  y = Mul(x, h)"),
    (14, "y = HardSwish(x)"),
    (17, "y = LayerNormalization<axis=-1>(x, g, b)"),
    (13, "r = ReduceMean<axes=[-1]>(x)  y = Sub(x, r)"),
    (20, "a = Slice(x, one, most, one)  c = Slice(x, zero, one, one)  y = Concat<axis=1>(a, c)"),
    (20, "s = Gather<axis=2>(x, index)  t = Tan(s)  y = Mul(t, t)"),
    (11, "y = Resize(x, none, none, size)"),
    (20, "y = Resize(x, none, none, size)"),
    (20, "t = Tan(x)  y = Identity(t)"),
    (20, "p = Pow(x, two)  q = ReduceSum(p, one)  y = Mul(q, p)"),
]
CONSTANTS = {
    "g": (8,), "b": (8,), "one": [1], "zero": [0], "most": [99], "index": np.array(3),
    "none": np.zeros(0, np.float32), "size": [2, 8, 16, 16], "two": np.float32(2),
}  # fmt: skip


@pytest.mark.parametrize(("opset", "nodes"), OPERATORS)
def test_what_rules_write_is_onnx_again(tmp_path: Path, opset: int, nodes: str) -> None:
    used = {key: value for key, value in CONSTANTS.items() if key in nodes.replace(",", " ").split()
            or f"{key})" in nodes or f" {key}," in nodes}  # fmt: skip
    file, network = text_network(tmp_path, nodes, opset, **used)
    onnx.checker.check_model(block_model(network))
    assert proof(file, network)["max_rel_error"] <= 1e-6


def test_equal_blocks_share_a_function_and_others_do_not(tmp_path: Path) -> None:
    twice = conv("x", "a", 8, 8) + conv("a", "c", 8, 8) + conv("c", "y", 8, 8, 1)
    _, network = text_network(tmp_path, twice.nodes, **twice.weights)
    made = block_model(network)
    assert [node.op_type for node in made.graph.node if node.domain] == [
        "ConvBnAct", "ConvBnAct", "ConvBnAct_2"]  # fmt: skip
    assert {each.name for each in made.functions} == {
        "Conv2D",
        "Conv2D_2",
        "ConvBnAct",
        "ConvBnAct_2",
    }
    first, second, *_ = (node for node in made.graph.node if node.domain)
    assert list(first.input[1:]) != list(second.input[1:])


def test_a_rewrite_that_is_wrong_is_found(tmp_path: Path) -> None:
    text = residual()
    file, network = text_network(tmp_path, text.nodes, **text.weights)
    assert proof(file, network)["max_rel_error"] <= 1e-6
    (block,) = network.blocks
    weight = block.child("project").child("conv").matched[0].inputs[1]
    assert weight is not None and weight.const is not None
    weight.const = weight.const * np.float32(1.01)
    assert proof(file, network)["max_rel_error"] > 1e-3


def test_convert_writes_the_functions_and_the_overlay(tmp_path: Path) -> None:
    text = mobilevit()
    file, network = text_network(tmp_path, text.nodes, **text.weights)
    result = onnx2mvit.convert(file, tmp_path, name="net", blocks=True)
    assert result.report["verification"]["rewrite"]["max_rel_error"] <= 1e-6
    written = onnx.load(result.folder / "net.blocks.onnx")
    assert [node.op_type for node in written.graph.node] == ["MobileViTBlock", "Identity"]
    images, _ = some_inputs(network, None, 2)
    ours = OnnxRuntimeRunner(result.folder / "net.blocks.onnx")(images)["y"]
    assert np.abs(ours - OnnxRuntimeRunner(file)(images)["y"]).max() <= 1e-5 * np.abs(ours).max()

    (graph,) = json.loads((result.folder / "node_data.json").read_text()).values()
    nodes = onnx.load(file).graph.node
    keys = {
        node.output[0]: f"node_{place}" if place else "node" for place, node in enumerate(nodes)
    }
    assert graph["results"].keys() == set(keys.values())
    borders = {each["tensor"]: each for each in result.report["verification"]["blocks"]}
    conv_error = borders["local_c"]["max_rel_error"]
    assert graph["results"][keys["local_c"]] == {"value": conv_error}
    # The Sigmoid of a SiLU is no border; the SiLU is the next one.
    assert graph["results"][keys["local_s"]] == {"value": borders["local"]["max_rel_error"]}
    thresholds = [each["value"] for each in graph["thresholds"]]
    assert thresholds == pytest.approx([1e-6, 1e-5, 1e300], rel=1e-12)


def test_without_the_option_there_is_no_file_of_functions(tmp_path: Path) -> None:
    text = conv("x", "y", 8, 8)
    file, _ = text_network(tmp_path, text.nodes, **text.weights)
    result = onnx2mvit.convert(file, tmp_path, name="net", verify=False)
    assert {path.name for path in result.folder.iterdir()} == {
        "net.keras", "net.py", "net.safetensors", "report.html", "report.json"}  # fmt: skip
