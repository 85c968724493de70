"""What the published networks want of photographs, as their preprocessor_config.json says it."""

from __future__ import annotations

from typing import Any

from onnx2mvit.exporter import packaged
from onnx2mvit.exporter.variants import VARIANTS, Variant
from onnx2mvit.ir.preprocessing import ASSUMED, Preprocessing, from_dict
from onnx2mvit.runtimes.preprocessing import IMAGENET_MEAN, IMAGENET_STD

IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
HALF = {"mean": 0.5, "std": 0.5}
CROPPED = {"crop": 0.875, "interpolation": "bicubic", **IMAGENET}
SQUEEZED = {"crop": None, **HALF}
EFFICIENTNET = {"crop": None, "interpolation": "nearest", **IMAGENET}
FAMILIES: dict[str, dict[str, Any]] = {
    "mobilevitv2": {},
    "mobilenet_v1": {"crop": 0.875, **HALF},
    "mobilenet_v2": {"crop": 0.875, **HALF},
    "resnet": CROPPED,
    "regnet": CROPPED,
    "convnext": CROPPED,
    "convnextv2": CROPPED,
    "efficientnet": EFFICIENTNET,
    "vit": SQUEEZED,
    "deit": CROPPED,
}


def published(name: str) -> Preprocessing:
    """What the network of `onnx2mvit export --list` by this name was published for.

    It is an assumption for what is in no list.
    """
    if name in packaged.SIZES:
        return packaged.preprocessing(name)
    variant = VARIANTS.get(name)
    given = None if variant is None else _of(variant)
    if variant is None or given is None:
        return ASSUMED
    return from_dict(given, f"{variant.repository}, as published")


def _of(variant: Variant) -> dict[str, Any] | None:
    size = variant.image_size
    if variant.family == "mobilevit":  # its shorter side is 32 pixels more than what is cut out
        return {"crop": size / (size + 32), "channels": "bgr"}
    return FAMILIES.get(variant.family)
