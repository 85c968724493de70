"""keras-hub, from a checkpoint of transformers or timm to its own network in Keras 3.

python with_keras_hub.py Keras NETWORK_FOLDER RESULT_FOLDER BATCH [describe]
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

FILE = "model.keras"
# Of networks that keras-hub takes from timm: what timm's configuration has, by the module's class.
TIMM: dict[str, dict[str, Any]] = {
    "MobileNetV3": {"architecture": "mobilenetv3_small_100", "num_features": 1024},
    "ResNetForImageClassification": {"architecture": "resnet18", "num_features": 512},
}
# And how timm names their weights.
NAMES: dict[str, list[tuple[str, Any]]] = {
    "MobileNetV3": [(r"\.norm\.", ".")],
    "ResNetForImageClassification": [
        (r"^resnet\.embedder\.embedder\.convolution", "conv1"),
        (r"^resnet\.embedder\.embedder\.normalization", "bn1"),
        (r"^resnet\.encoder\.stages\.(\d)\.layers", lambda m: f"layer{int(m[1]) + 1}"),
        (r"layer\.(\d)\.convolution", lambda m: f"conv{int(m[1]) + 1}"),
        (r"layer\.(\d)\.normalization", lambda m: f"bn{int(m[1]) + 1}"),
        (r"shortcut\.convolution", "downsample.0"),
        (r"shortcut\.normalization", "downsample.1"),
        (r"^classifier\.1", "fc"),
    ],
}


def convert(network: Path, folder: Path) -> None:
    from benchmarks.drivers.module import load

    checkpoint = folder / "checkpoint"
    write_checkpoint(load(network).model, checkpoint)
    import keras_hub

    size = json.loads((network / "network.json").read_text())["size"]
    task = keras_hub.models.ImageClassifier.from_preset(
        str(checkpoint), activation=None, image_shape=(*size, 3), preprocessor=None
    )
    task.save(folder / FILE)


def write_checkpoint(model: Any, folder: Path) -> None:
    """Writes a module's weights as the hub has them."""
    name = type(model).__name__
    if name not in TIMM:
        if not hasattr(model, "save_pretrained"):
            raise SystemExit(
                f"KeyError: keras-hub takes {name}-Lite0 as timm trained it, which pads images "
                "otherwise than the published one"
            )
        model.save_pretrained(folder)
        return
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    state = {timms(key, name): value for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    config = TIMM[name] | {"num_classes": 1000}
    (folder / "config.json").write_text(json.dumps(config))


def timms(key: str, name: str) -> str:
    """What timm calls a weight of a module of this class."""
    for pattern, there in NAMES[name]:
        key = re.sub(pattern, there, key)
    return key


def describe(folder: Path) -> None:
    import keras
    import keras_hub  # noqa: F401 — its classes are registered

    from benchmarks.drivers.facts import described, write

    model = keras.models.load_model(folder / FILE)
    model.export(folder / "saved_model", verbose=False)
    write(described(model, keras), folder)


if __name__ == "__main__":
    _, network, folder, batch, *rest = sys.argv[1:]
    if rest:
        describe(Path(folder))
    else:
        convert(Path(network), Path(folder))
