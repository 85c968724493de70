"""MobileNetV1, V2, V3 and EfficientNet: real exports of timm's, by both of torch's exporters."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mvit.ir.network import Network
from tests.support.networks import converted, layers

Fill = Callable[[str], Path]
Lift = Callable[[str], Network]
KINDS = {
    "mobilenetv1_100": {"DepthwiseSeparable": 13},
    "mobilenetv2_100": {"InvertedResidual": 17},
    "mobilenetv3_small_100": {"InvertedResidual": 11},
    "efficientnet_b0": {"InvertedResidual": 16},
}
EXPORTS = [
    "mobilenetv1_100.dynamo.dynb",
    "mobilenetv2_100.dynamo.dynb",
    "mobilenetv2_100.legacy17.bn.dynb",
    "mobilenetv3_small_100.dynamo.dynb",
    "mobilenetv3_small_100.legacy17.bn.dynb",
    "efficientnet_b0.dynamo.dynb",
    "efficientnet_b0.legacy17.bn.dynb",
]
# timm's own counts; a file without normalization has others.
PARAMETERS = {"mobilenetv3_small_100": 2_542_856, "efficientnet_b0": 5_288_548}


@pytest.mark.parametrize("name", EXPORTS)
def test_all_of_it_is_in_the_papers_blocks(name: str, lifted: Lift) -> None:
    network = lifted(f"timm-{name}")
    assert not network.refused
    assert network.coverage.percent == 100
    kinds = [block.kind for block in network.blocks]
    ((kind, count),) = KINDS[name.partition(".")[0]].items()
    separable = kinds.count("DepthwiseSeparable") if kind != "DepthwiseSeparable" else 0
    assert kinds.count(kind) + separable == count
    assert kinds[-1] == "Classifier"
    squeezed = [b.params.get("squeeze") for b in network.blocks if "squeeze" in b.params]
    assert bool(squeezed) == name.startswith(("mobilenetv3", "efficientnet"))


@pytest.mark.parametrize("model", [model for model in KINDS if model != "mobilenetv1_100"])
def test_both_exporters_hand_over_one_network(model: str, lifted: Lift) -> None:
    folded = lifted(f"timm-{model}.dynamo.dynb")
    kept = lifted(f"timm-{model}.legacy17.bn.dynb")
    assert layers(folded.blocks) == layers(kept.blocks)


@pytest.mark.parametrize(
    "name",
    ["mobilenetv1_100.dynamo.dynb", *(each for each in EXPORTS if each.endswith("17.bn.dynb"))],
)
def test_it_answers_as_onnxruntime(name: str, filled: Fill, tmp_path: Path) -> None:
    result = converted(filled(f"timm-{name}"), tmp_path)
    report = result.report
    assert report["model"]["layout_transposes"] == 0
    model = name.partition(".")[0]
    if model in PARAMETERS:
        assert report["model"]["trainable_parameters"] == PARAMETERS[model]
    source = result.source.read_text(encoding="utf-8").partition("    return model\n")[0]
    assert len(source.splitlines()) < 250
