"""The networks that are compared, and what peers are given of each.

All come from what a fresh clone has, with seeded weights that keep activations near unit variance:
the classes of `onnx2mvit export` and MobileNetV3 in `mobilenetv3`.

    python -m benchmarks.networks NAME FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ONNX, MODULE, IMAGES, FACTS = "network.onnx", "network.pt", "images.npz", "network.json"
BATCHES = (1, 8)
COUNT = max(BATCHES)
LARGER = 64  # pixels by which images of another size are higher and wider


@dataclass(frozen=True)
class Network:
    """A name of ours, and what it is called on the page."""

    name: str
    title: str


NETWORKS = (
    Network("mobilevit_xxs", "MobileViT-XXS"),
    Network("mobilevit_xs", "MobileViT-XS"),
    Network("mobilevit_s", "MobileViT-S"),
    Network("mobilevitv2_100", "MobileViTv2-1.0"),
    Network("mobilenetv3_small", "MobileNetV3-Small"),
    Network("efficientnet_lite0", "EfficientNet-Lite0"),
    Network("resnet_18", "ResNet-18"),
    Network("vit_tiny_patch16_224", "ViT-Tiny"),
    Network("swin_tiny_patch4_window7_224", "Swin-Tiny"),
)


def write(name: str, folder: Path) -> None:
    """Writes the ONNX file of torch's exporter, the module, images and answers.

    `network.onnx` is as `torch.onnx.export(..., dynamo=True)` writes it: batch normalization is
    folded, the batch is free. For what takes no free batch there are `network1.onnx` and
    `network8.onnx`. The module is whole, with its class, as converters from torch want it.
    `images.npz` has `images` (8, 3, height, width) and what onnxruntime answers, `answers`, and,
    where the module takes them, larger images and torch's answers: `larger`, `larger_answers`.
    """
    import onnx
    import torch

    from onnx2mvit.exporter.models import load
    from onnx2mvit.exporter.pipeline import compare
    from onnx2mvit.exporter.random_weights import randomize
    from onnx2mvit.exporter.torch_export import DEFAULT_OPSETS, Logits, Request, to_onnx
    from onnx2mvit.runtimes import OnnxRuntimeRunner, structured_images

    if name == "mobilenetv3_small":
        from benchmarks.mobilenetv3 import SIZE, MobileNetV3

        model: torch.nn.Module = MobileNetV3().eval()
        randomize(model, seed=0)
        size = (SIZE, SIZE)
    else:
        loaded = load(name, "random", seed=0, num_labels=None, warn=print)
        model, size = loaded.model, loaded.size
    module = Logits(model, size)
    images = structured_images(COUNT, *size, 3).transpose(0, 3, 1, 2).copy()
    folder.mkdir(parents=True, exist_ok=True)
    for batch in (*BATCHES, None):
        request = Request("dynamo", DEFAULT_OPSETS["dynamo"], True, dynamic_batch=batch is None)
        proto = to_onnx(module, torch.from_numpy(images[: batch or 3]), request, module.outputs)
        onnx.save(proto, folder / f"network{batch or ''}.onnx")
    error, _ = compare(module, proto.SerializeToString(), torch.from_numpy(images))
    torch.save(model, folder / MODULE)
    arrays = {"images": images}
    (arrays["answers"],) = OnnxRuntimeRunner(folder / ONNX)(images).values()
    larger = structured_images(2, size[0] + LARGER, size[1] + LARGER, 3).transpose(0, 3, 1, 2)
    try:
        with torch.no_grad():
            answer = module(torch.from_numpy(larger.copy()))
        arrays |= {"larger": larger, "larger_answers": answer.numpy()}
    except (RuntimeError, ValueError):  # a network for one size
        pass
    np.savez(folder / IMAGES, **arrays)  # type: ignore[arg-type]
    facts: dict[str, Any] = {
        "size": list(size),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nodes": len(proto.graph.node),
        "size_mb": (folder / ONNX).stat().st_size / 1e6,
        "export_error": error,
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
