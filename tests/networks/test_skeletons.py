"""Real exports of MobileViT v1 from three sources: one network, however it is spelled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mvit.ir.network import Network
from tests.support import skeletons
from tests.support.networks import converted, tree

Fill = Callable[[str], Path]
Lift = Callable[[str], Network]
V1 = sorted(
    path.name.removesuffix(".onnx.xz") for path in skeletons.FOLDER.glob("*-mobilevit_x*.xz")
)
# Of timm by each exporter one (test_conversions has Hugging Face's); all are the same blocks.
CONVERTED = [
    "timm-mobilevit_xs.dynamo23.static",
    pytest.param("timm-mobilevit_xs_nofuse.legacy17.bn.static", marks=pytest.mark.slow),
    pytest.param("hf-mobilevit_xxs.legacy11.dynb", marks=pytest.mark.slow),
    pytest.param("hf-mobilevit_xxs.legacy13.bn.static", marks=pytest.mark.slow),
    pytest.param("timm-mobilevit_xxs.dynamo.raw.dynb", marks=pytest.mark.slow),
    pytest.param("timm-mobilevit_xxs.legacy17.dynb", marks=pytest.mark.slow),
]


def test_there_are_exports_of_all_sources() -> None:
    assert len(V1) == 14
    assert {name.partition("-")[0] for name in V1} == {"hf", "timm", "cvnets"}


@pytest.mark.parametrize("name", V1)
def test_every_node_lies_in_a_block_and_the_network_is_the_same(name: str, lifted: Lift) -> None:
    network = lifted(name)
    assert not network.unrecognised
    assert network.coverage.percent == 100
    # One spelling: folded exports come to 396 nodes or one more, others to 32 more.
    kept = any(block.kind == "BatchNorm" for top in network.blocks for block in top.walk())
    assert network.coverage.nodes - 32 * kept in (396, 397)
    size = "xs" if "_xs" in name else "xxs"
    reference = lifted(REFERENCES[size])
    assert tree(network.blocks) == tree(reference.blocks)


REFERENCES = {"xxs": "hf-mobilevit_xxs.dynamo.raw.dynb", "xs": "mobilevit_xs"}


@pytest.mark.parametrize("name", CONVERTED)
def test_it_answers_as_onnxruntime(name: str, filled: Fill, tmp_path: Path) -> None:
    result = converted(filled(name), tmp_path)
    assert result.report["model"]["layout_transposes"] == 0


@pytest.mark.parametrize("exporter", ["dynamo.raw.dynb", "legacy17.bn.dynb"])
def test_timm_has_the_names_of_its_modules(exporter: str, lifted: Lift) -> None:
    network = lifted(f"timm-mobilevit_xxs.{exporter}")
    assert [block.name for block in network.blocks] == [
        *("stem", "stages.0.0", "stages.1.0", "stages.1.1", "stages.1.2"),
        *("stages.2.0", "stages.2.1", "stages.3.0", "stages.3.1", "stages.4.0", "stages.4.1"),
        *("final_conv", "head"),
    ]
    (block,) = [block for block in network.blocks if block.name == "stages.2.1"]
    assert [
        child.name.removeprefix("stages.2.1").removeprefix(".") for child in block.children
    ] == [
        *("conv_kxk", "conv_1x1", "", "transformer.0", "transformer.1", "norm", ""),
        *("conv_proj", "conv_fusion"),
    ]
