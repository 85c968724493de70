"""MobileOne and RepVGG as torch's exporters write them, with their branches and merged."""

from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.emitter.emit import emit
from onnx2mvit.errors import UsageError
from onnx2mvit.exporter.torch_export import Request
from tests.support import networks
from tests.support.torch_reparameterized import SIZE, Config, Network

REQUESTS = {
    "dynamo": Request("dynamo", 20, True, True),
    "dynamo, BN kept": Request("dynamo", 20, False, True),
    "legacy": Request("legacy", 17, True, False),
    "legacy, BN kept": Request("legacy", 11, False, True),
}
BLOCK = "MobileOneBlock"
SQUEEZED = ["ConvBnAct", "SqueezeExcite", "Activation"]
# With one branch the pointwise block that makes more channels is a convolution.
CASES = {
    "MobileOne": (Config(), 7 * [BLOCK]),
    "MobileOne-S1": (
        Config(branches=1),
        [BLOCK, BLOCK, "ConvBnAct", BLOCK, BLOCK, BLOCK, "ConvBnAct"],
    ),
    "MobileOne-S4": (
        Config(branches=1, squeeze=True),
        [BLOCK, BLOCK, *SQUEEZED, BLOCK, BLOCK, BLOCK, *SQUEEZED],
    ),
    "MobileOne, squeezed": (Config(squeeze=True), 7 * [BLOCK]),
    "MobileOne, merged": (Config(merged=True), ["ConvBnAct", *3 * ["DepthwiseSeparable"]]),
    "MobileOne-S4, merged": (Config(merged=True, squeeze=True), 7 * SQUEEZED),
    "RepVGG": (Config("repvgg"), 4 * ["RepVGGBlock"]),
    "RepVGG, squeezed": (Config("repvgg", squeeze=True), 4 * ["RepVGGBlock"]),
    "RepVGG, merged": (Config("repvgg", merged=True), 4 * ["ConvBnAct"]),
}


def exported(config: Config, request: Request, folder: Path) -> Path:
    return networks.exported(Network(config), request, folder, SIZE)


# Dynamo takes seconds for each: two of its files are converted below.
EXPORTS = [
    pytest.param(case, how, marks=pytest.mark.slow if "dynamo" in how else ())
    for how in REQUESTS
    for case in CASES
]


@pytest.mark.parametrize(("case", "how"), EXPORTS)
def test_however_it_is_written_all_of_it_is_in_blocks(case: str, how: str, tmp_path: Path) -> None:
    config, kinds = CASES[case]
    network = onnx2mvit.inspect(exported(config, REQUESTS[how], tmp_path))
    assert not network.refused
    assert network.coverage.percent == 100
    assert [block.kind for block in network.blocks] == [*kinds, "Classifier"]


@pytest.mark.parametrize(("network", "last"), [("mobileone", "layer_3.1"), ("repvgg", "layer_3.0")])
def test_blocks_are_called_after_their_modules(network: str, last: str, tmp_path: Path) -> None:
    blocks = onnx2mvit.inspect(exported(Config(network), REQUESTS["legacy"], tmp_path)).blocks
    assert (blocks[0].name, blocks[-2].name) == ("conv_1", last)
    names = {
        child.role: child.name for child in blocks[4 if network == "mobileone" else 2].children
    }
    if network == "mobileone":
        expected = {f"conv.{i}": f"layer_2.3.rbr_conv.{i}" for i in range(4)}
        expected |= {"skip": "layer_2.3.rbr_skip", "act": "layer_2.3.activation"}
    else:
        expected = {"conv": "dense", "pointwise": "1x1", "skip": "identity"}
        expected = {role: f"layer_2.1.rbr_{name}" for role, name in expected.items()}
        expected["act"] = "layer_2.1.nonlinearity"
    assert names == expected


@pytest.mark.parametrize(
    ("case", "how"),
    [
        *((case, "legacy") for case in ("MobileOne", "MobileOne, merged", "RepVGG, squeezed")),
        *(
            pytest.param(case, "dynamo, BN kept", marks=pytest.mark.slow)
            for case in ("MobileOne", "MobileOne, merged", "RepVGG, squeezed")
        ),
    ],
)
def test_it_answers_as_onnxruntime_and_as_torch(case: str, how: str, tmp_path: Path) -> None:
    config, kinds = CASES[case]
    result = onnx2mvit.convert(exported(config, REQUESTS[how], tmp_path), tmp_path, inputs=2)
    assert result.passed
    assert [block.kind for block in result.blocks] == [*kinds, "Classifier"]
    networks.assert_answers_alike(result.model, Network(config), SIZE)


@pytest.mark.parametrize(
    ("case", "call"),
    [
        ("MobileOne", 'x = mobileone_block(x, 16, kernel_size=1, name="layer_2.1")'),
        ("RepVGG", 'x = repvgg_block(x, 16, name="layer_2.1")'),
        ("RepVGG, merged", 'x = conv_bn_act(x, 16, kernel_size=3, name="layer_2_1")'),
    ],
)
def test_a_block_is_a_line_of_the_emitted_module(case: str, call: str, tmp_path: Path) -> None:
    file = exported(CASES[case][0], REQUESTS["legacy, BN kept"], tmp_path)
    source = emit(onnx2mvit.inspect(file), "net", "test")
    assert f"    {call}\n" in source


@pytest.mark.parametrize("case", ["MobileOne", "RepVGG, squeezed"])
def test_branches_are_merged_on_request(case: str, tmp_path: Path) -> None:
    config, _ = CASES[case]
    file = exported(config, REQUESTS["legacy, BN kept"], tmp_path)
    result = onnx2mvit.convert(file, tmp_path, inputs=2, merge_branches=True)
    assert result.passed
    merged = ["ConvBnAct", *3 * ["DepthwiseSeparable"]]
    expected = merged if case == "MobileOne" else 4 * SQUEEZED
    assert [block.kind for block in result.blocks] == [*expected, "Classifier"]
    report = result.report
    assert report["onnx"]["merged_branches"] == (7 if case == "MobileOne" else 4)
    assert report["batch_normalization"] == "merged"
    source = result.source.read_text(encoding="utf-8")
    assert "sums of branches" in source and "layers.Add" not in source
    names = {"MobileOne": ["conv_1", "layer_2.0", "layer_2.1"], "RepVGG, squeezed": ["conv_1"]}
    first = [b.name for top in result.blocks for b in top.walk() if b.kind == "ConvBnAct"]
    assert first[: len(names[case])] == names[case]
    assert onnx2mvit.verify(file, result.folder, inputs=2).passed


def test_a_network_without_branches_is_refused(tmp_path: Path) -> None:
    file = exported(CASES["RepVGG, merged"][0], REQUESTS["legacy"], tmp_path)
    with pytest.raises(UsageError, match=r"net\.onnx has no branches to merge"):
        onnx2mvit.convert(file, tmp_path, merge_branches=True)
