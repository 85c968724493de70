"""The rest of ml-cvnets, and of timm's mobile networks: real exports, in blocks of their papers."""

from collections import Counter
from collections.abc import Callable

import pytest

from onnx2mvit.ir.network import Network
from tests.support import skeletons
from tests.support.networks import tree

Lift = Callable[[str], Network]
MOBILEVIT = {"InvertedResidual": 7, "MobileViTBlock": 3}
BLOCKS = {  # by the start of the file's name
    "cvnets-clip_text": {"TextEmbedding": 1, "TransformerLayer": 4, "EndOfText": 1},
    "cvnets-clip_vit_tiny_image": {"TransformerLayer": 12, "UnitNormalization": 1},
    "cvnets-deeplabv3-mobilevit_s": {**MOBILEVIT, "DeepLabV3Head": 1, "BilinearUpsampling": 1},
    "cvnets-fastvit_t8": {"MobileOneBlock": 7, "RepMixerBlock": 10, "LargeKernelConv": 3},
    "cvnets-mobileone_s0": {"MobileOneBlock": 43},
    "cvnets-pspnet-mobilevit_s": {**MOBILEVIT, "PSPNetHead": 1, "BilinearUpsampling": 1},
    "cvnets-ssd-mobilevit_s": {**MOBILEVIT, "SSDHead": 6, "BoxOffsets": 1, "ClassScores": 1},
    "cvnets-swin_tiny": {"SwinStage": 4, "PatchMerging": 3},
    "hf-segformer_tiny": {"MixTransformerStage": 4, "SegFormerHead": 1},
    "timm-convnext_atto": {"ConvNeXtBlock": 12, "ConvNeXtDownsampling": 3},
    "timm-edgenext_xx_small": {"ConvNeXtBlock": 9, "SDTAEncoder": 3},
    "timm-efficientvit_b0": {"InvertedResidual": 11, "LiteMLA": 4, "HiddenNormClassifier": 1},
    "timm-efficientvit_m0": {"SandwichBlock": 6, "SandwichLayer": 4},
    "timm-ghostnet_100": {"GhostBottleneck": 16},
    "timm-levit_128s": {"LeViTBlock": 9, "LeViTDownsample": 2},
    "timm-levit_conv_128s": {"ConvLeViTBlock": 9, "ConvLeViTDownsample": 2},
    "timm-mobilenetv4_conv_small": {"UniversalInvertedBottleneck": 4, "InvertedResidual": 8},
    "timm-mobilevit_s_features": MOBILEVIT,
    "timm-poolformer_s12": {"PoolFormerBlock": 12},
    "timm-pvt_v2_b0": {"MixTransformerStage": 4, "Classifier": 1},
    "timm-repvgg_a0": {"RepVGGBlock": 22},
    "timm-repvit_m1_reparam": {"RepViTBlock": 23, "RepViTDownsample": 3},
    "timm-swin_tiny_patch4_window7_224": {"SwinStage": 4, "PatchMerging": 3},
}
EXPORTS = {
    network: sorted(
        path.name.removesuffix(".onnx.xz") for path in skeletons.FOLDER.glob(f"{network}.*")
    )
    for network in BLOCKS
}


@pytest.mark.parametrize("network", BLOCKS)
def test_every_node_lies_in_a_block_of_the_paper_whichever_exporter_wrote_it(
    network: str, lifted: Lift
) -> None:
    found = [lifted(name) for name in EXPORTS[network]]
    assert found
    for each in found:
        assert not each.refused
        assert each.coverage.percent == 100
        kinds = Counter(block.kind for block in each.blocks)
        assert {kind: kinds[kind] for kind in BLOCKS[network]} == BLOCKS[network]
        assert tree(each.blocks) == tree(found[0].blocks)
