"""The published networks by name: their repository, their configuration, their image size.

The configurations are those of the repositories, so that none is needed for random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

# model_type → the classes of transformers, in the order of the architectures that we take: they
# classify images, or pixels, or find what is in them.
CLASSIFIERS: dict[str, tuple[type[PreTrainedModel], ...]] = {
    "mobilevit": (
        transformers.MobileViTForImageClassification,
        transformers.MobileViTForSemanticSegmentation,
    ),
    "mobilevitv2": (
        transformers.MobileViTV2ForImageClassification,
        transformers.MobileViTV2ForSemanticSegmentation,
    ),
    "mobilenet_v1": (transformers.MobileNetV1ForImageClassification,),
    "mobilenet_v2": (
        transformers.MobileNetV2ForImageClassification,
        transformers.MobileNetV2ForSemanticSegmentation,
    ),
    "resnet": (transformers.ResNetForImageClassification,),
    "regnet": (transformers.RegNetForImageClassification,),
    "convnext": (transformers.ConvNextForImageClassification,),
    "convnextv2": (transformers.ConvNextV2ForImageClassification,),
    "efficientnet": (transformers.EfficientNetForImageClassification,),
    "vit": (transformers.ViTForImageClassification,),
    "swin": (transformers.SwinForImageClassification,),
    "poolformer": (transformers.PoolFormerForImageClassification,),
    "detr": (transformers.DetrForObjectDetection,),
    "deit": (
        transformers.DeiTForImageClassificationWithTeacher,
        transformers.DeiTForImageClassification,
    ),
}


@dataclass(frozen=True)
class Variant:
    """One of the published sizes of a network."""

    family: str
    repository: str
    fields: Mapping[str, Any]
    image_size: int
    num_labels: int = 1000
    masks: bool = False

    @property
    def classifier(self) -> type[PreTrainedModel]:
        """The class of transformers, that for `masks` where they are wanted."""
        of_pixels = "ForSemanticSegmentation"
        known = CLASSIFIERS[self.family]
        return next(each for each in known if each.__name__.endswith(of_pixels) == self.masks)

    def config(self) -> PreTrainedConfig:
        """Its configuration, which thus needs no hub."""
        make = self.classifier.config_class
        assert make is not None
        sized = {"image_size": self.image_size} if self.family not in ("resnet", "regnet") else {}
        config: PreTrainedConfig = make(**{**sized, **self.fields})
        config.num_labels = self.num_labels
        return config


# Trained on PASCAL VOC, with rates for features at a sixteenth of the image's size.
VOC: dict[str, Any] = {"output_stride": 16, "atrous_rates": [6, 12, 18]}


def _table() -> dict[str, Variant]:
    fields: dict[str, Any]
    found: dict[str, Variant] = {}
    for name, (published_as, widths, neck, expansion) in {
        "xxs": ("xx-small", [64, 80, 96], [16, 16, 24, 48, 64, 80, 320], 2.0),
        "xs": ("x-small", [96, 120, 144], [16, 32, 48, 64, 80, 96, 384], 4.0),
        "s": ("small", [144, 192, 240], [16, 32, 64, 96, 128, 160, 640], 4.0),
    }.items():
        fields = {"hidden_sizes": widths, "neck_hidden_sizes": neck, "expand_ratio": expansion}
        repository = f"apple/mobilevit-{published_as}"
        found[f"mobilevit_{name}"] = Variant("mobilevit", repository, fields, 256)
        repository, fields = f"apple/deeplabv3-mobilevit-{published_as}", fields | VOC
        found[f"deeplabv3_mobilevit_{name}"] = Variant(
            "mobilevit", repository, fields, 512, num_labels=21, masks=True
        )
    for percent in (50, 75, 100, 125, 150, 175, 200):
        width = percent / 100
        repository = f"apple/mobilevitv2-{width}-imagenet1k-256"
        fields = {"width_multiplier": width}
        found[f"mobilevitv2_{percent:03}"] = Variant("mobilevitv2", repository, fields, 256)
    fields = {"width_multiplier": 1.0, **VOC, "aspp_out_channels": 512}
    found["deeplabv3_mobilevitv2_100"] = Variant(
        *("mobilevitv2", "apple/mobilevitv2-1.0-voc-deeplabv3", fields, 512), 21, masks=True
    )
    found["deeplabv3_mobilenet_v2_100"] = Variant(
        *("mobilenet_v2", "google/deeplabv3_mobilenet_v2_1.0_513", {"output_stride": 8}, 513),
        num_labels=21,
        masks=True,
    )
    # Google's have a class more, for the background.
    for number, published in {
        1: [(1.0, 224), (0.75, 192)],
        2: [(1.4, 224), (1.0, 224), (0.75, 160), (0.35, 96)],
    }.items():
        for width, size in published:
            found[f"mobilenet_v{number}_{round(100 * width):03}"] = Variant(
                f"mobilenet_v{number}",
                f"google/mobilenet_v{number}_{width}_{size}",
                {"depth_multiplier": width},
                size,
                num_labels=1001,
            )
    for depth, (kind, depths) in {
        18: ("basic", [2, 2, 2, 2]),
        34: ("basic", [3, 4, 6, 3]),
        50: ("bottleneck", [3, 4, 6, 3]),
        101: ("bottleneck", [3, 4, 23, 3]),
        152: ("bottleneck", [3, 8, 36, 3]),
    }.items():
        widths = [64, 128, 256, 512] if kind == "basic" else [256, 512, 1024, 2048]
        fields = {"layer_type": kind, "depths": depths, "hidden_sizes": widths}
        found[f"resnet_{depth}"] = Variant("resnet", f"microsoft/resnet-{depth}", fields, 224)
    for name, (depths, widths, group) in {
        "x_002": ([1, 1, 4, 7], [24, 56, 152, 368], 8),
        "x_004": ([1, 2, 7, 12], [32, 64, 160, 384], 16),
        "x_008": ([1, 3, 7, 5], [64, 128, 288, 672], 16),
        "x_016": ([2, 4, 10, 2], [72, 168, 408, 912], 24),
        "y_002": ([1, 1, 4, 7], [24, 56, 152, 368], 8),
        "y_004": ([1, 3, 6, 6], [48, 104, 208, 440], 8),
        "y_008": ([1, 3, 8, 2], [64, 128, 320, 768], 16),
        "y_016": ([2, 6, 17, 2], [48, 120, 336, 888], 24),
    }.items():
        fields = {"layer_type": name[0], "depths": depths, "hidden_sizes": widths}
        repository = f"facebook/regnet-{name.replace('_', '-')}"
        found[f"regnet_{name}"] = Variant(
            "regnet", repository, {**fields, "groups_width": group}, 224
        )
    for number, (width, scale, size, hidden, padded) in {
        0: (1.0, 1.0, 224, 1280, ()),
        1: (1.0, 1.1, 240, 1280, (16,)),
        2: (1.1, 1.2, 260, 1408, (5, 8, 16)),
        3: (1.2, 1.4, 300, 1536, (5, 18)),
        4: (1.4, 1.8, 380, 1792, (6,)),
    }.items():
        fields = {
            "width_coefficient": width,
            "depth_coefficient": scale,
            "hidden_dim": hidden,
            "depthwise_padding": list(padded),
        }
        repository = f"google/efficientnet-b{number}"
        found[f"efficientnet_b{number}"] = Variant("efficientnet", repository, fields, size)
    for name, (depths, widths) in {
        "tiny": ([3, 3, 9, 3], [96, 192, 384, 768]),
        "small": ([3, 3, 27, 3], [96, 192, 384, 768]),
        "base": ([3, 3, 27, 3], [128, 256, 512, 1024]),
    }.items():
        fields, repository = {"depths": depths, "hidden_sizes": widths}, f"facebook/convnext-{name}"
        found[f"convnext_{name}"] = Variant("convnext", f"{repository}-224", fields, 224)
    for name, (depths, widths) in {
        "atto": ([2, 2, 6, 2], [40, 80, 160, 320]),
        "femto": ([2, 2, 6, 2], [48, 96, 192, 384]),
        "pico": ([2, 2, 6, 2], [64, 128, 256, 512]),
        "nano": ([2, 2, 8, 2], [80, 160, 320, 640]),
        "tiny": ([3, 3, 9, 3], [96, 192, 384, 768]),
    }.items():
        fields = {"depths": depths, "hidden_sizes": widths}
        repository = f"facebook/convnextv2-{name}-1k-224"
        found[f"convnextv2_{name}"] = Variant("convnextv2", repository, fields, 224)
    for name, (depth, dim, heads) in {
        "tiny": (6, 96, 3),
        "small": (18, 96, 3),
        "base": (18, 128, 4),
    }.items():
        fields = {"depths": [2, 2, depth, 2], "num_heads": [heads << at for at in range(4)]}
        repository = f"microsoft/swin-{name}-patch4-window7-224"
        found[f"swin_{name}_patch4_window7_224"] = Variant(
            "swin", repository, {**fields, "embed_dim": dim}, 224
        )
    for name, (blocks, widths) in {
        "s12": (1, [64, 128, 320, 512]),
        "s24": (2, [64, 128, 320, 512]),
        "s36": (3, [64, 128, 320, 512]),
        "m36": (3, [96, 192, 384, 768]),
    }.items():
        depths = [2 * blocks, 2 * blocks, 6 * blocks, 2 * blocks]
        fields, repository = {"depths": depths, "hidden_sizes": widths}, f"sail/poolformer_{name}"
        found[f"poolformer_{name}"] = Variant("poolformer", repository, fields, 224)
    # Trained on COCO, whose numbers of classes go to 90; none is one more.
    for number, depths in {50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}.items():
        backbone = {"model_type": "resnet", "depths": depths, "out_features": ["stage4"]}
        fields = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}
        fields |= {"backbone_config": backbone, "num_queries": 100}
        repository = f"facebook/detr-resnet-{number}"
        found[f"detr_resnet_{number}"] = Variant("detr", repository, fields, 800, num_labels=91)
    for size_name, dim in {"tiny": 192, "small": 384, "base": 768}.items():
        fields = {
            "hidden_size": dim,
            "num_attention_heads": dim // 64,
            "intermediate_size": 4 * dim,
        }
        vit = "google/vit-base-patch16-224"
        repository = vit if size_name == "base" else f"WinKawaks/vit-{size_name}-patch16-224"
        found[f"vit_{size_name}_patch16_224"] = Variant("vit", repository, fields, 224)
        # Facebook's plain DeiTs are ViTs, trained in another way.
        repository = f"facebook/deit-{size_name}-patch16-224"
        found[f"deit_{size_name}_patch16_224"] = Variant("vit", repository, fields, 224)
        repository = f"facebook/deit-{size_name}-distilled-patch16-224"
        found[f"deit_{size_name}_distilled_patch16_224"] = Variant("deit", repository, fields, 224)
    return found


VARIANTS = _table()
